//! Compares the addresses of a deployment that a gateway can use. Several host names reach one Service.

/// The names by which a program reaches loopback.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The host, port, and path of a base URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayAddress {
    /// In lower case. The name of a Service has the form `NAME.NAMESPACE.svc`.
    host: String,
    port: u16,
    /// Without a slash at its end.
    path: String,
}

impl GatewayAddress {
    /// Parses an `http` or `https` URL; `None` for other text.
    pub fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.trim().split_once("://")?;
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let host_and_port = authority.rsplit('@').next()?;
        let (host, port) = match host_and_port.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (host_and_port, default_port),
        };
        (!host.is_empty()).then(|| Self {
            host: service_host(&host.to_ascii_lowercase()),
            port,
            path: path.trim_end_matches('/').to_owned(),
        })
    }

    /// Whether both addresses reach the same server.
    pub fn is_same_server(&self, other: &Self) -> bool {
        self.host == other.host && self.port == other.port
    }

    /// The path, such as `/v1`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The name of the Service; `None` for other hosts.
    pub fn service_name(&self) -> Option<&str> {
        self.host.strip_suffix(".svc")?.split_once('.').map(|(name, _)| name)
    }

    /// The namespace of the Service; `None` for other hosts.
    pub fn service_namespace(&self) -> Option<&str> {
        self.host.strip_suffix(".svc")?.split_once('.').map(|(_, namespace)| namespace)
    }
}

/// Returns the short form of a Service's name. The default domain of clusters, and `svc`, can be omitted.
fn service_host(host: &str) -> String {
    if LOOPBACK.contains(&host) {
        return LOOPBACK[0].to_owned();
    }
    let host = host.trim_end_matches('.');
    let host = host.strip_suffix(".cluster.local").unwrap_or(host);
    let is_ip_address = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match host.split('.').count() {
        // `NAME.NAMESPACE` of a Service, which looks like the address of a site.
        2 if !is_ip_address => format!("{host}.svc"),
        _ => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_service_is_the_same_server() {
        let own = GatewayAddress::parse("http://tiny-frontend.serving.svc:8000/v1").unwrap();
        for (url, same, path) in [
            ("http://tiny-frontend.serving.svc.cluster.local:8000/v1/", true, "/v1"),
            ("http://tiny-frontend.serving.svc.cluster.local.:8000", true, ""),
            ("http://tiny-frontend.serving:8000/v1", true, "/v1"),
            ("http://TINY-frontend.serving.svc:8000/v1", true, "/v1"),
            ("http://tiny-frontend.other.svc:8000/v1", false, "/v1"),
            ("http://tiny-frontend.serving.svc:8001/v1", false, "/v1"),
            ("https://tiny-frontend.serving.svc/v1", false, "/v1"),
            ("http://10.0.0.1:8000/v1", false, "/v1"),
        ] {
            let other = GatewayAddress::parse(url).unwrap();
            assert_eq!((own.is_same_server(&other), other.path()), (same, path), "{url}");
        }
        assert_eq!(own.service_namespace(), Some("serving"));
    }

    #[test]
    fn loopback_has_several_names() {
        let own = GatewayAddress::parse("http://127.0.0.1:8000/v1").unwrap();
        assert!(own.is_same_server(&GatewayAddress::parse("http://localhost:8000").unwrap()));
        assert!(own.is_same_server(&GatewayAddress::parse("http://[::1]:8000/v1").unwrap()));
        assert_eq!(own.service_namespace(), None);
    }

    #[test]
    fn other_text_is_not_an_address() {
        for text in ["", "tiny", "os.environ/BASE", "ftp://host/v1", "http://", "http://host:port/v1"] {
            assert_eq!(GatewayAddress::parse(text), None, "{text}");
        }
        let password = GatewayAddress::parse("http://user:a@b@host:1/v1").unwrap();
        assert!(password.is_same_server(&GatewayAddress::parse("http://host:1").unwrap()));
    }
}
