# Words and numbers that all rules share. Whole numbers only: a decision holds no fractions.
package writ.lib

import rego.v1

ready := true

# 6120 as "6,120".
grouped(n) := sprintf("%d", [n]) if n < 1000

grouped(n) := sprintf("%d,%s", [quotient(n, 1000), three(n % 1000)]) if {
	n >= 1000
	n < 1000000
}

grouped(n) := sprintf("%d,%s,%s", [quotient(n, 1000000), three(quotient(n % 1000000, 1000)), three(n % 1000)]) if n >= 1000000

three(n) := substring(sprintf("%d", [1000 + n]), 1, 3)

# Whole-number division.
quotient(a, b) := (a - (a % b)) / b

# Share of a in b as "76.0 %", rounded down, so that 79.99 never reads as 80.
percent(a, b) := sprintf("%d.%d %%", [quotient(tenths, 10), tenths % 10]) if {
	b > 0
	tenths := quotient(a * 1000, b)
}

percent(_, 0) := "0.0 %"

# "1 finding", "2 findings".
count_of(1, one, _) := sprintf("1 %s", [one])

count_of(n, _, many) := sprintf("%s %s", [grouped(n), many]) if n != 1

# What the evidence of one kind looked at: "168 packages (trivy)".
looked_at(items) := [line |
	some item in items
	parts := [sprintf("%s %s", [grouped(n), what]) | some what, n in item.looked_at]
	count(parts) > 0
	line := sprintf("%s (%s)", [concat(", ", parts), item.tool])
]

scope_line(items) := sprintf("in %s", [concat("; ", looked_at(items))]) if count(looked_at(items)) > 0

scope_line(items) := "" if count(looked_at(items)) == 0

# "1 CRITICAL and 2 HIGH", from a group of findings; a rule that asks for unrated ones names them.
severe(group) := concat(" and ", [sprintf("%s %s", [grouped(n), word]) |
	some pair in [["CRITICAL", group.critical], ["HIGH", group.high], ["UNRATED", group.unknown]]
	[word, n] := pair
	n > 0
])

days(microseconds) := quotient(microseconds, 86400000000)
