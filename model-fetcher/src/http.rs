//! Creates HTTP clients with one TLS configuration and HTTP/1.1 only. Redirects and retries are up to the
//! caller.

use std::io;
use std::time::Duration;

use reqwest::Proxy;
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use rustls_platform_verifier::ConfigVerifierExt;

use crate::error::FetcherError;
use crate::options::{FetchOptions, ProxySettings};

/// Time for one connection attempt, TLS included. Chosen: the kernel repeats a lost packet after 1, 3, and 7 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Creates clients that share their certificates, proxy rules, and timeouts.
#[derive(Clone)]
pub(crate) struct HttpClientFactory {
    tls: rustls::ClientConfig,
    connect_timeout: Duration,
    read_timeout: Duration,
    proxy: ProxySettings,
    user_agent: String,
}

impl HttpClientFactory {
    pub(crate) fn new(options: &FetchOptions) -> Result<Self, FetcherError> {
        // ALPN stays empty: HTTP/2 would put all transfers on one connection, which takes twice as long.
        let tls = rustls::ClientConfig::with_platform_verifier()
            .map_err(|error| FetcherError::Client { reason: format!("cannot load certificates: {error}") })?;
        Ok(Self {
            tls,
            // A network that drops packets is noticed only by this timeout.
            connect_timeout: CONNECT_TIMEOUT.min(options.unreachable_timeout),
            read_timeout: options.read_timeout,
            proxy: options.hub.proxy.clone(),
            user_agent: options.user_agent.clone(),
        })
    }

    /// Creates a client that keeps one idle connection per host and does not follow redirects.
    pub(crate) fn client(&self) -> Result<reqwest::Client, FetcherError> {
        let mut headers = HeaderMap::new();
        // A compressed body has a different length than the file.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .http1_only()
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .proxy(client_proxy(self.proxy.clone()))
            .user_agent(&self.user_agent)
            .default_headers(headers)
            .connect_timeout(self.connect_timeout)
            .read_timeout(self.read_timeout)
            .pool_max_idle_per_host(1)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| FetcherError::Client { reason: innermost_reason(&error) })
    }
}

/// Returns the proxy rules of a client. The rules of the HTTP library do not know every form of `NO_PROXY`.
pub fn client_proxy(settings: ProxySettings) -> Proxy {
    Proxy::custom(move |url| {
        let proxy = settings.proxy_for(url.scheme(), url.host_str()?, url.port_or_known_default());
        proxy.map(str::to_owned)
    })
}

/// Returns why a server's certificate is not trusted, if that caused the error. Retrying does not help.
pub(crate) fn find_certificate_problem(error: &reqwest::Error) -> Option<String> {
    let mut cause = std::error::Error::source(error);
    while let Some(found) = cause {
        if let Some(rustls::Error::InvalidCertificate(problem)) = found.downcast_ref() {
            return Some(problem.to_string());
        }
        // An I/O error that wraps another one does not return it as its source.
        let wrapped = found.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = wrapped.map(|inner| inner as &dyn std::error::Error).or_else(|| found.source());
    }
    None
}

/// Returns the message of the innermost error: the outer ones only report that a request failed. URLs are
/// omitted because a signed URL is a secret.
pub(crate) fn innermost_reason(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let message = if std::ptr::eq(innermost, error as &dyn std::error::Error) {
        String::new()
    } else {
        innermost.to_string()
    };
    match (error.is_timeout(), error.is_connect(), message.is_empty()) {
        (true, true, _) => "timed out connecting".into(),
        (true, false, _) => "timed out waiting for data".into(),
        (false, true, false) => format!("cannot connect: {message}"),
        (false, _, false) => message,
        (false, _, true) => "request failed".into(),
    }
}
