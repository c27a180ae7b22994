# Licences of components.
package writ.licenses

import data.writ.lib
import rego.v1

# METADATA
# title: Every component has an allowed licence
# description: Read from licence findings of a scanner or from an SBOM's licences. A choice ("A OR B") needs one side that is allowed, a sum ("A AND B") both.
# custom:
#   evidence: []
#   optional: [dependency-scan, sbom]
#   with: {allowed: list}
#   findings: {categories: [license], by_rule: true}
allowed := {
	"state": "pass",
	"title": sprintf("All %s an allowed licence", [lib.count_of(total, "component has", "components have")]),
	"found": [sprintf("%s, 0 under another licence", [lib.count_of(total, "component", "components")])],
} if {
	total > 0
	refused_total == 0
}

allowed := {
	"state": "missing",
	"code": "no-licences",
	"title": "No tool read the licences of the components",
	"found": ["dependencies or components are on record, their licences are not"],
} if total == 0

allowed := {
	"state": "fail",
	"code": "licence",
	"title": sprintf("%s a licence that is not allowed", [lib.count_of(refused_total, "component has", "components have")]),
	"found": [sprintf("%s of %s", [lib.grouped(refused_total), lib.count_of(total, "component", "components")])],
	"items": array.concat(refused_findings, [{"name": label(l.license), "text": sprintf("%s: %s", [lib.count_of(l.count, "component", "components"), concat(", ", object.get(l, "examples", []))])} | some l in refused]),
} if refused_total > 0

# Licences as an SBOM counts them.
licences := [l | some item in input.evidence.sbom; some l in item.facts.licenses]

refused := [l | some l in licences; not acceptable(l.license)]

# Licences as a scanner finds them: one finding per component, its rule is the licence.
groups := [g | some group in input.findings; some g in group.rules]

refused_groups := [g | some g in groups; not acceptable(g.rule)]

refused_findings := [f | some g in refused_groups; some f in g.items]

total := sum([l.count | some l in licences]) + sum([g.count | some g in groups])

refused_total := sum([l.count | some l in refused]) + sum([g.count | some g in refused_groups])

acceptable(expression) if {
	some choice in split(expression, " OR ")
	every part in split(choice, " AND ") {
		trim(part, "() ") in input.with.allowed
	}
}

label(license) := license if license != ""

label("") := "no licence stated"
