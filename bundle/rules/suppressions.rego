# Findings that somebody silenced inside a tool.
package writ.suppressions

import data.writ.lib
import rego.v1

# METADATA
# title: No suppression without an exemption
# description: A silenced finding is judged as found until an exemption covers it.
# custom:
#   evidence: []
#   optional: [secret-scan, sast, dependency-scan, container-scan, iac-scan, dast]
#   findings: {suppressed: true}
none := {
	"state": "pass",
	"title": "No finding is silenced in a tool",
	"found": [sprintf("0 suppressions in %s", [lib.count_of(scans, "scan", "scans")])],
} if total == 0

none := {
	"state": "fail",
	"code": "unapproved",
	"title": sprintf("%s silenced without an exemption", [lib.count_of(total, "finding is", "findings are")]),
	"found": [sprintf("%s in %s", [lib.count_of(total, "suppression", "suppressions"), lib.count_of(scans, "scan", "scans")])],
} if total > 0

total := sum([group.total | some group in input.findings])

scans := sum([count(items) | some items in input.evidence])
