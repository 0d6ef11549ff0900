//! KV offload settings: the CPU memory tier and the disk tier for KV cache that does not fit into GPU memory.
//! Limits of a release and of KVBM are checked in `plan`, not here.

use serde::{Deserialize, Serialize};

use super::{ValueError, name};

/// KV offload tiers of each worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KvOffload {
    /// CPU memory for KV blocks, as a Kubernetes quantity.
    pub cpu: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskTier>,
}

/// The disk tier below the CPU tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskTier {
    /// Disk space for KV blocks, as a Kubernetes quantity.
    pub size: String,
    pub volume: DiskVolume,
}

/// The volume of the disk tier. The container's writable layer is never used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum DiskVolume {
    /// A generic ephemeral volume: a PVC that is created and deleted with the pod.
    Ephemeral {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        storage_class: Option<String>,
    },
    /// A directory on the node, for example on an NVMe disk.
    HostPath { path: String },
    /// An existing PVC.
    #[serde(alias = "claim")]
    Pvc {
        #[serde(alias = "claim")]
        name: String,
    },
}

impl std::str::FromStr for DiskVolume {
    type Err = ValueError;

    /// Parses `ephemeral`, `ephemeral=CLASS`, `hostPath=PATH`, or `pvc=NAME`.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (kind, argument) = match text.split_once('=') {
            Some((kind, argument)) => (kind, Some(argument)),
            None => (text, None),
        };
        match (kind, argument) {
            ("ephemeral", None) => Ok(Self::Ephemeral { storage_class: None }),
            ("ephemeral", Some(class)) if name::is_dns1123_subdomain(class) => {
                Ok(Self::Ephemeral { storage_class: Some(class.into()) })
            }
            ("hostPath", Some(path)) if path.starts_with('/') => Ok(Self::HostPath { path: path.into() }),
            ("hostPath", _) => Err(ValueError::RelativeHostPath),
            ("pvc", Some(name)) if name::is_dns1123_label(name) => Ok(Self::Pvc { name: name.into() }),
            _ => Err(ValueError::UnknownVolume { given: text.into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_disk_tier_volumes() {
        assert_eq!("ephemeral".parse(), Ok(DiskVolume::Ephemeral { storage_class: None }));
        assert_eq!(
            "ephemeral=local-nvme".parse(),
            Ok(DiskVolume::Ephemeral { storage_class: Some("local-nvme".into()) })
        );
        assert_eq!("hostPath=/mnt/nvme".parse(), Ok(DiskVolume::HostPath { path: "/mnt/nvme".into() }));
        assert_eq!("pvc=kv".parse(), Ok(DiskVolume::Pvc { name: "kv".into() }));
        for text in ["", "/mnt/nvme", "hostPath", "hostPath=mnt", "pvc=", "pvc=A", "ephemeral=", "nvme"] {
            assert!(text.parse::<DiskVolume>().is_err(), "{text}");
        }
    }
}
