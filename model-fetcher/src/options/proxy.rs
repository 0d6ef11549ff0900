//! Proxy settings from the environment, and which hosts are reached without one.
//!
//! The HTTP library's own rules do not know `*` for IP addresses and do not know ports. These rules accept what
//! curl or Python accepts: `NO_PROXY` has names, suffixes, IP addresses, networks, and `*`, each with or without a
//! port, separated by commas or spaces. This module is pure.

use std::fmt;
use std::net::IpAddr;

use model_fetcher_contract::redact_userinfo;

/// Which proxy to use for which URL.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ProxySettings {
    http: Option<String>,
    https: Option<String>,
    exceptions: Vec<ProxyException>,
}

/// One entry of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ProxyException {
    host: HostPattern,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    Any,
    /// A host and all names below it.
    Name(String),
    /// An IP network: its address and the number of its leading bits.
    Network(IpAddr, u8),
}

impl ProxySettings {
    /// Reads `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, and `NO_PROXY`; the lowercase name has precedence.
    /// `HTTP_PROXY` in uppercase is ignored in a CGI program, where a client can set it.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let value = |name: &str| {
            let lower = variable(name);
            let is_cgi = name == "http_proxy" && variable("REQUEST_METHOD").is_some();
            let value = lower.or_else(|| variable(&name.to_uppercase()).filter(|_| !is_cgi))?;
            Some(value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        let proxy = |name: &str| value(name).or_else(|| value("all_proxy")).map(with_scheme);
        let exceptions = value("no_proxy").unwrap_or_default();
        let separator = |character: char| character == ',' || character.is_whitespace();
        Self {
            http: proxy("http_proxy"),
            https: proxy("https_proxy"),
            exceptions: exceptions.split(separator).filter_map(ProxyException::parse).collect(),
        }
    }

    /// Returns the proxy for a URL with this scheme, host, and port. `host` may have the brackets of an IPv6
    /// address.
    pub(crate) fn proxy_for(&self, scheme: &str, host: &str, port: Option<u16>) -> Option<&str> {
        let proxy = if scheme == "https" { &self.https } else { &self.http }.as_deref()?;
        let is_exception = self.exceptions.iter().any(|exception| exception.matches(host, port));
        (!is_exception).then_some(proxy)
    }
}

impl fmt::Debug for ProxySettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let redacted = |proxy: &Option<String>| proxy.as_deref().map(redact_userinfo);
        let mut settings = formatter.debug_struct("ProxySettings");
        settings.field("http", &redacted(&self.http)).field("https", &redacted(&self.https));
        settings.field("exceptions", &self.exceptions).finish()
    }
}

/// Returns whether this program can use a proxy: `http` and `https` are supported.
pub(crate) fn is_supported(proxy: &str) -> bool {
    let host = proxy.strip_prefix("http://").or_else(|| proxy.strip_prefix("https://"));
    host.is_some_and(|host| !host.is_empty() && !host.contains(char::is_whitespace))
}

/// Adds the scheme that curl assumes.
fn with_scheme(proxy: String) -> String {
    if proxy.contains("://") { proxy } else { format!("http://{proxy}") }
}

impl ProxyException {
    /// Parses an entry. Returns `None` for an empty one.
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.trim().to_ascii_lowercase();
        let entry = entry.split_once("://").map_or(entry.as_str(), |(_, rest)| rest).trim_end_matches('/');
        if let Some(host) = HostPattern::parse_address(entry) {
            return Some(Self { host, port: None });
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, "*")) => (host, None),
            Some((host, port)) => match port.parse() {
                Ok(port) => (host, Some(port)),
                Err(_) => (entry, None),
            },
            None => (entry, None),
        };
        let host = match HostPattern::parse_address(host) {
            Some(address) => address,
            None => HostPattern::parse_name(host)?,
        };
        Some(Self { host, port })
    }

    fn matches(&self, host: &str, port: Option<u16>) -> bool {
        if self.port.is_some() && self.port != port {
            return false;
        }
        let host =
            host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
        let address = host.parse().ok().map(|address: IpAddr| address.to_canonical());
        match (&self.host, address) {
            (HostPattern::Any, _) => true,
            (HostPattern::Network(network, bits), Some(address)) => is_in_network(address, *network, *bits),
            (HostPattern::Name(name), None) => {
                host.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            _ => false,
        }
    }
}

impl HostPattern {
    /// Parses an IP address or a network in CIDR notation.
    fn parse_address(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let address = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        (bits <= width).then_some(HostPattern::Network(address, bits))
    }

    fn parse_name(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(HostPattern::Any);
        }
        // `.example.com` and `*.example.com` also stand for `example.com`, as in curl and Python.
        let name = text.strip_prefix('*').unwrap_or(text).trim_matches('.');
        (!name.is_empty()).then(|| HostPattern::Name(name.to_owned()))
    }
}

fn is_in_network(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let is_same = |one: u128, other: u128, width: u32| {
        let shift = width - u32::from(bits);
        shift >= width || one >> shift == other >> shift
    };
    match (address, network.to_canonical(), network.is_ipv4()) {
        (IpAddr::V4(address), IpAddr::V4(network), true) => {
            is_same(address.to_bits().into(), network.to_bits().into(), 32)
        }
        (IpAddr::V6(address), IpAddr::V6(network), _) => is_same(address.to_bits(), network.to_bits(), 128),
        // An IPv4 address in the notation of IPv6.
        (IpAddr::V4(address), IpAddr::V4(network), false) => bits == 128 && address == network,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> ProxySettings {
        ProxySettings::from_variables(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn exceptions_accept_what_curl_or_python_accepts() {
        let cases: &[(&str, &str, u16, bool)] = &[
            ("*", "127.0.0.1", 80, true),
            ("*", "hub.example.com", 443, true),
            ("*", "[::1]", 443, true),
            ("a.com, *", "b.com", 443, true),
            ("127.0.0.1", "127.0.0.1", 18180, true),
            ("127.0.0.1:18180", "127.0.0.1", 18180, true),
            ("127.0.0.1:18180", "127.0.0.1", 18181, false),
            ("127.0.0.1:*", "127.0.0.1", 18181, true),
            ("127.0.0.1:18180,127.0.0.1:18181", "127.0.0.1", 18181, true),
            ("127.0.0.1:18180 127.0.0.1:18181", "127.0.0.1", 18181, true),
            ("127.0.0.0/8", "127.1.2.3", 80, true),
            ("127.0.0.0/8", "128.0.0.1", 80, false),
            ("0.0.0.0/0", "8.8.8.8", 80, true),
            ("10.0.0.0/33", "10.0.0.0", 80, false),
            ("::1", "[::1]", 80, true),
            ("[::1]", "::1", 80, true),
            ("[::1]:8080", "[::1]", 8080, true),
            ("[::1]:8080", "[::1]", 80, false),
            ("fd00::/8", "[fd12::1]", 80, true),
            ("fd00::/8", "127.0.0.1", 80, false),
            ("127.0.0.1", "[::ffff:127.0.0.1]", 80, true),
            ("example.com", "example.com", 443, true),
            ("example.com", "hub.example.com", 443, true),
            ("example.com", "notexample.com", 443, false),
            ("example.com:443", "hub.example.com", 443, true),
            ("example.com:8443", "hub.example.com", 443, false),
            (".example.com", "example.com", 443, true),
            (".example.com", "hub.example.com", 443, true),
            ("*.example.com", "hub.example.com", 443, true),
            ("*.example.com", "notexample.com", 443, false),
            ("EXAMPLE.com.", "Hub.Example.COM.", 443, true),
            ("https://example.com/", "example.com", 443, true),
            (" , ,example.com,", "example.com", 443, true),
            ("1.1.1.1", "11.1.1.1", 80, false),
            ("localhost", "127.0.0.1", 80, false),
            ("localhost", "localhost", 80, true),
            ("", "example.com", 443, false),
            (",", "example.com", 443, false),
        ];
        for (exceptions, host, port, expected) in cases {
            let settings = settings(&[("https_proxy", "http://proxy:3128"), ("no_proxy", exceptions)]);
            let is_direct = settings.proxy_for("https", host, Some(*port)).is_none();
            assert_eq!(is_direct, *expected, "NO_PROXY={exceptions} for {host}:{port}");
        }
    }

    #[test]
    fn proxies_are_chosen_by_scheme() {
        let both =
            settings(&[("HTTP_PROXY", "one:80"), ("https_proxy", "https://two"), ("HTTPS_PROXY", "three")]);
        assert_eq!(both.proxy_for("http", "hub", Some(80)), Some("http://one:80"));
        assert_eq!(both.proxy_for("https", "hub", Some(443)), Some("https://two"));
        let all = settings(&[("ALL_PROXY", "http://user:s3cret@all"), ("NO_PROXY", "hub")]);
        assert_eq!(all.proxy_for("https", "other", None), Some("http://user:s3cret@all"));
        assert_eq!(all.proxy_for("https", "hub", None), None);
        assert!(!format!("{all:?}").contains("s3cret"), "{all:?}");
        assert_eq!(settings(&[("HTTP_PROXY", "one"), ("REQUEST_METHOD", "GET")]), ProxySettings::default());
        assert_eq!(
            settings(&[("http_proxy", ""), ("HTTP_PROXY", "one")]).proxy_for("http", "hub", None),
            None
        );
        assert_eq!(settings(&[]).proxy_for("http", "hub", None), None);
        assert!(is_supported("http://host:3128") && is_supported("https://user:p@host"));
        assert!(
            !is_supported("socks5://host:1080") && !is_supported("http://") && !is_supported("http://a b")
        );
    }
}
