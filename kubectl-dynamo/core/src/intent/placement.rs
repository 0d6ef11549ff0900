//! Placement and pod settings: images, node selector, tolerations, service account, and additional labels,
//! annotations, and environment variables. It only parses and stores values; `resources` renders them.

use serde::{Deserialize, Serialize};

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
    /// Additional labels for all objects.
    pub labels: Vec<(String, String)>,
    /// Additional annotations for all objects.
    pub annotations: Vec<(String, String)>,
    /// Additional environment variables for all Dynamo containers.
    pub env: Vec<(String, String)>,
    /// Size of /dev/shm in workers, as a Kubernetes quantity.
    pub shared_memory: Option<String>,
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
