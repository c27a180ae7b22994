//! What `status` and `why` read: from the store of this machine, or from the server.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use writ_gate::evaluate::recorded_decision;
use writ_model::{Decision, DecisionId, EvidenceItem, Subject};
use writ_registry::{ExemptionState, Query, Store};
use writ_render::EdgeError;

use crate::commands::gate;
use crate::context::Context;
use crate::edge::{self, Edge, EdgeResult as _};
use crate::remote::Remote;
use crate::store;

/// Pieces of evidence that are read of a commit.
const MOST: &str = "1000";

/// Where records are read.
pub enum Reader {
    /// The store of this machine.
    Store(Arc<Store>),
    /// The server.
    Server(Box<Remote>),
}

/// The size of what is recorded.
#[derive(Debug, Clone)]
pub struct Size {
    /// Entries of the ledger.
    pub entries: u64,
    /// Open findings.
    pub open_findings: u64,
    /// All figures.
    pub whole: Value,
}

impl Reader {
    /// The server where there is one, else the store.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn open(context: &Context, remote: Option<Remote>) -> Result<Self, EdgeError> {
        Ok(match remote {
            Some(remote) => Self::Server(Box::new(remote)),
            None => Self::Store(store::open_read_only(context).await?),
        })
    }

    /// The address of the server.
    pub fn address(&self) -> Option<&str> {
        match self {
            Self::Store(_) => None,
            Self::Server(remote) => Some(remote.address()),
        }
    }

    /// A decision by its id or the beginning of it.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub async fn decision(&self, id: &str) -> Result<(Option<DecisionId>, Decision), EdgeError> {
        match self {
            Self::Store(store) => {
                let decision = recorded_decision(store, id)
                    .await
                    .map_err(|error| gate::evaluate_error(&error))?;
                Ok((id.parse().ok(), decision))
            }
            Self::Server(remote) => {
                #[derive(Deserialize)]
                struct View {
                    id: DecisionId,
                    decision: Decision,
                }
                // Part of an address: nothing but what an id is made of.
                if !id
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                {
                    return Err(edge::usage(format!("'{id}' is not the id of a decision")));
                }
                let view: View = remote.get(&format!("api/v1/decisions/{id}"), &[]).await?;
                Ok((Some(view.id), view.decision))
            }
        }
    }

    /// The newest decision of a service; `None` where nothing was decided.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn last(
        &self,
        service: &str,
        environment: Option<&str>,
    ) -> Result<Option<(DecisionId, Decision)>, EdgeError> {
        let id = match self {
            Self::Store(store) => store
                .decisions(Some(service), environment, 1)
                .await
                .edge()?
                .first()
                .map(|row| DecisionId::from_digest(row.id.digest()).to_string()),
            Self::Server(remote) => {
                #[derive(Deserialize)]
                struct Row {
                    id: String,
                }
                let mut query = vec![("service", service), ("limit", "1")];
                query.extend(environment.map(|name| ("environment", name)));
                let part: Part<Row> = remote.get("api/v1/decisions", &query).await?;
                part.items
                    .into_iter()
                    .next()
                    .map(|row| row.id.replacen("ev_", "dec_", 1))
            }
        };
        let Some(id) = id else {
            return Ok(None);
        };
        let (_, decision) = self.decision(&id).await?;
        let id = id
            .parse()
            .map_err(|_| edge::cannot_tell(format!("'{id}' is not the id of a decision")))?;
        Ok(Some((id, decision)))
    }

    /// The newest decision of a service.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub async fn last_of(
        &self,
        service: &str,
        environment: Option<&str>,
    ) -> Result<(DecisionId, Decision), EdgeError> {
        self.last(service, environment).await?.ok_or_else(|| {
            edge::usage(format!("nothing was decided about {service} yet"))
                .try_this("writ run && writ gate")
        })
    }

    /// The evidence of a commit, newest first.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn evidence_of(
        &self,
        service: &str,
        commit: &str,
    ) -> Result<Vec<EvidenceItem>, EdgeError> {
        match self {
            Self::Store(store) => {
                let query = Query {
                    service: Some(service.to_owned()),
                    subject: Subject {
                        commit: Some(commit.to_owned()),
                        ..Subject::default()
                    },
                    ..Query::default()
                };
                Ok(store.evidence(&query).await.edge()?.items)
            }
            Self::Server(remote) => {
                let query = [("service", service), ("commit", commit), ("limit", MOST)];
                let part: Part<EvidenceItem> = remote.get("api/v1/evidence", &query).await?;
                Ok(part.items)
            }
        }
    }

    /// How many exemptions of a service wait for an answer.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn exemptions_waiting(&self, service: &str) -> Result<usize, EdgeError> {
        match self {
            Self::Store(store) => {
                let rows = store.exemptions(Some(service)).await.edge()?;
                let requested = |state| state == ExemptionState::Requested;
                Ok(rows.iter().filter(|row| requested(row.state)).count())
            }
            Self::Server(remote) => {
                let query = [("service", service), ("standing", "requested")];
                let part: Part<serde::de::IgnoredAny> =
                    remote.get("api/v1/exemptions", &query).await?;
                Ok(part.items.len())
            }
        }
    }

    /// The size of everything; `None` where this asker may not know.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn size(&self) -> Result<Option<Size>, EdgeError> {
        match self {
            Self::Store(store) => {
                let stats = store.stats().await.edge()?;
                Ok(Some(Size {
                    entries: stats.extent.entries,
                    open_findings: stats.counts.open_findings,
                    whole: serde_json::to_value(&stats).unwrap_or_default(),
                }))
            }
            Self::Server(remote) => match remote.get::<Value>("api/v1/stats", &[]).await {
                Ok(whole) => Ok(Some(Size {
                    entries: whole["entries"].as_u64().unwrap_or_default(),
                    open_findings: whole["openFindings"].as_u64().unwrap_or_default(),
                    whole,
                })),
                Err(error) if error.exit_code == edge::NOT_ALLOWED => Ok(None),
                Err(error) => Err(error),
            },
        }
    }
}

/// A part of a list.
#[derive(Deserialize)]
struct Part<T> {
    items: Vec<T>,
}
