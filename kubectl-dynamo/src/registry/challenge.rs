//! The header `WWW-Authenticate` of a registry: how it wants a request to be authorized.

use http_auth::{ChallengeRef, parse_challenges};
use reqwest::Response;
use reqwest::header::WWW_AUTHENTICATE;

use super::RegistryError;

/// How a registry wants a request to be authorized.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    /// With a token that the service at `realm` returns.
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

impl Challenge {
    /// Reads the first challenge of a known kind.
    ///
    /// # Errors
    /// A response without one.
    pub(super) fn from_response(response: &Response) -> Result<Self, RegistryError> {
        let headers = response.headers().get_all(WWW_AUTHENTICATE).iter();
        headers
            .filter_map(|header| Self::parse(header.to_str().ok()?))
            .next()
            .ok_or_else(|| RegistryError::Inconclusive("requires an unknown kind of login".into()))
    }

    fn parse(header: &str) -> Option<Self> {
        parse_challenges(header).ok()?.iter().find_map(Self::from_header)
    }

    fn from_header(challenge: &ChallengeRef<'_>) -> Option<Self> {
        let parameter = |name: &str| {
            let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        if challenge.scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        let is_bearer = challenge.scheme.eq_ignore_ascii_case("bearer");
        let realm = parameter("realm").filter(|_| is_bearer)?;
        Some(Self::Bearer { realm, service: parameter("service"), scope: parameter("scope") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_challenges_of_registries() {
        let bearer = |service: Option<&str>, scope: Option<&str>| Challenge::Bearer {
            realm: "https://auth.test/token".into(),
            service: service.map(Into::into),
            scope: scope.map(Into::into),
        };
        for (header, expected) in [
            (
                r#"Bearer realm="https://auth.test/token",service="registry.test",scope="repository:a/b:pull""#,
                Some(bearer(Some("registry.test"), Some("repository:a/b:pull"))),
            ),
            (r#"bearer Realm="https://auth.test/token""#, Some(bearer(None, None))),
            (r#"Basic realm="registry""#, Some(Challenge::Basic)),
            (r#"Negotiate, Basic realm="registry""#, Some(Challenge::Basic)),
            ("Bearer service=x", None),
            ("", None),
            ("=", None),
        ] {
            assert_eq!(Challenge::parse(header), expected, "{header}");
        }
    }
}
