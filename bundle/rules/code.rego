# Our own code: weaknesses and quality.
package writ.code

import data.writ.lib
import rego.v1

# METADATA
# title: No new HIGH or CRITICAL weakness in the code
# description: New means not in the baseline that the scan recorded; without a baseline every finding is new.
# custom:
#   evidence: [sast]
#   findings: {categories: [code], at_least: high, all: true}
no_new := {
	"state": "pass",
	"title": "No new HIGH or CRITICAL weakness in the code",
	"found": array.concat([sprintf("0 new %s", [lib.scope_line(input.evidence.sast)])], known_line),
} if count(new_weaknesses) == 0

no_new := {
	"state": "fail",
	"code": "new",
	"title": sprintf("%s in the code", [lib.count_of(count(new_weaknesses), "new HIGH or CRITICAL weakness", "new HIGH or CRITICAL weaknesses")]),
	"found": array.concat([sprintf("%s %s", [lib.count_of(count(new_weaknesses), "weakness", "weaknesses"), lib.scope_line(input.evidence.sast)])], known_line),
	"items": new_weaknesses,
} if count(new_weaknesses) > 0

# A baseline is a list of fingerprints that an earlier scan of the target branch recorded.
baseline contains fingerprint if {
	some item in input.evidence.sast
	some fingerprint in item.facts.baseline
}

new_weaknesses := [f | some f in input.findings.sast.items; not f.fingerprint in baseline]

known := input.findings.sast.total - count(new_weaknesses)

known_line := [sprintf("%s known from the baseline and not counted here", [lib.grouped(known)])] if known > 0

known_line := [] if known == 0

# METADATA
# title: The quality gate of the quality server holds
# description: Takes the conditions with their values, never a bare verdict.
# custom:
#   evidence: [code-quality]
quality_gate := {
	"state": "pass",
	"title": sprintf("All %d conditions of the quality gate hold", [count(conditions)]),
	"found": [condition_line(c) | some c in conditions],
} if {
	count(conditions) > 0
	count(broken) == 0
}

quality_gate := {
	"state": "missing",
	"code": "empty",
	"title": "The quality report states no condition",
	"found": ["0 conditions reported"],
} if count(conditions) == 0

quality_gate := {
	"state": "fail",
	"code": "condition",
	"title": sprintf("%s of the quality gate does not hold", [lib.count_of(count(broken), "condition", "conditions")]),
	"found": [sprintf("%d of %d conditions hold", [count(conditions) - count(broken), count(conditions)])],
	"items": [{"name": c.metric, "text": condition_line(c)} | some c in broken],
} if count(broken) > 0

conditions := [c | some item in input.evidence["code-quality"]; some c in item.facts.conditions]

broken := [c | some c in conditions; c.holds != true]

condition_line(c) := sprintf("%s is %s, required %s", [c.metric, c.value, c.required])
