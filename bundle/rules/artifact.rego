# The artefact: what it is made of, who signed it, where it comes from.
package writ.artifact

import data.writ.lib
import rego.v1

# METADATA
# title: An SBOM of exactly this digest
# description: It must list components, and be about the artefact and not about a folder.
# custom:
#   evidence: [sbom]
#   release: true
sbom_present := {
	"state": "pass",
	"title": sprintf("SBOM of the image lists %s", [lib.count_of(components, "component", "components")]),
	"found": [sprintf("%s in the SBOM of %s", [lib.count_of(components, "component", "components"), input.subject.artifact])],
} if components > 0

sbom_present := {
	"state": "missing",
	"code": "other-subject",
	"title": "The SBOM is not about this image",
	"found": [sprintf("%d SBOM of this commit, none of the image digest", [count(input.evidence.sbom)])],
} if count(about_digest) == 0

sbom_present := {
	"state": "missing",
	"code": "empty",
	"title": "The SBOM lists no component",
	"found": ["0 components"],
} if {
	count(about_digest) > 0
	components == 0
}

about_digest := [item | some item in input.evidence.sbom; item.subject.artifact == input.subject.artifact]

components := sum([n | some item in about_digest; n := item.looked_at.components])

# METADATA
# title: The digest carries a signature of a trusted key
# description: The signature was verified when it was recorded; here its key must be one that the control trusts.
# custom:
#   evidence: [image-signature]
#   with: {trusted_keys: list}
signed := {
	"state": "pass",
	"title": "The image is signed by a trusted key",
	"found": [sprintf("signed by %s", [concat(", ", trusted_signatures)])],
} if count(trusted_signatures) > 0

signed := {
	"state": "fail",
	"code": "unknown-key",
	"title": "The image is not signed by a trusted key",
	"found": [sprintf("%s, by %s", [lib.count_of(count(signature_keys), "signature", "signatures"), concat(", ", signature_keys)])],
	"required": sprintf("a verified signature by one of %d trusted keys", [count(input.with.trusted_keys)]),
} if count(trusted_signatures) == 0

signature_keys := sort({item.facts.keyId | some item in input.evidence["image-signature"]})

trusted_signatures := sort({item.facts.keyId |
	some item in input.evidence["image-signature"]
	item.facts.verified == true
	item.facts.keyId in input.with.trusted_keys
})

# METADATA
# title: Provenance names the released commit
# description: The build that made the digest started from the commit that is judged.
# custom:
#   evidence: [provenance]
#   release: true
provenance := {
	"state": "pass",
	"title": "The image was built from this commit",
	"found": [sprintf("built by %s from %s", [builder, input.subject.commit])],
} if {
	count(provenance_items) > 0
	count(other_commits) == 0
	count(provenance_commits) > 0
}

provenance := {
	"state": "fail",
	"code": "other-commit",
	"title": "The image was built from another commit",
	"found": [sprintf("built from %s", [concat(", ", other_commits)])],
	"required": sprintf("built from %s", [object.get(input.subject, "commit", "the released commit")]),
} if count(other_commits) > 0

provenance := {
	"state": "fail",
	"code": "no-commit",
	"title": "The provenance names no commit",
	"found": ["a provenance statement without the commit it started from"],
} if count(provenance_commits) == 0

provenance_items := input.evidence.provenance

# The commits among the sources that the build names, and the commit that the statement is about.
provenance_commits contains commit if {
	some item in provenance_items
	some source in item.facts.buildDefinition.resolvedDependencies
	commit := source.digest.gitCommit
}

provenance_commits contains commit if {
	some item in provenance_items
	commit := item.subject.commit
}

other_commits := sort([commit | some commit in provenance_commits; commit != input.subject.commit])

builder := concat(", ", sort({object.get(item.facts, ["runDetails", "builder", "id"], "an unnamed builder") | some item in provenance_items}))
