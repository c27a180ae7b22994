# Tests ran, and they hold.
package writ.tests

import data.writ.lib
import rego.v1

# METADATA
# title: Tests ran and none failed
# description: A report without a test is missing, never a pass. Skipped tests are shown.
# custom:
#   evidence: [unit-test]
pass := {
	"state": "pass",
	"title": sprintf("%s passed", [lib.count_of(passed, "test", "tests")]),
	"found": [summary],
} if {
	passed > 0
	bad == 0
}

pass := {
	"state": "missing",
	"code": "none-ran",
	"title": "No test ran",
	"found": [summary],
} if {
	passed == 0
	bad == 0
}

pass := {
	"state": "fail",
	"code": "failed",
	"title": sprintf("%s", [lib.count_of(bad, "test fails", "tests fail")]),
	"found": [summary],
	"items": failures,
} if bad > 0

passed := sum([item.facts.writ.counts.passed | some item in input.evidence["unit-test"]])

bad := sum([n |
	some item in input.evidence["unit-test"]
	some key in ["failed", "errored"]
	n := item.facts.writ.counts[key]
])

skipped := sum([item.facts.writ.counts.skipped | some item in input.evidence["unit-test"]])

all_tests := (passed + bad) + skipped

summary := sprintf("%s of %s passed, %d failed, %d skipped", [lib.grouped(passed), lib.count_of(all_tests, "test", "tests"), bad, skipped])

failures := [{"name": name, "text": "failed"} |
	some item in input.evidence["unit-test"]
	some name in object.get(item.facts, "failedTests", [])
]
