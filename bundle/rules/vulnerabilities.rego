# Known vulnerabilities of what is shipped.
package writ.vulnerabilities

import data.writ.lib
import rego.v1

# METADATA
# title: No HIGH or CRITICAL vulnerability in the dependencies
# description: One that has a fix must be fixed; one that has none needs an exemption. One that nobody rated counts as HIGH.
# custom:
#   evidence: [dependency-scan]
#   findings: {categories: [vulnerability], at_least: high, unrated: true}
none_in_dependencies := verdict("dependency-scan", "The dependencies contain", "the dependencies")

# METADATA
# title: No HIGH or CRITICAL vulnerability in the image
# description: One that has a fix must be fixed; one that has none needs an exemption. One that nobody rated counts as HIGH.
# custom:
#   evidence: [container-scan]
#   findings: {categories: [vulnerability], at_least: high, unrated: true}
none_in_image := verdict("container-scan", "The image contains", "the image")

verdict(kind, _, where) := {
	"state": "pass",
	"title": sprintf("No HIGH or CRITICAL vulnerability in %s", [where]),
	"found": [sprintf("0 HIGH or CRITICAL %s", [lib.scope_line(input.evidence[kind])])],
} if input.findings[kind].total == 0

verdict(kind, subject, _) := {
	"state": "fail",
	"code": "fixable",
	"title": sprintf("%s %s %s", [subject, lib.severe(group), fixable_words(group)]),
	"found": [found_line(kind, group)],
	"fix": no_fix_advice(group),
} if {
	group := input.findings[kind]
	group.fixable > 0
}

verdict(kind, subject, _) := {
	"state": "fail",
	"code": "no-fix",
	"title": sprintf("%s %s without a fix: an exemption is needed", [subject, vulnerabilities(group)]),
	"found": [found_line(kind, group)],
	"fix": [
		"Replace the component: no fixed version is known",
		"Or ask for an exemption that says why the flaw cannot be reached",
	],
	"fix_is_all": true,
} if {
	group := input.findings[kind]
	group.total > 0
	group.fixable == 0
}

vulnerabilities(group) := sprintf("%s %s", [lib.severe(group), word(group.total)])

word(1) := "vulnerability"

word(n) := "vulnerabilities" if n != 1

fixable_words(group) := "vulnerability that has a fix" if {
	group.total == 1
}

fixable_words(group) := "vulnerabilities, all with a fix" if {
	group.total > 1
	group.fixable == group.total
}

fixable_words(group) := sprintf("vulnerabilities, %d with a fix", [group.fixable]) if {
	group.total > 1
	group.fixable < group.total
}

no_fix_advice(group) := [sprintf("%s no fix yet: replace the component or ask for an exemption", [lib.count_of(group.total - group.fixable, "vulnerability has", "vulnerabilities have")])] if group.fixable < group.total

no_fix_advice(group) := [] if group.fixable == group.total

found_line(kind, group) := sprintf("%s %s %s", [lib.severe(group), word(group.total), lib.scope_line(input.evidence[kind])])

# METADATA
# title: Vulnerabilities are remedied within the agreed days
# description: Counted from the day the finding was first seen. Those known to be exploited have their own limit.
# custom:
#   evidence: [dependency-scan]
#   optional: [container-scan, vulnerability-sla]
#   with: {critical: integer, high: integer, medium: integer, low: integer, exploited: integer, known_exploited: list}
#   findings: {categories: [vulnerability], at_least: low, dated: true, all: true}
within_sla := {
	"state": "pass",
	"title": sprintf("No vulnerability is older than agreed (%s open)", [lib.grouped(open_count)]),
	"found": [sprintf("%s, 0 overdue", [lib.count_of(open_count, "open vulnerability", "open vulnerabilities")])],
	"required": limits,
} if {
	count(overdue) == 0
	count(undated) == 0
}

within_sla := {
	"state": "fail",
	"code": "overdue",
	"title": sprintf("%s older than agreed", [lib.count_of(count(overdue), "vulnerability is", "vulnerabilities are")]),
	"found": [sprintf("%d of %d open vulnerabilities are overdue", [count(overdue), open_count])],
	"required": limits,
	"items": [object.union(v, {"text": sprintf("open for %d days, at most %d: %s", [v.age_days, allowed(v), v.text])}) | some v in overdue],
} if count(overdue) > 0

within_sla := {
	"state": "error",
	"code": "no-dates",
	"title": sprintf("Cannot tell: %s no first-seen date", [lib.count_of(count(undated), "vulnerability has", "vulnerabilities have")]),
	"found": [sprintf("%d of %d open vulnerabilities have no first-seen date", [count(undated), open_count])],
	"required": limits,
} if {
	count(overdue) == 0
	count(undated) > 0
}

# Ages below every limit are counted and not listed.
listed := [v | some group in input.findings; some v in group.items]

open_count := sum([group.total | some group in input.findings])

undated := [v | some v in listed; object.get(v, "age_days", -1) < 0]

overdue := [v | some v in listed; object.get(v, "age_days", -1) > allowed(v)]

# Ids that a feed of exploited vulnerabilities names, and those that the control lists itself.
exploited contains id if some id in input.with.known_exploited

exploited contains id if {
	some item in input.evidence["vulnerability-sla"]
	some id in item.facts.knownExploited
}

is_exploited(v) if v.name in exploited

is_exploited(v) if v.rule in exploited

allowed(v) := min([input.with.exploited, input.with[v.severity]]) if is_exploited(v)

allowed(v) := input.with[v.severity] if not is_exploited(v)

limits := sprintf("CRITICAL within %d days, HIGH %d, MEDIUM %d, LOW %d; known exploited %d", [input.with.critical, input.with.high, input.with.medium, input.with.low, input.with.exploited])
