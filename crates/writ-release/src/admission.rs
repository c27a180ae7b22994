//! Kubernetes asks before it starts something: [AdmissionReview v1], read and answered. Pure.
//!
//! In scope: which images an object would run, and an answer that Kubernetes understands. Every image
//! must be named by digest, because a tag says something else tomorrow. What cannot be judged is refused.
//!
//! [AdmissionReview v1]: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/

use serde::Deserialize;
use serde_json::{Value, json};
use writ_model::Digest;

/// The version that is spoken.
pub const API_VERSION: &str = "admission.k8s.io/v1";

/// Most containers of one object that are looked at.
const MAX_IMAGES: usize = 256;

/// Longest name that is repeated in an answer.
const SHOWN: usize = 200;

/// A question of Kubernetes'.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    api_version: String,
    kind: String,
    request: Option<Request>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    kind: Kind,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    object: Value,
}

#[derive(Debug, Clone, Deserialize)]
struct Kind {
    #[serde(default)]
    group: String,
    kind: String,
}

/// Why a document is no question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// It is not what Kubernetes sends.
    #[error("it is no AdmissionReview: {0}")]
    Shape(String),
    /// It is of a version that is not spoken.
    #[error("it is {0}, and only {API_VERSION} AdmissionReview is understood")]
    Version(String),
}

/// What an object would run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The question's own id, which the answer repeats.
    pub uid: String,
    /// Artefacts that would run, each once; or why that cannot be said.
    pub runs: Result<Vec<Digest>, String>,
}

/// Reads a question.
///
/// # Errors
/// It is none, or of another version.
pub fn read(document: &[u8]) -> Result<Asked, AdmissionError> {
    let review: Review = serde_json::from_slice(document)
        .map_err(|error| AdmissionError::Shape(error.to_string()))?;
    if review.api_version != API_VERSION || review.kind != "AdmissionReview" {
        let found = format!("{} {}", review.api_version, review.kind);
        return Err(AdmissionError::Version(found.chars().take(SHOWN).collect()));
    }
    let request = review
        .request
        .ok_or_else(|| AdmissionError::Shape("it has no request".to_owned()))?;
    let runs = match request.operation.as_str() {
        // Nothing starts where something ends.
        "DELETE" => Ok(Vec::new()),
        "CREATE" | "UPDATE" => pod_spec(&request.kind, &request.object).and_then(images),
        other => Err(format!("the operation {} cannot be judged", shown(other))),
    };
    Ok(Asked {
        uid: request.uid,
        runs,
    })
}

/// The part of an object that says what runs.
fn pod_spec<'o>(kind: &Kind, object: &'o Value) -> Result<&'o Value, String> {
    let path = match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => "/spec",
        ("", "ReplicationController")
        | ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
        | ("batch", "Job") => "/spec/template/spec",
        ("batch", "CronJob") => "/spec/jobTemplate/spec/template/spec",
        (group, kind) => {
            return Err(format!(
                "what a {} of '{}' runs is not known: let the webhook ask about pods and what makes them",
                shown(kind),
                shown(group)
            ));
        }
    };
    object
        .pointer(path)
        .filter(|spec| spec.is_object())
        .ok_or_else(|| format!("the object has nothing at {path}"))
}

fn images(spec: &Value) -> Result<Vec<Digest>, String> {
    let mut found = Vec::new();
    let mut seen = 0;
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        let containers = match spec.get(list) {
            None | Some(Value::Null) => continue,
            Some(Value::Array(containers)) => containers,
            Some(_) => return Err(format!("{list} is no list")),
        };
        for container in containers {
            seen += 1;
            if seen > MAX_IMAGES {
                return Err(format!("it has more than {MAX_IMAGES} containers"));
            }
            let image = container
                .get("image")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let digest = image
                .rsplit_once('@')
                .and_then(|(name, digest)| {
                    (!name.is_empty()).then(|| digest.parse::<Digest>().ok())?
                })
                .ok_or_else(|| {
                    format!(
                        "the image '{}' is not named by its digest (NAME@sha256:…), so it may be another one tomorrow",
                        shown(image)
                    )
                })?;
            if !found.contains(&digest) {
                found.push(digest);
            }
        }
    }
    if seen == 0 {
        return Err("it has no containers".to_owned());
    }
    Ok(found)
}

/// The answer to a question: yes, or no and why.
#[must_use]
pub fn answer(uid: &str, verdict: Result<(), String>) -> Value {
    let mut response = json!({"uid": uid, "allowed": verdict.is_ok()});
    if let Err(reason) = verdict {
        response["status"] = json!({"code": 403, "reason": "Forbidden", "message": format!("no writ, no release: {reason}")});
    }
    json!({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response})
}

fn shown(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(SHOWN)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(letter: char) -> String {
        format!("sha256:{}", String::from_iter([letter; 64]))
    }

    fn review(group: &str, kind: &str, operation: &str, object: Value) -> Vec<u8> {
        json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
                "kind": {"group": group, "version": "v1", "kind": kind},
                "resource": {"group": group, "version": "v1", "resource": "pods"},
                "requestKind": {"group": group, "version": "v1", "kind": kind},
                "name": "shop", "namespace": "shop", "operation": operation,
                "userInfo": {"username": "admin", "groups": ["system:masters"]},
                "object": object, "oldObject": null, "dryRun": false,
                "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
            },
        })
        .to_string()
        .into_bytes()
    }

    fn pod(images: &[&str]) -> Value {
        let containers: Vec<Value> = images
            .iter()
            .map(|image| json!({"name": "c", "image": image}))
            .collect();
        json!({"containers": containers})
    }

    fn refused(document: &[u8]) -> String {
        read(document).unwrap().runs.unwrap_err()
    }

    #[test]
    fn images_of_everything_that_makes_pods_are_found_once() {
        let image = format!("registry.example/shop@{}", digest('a'));
        let wanted = vec![digest('a').parse().unwrap()];
        let template = json!({"spec": {"template": {"spec": pod(&[&image, &image])}}});
        for (group, kind, object) in [
            ("", "Pod", json!({"spec": pod(&[&image])})),
            ("apps", "Deployment", template.clone()),
            ("apps", "StatefulSet", template.clone()),
            ("batch", "Job", template.clone()),
            (
                "batch",
                "CronJob",
                json!({"spec": {"jobTemplate": template}}),
            ),
        ] {
            let asked = read(&review(group, kind, "CREATE", object)).unwrap();
            assert_eq!(asked.runs.as_ref(), Ok(&wanted), "{kind}");
            assert_eq!(asked.uid, "705ab4f5-6393-11e8-b7cc-42010a800002");
        }
    }

    #[test]
    fn every_kind_of_container_counts() {
        let [a, b, c] = ['a', 'b', 'c'].map(|letter| format!("x@{}", digest(letter)));
        let object = json!({"spec": {
            "containers": [{"image": a}], "initContainers": [{"image": b}], "ephemeralContainers": [{"image": c}],
        }});
        let asked = read(&review("", "Pod", "UPDATE", object)).unwrap();
        assert_eq!(asked.runs.unwrap().len(), 3);
    }

    #[test]
    fn what_cannot_be_judged_is_refused() {
        for image in ["shop:1.2", "shop", "", "shop@sha256:abc", "@sha256:abc"] {
            let why = refused(&review("", "Pod", "CREATE", json!({"spec": pod(&[image])})));
            assert!(why.contains("not named by its digest"), "{image}: {why}");
        }
        let none = json!({"spec": {"containers": []}});
        assert_eq!(
            refused(&review("", "Pod", "CREATE", none)),
            "it has no containers"
        );
        assert!(refused(&review("", "Pod", "CREATE", Value::Null)).contains("/spec"));
        assert!(refused(&review("", "Pod", "CONNECT", Value::Null)).contains("CONNECT"));
        assert!(
            refused(&review("example.org", "Pod", "CREATE", Value::Null)).contains("example.org")
        );
        let wrong = json!({"spec": {"containers": {"image": "x"}}});
        assert!(refused(&review("", "Pod", "CREATE", wrong)).contains("no list"));
        let many = vec!["x@sha256:0"; MAX_IMAGES + 1];
        assert!(!refused(&review("", "Pod", "CREATE", json!({"spec": pod(&many)}))).is_empty());
        assert_eq!(
            read(&review("", "Pod", "DELETE", Value::Null))
                .unwrap()
                .runs,
            Ok(Vec::new())
        );
    }

    #[test]
    fn other_documents_are_no_questions() {
        assert!(matches!(read(b"{}"), Err(AdmissionError::Shape(_))));
        let old = br#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview"}"#;
        assert!(matches!(read(old), Err(AdmissionError::Version(_))));
        let empty = br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#;
        assert!(matches!(read(empty), Err(AdmissionError::Shape(_))));
    }

    #[test]
    fn an_answer_repeats_the_id_and_says_why() {
        let yes = answer("u", Ok(()));
        assert_eq!(yes["response"], json!({"uid": "u", "allowed": true}));
        let no = answer("u", Err("no writ names it".to_owned()));
        assert_eq!(no["response"]["allowed"], false);
        assert_eq!(
            no["response"]["status"]["message"],
            "no writ, no release: no writ names it"
        );
    }
}
