//! Which hub to use, with which token, and through which proxy. A password never appears in output.

use std::fmt;
use std::path::{Path, PathBuf};

use super::proxy::ProxySettings;
use model_fetcher_contract::{DEFAULT_ENDPOINT, environment, redact_userinfo};

/// A hub token. Its value never appears in `Debug` output or errors.
#[derive(Clone, PartialEq, Eq)]
pub struct HubToken(String);

impl HubToken {
    /// Creates a token from `text` without surrounding white space. Returns `None` if nothing remains.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    pub(crate) fn secret(&self) -> &str {
        &self.0
    }

    /// Returns why the token cannot be sent in a header.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        if self.0.lines().count() > 1 {
            return Some("has more than one line");
        }
        if self.0.contains(char::is_whitespace) {
            return Some("contains white space");
        }
        let is_printable = self.0.bytes().all(|byte| byte.is_ascii_graphic());
        (!is_printable).then_some("contains a character that is not printable ASCII")
    }
}

impl fmt::Debug for HubToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

/// Base URL of a hub or a mirror, possibly with a path, a user name, and a password. `file://` names a folder of
/// models. It is printed without user name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct HubEndpoint(String);

impl HubEndpoint {
    /// Returns the URL with its password, to connect.
    pub(crate) fn secret_url(&self) -> &str {
        &self.0
    }
}

impl From<&str> for HubEndpoint {
    fn from(url: &str) -> Self {
        Self(url.trim().trim_end_matches('/').to_owned())
    }
}

impl fmt::Display for HubEndpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&redact_userinfo(&self.0))
    }
}

impl fmt::Debug for HubEndpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.to_string())
    }
}

/// Which hub to use, with which token, and through which proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubAccess {
    pub endpoint: HubEndpoint,
    /// Token that is sent only to the host of the endpoint.
    pub token: Option<HubToken>,
    pub proxy: ProxySettings,
}

impl Default for HubAccess {
    fn default() -> Self {
        Self { endpoint: DEFAULT_ENDPOINT.into(), token: None, proxy: ProxySettings::default() }
    }
}

impl HubAccess {
    /// Reads the endpoint and the token as Hugging Face libraries do: `HF_ENDPOINT`, `HF_TOKEN`, the file
    /// named by `HF_TOKEN_PATH`, `$HF_HOME/token`, `$XDG_CACHE_HOME/huggingface/token`,
    /// `$HOME/.cache/huggingface/token`. Reads the proxy as curl does. `variable` looks up an environment variable.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let non_empty = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let endpoint = non_empty(environment::HF_ENDPOINT).unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
        let token = non_empty(environment::HF_TOKEN).and_then(|text| HubToken::new(&text)).or_else(|| {
            let file = non_empty(environment::HF_TOKEN_PATH)
                .map(PathBuf::from)
                .or_else(|| non_empty(environment::HF_HOME).map(|home| Path::new(&home).join("token")))
                .or_else(|| {
                    non_empty("XDG_CACHE_HOME").map(|cache| Path::new(&cache).join("huggingface/token"))
                })
                .or_else(|| {
                    non_empty("HOME").map(|home| Path::new(&home).join(".cache/huggingface/token"))
                })?;
            HubToken::new(&std::fs::read_to_string(file).ok()?)
        });
        Self { endpoint: endpoint.as_str().into(), token, proxy: ProxySettings::from_variables(&variable) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_redacts_token_and_password() {
        let access = HubAccess {
            endpoint: "https://user:s3cret@hub/".into(),
            token: HubToken::new(" hf_secret\n"),
            ..HubAccess::default()
        };
        let text = format!("{access:?} {}", access.endpoint);
        assert!(
            !text.contains("s3cret") && !text.contains("secret") && text.contains("https://hub"),
            "{text}"
        );
        assert_eq!(access.endpoint.secret_url(), "https://user:s3cret@hub");
        assert_eq!(access.token.unwrap().secret(), "hf_secret");
        assert_eq!(HubToken::new(" \n"), None);
    }

    #[test]
    fn token_that_no_header_can_carry_has_a_problem() {
        let problem = |text: &str| HubToken::new(text).unwrap().problem();
        assert_eq!(problem(" hf_abcDEF-1_2.3\r\n"), None);
        assert!(problem("hf_abc\nhf_def").unwrap().contains("more than one line"));
        assert!(problem("hf_abc hf_def").unwrap().contains("white space"));
        assert!(problem("hf_abc\thf_def").unwrap().contains("white space"));
        assert!(problem("hf_äbc").unwrap().contains("ASCII"));
        assert!(problem("hf_a\u{7}bc").unwrap().contains("ASCII"));
    }

    #[test]
    fn reads_endpoint_and_token_from_environment() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "from-file\n").unwrap();
        let home = folder.path().to_str().unwrap().to_owned();
        let access_for = |with_token: bool| {
            let home = home.clone();
            HubAccess::from_variables(move |name| match name {
                "HF_ENDPOINT" => Some("http://mirror/hub/".into()),
                "HF_TOKEN" if with_token => Some("from-variable".into()),
                "HF_HOME" => Some(home.clone()),
                _ => None,
            })
        };
        assert_eq!(access_for(true).endpoint, "http://mirror/hub".into());
        assert_eq!(access_for(true).token, HubToken::new("from-variable"));
        assert_eq!(access_for(false).token, HubToken::new("from-file"));

        let cache = folder.path().join("cache");
        std::fs::create_dir_all(cache.join("huggingface")).unwrap();
        std::fs::write(cache.join("huggingface/token"), "from-cache\n").unwrap();
        let cache = cache.to_str().unwrap().to_owned();
        let access = HubAccess::from_variables(move |name| (name == "XDG_CACHE_HOME").then(|| cache.clone()));
        assert_eq!(access.token, HubToken::new("from-cache"));
    }
}
