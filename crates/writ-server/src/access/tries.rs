//! How often one address may fail to sign in: a limit beside that of each account, so that nobody
//! tries one password on all names.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use axum::http::HeaderMap;
use writ_model::{Span, Timestamp};

/// Failures of one address within [`WINDOW`].
pub(crate) const FAILURES: u32 = 30;

/// Time after which failures are forgotten.
pub(crate) const WINDOW: Span = Span::from_secs(10 * 60);

/// Addresses that are remembered.
const KEPT: usize = 10_000;

/// Failures per address.
#[derive(Debug, Default)]
pub(crate) struct Tries(Mutex<HashMap<IpAddr, (Timestamp, u32)>>);

impl Tries {
    /// Counts an attempt; `false` when the address has used up its attempts.
    pub(crate) fn admit(&self, address: IpAddr, now: Timestamp) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |since: Timestamp| now.since(since) >= WINDOW || now < since;
        if known.len() >= KEPT {
            known.retain(|_, (since, _)| !over(*since));
        }
        if known.len() >= KEPT && !known.contains_key(&address) {
            // More addresses at once than are remembered: the rest waits together.
            return false;
        }
        let (since, count) = known.entry(address).or_insert((now, 0));
        if over(*since) {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= FAILURES
    }

    /// Takes an attempt back that succeeded.
    pub(crate) fn succeeded(&self, address: IpAddr) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, count)) = known.get_mut(&address) {
            *count = count.saturating_sub(1);
        }
    }
}

/// The address that attempts are counted for: the last one that the proxy in front names, else the
/// peer. Of IPv6, the network of a subscriber.
pub(crate) fn address(headers: &HeaderMap, peer: Option<SocketAddr>, proxy: bool) -> IpAddr {
    let named = proxy
        .then(|| {
            headers
                .get_all("x-forwarded-for")
                .iter()
                .next_back()?
                .to_str()
                .ok()?
                .rsplit(',')
                .next()?
                .trim()
                .parse::<IpAddr>()
                .ok()
        })
        .flatten();
    let address = named
        .or_else(|| peer.map(|peer| peer.ip()))
        .unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(long) => match long.to_ipv4_mapped() {
            Some(short) => IpAddr::V4(short),
            None => IpAddr::V6(Ipv6Addr::from_bits(long.to_bits() & !((1 << 64) - 1))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_waits_and_others_do_not() {
        let tries = Tries::default();
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let (one, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        for _ in 0..FAILURES {
            assert!(tries.admit(one, at(0)));
            assert!(tries.admit(other, at(0)));
            tries.succeeded(other);
        }
        assert!(!tries.admit(one, at(1)));
        assert!(tries.admit(other, at(1)));
        assert!(tries.admit(one, at(WINDOW.secs())));
    }

    #[test]
    fn whose_attempt_it_is() {
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "6.6.6.6, 192.0.2.7".parse().unwrap());
        let peer = Some("127.0.0.1:9".parse().unwrap());
        let of = |proxy| address(&headers, peer, proxy).to_string();
        assert_eq!(of(true), "192.0.2.7");
        assert_eq!(of(false), "127.0.0.1");
        let long = Some("[2001:db8:1:2:3:4:5:6]:9".parse().unwrap());
        assert_eq!(
            address(&HeaderMap::new(), long, false).to_string(),
            "2001:db8:1:2::"
        );
    }
}
