# Credentials: none in the code, and those that exist are replaced in time.
package writ.secrets

import data.writ.lib
import rego.v1

# METADATA
# title: No secret in what was scanned
# description: Every open secret finding fails, whatever its severity.
# custom:
#   evidence: [secret-scan]
#   findings: {categories: [secret]}
none_found := {
	"state": "pass",
	"title": "No secret in the commits of this change",
	"found": [sprintf("0 secrets %s", [lib.scope_line(input.evidence["secret-scan"])])],
} if input.findings["secret-scan"].total == 0

none_found := {
	"state": "fail",
	"code": "found",
	"title": sprintf("%s in the commits of this change", [lib.count_of(input.findings["secret-scan"].total, "secret is", "secrets are")]),
	"found": [sprintf("%s %s", [lib.count_of(input.findings["secret-scan"].total, "secret", "secrets"), lib.scope_line(input.evidence["secret-scan"])])],
} if input.findings["secret-scan"].total > 0

# METADATA
# title: Secrets are replaced in time
# description: Reads when each credential was last replaced; the value is never known.
# custom:
#   evidence: [secrets-rotation]
#   with: {max_days: integer}
#   clock: true
rotated := {
	"state": "pass",
	"title": sprintf("All %d secrets were replaced within %d days", [count(rotation_all), input.with.max_days]),
	"found": [sprintf("%d secrets, the oldest %d days", [count(rotation_all), max([s.days | some s in rotation_all])])],
} if {
	count(rotation_all) > 0
	count(rotation_late) == 0
}

rotated := {
	"state": "missing",
	"code": "empty",
	"title": "The secret rotation record lists no secret",
	"found": ["0 secrets on record"],
} if count(rotation_all) == 0

rotated := {
	"state": "fail",
	"code": "late",
	"title": sprintf("%s older than %d days", [lib.count_of(count(rotation_late), "secret is", "secrets are"), input.with.max_days]),
	"found": [sprintf("%d of %d secrets are older than %d days", [count(rotation_late), count(rotation_all), input.with.max_days])],
	"items": [{"name": s.name, "text": sprintf("last replaced %d days ago", [s.days]), "fix": sprintf("Replace %s and record the new version", [s.name])} | some s in rotation_late],
} if count(rotation_late) > 0

rotation_all := [{"name": s.name, "days": lib.days(item.observed_at - s.rotatedAtMicros)} |
	some item in input.evidence["secrets-rotation"]
	some s in item.facts.secrets
]

rotation_late := [s | some s in rotation_all; s.days > input.with.max_days]
