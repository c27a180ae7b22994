# The record itself and who has access to things.
package writ.governance

import data.writ.lib
import rego.v1

# METADATA
# title: Access was reviewed by somebody else, line by line
# description: Its age is judged before the rule.
# custom:
#   evidence: [access-review]
access_reviewed := {
	"state": "pass",
	"title": sprintf("Access was reviewed: %s decided", [lib.count_of(accounts, "account", "accounts")]),
	"found": [sprintf("%s, 0 undecided, %s", [lib.count_of(accounts, "account", "accounts"), lib.count_of(count(exceptions), "exception", "exceptions")])],
} if {
	accounts > 0
	undecided == 0
	count(partial) == 0
}

access_reviewed := {
	"state": "missing",
	"code": "empty",
	"title": "The access review lists nobody",
	"found": ["0 accounts"],
} if accounts == 0

access_reviewed := {
	"state": "fail",
	"code": "open",
	"title": "The access review is not complete",
	"found": array.concat(
		[sprintf("%d of %s undecided", [undecided, lib.count_of(accounts, "account", "accounts")])],
		[sprintf("the listing of %s does not hold every account", [system]) | some system in partial],
	),
} if {
	accounts > 0
	undecided + count(partial) > 0
}

access_reviews := [item.facts | some item in input.evidence["access-review"]]

accounts := sum([r.accounts | some r in access_reviews])

undecided := accounts - sum([n | some r in access_reviews; some key in ["kept", "changed", "removed"]; n := r[key]])

partial := [r.system | some r in access_reviews; r.complete != true]

exceptions := [e | some r in access_reviews; some e in r.exceptions]

# METADATA
# title: The ledger was verified and witnessed
# description: Its age is judged before the rule. Where the profile demands it, a witness must be outside the operator's administration.
# custom:
#   evidence: [audit-log]
#   floor: true
ledger_verified := {
	"state": "fail",
	"code": "broken",
	"title": "The ledger does not verify",
	"found": problems,
} if count(problems) > 0

ledger_verified := {
	"state": "fail",
	"code": "no-witness",
	"title": "No witness has cosigned the ledger",
	"found": [sprintf("%s verified, 0 witnesses", [lib.count_of(entries, "entry", "entries")])],
} if {
	count(problems) == 0
	count(witnesses) == 0
}

ledger_verified := {
	"state": "fail",
	"code": "not-independent",
	"title": "The witness of the ledger is not independent",
	"found": [sprintf("%s, none outside the operator's administration", [lib.count_of(count(witnesses), "witness", "witnesses")])],
} if {
	count(problems) == 0
	count(witnesses) > 0
	input.floor.independent_witness == true
	count(independent) == 0
}

ledger_verified := {
	"state": "pass",
	"title": "The ledger is verified and witnessed",
	"found": [sprintf("%s verified, %s, %d independent", [lib.count_of(entries, "entry", "entries"), lib.count_of(count(witnesses), "witness", "witnesses"), count(independent)])],
} if {
	count(problems) == 0
	count(witnesses) > 0
	witness_ok
}

witness_ok if input.floor.independent_witness != true

witness_ok if count(independent) > 0

problems := [p | some item in input.evidence["audit-log"]; some p in item.facts.problems]

witnesses := [w | some item in input.evidence["audit-log"]; some w in item.facts.witnesses]

independent := [w | some w in witnesses; w.independent == true]

entries := max([item.facts.entries | some item in input.evidence["audit-log"]])

# METADATA
# title: Evidence is locked for as long as the profile demands
# description: A file system shows tampering but cannot prevent it.
# custom:
#   evidence: [retention]
#   floor: true
retention_locked := {
	"state": "fail",
	"code": "not-locked",
	"title": "Evidence is not locked against deletion",
	"found": [sprintf("locker '%s' in mode '%s'", [item.driver, item.mode]) | some item in unlocked],
	"required": retention_line,
} if count(unlocked) > 0

retention_locked := {
	"state": "fail",
	"code": "too-short",
	"title": sprintf("Evidence is kept for %s, %s demanded", [lib.count_of(shortest, "year", "years"), lib.count_of(input.floor.retention_years, "year is", "years are")]),
	"found": [sprintf("retention of %s", [lib.count_of(shortest, "year", "years")])],
	"required": retention_line,
} if {
	count(unlocked) == 0
	shortest < input.floor.retention_years
}

retention_locked := {
	"state": "pass",
	"title": sprintf("Evidence is kept for %s", [lib.count_of(shortest, "year", "years")]),
	"found": [sprintf("locker '%s' in mode '%s'", [item.facts.driver, item.facts.mode]) | some item in input.evidence.retention],
	"required": retention_line,
} if {
	count(unlocked) == 0
	shortest >= input.floor.retention_years
}

unlocked := [item.facts |
	some item in input.evidence.retention
	input.floor.locked_storage == true
	item.facts.mode != "compliance"
]

shortest := min([item.facts.years | some item in input.evidence.retention])

retention_line := sprintf("evidence kept for %s%s", [lib.count_of(input.floor.retention_years, "year", "years"), locked_words])

locked_words := ", in a locker that cannot delete it" if input.floor.locked_storage == true

locked_words := "" if input.floor.locked_storage != true
