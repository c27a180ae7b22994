# Infrastructure code and container builds.
package writ.infrastructure

import data.writ.lib
import rego.v1

# METADATA
# title: No HIGH or CRITICAL misconfiguration in infrastructure code
# description: Findings about the container build belong to the image controls and are left to them.
# custom:
#   evidence: [iac-scan]
#   with: {left_to_image_controls: list}
#   findings: {categories: [misconfiguration], at_least: high, except_from: left_to_image_controls}
none_open := {
	"state": "pass",
	"title": "No HIGH or CRITICAL misconfiguration in infrastructure code",
	"found": [sprintf("0 HIGH or CRITICAL %s", [lib.scope_line(input.evidence["iac-scan"])])],
} if input.findings["iac-scan"].total == 0

none_open := {
	"state": "fail",
	"code": "open",
	"title": sprintf("Infrastructure code contains %s %s", [lib.severe(group), word]),
	"found": [sprintf("%s %s", [lib.count_of(group.total, "misconfiguration", "misconfigurations"), lib.scope_line(input.evidence["iac-scan"])])],
} if {
	group := input.findings["iac-scan"]
	group.total > 0
}

word := "misconfiguration" if input.findings["iac-scan"].total == 1

word := "misconfigurations" if input.findings["iac-scan"].total != 1

# METADATA
# title: The base image is pinned and approved
# description: Read from the findings of a tool that looks at container build files.
# custom:
#   evidence: [iac-scan]
#   with: {tools: list, rules: list}
#   findings: {rules_from: rules}
base_pinned := build_verdict("The base image is pinned", "The base image is not pinned or not approved", "not-pinned")

# METADATA
# title: The container does not run as root
# description: Read from the findings of a tool that looks at container build files.
# custom:
#   evidence: [iac-scan]
#   with: {tools: list, rules: list}
#   findings: {rules_from: rules}
not_root := build_verdict("The container does not run as root", "The container runs as root", "root")

build_verdict(good, _, _) := {
	"state": "pass",
	"title": good,
	"found": [sprintf("0 findings of %d build rules (%s)", [count(input.with.rules), concat(", ", build_tools)])],
} if {
	count(build_tools) > 0
	input.findings["iac-scan"].total == 0
}

build_verdict(_, bad, code) := {
	"state": "fail",
	"code": code,
	"title": bad,
	"found": [sprintf("%s (%s)", [lib.count_of(input.findings["iac-scan"].total, "place", "places"), concat(", ", build_tools)])],
} if input.findings["iac-scan"].total > 0

build_verdict(_, _, _) := {
	"state": "missing",
	"code": "no-build-scan",
	"title": "No tool looked at the container build file",
	"found": [sprintf("infrastructure scans by %s; none of them reads container build files", [concat(", ", sort({item.tool | some item in input.evidence["iac-scan"]}))])],
} if {
	count(build_tools) == 0
	input.findings["iac-scan"].total == 0
}

# A tool counts when it always reads build files, or says that it did.
build_tools := sort({item.tool |
	some item in input.evidence["iac-scan"]
	reads_builds(item)
})

reads_builds(item) if item.tool in input.with.tools

reads_builds(item) if item.looked_at.dockerfiles > 0
