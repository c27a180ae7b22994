# Licences of components.
package writ.licenses

import data.writ.lib
import rego.v1

# METADATA
# title: Every component has an allowed licence
# description: A choice ("A OR B") needs one side that is allowed, a sum ("A AND B") both. No stated licence is not allowed.
# custom:
#   evidence: [sbom]
#   with: {allowed: list}
allowed := {
	"state": "pass",
	"title": sprintf("All %s an allowed licence", [lib.count_of(total, "component has", "components have")]),
	"found": [sprintf("%s under %s", [lib.count_of(total, "component", "components"), lib.count_of(count(licences), "licence", "licences")])],
} if {
	total > 0
	count(refused) == 0
}

allowed := {
	"state": "missing",
	"code": "empty",
	"title": "The list of components is empty",
	"found": ["0 components"],
} if total == 0

allowed := {
	"state": "fail",
	"code": "licence",
	"title": sprintf("%s a licence that is not allowed", [lib.count_of(refused_total, "component has", "components have")]),
	"found": [sprintf("%s of %s", [lib.grouped(refused_total), lib.count_of(total, "component", "components")])],
	"items": [{"name": label(l), "text": sprintf("%s: %s", [lib.count_of(l.count, "component", "components"), concat(", ", object.get(l, "examples", []))])} | some l in refused],
} if count(refused) > 0

licences := [l | some item in input.evidence.sbom; some l in item.facts.licenses]

total := sum([l.count | some l in licences])

refused := [l | some l in licences; not acceptable(l.license)]

refused_total := sum([l.count | some l in refused])

acceptable(expression) if {
	some choice in split(expression, " OR ")
	every part in split(choice, " AND ") {
		trim(part, "() ") in input.with.allowed
	}
}

label(l) := l.license if l.license != ""

label(l) := "no licence stated" if l.license == ""
