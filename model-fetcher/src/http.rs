//! HTTP clients: one TLS set-up for all, HTTP/1.1 only, redirects and retries left to the caller.

use std::io;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use rustls_platform_verifier::ConfigVerifierExt;

use crate::error::Error;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Makes clients that share their certificates, proxy rules and time limits.
#[derive(Clone)]
pub(crate) struct Clients {
    tls: rustls::ClientConfig,
    read_timeout: Duration,
}

impl Clients {
    pub(crate) fn new(read_timeout: Duration) -> Result<Self, Error> {
        // ALPN stays empty: HTTP/2 would put all transfers on one connection, which takes twice the time.
        let tls = rustls::ClientConfig::with_platform_verifier()
            .map_err(|error| Error::Client { reason: format!("no certificates: {error}") })?;
        Ok(Self { tls, read_timeout })
    }

    /// A client that keeps one idle connection a host and leaves redirects to its caller.
    pub(crate) fn client(&self) -> Result<reqwest::Client, Error> {
        self.build(Policy::none())
    }

    /// A client that follows redirects, for the hub client, which does not do it itself.
    pub(crate) fn following(&self) -> Result<reqwest::Client, Error> {
        self.build(Policy::limited(10))
    }

    fn build(&self, redirects: Policy) -> Result<reqwest::Client, Error> {
        let mut headers = HeaderMap::new();
        // A compressed body has another length than the file.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .http1_only()
            .redirect(redirects)
            .retry(reqwest::retry::never())
            .user_agent(concat!("model-fetcher/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(self.read_timeout)
            .pool_max_idle_per_host(1)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| Error::Client { reason: reason(&error) })
    }
}

/// Why a server's certificate is not trusted, if that is what went wrong. Asking again changes nothing.
pub(crate) fn certificate_problem(error: &reqwest::Error) -> Option<String> {
    let mut cause = std::error::Error::source(error);
    while let Some(found) = cause {
        if let Some(rustls::Error::InvalidCertificate(problem)) = found.downcast_ref() {
            return Some(problem.to_string());
        }
        // An I/O error that wraps another one leaves it out of its sources.
        let wrapped = found.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = wrapped.map(|inner| inner as &dyn std::error::Error).or_else(|| found.source());
    }
    None
}

/// The innermost words of an error: the outer ones only say that a request did not work. Addresses are left out,
/// because a signed one is a secret.
pub(crate) fn reason(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let words = if std::ptr::eq(innermost, error as &dyn std::error::Error) {
        String::new()
    } else {
        innermost.to_string()
    };
    match (error.is_timeout(), error.is_connect(), words.is_empty()) {
        (true, true, _) => "no connection in time".into(),
        (true, false, _) => "nothing arrived in time".into(),
        (false, true, false) => format!("no connection: {words}"),
        (false, _, false) => words,
        (false, _, true) => "the request did not work".into(),
    }
}
