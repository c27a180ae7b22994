//! Requests that may be repeated: what came under an `Idempotency-Key` before, and what was answered.
//!
//! Remembered in memory, the last ones only: who needs more than a lost answer asked for again relies on
//! what is asked for, such as the digest of evidence.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use axum::http::HeaderMap;
use writ_model::Digest;

use super::{Code, Problem};
use crate::access::Principal;

/// Longest key, in bytes.
const MAX_KEY: usize = 255;

/// The key of a request, with the digest of what it brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    name: String,
    body: Digest,
}

impl Key {
    /// The key that a request carries. One key of two askers is two keys.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn of(
        headers: &HeaderMap,
        principal: &Principal,
        body: &[u8],
    ) -> Result<Option<Self>, Problem> {
        let Some(value) = headers.get("idempotency-key") else {
            return Ok(None);
        };
        let key = value
            .to_str()
            .ok()
            .filter(|key| !key.is_empty() && key.len() <= MAX_KEY)
            .ok_or_else(|| {
                Problem::new(Code::Query, "the Idempotency-Key cannot be used")
                    .required(format!("1 to {MAX_KEY} visible characters"))
            })?;
        Ok(Some(Self {
            name: format!("{} {key}", principal.id),
            body: Digest::of(body),
        }))
    }
}

/// The newest keys with their answers.
#[derive(Debug)]
pub struct Repeated<T> {
    most: usize,
    known: Mutex<Known<T>>,
}

#[derive(Debug)]
struct Known<T> {
    answers: HashMap<String, (Digest, T)>,
    /// Names in the order in which they came.
    order: VecDeque<String>,
}

impl<T: Clone> Repeated<T> {
    /// Remembers so many.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most,
            known: Mutex::new(Known {
                answers: HashMap::new(),
                order: VecDeque::new(),
            }),
        }
    }

    /// The answer to this request, when it came before.
    ///
    /// # Errors
    /// Its key came with another body.
    pub fn find(&self, key: &Key) -> Result<Option<T>, Problem> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.answers.get(&key.name) {
            None => Ok(None),
            Some((body, answer)) if *body == key.body => Ok(Some(answer.clone())),
            Some(_) => Err(
                Problem::new(Code::Conflict, "this key came with another body before")
                    .fix("Use a new key for something new"),
            ),
        }
    }

    /// Remembers an answer; the first one under a key stays.
    pub fn keep(&self, key: Key, answer: T) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.answers.contains_key(&key.name) {
            return;
        }
        known.order.push_back(key.name.clone());
        known.answers.insert(key.name, (key.body, answer));
        if known.order.len() > self.most
            && let Some(oldest) = known.order.pop_front()
        {
            known.answers.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, body: &[u8]) -> Key {
        let mut headers = HeaderMap::new();
        headers.insert("idempotency-key", name.parse().unwrap());
        let key = Key::of(&headers, &Principal::nobody(), body).unwrap();
        key.unwrap()
    }

    #[test]
    fn a_key_brings_one_body() {
        let repeated = Repeated::new(3);
        assert_eq!(repeated.find(&key("k", b"a")).unwrap(), None);
        repeated.keep(key("k", b"a"), 1);
        assert_eq!(repeated.find(&key("k", b"a")).unwrap(), Some(1));
        assert!(repeated.find(&key("k", b"b")).is_err());
        for name in ["1", "2", "3"] {
            repeated.keep(key(name, b"a"), 0);
        }
        assert_eq!(repeated.find(&key("k", b"b")).unwrap(), None, "forgotten");
    }

    #[test]
    fn what_is_no_key() {
        let mut headers = HeaderMap::new();
        let of = |headers: &HeaderMap| Key::of(headers, &Principal::nobody(), b"");
        assert_eq!(of(&headers).unwrap(), None);
        for bad in ["", &"x".repeat(300)] {
            headers.insert("idempotency-key", bad.parse().unwrap());
            assert!(of(&headers).is_err());
        }
    }
}
