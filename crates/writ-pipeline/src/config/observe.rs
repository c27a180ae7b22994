//! `[[environment.NAME.observe]]`: where it can be seen what runs in an environment.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;
use writ_model::Span;

use super::Mistakes;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ObserveKind {
    /// A process on this host: by `exe`, `unit` or `pid_file`.
    Process,
    /// Containers of Docker or Podman, by the engine's `socket`.
    Containers,
    /// Pods of a cluster, by its API at `url`.
    Kubernetes,
    /// A service that tells its digest at `url`.
    Endpoint,
}

impl ObserveKind {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Containers => "containers",
            Self::Kubernetes => "kubernetes",
            Self::Endpoint => "endpoint",
        }
    }
}

/// One place where it can be seen what runs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Observe {
    /// What is asked.
    #[schemars(with = "ObserveKind")]
    pub kind: Spanned<ObserveKind>,
    /// Name of this place in snapshots: one source. Made of the kind, the host and what is asked where
    /// nothing is said.
    #[serde(default)]
    pub source: Option<String>,
    /// Service that runs there; the one of this file where nothing is said. Of containers and pods: only
    /// where `service_label` is absent.
    #[serde(default)]
    pub service: Option<String>,
    /// Name of the process or endpoint where it runs; the service's where nothing is said.
    #[serde(default)]
    pub name: Option<String>,
    /// Process: the path of its executable.
    #[serde(default)]
    pub exe: Option<PathBuf>,
    /// Process: its systemd unit or the last part of its control group, such as `orders.service`.
    #[serde(default)]
    pub unit: Option<String>,
    /// Process: a file that holds its number.
    #[serde(default)]
    pub pid_file: Option<PathBuf>,
    /// Process: the file that is released, where the executable is an interpreter.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// Containers: the engine's socket; `/run/docker.sock` or Podman's where nothing is said.
    #[serde(default)]
    pub socket: Option<PathBuf>,
    /// Containers: only those with all these labels, `key` or `key=value`.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Kubernetes and endpoint: the address.
    #[serde(default)]
    pub url: Option<String>,
    /// Kubernetes: a file with the token of an account that may list pods; the pod's own where nothing is
    /// said.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// Kubernetes: a file with the cluster's authority; the pod's own where nothing is said.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Kubernetes: only this namespace.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Kubernetes: only pods that this label selector finds.
    #[serde(default)]
    pub selector: Option<String>,
    /// Containers and pods: the label whose value is the service's name.
    #[serde(default)]
    pub service_label: Option<String>,
    /// Endpoint: where in the JSON the digest stands (`/image/digest`); the answer is the digest where
    /// nothing is said.
    #[serde(default)]
    pub pointer: Option<String>,
    /// Endpoint: speak plain http to another machine too.
    #[serde(default)]
    pub allow_http: bool,
    /// Time limit; 30 s where nothing is said.
    #[serde(default)]
    pub timeout: Option<Span>,
}

impl Observe {
    /// A process by nothing yet: what arguments say is filled in.
    #[must_use]
    pub fn of(kind: ObserveKind) -> Self {
        Self {
            kind: Spanned::new(0..0, kind),
            source: None,
            service: None,
            name: None,
            exe: None,
            unit: None,
            pid_file: None,
            file: None,
            socket: None,
            labels: Vec::new(),
            url: None,
            token_file: None,
            ca_file: None,
            namespace: None,
            selector: None,
            service_label: None,
            pointer: None,
            allow_http: false,
            timeout: None,
        }
    }

    pub(super) fn validate(&self, mistakes: &mut Mistakes<'_>) {
        let kind = *self.kind.get_ref();
        let given = [
            ("exe", self.exe.is_some(), ObserveKind::Process),
            ("unit", self.unit.is_some(), ObserveKind::Process),
            ("pid_file", self.pid_file.is_some(), ObserveKind::Process),
            ("file", self.file.is_some(), ObserveKind::Process),
            ("socket", self.socket.is_some(), ObserveKind::Containers),
            ("labels", !self.labels.is_empty(), ObserveKind::Containers),
            (
                "token_file",
                self.token_file.is_some(),
                ObserveKind::Kubernetes,
            ),
            ("ca_file", self.ca_file.is_some(), ObserveKind::Kubernetes),
            (
                "namespace",
                self.namespace.is_some(),
                ObserveKind::Kubernetes,
            ),
            ("selector", self.selector.is_some(), ObserveKind::Kubernetes),
            ("pointer", self.pointer.is_some(), ObserveKind::Endpoint),
            ("allow_http", self.allow_http, ObserveKind::Endpoint),
        ];
        for (key, _, of) in given.iter().filter(|(_, given, of)| *given && *of != kind) {
            mistakes.add(
                self.kind.span(),
                format!("`{key}` belongs to kind = \"{}\"", of.word()),
                Some(format!("remove `{key}`")),
            );
        }
        let ways = [
            self.exe.is_some(),
            self.unit.is_some(),
            self.pid_file.is_some(),
        ];
        match kind {
            ObserveKind::Process if ways.iter().filter(|way| **way).count() != 1 => mistakes.add(
                self.kind.span(),
                "a process is found by one of `exe`, `unit` and `pid_file`".into(),
                Some("exe = \"/usr/local/bin/orders\"".into()),
            ),
            ObserveKind::Kubernetes | ObserveKind::Endpoint if self.url.is_none() => mistakes.add(
                self.kind.span(),
                "`url` is missing".into(),
                Some("url = \"https://kubernetes.default.svc\"".into()),
            ),
            ObserveKind::Process | ObserveKind::Containers if self.url.is_some() => mistakes.add(
                self.kind.span(),
                "`url` belongs to kind = \"kubernetes\" or \"endpoint\"".into(),
                Some("remove `url`".into()),
            ),
            _ => {}
        }
    }
}
