# What runs: observed against authorised, monitored, and recently looked at.
package writ.environment

import data.writ.lib
import rego.v1

# METADATA
# title: What runs is what was authorised
# description: Every observed workload carries an authorised digest, and every authorised one runs. The store compares; what a producer says of differences only counts against, until the store compared. What is known to belong to another service counts against that one.
# custom:
#   evidence: [drift-check]
#   release: true
no_drift := {
	"state": "pass",
	"title": sprintf("%s as authorised", [lib.count_of(observed, "workload runs", "workloads run")]),
	"found": [sprintf("%s observed, 0 differ", [lib.count_of(observed, "workload", "workloads")])],
} if {
	observed > 0
	count(drifted) == 0
	count(unreachable) == 0
	count(uncompared) == 0
}

no_drift := {
	"state": "fail",
	"code": "drift",
	"title": sprintf("%s from what was authorised", [lib.count_of(count(drifted), "workload differs", "workloads differ")]),
	"found": [sprintf("%d of %s", [count(drifted), lib.count_of(observed, "workload", "workloads")])],
	"items": [{"name": d.name, "text": sprintf("runs %s, authorised %s", [object.get(d, "observed", "nothing"), object.get(d, "authorised", "nothing")])} | some d in drifted],
} if count(drifted) > 0

no_drift := {
	"state": "error",
	"code": "unreachable",
	"title": "Cannot tell: what runs could not be read",
	"found": [sprintf("%s: %s", [item.facts.source, object.get(item.facts, "reason", "no reason recorded")]) | some item in unreachable],
} if {
	count(drifted) == 0
	count(unreachable) > 0
}

no_drift := {
	"state": "missing",
	"code": "not-compared",
	"title": "The newest snapshot was not compared with what is authorised",
	"found": [sprintf("the snapshot of %s is on record, but no comparison by the store", [item.facts.source]) | some item in uncompared],
} if {
	count(drifted) == 0
	count(unreachable) == 0
	count(uncompared) > 0
}

no_drift := {
	"state": "missing",
	"code": "empty",
	"title": "The snapshot shows no workload",
	"found": ["0 workloads observed"],
} if {
	observed == 0
	count(drifted) == 0
	count(unreachable) == 0
	count(uncompared) == 0
}

snapshots := [item | some item in input.evidence["drift-check"]; not item.facts.compared]

comparisons := [item | some item in input.evidence["drift-check"]; item.facts.compared]

# Of each source the comparison tells where there is one.
telling := array.concat(comparisons, [item | some item in snapshots; not has_comparison(item)])

has_comparison(item) if {
	some other in comparisons
	other.facts.source == item.facts.source
}

# The store compares each snapshot by its id: one without is new, and what it says of itself is not believed.
uncompared := [item |
	some item in snapshots
	not is_compared(item)
]

is_compared(item) if {
	some other in comparisons
	other.facts.compared.snapshot == item.id
}

unreachable := [item |
	some item in telling
	not object.get(item.facts, "outcome", "completed") in {"completed", "empty"}
]

observed := count([w | some item in telling; some w in object.get(item.facts, "running", [])])

drifted := [d |
	some item in telling
	some d in item.facts.drift
	not elsewhere(d)
	# It is authorised; that the gate would say no today is for the controls that say so.
	d.kind != "not-compliant"
]

# A difference whose service is not known counts everywhere.
elsewhere(d) if d.service != input.service

# METADATA
# title: The environment was looked at recently
# description: Its age is judged before the rule; here only that it saw something.
# custom:
#   evidence: [drift-check]
snapshot_fresh := {
	"state": "pass",
	"title": "The snapshot of the environment is fresh",
	"found": [sprintf("%s observed", [lib.count_of(observed, "workload", "workloads")])],
} if observed > 0

snapshot_fresh := {
	"state": "missing",
	"code": "empty",
	"title": "The snapshot shows no workload",
	"found": ["0 workloads observed"],
} if observed == 0

# METADATA
# title: Runtime monitoring is alive and no critical alert is open
# description: Silence is not safety. A recent heartbeat must show that monitoring works.
# custom:
#   evidence: [runtime-alert]
#   with: {heartbeat_minutes: integer}
#   aged_by_rule: [runtime-alert]
#   clock: true
watched := {
	"state": "fail",
	"code": "alert",
	"title": sprintf("%s open", [lib.count_of(count(open_alerts), "critical alert is", "critical alerts are")]),
	"found": [sprintf("%d open, heartbeat %s", [count(open_alerts), heartbeat_words])],
	"items": [{"name": a.rule, "severity": "critical", "text": a.summary} | some a in open_alerts],
} if count(open_alerts) > 0

watched := {
	"state": "pass",
	"title": "Runtime monitoring is alive, no critical alert is open",
	"found": [sprintf("0 open, heartbeat %s", [heartbeat_words])],
} if {
	count(open_alerts) == 0
	count(beats) > 0
	beat_age <= input.with.heartbeat_minutes
}

watched := {
	"state": "expired",
	"code": "silent",
	"title": "Runtime monitoring is silent",
	"found": [sprintf("heartbeat %s, at most %d minutes allowed", [heartbeat_words, input.with.heartbeat_minutes])],
} if {
	count(open_alerts) == 0
	count(beats) > 0
	beat_age > input.with.heartbeat_minutes
}

watched := {
	"state": "missing",
	"code": "no-heartbeat",
	"title": "No heartbeat of runtime monitoring is recorded",
	"found": ["alerts on record, but no heartbeat"],
} if {
	count(open_alerts) == 0
	count(beats) == 0
}

open_alerts := [item.facts |
	some item in input.evidence["runtime-alert"]
	item.facts.severity == "critical"
	item.facts.state in {"open", "acknowledged"}
]

beats := [item.observed_at | some item in input.evidence["runtime-alert"]; item.facts.alive == true]

beat_age := lib.quotient(input.as_of - max(beats), 60000000)

heartbeat_words := sprintf("%d minutes ago", [beat_age]) if count(beats) > 0

heartbeat_words := "never" if count(beats) == 0
