# What was tried from outside, and where this digest ran before.
package writ.dynamic

import data.writ.lib
import rego.v1

# METADATA
# title: A dynamic test of this digest found nothing HIGH
# description: Passive and active tests count alike; pages visited are the denominator.
# custom:
#   evidence: [dast]
#   findings: {categories: [dynamic], at_least: high}
tested := {
	"state": "pass",
	"title": "The dynamic test of this image found nothing HIGH or CRITICAL",
	"found": [sprintf("0 HIGH or CRITICAL %s", [lib.scope_line(input.evidence.dast)])],
} if input.findings.dast.total == 0

tested := {
	"state": "fail",
	"code": "open",
	"title": sprintf("The dynamic test found %s", [lib.severe(input.findings.dast)]),
	"found": [sprintf("%s %s", [lib.count_of(input.findings.dast.total, "finding", "findings"), lib.scope_line(input.evidence.dast)])],
} if input.findings.dast.total > 0

# METADATA
# title: This digest was deployed to an earlier environment and is healthy there
# description: The latest deployment of the digest there must have succeeded.
# custom:
#   evidence: [deployment]
#   with: {environment: string}
#   release: true
passed_stage := {
	"state": "pass",
	"title": sprintf("This digest passed %s", [input.with.environment]),
	"found": [sprintf("deployed to %s, ledger entry %s", [input.with.environment, lib.grouped(last_stage.index)])],
} if last_stage.facts.outcome == "succeeded"

passed_stage := {
	"state": "fail",
	"code": "unhealthy",
	"title": sprintf("The deployment to %s did not succeed", [input.with.environment]),
	"found": [sprintf("the latest deployment of this digest to %s ended as '%s'", [input.with.environment, last_stage.facts.outcome])],
} if last_stage.facts.outcome != "succeeded"

passed_stage := {
	"state": "missing",
	"code": "not-there",
	"title": sprintf("This digest was never deployed to %s", [input.with.environment]),
	"found": [sprintf("%s on record, none of this digest in %s", [lib.count_of(count(input.evidence.deployment), "deployment", "deployments"), input.with.environment])],
} if count(stage_items) == 0

stage_items := [item |
	some item in input.evidence.deployment
	item.facts.release.artifact == input.subject.artifact
	item.facts.release.environment == input.with.environment
]

last_stage := item if {
	some item in stage_items
	item.index == max([i.index | some i in stage_items])
}
