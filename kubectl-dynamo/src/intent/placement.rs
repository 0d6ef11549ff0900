//! Where pods may run, as whom, and what they carry besides what serving needs.

use serde::{Deserialize, Serialize};

use super::Word;

/// Placement of every pod; node selector and tolerations are for workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub struct Placement {
    /// Image of every Dynamo container; the release's own when absent.
    pub image: Option<String>,
    /// Image of the fetch containers; this version's own when absent.
    pub fetcher_image: Option<String>,
    pub image_pull_secrets: Vec<String>,
    /// `key=value` labels of nodes that workers need.
    pub node_selector: Vec<(String, String)>,
    /// Taints that workers bear besides that of GPU nodes.
    pub tolerations: Vec<Toleration>,
    pub priority_class: Option<String>,
    pub service_account: Option<String>,
    /// Extra labels of every object.
    pub labels: Vec<(String, String)>,
    /// Extra annotations of every object.
    pub annotations: Vec<(String, String)>,
    /// Extra environment of every Dynamo container.
    pub env: Vec<(String, String)>,
    /// Size of /dev/shm in workers, a Kubernetes quantity.
    pub shared_memory: Option<String>,
}

/// A taint that is borne, as `kubectl taint` writes taints: `KEY[=VALUE][:EFFECT]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Toleration {
    pub key: String,
    /// Any value when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Any effect when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TolerationEffect>,
}

/// What a taint does to pods that do not bear it; Kubernetes' own spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TolerationEffect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

impl Word for TolerationEffect {
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
    /// As it is read.
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
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (taint, effect) = match text.rsplit_once(':') {
            Some((taint, effect)) => {
                let known = TolerationEffect::ALL.iter().find(|known| known.as_str() == effect);
                (
                    taint,
                    Some(*known.ok_or("expected NoSchedule, PreferNoSchedule or NoExecute after the colon")?),
                )
            }
            None => (text, None),
        };
        let (key, value) = match taint.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (taint, None),
        };
        if key.is_empty() {
            return Err("expected KEY[=VALUE][:EFFECT]".into());
        }
        Ok(Self { key: key.into(), value, effect })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_taints_as_kubectl_writes_them() {
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
