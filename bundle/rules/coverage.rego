# Test coverage, with the arithmetic.
package writ.coverage

import data.writ.lib
import rego.v1

# METADATA
# title: Covered share of lines is at least a percentage
# description: The profile may demand more than the control, never less. Several reports are added up.
# custom:
#   evidence: [coverage]
#   with: {percent: integer}
#   floor: true
at_least := {
	"state": "pass",
	"title": sprintf("Line coverage is %s, at least %d %% is required", [lib.percent(covered, total), percent]),
	"found": found,
	"required": needed_line,
} if {
	total > 0
	short <= 0
}

at_least := {
	"state": "fail",
	"code": "below",
	"title": sprintf("Line coverage is %s, at least %d %% is required", [lib.percent(covered, total), percent]),
	"found": found,
	"required": sprintf("%s, so %s more", [needed_line, lib.grouped(short)]),
	"items": least_covered,
} if {
	total > 0
	short > 0
}

at_least := {
	"state": "missing",
	"code": "empty",
	"title": "The coverage report counts no line",
	"found": ["0 of 0 lines covered"],
	"required": sprintf("%d %% of lines covered", [percent]),
} if total == 0

percent := max([input.with.percent, input.floor.coverage_percent])

covered := sum([item.facts.lines.covered | some item in input.evidence.coverage])

total := sum([item.facts.lines.total | some item in input.evidence.coverage])

# The least whole number of lines that is at least the percentage: never rounded in our favour.
needed := lib.quotient((total * percent) + 99, 100)

short := needed - covered

needed_line := sprintf("%d %% of %s lines = %s", [percent, lib.grouped(total), lib.grouped(needed)])

found := array.concat(
	[sprintf("%s of %s lines covered%s", [lib.grouped(covered), lib.grouped(total), from_report])],
	[sprintf("this change adds %s lines, %s covered (%s)", [lib.grouped(n.total), lib.grouped(n.covered), lib.percent(n.covered, n.total)]) |
		some item in input.evidence.coverage
		n := item.facts.newLines
		n.total > 0
	],
)

from_report := sprintf(", from %s", [concat(", ", paths)]) if count(paths) > 0

from_report := "" if count(paths) == 0

paths := [item.facts.report.name | some item in input.evidence.coverage; item.facts.report.name != ""]

# Files with the most uncovered lines first.
least_covered := [file |
	some [_, path, file] in sort([[0 - missing, f.path, entry] |
		some item in input.evidence.coverage
		some f in item.facts.leastCovered
		missing := f.total - f.covered
		missing > 0
		entry := {
			"name": f.path,
			"text": sprintf("%s of %s lines are not covered%s", [lib.grouped(missing), lib.grouped(f.total), at_lines(f)]),
			"location": {"kind": "file", "path": f.path},
		}
	])
]

at_lines(f) := sprintf(": %s", [f.missing]) if f.missing

at_lines(f) := "" if not f.missing
