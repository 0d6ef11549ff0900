//! Placement and pod settings: images, node selector, tolerations, service account, Pod Security Standard, and additional
//! labels, annotations, and environment variables. It only parses and stores values; `resources` renders them.

use serde::{Deserialize, Serialize};

use super::name::is_dns1123_subdomain;
use super::{StringEnum, ValueError};

/// Placement settings of all pods. Node selector and tolerations apply only to workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub struct Placement {
    /// Image for all Dynamo containers. Default: the runtime image of the release.
    pub image: Option<String>,
    /// Image for the fetch containers. Default: model-fetcher of the plugin's version.
    pub fetcher_image: Option<String>,
    pub image_pull_secrets: Vec<String>,
    /// Node labels that workers require.
    pub node_selector: Vec<(String, String)>,
    /// Additional tolerations for workers, besides the toleration for GPU nodes.
    pub tolerations: Vec<Toleration>,
    pub priority_class: Option<String>,
    pub service_account: Option<String>,
    #[serde(skip_serializing_if = "PodSecurity::is_default")]
    pub pod_security: PodSecurity,
    /// Additional labels for all objects.
    pub labels: Vec<(String, String)>,
    /// Additional annotations for all objects.
    pub annotations: Vec<(String, String)>,
    /// Additional environment variables for all Dynamo containers.
    pub env: Vec<(String, String)>,
    /// Additional environment variables for the fetch containers only. They replace those of `env`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fetcher_env: Vec<(String, String)>,
    /// CA certificates that all containers trust.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<CaBundle>,
    /// Size of /dev/shm in workers, as a Kubernetes quantity.
    pub shared_memory: Option<String>,
}

impl Placement {
    /// Returns a variable that the user set for the fetch containers.
    pub fn fetch_variable(&self, name: &str) -> Option<&str> {
        let variables = self.fetcher_env.iter().rev().chain(self.env.iter().rev());
        variables.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The Pod Security Standard of all rendered containers. The operator can add containers of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum PodSecurity {
    /// The main containers do not have a security context, so that of their image applies.
    #[default]
    Baseline,
    /// No privileges, no capabilities, and the seccomp profile of the container runtime.
    Restricted,
}

impl PodSecurity {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl StringEnum for PodSecurity {
    const ALL: &'static [Self] = &[Self::Baseline, Self::Restricted];

    /// The level in the labels `pod-security.kubernetes.io/…`.
    fn as_str(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

/// Reference to the key of a ConfigMap that contains CA certificates in PEM format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaBundle {
    /// Name of the ConfigMap in the deployment's namespace.
    pub config_map: String,
    pub key: String,
}

impl CaBundle {
    /// The key in the ConfigMaps of Kubernetes and of cert-manager's trust-manager.
    pub const DEFAULT_KEY: &'static str = "ca.crt";
}

impl std::fmt::Display for CaBundle {
    /// Writes the notation that `from_str` parses.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.config_map)?;
        if self.key == Self::DEFAULT_KEY { Ok(()) } else { write!(f, "/{}", self.key) }
    }
}

impl std::str::FromStr for CaBundle {
    type Err = ValueError;

    /// Parses `CONFIGMAP` or `CONFIGMAP/KEY`.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (config_map, key) = text.split_once('/').unwrap_or((text, Self::DEFAULT_KEY));
        // The characters that Kubernetes allows in the keys of ConfigMaps.
        let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if !is_dns1123_subdomain(config_map) || !is_key {
            return Err(ValueError::Expected("a ConfigMap as NAME or NAME/KEY"));
        }
        Ok(Self { config_map: config_map.into(), key: key.into() })
    }
}

/// A toleration, in the notation of `kubectl taint`: `KEY[=VALUE][:EFFECT]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Toleration {
    pub key: String,
    /// Tolerated value; every value if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Tolerated effect; every effect if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TolerationEffect>,
}

/// Effect of a taint on pods that do not tolerate it, in the spelling of the Kubernetes API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TolerationEffect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

impl StringEnum for TolerationEffect {
    const ALL: &'static [Self] = &[Self::NoSchedule, Self::PreferNoSchedule, Self::NoExecute];

    fn as_str(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }
}

impl std::fmt::Display for Toleration {
    /// Writes the notation that `from_str` parses.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.key)?;
        if let Some(value) = &self.value {
            write!(f, "={value}")?;
        }
        match self.effect {
            Some(effect) => write!(f, ":{}", effect.as_str()),
            None => Ok(()),
        }
    }
}

impl std::str::FromStr for Toleration {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (taint, effect) = match text.rsplit_once(':') {
            Some((taint, effect)) => {
                let known = TolerationEffect::ALL.iter().find(|known| known.as_str() == effect);
                let expected = "NoSchedule, PreferNoSchedule, or NoExecute after the colon";
                (taint, Some(*known.ok_or(ValueError::Expected(expected))?))
            }
            None => (text, None),
        };
        let (key, value) = match taint.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (taint, None),
        };
        if key.is_empty() {
            return Err(ValueError::Expected("KEY[=VALUE][:EFFECT]"));
        }
        Ok(Self { key: key.into(), value, effect })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ca_bundles_round_trip() {
        for (text, config_map, key) in [
            ("corporate-ca", "corporate-ca", "ca.crt"),
            ("trust.example/bundle.pem", "trust.example", "bundle.pem"),
        ] {
            let bundle = CaBundle { config_map: config_map.into(), key: key.into() };
            assert_eq!(bundle.to_string(), text);
            assert_eq!(text.parse(), Ok(bundle), "{text}");
        }
        for text in ["", "/ca.crt", "Corporate", "ca/", "ca/a/b", "ca/a b"] {
            assert!(text.parse::<CaBundle>().is_err(), "{text}");
        }
    }

    #[test]
    fn fetch_containers_prefer_their_own_variables() {
        let pairs = |value: &str| vec![("HF_ENDPOINT".to_owned(), value.to_owned())];
        let both = Placement { env: pairs("all"), fetcher_env: pairs("fetch"), ..Placement::default() };
        assert_eq!(both.fetch_variable("HF_ENDPOINT"), Some("fetch"));
        let common = Placement { env: pairs("all"), ..Placement::default() };
        assert_eq!(common.fetch_variable("HF_ENDPOINT"), Some("all"));
        assert_eq!(common.fetch_variable("OTHER"), None);
    }

    #[test]
    fn tolerations_round_trip_in_kubectl_taint_syntax() {
        for (text, key, value, effect) in [
            ("gpu", "gpu", None, None),
            ("nvidia.com/gpu=present", "nvidia.com/gpu", Some("present"), None),
            ("gpu:NoExecute", "gpu", None, Some(TolerationEffect::NoExecute)),
            ("team=a:NoSchedule", "team", Some("a"), Some(TolerationEffect::NoSchedule)),
        ] {
            let value = value.map(ToOwned::to_owned);
            let toleration = Toleration { key: key.into(), value, effect };
            assert_eq!(toleration.to_string(), text);
            assert_eq!(text.parse(), Ok(toleration), "{text}");
        }
        for text in ["", "=x", ":NoSchedule", "gpu:Sometimes"] {
            assert!(text.parse::<Toleration>().is_err(), "{text}");
        }
    }
}
