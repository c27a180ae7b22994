//! Which addresses may be spoken to.
//!
//! Addresses come from configuration, and configuration may come from somebody else. A request to a
//! link-local address can fetch the credentials of the machine it is made from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::HttpError;

/// What is accepted as an address. By default `https` to anything that is not link-local, and plain
/// `http` to the loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AddressRule {
    /// Plain `http` to any host.
    pub allow_http: bool,
    /// Link-local addresses, where clouds serve their machine's credentials.
    pub allow_link_local: bool,
}

impl AddressRule {
    /// Reads a base address and checks it, as far as that can be done before its name is resolved.
    ///
    /// # Errors
    /// [`HttpError::Address`] says what is wrong with it.
    pub fn read(&self, text: &str) -> Result<Url, HttpError> {
        let refused = |reason: &str| HttpError::Address {
            address: text.chars().take(200).collect(),
            reason: reason.to_owned(),
        };
        let url: Url = text
            .parse()
            .map_err(|error| refused(&format!("it cannot be read: {error}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(HttpError::Address {
                // It holds a secret: it is not shown.
                address: url.host_str().unwrap_or_default().to_owned(),
                reason: "it has a user name or a password in it".to_owned(),
            });
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refused("it has a query or a fragment"));
        }
        let host = url.host_str().ok_or_else(|| refused("it has no host"))?;
        let literal = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>()
            .ok();
        if let Some(reason) = literal.and_then(|ip| self.refuses(ip)) {
            return Err(refused(reason));
        }
        let loopback = host == "localhost" || literal.is_some_and(|ip| canonical(ip).is_loopback());
        match url.scheme() {
            "https" => Ok(url),
            "http" if loopback || self.allow_http => Ok(url),
            "http" => Err(refused(
                "plain http would show secrets to the network: use https, or say allow_http",
            )),
            _ => Err(refused("it is neither https nor http")),
        }
    }

    /// The addresses of a name that may be spoken to.
    ///
    /// # Errors
    /// There are some, and every one of them is refused; why.
    fn among(
        &self,
        found: impl Iterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, &'static str> {
        let mut refused = None;
        let mut allowed = Vec::new();
        for address in found {
            match self.refuses(address.ip()) {
                Some(reason) => refused = Some(reason),
                None => allowed.push(address),
            }
        }
        match refused {
            Some(reason) if allowed.is_empty() => Err(reason),
            _ => Ok(allowed),
        }
    }

    /// Why this address is not spoken to.
    pub fn refuses(&self, ip: IpAddr) -> Option<&'static str> {
        let ip = canonical(ip);
        if ip.is_unspecified() {
            return Some("the unspecified address is nobody's");
        }
        if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return Some("it is the address of many");
        }
        if !self.allow_link_local && is_link_local(ip) {
            return Some(
                "it is link-local: clouds serve the credentials of their machines there; say allow_link_local if it is meant",
            );
        }
        None
    }
}

/// The address that is meant by an IPv4 address in IPv6 clothes.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => {
            // fe80::/10, and the address of a large cloud's metadata service outside of it.
            ip.is_unicast_link_local() || ip == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)
        }
    }
}

/// Resolves names by the system and drops addresses that the rule refuses: a name may be made to point
/// anywhere after it was looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resolver(pub AddressRule);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let rule = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            rule.among(found)
                .map(|allowed| Box::new(allowed.into_iter()) as Addrs)
                .map_err(|reason| format!("{} is refused: {reason}", name.as_str()).into())
        })
    }
}

impl Resolver {
    pub(super) fn shared(rule: AddressRule) -> Arc<Self> {
        Arc::new(Self(rule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_by_the_rule() {
        let rule = AddressRule::default();
        for good in [
            "https://vault.example:8200",
            "https://10.0.0.5/base/",
            "http://127.0.0.1:8200",
            "http://localhost:8200",
            "http://[::1]:8200",
        ] {
            assert!(rule.read(good).is_ok(), "{good}");
        }
        for (bad, reason) in [
            ("http://vault.example:8200", "plain http"),
            ("http://10.0.0.5", "plain http"),
            ("https://169.254.169.254", "link-local"),
            ("http://169.254.169.254/latest", "link-local"),
            ("https://[fe80::1]", "link-local"),
            ("https://[fd00:ec2::254]", "link-local"),
            ("https://[::ffff:169.254.169.254]", "link-local"),
            // Other spellings of the same address.
            ("https://2852039166", "link-local"),
            ("https://0xa9fea9fe", "link-local"),
            ("https://0.0.0.0", "unspecified"),
            ("https://224.0.0.1", "of many"),
            ("file:///etc/passwd", "no host"),
            ("ftp://vault.example", "neither https"),
            ("vault.example:8200", "no host"),
            ("https://vault.example/?next=x", "query"),
            ("not an address", "cannot be read"),
            ("", "cannot be read"),
        ] {
            let error = rule.read(bad).unwrap_err().to_string();
            assert!(error.contains(reason), "{bad}: {error}");
        }
        let error = rule
            .read("https://user:hunter2@vault")
            .unwrap_err()
            .to_string();
        assert!(!error.contains("hunter2"), "{error}");
        let loose = AddressRule {
            allow_http: true,
            allow_link_local: true,
        };
        assert!(loose.read("http://169.254.169.254").is_ok());
        assert!(loose.read("http://vault.example").is_ok());
    }
    #[test]
    fn a_name_keeps_only_the_addresses_that_the_rule_accepts() {
        let all: Vec<SocketAddr> = ["169.254.169.254:0", "10.0.0.5:0", "[fe80::1]:0"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        let rule = AddressRule::default();
        assert_eq!(rule.among(all.iter().copied()).unwrap(), [all[1]]);
        let only = [all[0], all[2]];
        assert!(
            rule.among(only.into_iter())
                .unwrap_err()
                .contains("link-local")
        );
        assert!(rule.among(std::iter::empty()).unwrap().is_empty());
        let loose = AddressRule {
            allow_link_local: true,
            ..rule
        };
        assert_eq!(loose.among(all.iter().copied()).unwrap(), all);
    }
}
