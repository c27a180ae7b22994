//! Prometheus' [query API]: one number of now.
//!
//! [query API]: https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries

use std::time::Duration;

use serde::Deserialize;

use crate::http::{AddressRule, Client, ClientOptions, HttpError, Request, encoded};

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no number.
#[derive(Debug, thiserror::Error)]
pub enum PrometheusError {
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It refused the query.
    #[error("Prometheus refused the query ({status}): {said}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its own words.
        said: String,
    },
    /// The query gives something other than one number.
    #[error("the query gives {0}, not one number")]
    NotOne(String),
}

/// A client of one Prometheus.
#[derive(Debug, Clone)]
pub struct Prometheus {
    client: Client,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    error: String,
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: serde_json::Value,
}

impl Prometheus {
    /// Of its address; nothing is sent yet. Plain `http` is spoken: a query holds no secret.
    ///
    /// # Errors
    /// The address cannot be used.
    pub fn new(address: &str) -> Result<Self, PrometheusError> {
        let options = ClientOptions {
            timeout: TIMEOUT,
            tries: 2,
            rule: AddressRule {
                allow_http: true,
                ..AddressRule::default()
            },
            ..ClientOptions::default()
        };
        Ok(Self {
            client: Client::new(address, options)?,
        })
    }

    /// The number that a query gives now; `None` when it gives no series at all.
    ///
    /// # Errors
    /// Prometheus does not answer, refuses, or gives something other than one number.
    pub async fn number(&self, query: &str) -> Result<Option<f64>, PrometheusError> {
        let path = format!("api/v1/query?query={}", encoded(query));
        let reply = self.client.send(&Request::get(path)).await?;
        let answer: Answer = reply.json()?;
        let Some(data) = answer.data.filter(|_| reply.is_success()) else {
            return Err(PrometheusError::Refused {
                status: reply.status,
                said: answer.error.chars().take(300).collect(),
            });
        };
        one(&data)
    }
}

fn one(data: &Data) -> Result<Option<f64>, PrometheusError> {
    let other = |what: String| Err(PrometheusError::NotOne(what));
    let sample = match data.result_type.as_str() {
        "scalar" => &data.result,
        "vector" => match data.result.as_array().map(Vec::as_slice) {
            Some([]) => return Ok(None),
            Some([series]) => &series["value"],
            Some(many) => return other(format!("{} series", many.len())),
            None => return other("a vector without series".to_owned()),
        },
        kind => return other(format!("a {kind}")),
    };
    let number = sample[1].as_str().and_then(|text| text.parse::<f64>().ok());
    match number {
        Some(number) if !number.is_nan() => Ok(Some(number)),
        // A rate of nothing by nothing: there is nothing to judge.
        Some(_) => Ok(None),
        None => other("a sample without a value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<f64>, String> {
        let data: Data = serde_json::from_str(text).unwrap();
        one(&data).map_err(|error| error.to_string())
    }

    #[test]
    fn one_number_and_nothing_else() {
        assert_eq!(
            read(r#"{"resultType":"scalar","result":[1,"0.5"]}"#),
            Ok(Some(0.5))
        );
        assert_eq!(
            read(r#"{"resultType":"vector","result":[{"metric":{},"value":[1,"3"]}]}"#),
            Ok(Some(3.0))
        );
        assert_eq!(read(r#"{"resultType":"vector","result":[]}"#), Ok(None));
        assert_eq!(
            read(r#"{"resultType":"scalar","result":[1,"NaN"]}"#),
            Ok(None)
        );
        let two = r#"{"resultType":"vector","result":[{"value":[1,"3"]},{"value":[1,"4"]}]}"#;
        assert_eq!(
            read(two).unwrap_err(),
            "the query gives 2 series, not one number"
        );
        assert!(read(r#"{"resultType":"matrix","result":[]}"#).is_err());
    }
}
