# The pipeline itself: who approved it, what pins it, and who can go round it.
package writ.pipeline

import data.writ.lib
import rego.v1

person(account) := object.get(object.get(input.people, account, {}), "person", account)

# Whose account it is, an approved binding says. One that is bound to nobody may be anybody's.
known(account) if {
	facts := input.people[account]
	object.get(facts, "unresolved", false) == false
}

# METADATA
# title: The pipeline definition is approved and nothing goes round it
# description: The digest that ran must be approved by somebody other than its author; inline scripts, unpinned includes and deploy jobs outside Writ are ways round.
# custom:
#   evidence: [pipeline-definition]
#   optional: [approval]
#   run: true
#   release: true
definition_approved := {
	"state": "fail",
	"code": "way-round",
	"title": sprintf("%s round the pipeline", [lib.count_of(count(ways_round), "way leads", "ways lead")]),
	"found": [sprintf("%s in the files around the pipeline", [lib.count_of(count(ways_round), "way round", "ways round")])],
	"items": [{"name": w.kind, "text": w.text, "location": {"kind": "file", "path": w.file}} | some w in ways_round],
} if count(ways_round) > 0

definition_approved := {
	"state": "pass",
	"title": "The pipeline definition that ran is approved",
	"found": [sprintf("definition %s", [input.run.definition])],
} if {
	count(ways_round) == 0
	count(approvers) > 0
}

definition_approved := {
	"state": "fail",
	"code": "not-approved",
	"title": "The pipeline definition that ran is not approved",
	"found": [sprintf("definition %s ran; no approval of it by somebody other than its author", [object.get(input.run, "definition", "without a digest")])],
} if {
	count(ways_round) == 0
	count(approvers) == 0
}

ways_round := object.get(input.run, "definitionFindings", [])

definitions := [item.facts |
	some item in input.evidence["pipeline-definition"]
	item.facts.kind == "pipeline"
	item.facts.digest == input.run.definition
]

approvers := {who |
	some definition in definitions
	some a in input.evidence.approval
	a.facts.about == "definition"
	a.facts.definition == definition.digest
	not endswith(a.predicate, ":rejection:v1")
	not a.lapsed
	not input.people[a.facts.by.principal].machine
	known(a.facts.by.principal)
	known(definition.author)
	who := person(a.facts.by.principal)
	who != person(definition.author)
}

# METADATA
# title: Bundle and tools are pinned by digest
# description: The run compares what ran with the lock file that is committed beside the pipeline.
# custom:
#   evidence: []
#   run: true
pinned := {
	"state": "pass",
	"title": "Bundle and tools are pinned, and what ran is what is pinned",
	"found": ["0 differences from writ.lock"],
} if {
	lock_present
	count(input.run.lockDifferences) == 0
}

pinned := {
	"state": "fail",
	"code": "no-lock",
	"title": "Bundle and tools are not pinned",
	"found": ["there is no writ.lock in this commit"],
} if not lock_present

pinned := {
	"state": "fail",
	"code": "differs",
	"title": sprintf("%s from writ.lock", [lib.count_of(count(input.run.lockDifferences), "thing that ran differs", "things that ran differ")]),
	"found": [lib.count_of(count(input.run.lockDifferences), "difference", "differences")],
	"items": [{"name": d.what, "text": sprintf("pinned %s, ran %s", [shown(d, "pinned"), shown(d, "actual")])} | some d in input.run.lockDifferences],
} if {
	lock_present
	count(input.run.lockDifferences) > 0
}

pinned := {
	"state": "error",
	"code": "not-compared",
	"title": "Cannot tell: the run did not compare what ran with writ.lock",
	"found": ["writ.lock is there; the record of the run has no comparison"],
	"fix": ["Run the pipeline again: writ run"],
} if {
	lock_present
	not is_array(object.get(input.run, "lockDifferences", null))
}

lock_present if is_string(input.run.lock)

shown(d, key) := d[key] if is_string(d[key])

shown(d, key) := "nothing" if not is_string(object.get(d, key, null))

# METADATA
# title: The branch is protected and everybody who may bypass it is known
# description: A bypass list that could not be read is not an empty one.
# custom:
#   evidence: [branch-protection]
#   with: {reviews: integer}
branch_protected := {
	"state": "pass",
	"title": "The branch is protected and its bypass list is known",
	"found": [sprintf("%s: %d reviews required, %s may bypass", [b.branch, b.requiredReviews, lib.count_of(count(b.bypass), "account", "accounts")]) | some b in branches],
} if {
	count(branches) > 0
	count(weaknesses) == 0
}

branch_protected := {
	"state": "fail",
	"code": "weak",
	"title": "The branch is not protected as required",
	"found": weaknesses,
} if count(weaknesses) > 0

branch_protected := {
	"state": "missing",
	"code": "empty",
	"title": "The branch protection record names no branch",
	"found": ["0 branches on record"],
} if {
	count(branches) == 0
	count(weaknesses) == 0
}

branches := [item.facts | some item in input.evidence["branch-protection"]; item.facts.branch]

weaknesses := array.concat(
	[sprintf("%s is not protected", [b.branch]) | some b in branches; b.protected != true],
	array.concat(
		[sprintf("%s requires %d reviews, at least %d are needed", [b.branch, b.requiredReviews, input.with.reviews]) | some b in branches; b.requiredReviews < input.with.reviews],
		array.concat(
			[sprintf("%s can be overwritten (force push)", [b.branch]) | some b in branches; b.forcePush == true],
			[sprintf("who may bypass %s could not be read", [b.branch]) | some b in branches; not is_array(object.get(b, "bypass", null))],
		),
	),
)
