//! The writ: what a passing decision issues, as a SLSA verification summary with Writ's fields.

use std::collections::BTreeMap;

use writ_evidence::predicate::{
    InputAttestation, PolicyRef, ReleaseRef, VerificationResult, VerificationSummary, Verifier,
    WritFacts,
};
use writ_model::{Answer, Decision, DecisionId, EvidenceId, Timestamp};

/// What the issuer adds to a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WritTerms {
    /// URI of the verifier that signs: `urn:writ:verifier:org`.
    pub verifier: String,
    /// The artefact as its consumers name it; the release's digest or commit where nothing better is known.
    pub resource_uri: String,
    /// Until when a deployment may begin.
    pub expires_at: Timestamp,
    /// Whether it comes from a store that no environment but `local` trusts.
    pub preview: bool,
}

/// Why a decision issues no writ.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WritError {
    /// The gate did not say yes.
    #[error("no writ: the gate answers {}", answer.headline())]
    NotCompliant {
        /// Its answer.
        answer: Answer,
    },
    /// A writ names what it authorises.
    #[error("no writ: the release has neither an artefact digest nor a commit")]
    NothingReleased,
    /// The terms make no sense.
    #[error("no writ: it would end at {expires_at}, which is not after the decision at {as_of}")]
    AlreadyOver {
        /// End.
        expires_at: Timestamp,
        /// Decision.
        as_of: Timestamp,
    },
}

/// The predicate of the writ that `decision` issues. Its time is the decision's, so that the same
/// decision gives the same bytes.
///
/// # Errors
///
/// The decision is not a yes, names nothing, or the writ would be over before it begins.
pub fn writ(
    decision: &Decision,
    id: DecisionId,
    terms: &WritTerms,
) -> Result<VerificationSummary, WritError> {
    if decision.answer != Answer::Yes {
        return Err(WritError::NotCompliant {
            answer: decision.answer,
        });
    }
    if decision.subject.artifact.is_none() && decision.subject.commit.is_none() {
        return Err(WritError::NothingReleased);
    }
    if terms.expires_at <= decision.as_of {
        return Err(WritError::AlreadyOver {
            expires_at: terms.expires_at,
            as_of: decision.as_of,
        });
    }
    let sha256 = |hex: String| BTreeMap::from([("sha256".to_owned(), hex)]);
    let cited = decision
        .checks
        .iter()
        .flat_map(|check| &check.evidence)
        .map(|e| e.id);
    let exemptions: Vec<EvidenceId> = sorted(
        decision
            .checks
            .iter()
            .flat_map(|check| &check.exemptions)
            .map(|exemption| exemption.id),
    );
    let profile = decision
        .profile
        .to_uppercase()
        .replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let (engine, version) = decision
        .engine
        .split_once(' ')
        .unwrap_or((&decision.engine, ""));
    Ok(VerificationSummary {
        verifier: Verifier {
            id: terms.verifier.clone(),
            version: BTreeMap::from([(engine.to_owned(), version.to_owned())]),
        },
        time_verified: Some(decision.as_of),
        resource_uri: terms.resource_uri.clone(),
        policy: PolicyRef {
            uri: Some(format!(
                "urn:writ:bundle:{}:{}",
                decision.bundle.name, decision.bundle.version
            )),
            digest: sha256(decision.bundle.digest.to_hex()),
        },
        input_attestations: sorted(cited)
            .into_iter()
            .map(|evidence| InputAttestation {
                uri: Some(evidence.to_string()),
                digest: sha256(evidence.digest().to_hex()),
            })
            .collect(),
        verification_result: VerificationResult::Passed,
        verified_levels: vec![format!("WRIT_PROFILE_{profile}")],
        dependency_levels: BTreeMap::new(),
        slsa_version: Some("1.2".to_owned()),
        writ: Some(WritFacts {
            release: ReleaseRef {
                service: decision.service.clone(),
                environment: decision.environment.clone(),
                artifact: decision.subject.artifact,
                commit: decision.subject.commit.clone(),
            },
            decision: id,
            answer: decision.answer,
            profile: decision.profile.clone(),
            bundle_digest: decision.bundle.digest,
            counts: decision.counts,
            exemptions,
            issued_at: decision.as_of,
            expires_at: terms.expires_at,
            preview: terms.preview,
        }),
    })
}

fn sorted(ids: impl Iterator<Item = EvidenceId>) -> Vec<EvidenceId> {
    let set: std::collections::BTreeSet<EvidenceId> = ids.collect();
    set.into_iter().collect()
}
