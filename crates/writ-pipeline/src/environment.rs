//! The environment that a tool sees: an allow-list, so that tokens of the CI job do not leak into scanners.

use std::ffi::OsString;

/// Variables that are passed on to every process.
pub const PASSED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR",
    "SOURCE_DATE_EPOCH",
];

/// Variables that are passed on to processes that may use the network.
pub const PASSED_NETWORK: &[&str] = &[
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
];

/// The allow-listed part of Writ's own environment.
#[must_use]
pub fn scrubbed() -> Vec<(OsString, OsString)> {
    pick(PASSED)
}

/// The allow-listed part with proxies and certificates, for package clients and tools with `network`.
#[must_use]
pub fn scrubbed_with_network() -> Vec<(OsString, OsString)> {
    let mut all = pick(PASSED);
    all.extend(pick(PASSED_NETWORK));
    all
}

/// Variables of Writ's own environment by name.
#[must_use]
pub fn pick(names: &[&str]) -> Vec<(OsString, OsString)> {
    names
        .iter()
        .filter_map(|name| std::env::var_os(name).map(|value| (OsString::from(name), value)))
        .collect()
}
