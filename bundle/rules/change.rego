# The change, its people, and their yes. People are opaque ids; several accounts of one person count as one.
package writ.change

import data.writ.lib
import rego.v1

person(account) := object.get(object.get(input.people, account, {}), "person", account)

machine(account) if input.people[account].machine == true

# Whose account it is, an approved binding says. One that is bound to nobody may be anybody's.
known(account) if {
	facts := input.people[account]
	object.get(facts, "unresolved", false) == false
}

# Everybody who wrote, committed or co-wrote any commit of the change.
authors := {person(p) | some p in input.run.authors}

# Why the list of authors cannot be trusted.
authors_doubt := "history was cut off: not all commits of the change were there" if input.run.shallow == true

authors_doubt := "the run names no author" if {
	not input.run.shallow
	count(authors) == 0
}

authors_doubt := sprintf("%s to nobody known: %s", [
	lib.count_of(count(strangers), "account of an author belongs", "accounts of authors belong"),
	concat(", ", sort(strangers)),
]) if {
	not input.run.shallow
	count(strangers) > 0
}

strangers := {account | some account in input.run.authors; not known(account)}

doubtful := {
	"state": "error",
	"code": "authors-unknown",
	"title": "Cannot tell who wrote the change",
	"found": [authors_doubt],
	"fix": [authors_fix],
}

authors_fix := "Bind each account to its person: writ server people bind" if count(strangers) > 0

authors_fix := "Fetch the whole history of the change, then: writ run" if count(strangers) == 0

# METADATA
# title: The change has an approved request
# description: A merge request that at least one person approved, whoever that is; CHG-02 asks who.
# custom:
#   evidence: [code-review]
#   release: true
requested := {
	"state": "pass",
	"title": sprintf("The change is requested by %s and approved", [concat(", ", requests)]),
	"found": [sprintf("%s, approved by %s", [lib.count_of(count(requests), "request", "requests"), lib.count_of(count(approving_reviewers), "person", "people")])],
} if {
	count(requests) > 0
	count(approving_reviewers) > 0
}

requested := {
	"state": "waiting",
	"code": "not-approved",
	"title": "The request of this change is not approved yet",
	"found": [sprintf("%s has no approval", [concat(", ", requests)])],
} if {
	count(requests) > 0
	count(approving_reviewers) == 0
}

requested := {
	"state": "missing",
	"code": "no-request",
	"title": "No request is linked to this change",
	"found": ["the record of the review names no merge request"],
} if count(requests) == 0

requests := sort({item.facts.change | some item in input.evidence["code-review"]; item.facts.change != ""})

# METADATA
# title: Somebody who wrote none of the commits reviewed the released tree
# description: Machines do not review. A later "changes requested" takes an approval back.
# custom:
#   evidence: [code-review]
#   run: true
#   release: true
reviewed_by_other := doubtful if authors_doubt

reviewed_by_other := {
	"state": "pass",
	"title": sprintf("Reviewed by %s, not an author", [concat(", ", independent_reviewers)]),
	"found": [sprintf("%d of %d reviewers wrote none of the commits", [count(independent_reviewers), count(approving_reviewers)])],
} if {
	not authors_doubt
	count(independent_reviewers) > 0
	count(objections) == 0
}

reviewed_by_other := {
	"state": "fail",
	"code": "author-reviewed",
	"title": "The only reviewer is an author of the change",
	"found": [sprintf("reviewed by %s, who wrote part of the change", [concat(", ", reviewing_authors)])],
} if {
	not authors_doubt
	count(independent_reviewers) == 0
	count(reviewing_authors) > 0
	count(objections) == 0
}

reviewed_by_other := {
	"state": "error",
	"code": "reviewer-unknown",
	"title": "Cannot tell who reviewed the change",
	"found": [sprintf("reviewed by %s, an account that belongs to nobody known", [concat(", ", approving_reviewers)])],
	"fix": ["Bind the account to its person: writ server people bind"],
} if {
	not authors_doubt
	count(independent_reviewers) == 0
	count(reviewing_authors) == 0
	count(approving_reviewers) > 0
	count(objections) == 0
}

reviewed_by_other := {
	"state": "fail",
	"code": "objection",
	"title": sprintf("%s for changes", [lib.count_of(count(objections), "reviewer asks", "reviewers ask")]),
	"found": [sprintf("changes requested by %s", [concat(", ", objections)])],
} if {
	not authors_doubt
	count(objections) > 0
}

reviewed_by_other := {
	"state": "waiting",
	"code": "no-review",
	"title": "Nobody has reviewed the released tree yet",
	"found": ["0 reviews of this tree by a person"],
} if {
	not authors_doubt
	count(approving_reviewers) == 0
	count(objections) == 0
}

# Reviews by people, of the head of the change; a review of an earlier push no longer counts.
reviews := [r |
	some item in input.evidence["code-review"]
	some r in item.facts.reviews
	not machine(r.reviewer)
	r.commit == item.facts.range.head
]

# Lists are oldest first: what somebody said last counts, and a comment takes nothing back.
said(who) := [r.verdict | some r in reviews; person(r.reviewer) == who; r.verdict != "commented"]

last_said(who) := words[count(words) - 1] if {
	words := said(who)
	count(words) > 0
}

reviewers := {person(r.reviewer) | some r in reviews}

approving_reviewers := sort({who | some who in reviewers; last_said(who) == "approved"})

objections := sort({who | some who in reviewers; last_said(who) == "changes-requested"})

reviewing_authors := sort({p | some p in approving_reviewers; p in authors})

independent_reviewers := sort({p |
	some r in reviews
	known(r.reviewer)
	p := person(r.reviewer)
	p in approving_reviewers
	not p in authors
})

# METADATA
# title: The required role approved this digest for this environment
# description: Approvals by authors of the change and by machines do not count; one rejection blocks.
# custom:
#   evidence: []
#   optional: [approval]
#   run: true
#   release: true
#   floor: true
approved := {
	"state": "fail",
	"code": "rejected",
	"title": "The release was rejected",
	"found": [sprintf("rejected by %s", [concat(", ", rejecters)])],
	"required": approvals_line,
} if count(rejecters) > 0

# Who wrote the change must be known before anybody's yes is somebody else's.
approved := doubtful if {
	count(rejecters) == 0
	count(approvals) > 0
	authors_doubt
}

approved := {
	"state": "pass",
	"title": sprintf("Approved by %s", [concat(", ", counted)]),
	"found": [sprintf("%d of %d approvals by role %s", [count(counted), wanted.count, wanted.role])],
	"required": approvals_line,
} if {
	count(rejecters) == 0
	not authors_doubt
	count(counted) >= wanted.count
}

approved := {
	"state": "waiting",
	"code": "waiting",
	"title": sprintf("Waits for %s by role %s", [lib.count_of(wanted.count - count(counted), "approval", "approvals"), wanted.role]),
	"found": array.concat(
		[sprintf("%d of %d approvals", [count(counted), wanted.count])],
		[sprintf("the approval of %s does not count: %s", [a.facts.by.principal, reason(a)]) | some a in approvals; not counts(a)],
	),
	"required": approvals_line,
} if {
	count(rejecters) == 0
	not doubtful_approval
	count(counted) < wanted.count
}

doubtful_approval if {
	authors_doubt
	count(approvals) > 0
}

wanted := object.get(input.floor, "approvals", null) if input.floor.approvals != null

wanted := {"role": "reviewer", "count": 1} if object.get(input.floor, "approvals", null) == null

approvals_line := sprintf("%s by role %s, not by an author, proven by %s or better", [lib.count_of(wanted.count, "approval", "approvals"), wanted.role, input.floor.assurance])

is_rejection(item) if endswith(item.predicate, ":rejection:v1")

about_release := [item | some item in input.evidence.approval; object.get(item.facts, "about", "release") == "release"]

approvals := [item | some item in about_release; not is_rejection(item)]

rejecters := sort({person(item.facts.by.principal) | some item in about_release; is_rejection(item)})

counts(a) if reason(a) == ""

counted := sort({person(a.facts.by.principal) | some a in approvals; counts(a)})

reason(a) := "a machine does not approve" if machine(a.facts.by.principal)

reason(a) := "wrote part of the change" if {
	not machine(a.facts.by.principal)
	person(a.facts.by.principal) in authors
}

reason(a) := "the account belongs to nobody known" if {
	not machine(a.facts.by.principal)
	not person(a.facts.by.principal) in authors
	not known(a.facts.by.principal)
}

reason(a) := sprintf("does not hold role %s", [wanted.role]) if {
	not machine(a.facts.by.principal)
	known(a.facts.by.principal)
	not person(a.facts.by.principal) in authors
	not holds(a.facts.by.principal)
}

reason(a) := sprintf("proven only by %s", [a.facts.by.assurance]) if {
	not machine(a.facts.by.principal)
	not person(a.facts.by.principal) in authors
	known(a.facts.by.principal)
	holds(a.facts.by.principal)
	not sure(a)
}

reason(a) := "given for another bundle of controls" if {
	eligible(a)
	sure(a)
	other_bundle(a)
}

reason(a) := "it has lapsed" if {
	eligible(a)
	sure(a)
	not other_bundle(a)
	a.lapsed
}

reason(a) := "given when other checks stood" if {
	eligible(a)
	sure(a)
	not other_bundle(a)
	not a.lapsed
	other_checks(a)
}

reason(a) := "" if {
	eligible(a)
	sure(a)
	not other_bundle(a)
	not a.lapsed
	not other_checks(a)
}

eligible(a) if {
	not machine(a.facts.by.principal)
	known(a.facts.by.principal)
	not person(a.facts.by.principal) in authors
	holds(a.facts.by.principal)
}

other_bundle(a) if a.facts.bundleDigest != input.bundle

# What the approver was shown no longer stands: a check changed its state or its exemption.
other_checks(a) if a.facts.checksHash != input.shown

holds(account) if wanted.role in input.people[account].roles

holds(account) if wanted.role in input.people[account].teams

levels := ["local-user", "password", "totp", "webauthn"]

level(name) := i if {
	some i, l in levels
	l == name
}

sure(a) if level(object.get(a.facts.by, "assurance", "local-user")) >= level(input.floor.assurance)

# METADATA
# title: No author approves or deploys the change
# description: Over authors, committers and co-authors of every commit in the range.
# custom:
#   evidence: []
#   optional: [approval, deployment]
#   run: true
#   release: true
separated := doubtful if authors_doubt

separated := {
	"state": "waiting",
	"code": "not-approved",
	"title": "Nobody has approved the release yet",
	"found": ["0 approvals of this digest for this environment"],
} if {
	not authors_doubt
	count(approvals) == 0
	count(deploying_authors) == 0
}

separated := {
	"state": "pass",
	"title": "No author approved or deployed the change",
	"found": [sprintf("%s, %s, %s", [
		lib.count_of(count(authors), "author", "authors"),
		lib.count_of(count(approvers), "approver", "approvers"),
		lib.count_of(count(deployers), "deployer", "deployers"),
	])],
} if {
	not authors_doubt
	count(approvals) > 0
	count(both) == 0
	count(deploying_authors) == 0
}

separated := {
	"state": "fail",
	"code": "author-approved",
	"title": "The approver is an author of the change",
	"found": [sprintf("approved by %s, who wrote part of the change", [concat(", ", both)])],
} if {
	not authors_doubt
	count(both) > 0
}

separated := {
	"state": "fail",
	"code": "author-deployed",
	"title": "The deployer is an author of the change",
	"found": [sprintf("deployed by %s, who wrote part of the change", [concat(", ", deploying_authors)])],
} if {
	not authors_doubt
	count(both) == 0
	count(deploying_authors) > 0
}

approvers := {person(a.facts.by.principal) | some a in approvals}

deployers := {person(item.facts.deployer) |
	some item in input.evidence.deployment
	item.facts.release.artifact == input.subject.artifact
	item.facts.release.environment == input.environment
}

both := sort(approvers & authors)

deploying_authors := sort({p | some p in deployers; p in authors; not machine(p)})

# METADATA
# title: What was deployed is what was approved
# description: The latest deployment into the environment carries the digest that is judged.
# custom:
#   evidence: [deployment]
#   release: true
deployed_equals_approved := {
	"state": "pass",
	"title": "The deployed digest is the approved one",
	"found": [sprintf("%s in %s", [input.subject.artifact, input.environment])],
} if last_here.facts.release.artifact == input.subject.artifact

deployed_equals_approved := {
	"state": "fail",
	"code": "other-digest",
	"title": "Another digest than the approved one was deployed",
	"found": [sprintf("%s in %s", [object.get(last_here.facts.release, "artifact", "no digest"), input.environment])],
	"required": sprintf("%s in %s", [object.get(input.subject, "artifact", "the approved digest"), input.environment]),
} if last_here.facts.release.artifact != input.subject.artifact

deployed_equals_approved := {
	"state": "missing",
	"code": "not-deployed",
	"title": "No deployment into this environment is recorded",
	"found": [sprintf("0 deployments into %s", [input.environment])],
} if count(deployed_here) == 0

deployed_here := [item | some item in input.evidence.deployment; item.facts.release.environment == input.environment]

last_here := item if {
	some item in deployed_here
	item.index == max([i.index | some i in deployed_here])
}

# METADATA
# title: Every emergency was reviewed in time by somebody else
# description: The verified ledger is the proof that the list of emergencies is complete.
# custom:
#   evidence: [audit-log]
#   optional: [break-glass]
#   with: {hours: integer}
#   history: [break-glass]
#   release: true
#   clock: true
emergencies_reviewed := {
	"state": "pass",
	"title": sprintf("All emergencies were reviewed (%d)", [count(opened)]),
	"found": [sprintf("%s, 0 overdue", [lib.count_of(count(opened), "emergency", "emergencies")])],
} if count(late) == 0

emergencies_reviewed := {
	"state": "fail",
	"code": "overdue",
	"title": sprintf("%s without a review after %d hours", [lib.count_of(count(late), "emergency is", "emergencies are"), input.with.hours]),
	"found": [sprintf("%d of %s", [count(late), lib.count_of(count(opened), "emergency", "emergencies")])],
	"items": [{"name": short(item.id), "text": sprintf("opened %d hours ago, not reviewed by another person", [lib.quotient(input.as_of - item.recorded_at, 3600000000)])} | some item in late],
} if count(late) > 0

opened := [item | some item in input.evidence["break-glass"]; item.facts.form == "open"]

late := [item |
	some item in opened
	input.as_of - item.recorded_at > input.with.hours * 3600000000
	not reviewed(item)
]

reviewed(item) if {
	some review in input.evidence["break-glass"]
	review.facts.form == "review"
	review.facts.opening == item.id
	known(review.facts.by.principal)
	known(item.facts.by.principal)
	person(review.facts.by.principal) != person(item.facts.by.principal)
}

short(id) := substring(id, 0, 13)

# METADATA
# title: The digest to go back to is known
# description: The previous good digest of this environment, or the statement that this is the first release.
# custom:
#   evidence: [rollback]
#   release: true
previous_good := {
	"state": "pass",
	"title": "The digest to go back to is known",
	"found": [way_back],
} if count(ways_back) > 0

previous_good := {
	"state": "missing",
	"code": "unknown",
	"title": "No digest to go back to is recorded for this environment",
	"found": [sprintf("0 rollback records for %s", [input.environment])],
} if count(ways_back) == 0

ways_back := [line |
	some item in input.evidence.rollback
	item.subject.environment == input.environment
	line := back_line(item.facts)
]

back_line(facts) := sprintf("previous good digest %s", [facts.previous]) if facts.previous

back_line(facts) := "first release: nothing to go back to" if {
	not facts.previous
	facts.firstRelease == true
}

way_back := ways_back[count(ways_back) - 1]
