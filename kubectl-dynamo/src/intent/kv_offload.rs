//! Where a worker keeps KV cache that no longer fits its GPUs: CPU memory, and a disk behind it.

use serde::{Deserialize, Serialize};

use super::name;

/// The tiers below the GPU, of each worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KvOffload {
    /// CPU memory for KV blocks, a Kubernetes quantity.
    pub cpu: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskTier>,
}

/// The disk behind the CPU tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskTier {
    /// Space for KV blocks, a Kubernetes quantity.
    pub size: String,
    pub volume: DiskVolume,
}

/// The volume that holds the disk tier; never the container's own layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum DiskVolume {
    /// A generic ephemeral volume: a claim of the pod's own, gone with it.
    Ephemeral {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        storage_class: Option<String>,
    },
    /// A folder of the node, such as one on its NVMe.
    HostPath { path: String },
    /// An existing claim.
    Claim { claim: String },
}

impl std::str::FromStr for DiskVolume {
    type Err = String;

    /// Reads `ephemeral`, `ephemeral=CLASS`, `hostPath=PATH` or `pvc=NAME`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, rest) = match text.split_once('=') {
            Some((kind, rest)) => (kind, Some(rest)),
            None => (text, None),
        };
        match (kind, rest) {
            ("ephemeral", None) => Ok(Self::Ephemeral { storage_class: None }),
            ("ephemeral", Some(class)) if name::is_object_name(class) => {
                Ok(Self::Ephemeral { storage_class: Some(class.into()) })
            }
            ("hostPath", Some(path)) if path.starts_with('/') => Ok(Self::HostPath { path: path.into() }),
            ("hostPath", _) => {
                Err("a hostPath is an absolute path of the node, as in hostPath=/mnt/nvme".into())
            }
            ("pvc", Some(claim)) if name::is_object_label(claim) => Ok(Self::Claim { claim: claim.into() }),
            _ => Err(format!("`{text}` is none of ephemeral, ephemeral=CLASS, hostPath=PATH and pvc=NAME")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_volumes_of_a_disk_tier() {
        assert_eq!("ephemeral".parse(), Ok(DiskVolume::Ephemeral { storage_class: None }));
        assert_eq!(
            "ephemeral=local-nvme".parse(),
            Ok(DiskVolume::Ephemeral { storage_class: Some("local-nvme".into()) })
        );
        assert_eq!("hostPath=/mnt/nvme".parse(), Ok(DiskVolume::HostPath { path: "/mnt/nvme".into() }));
        assert_eq!("pvc=kv".parse(), Ok(DiskVolume::Claim { claim: "kv".into() }));
        for text in ["", "/mnt/nvme", "hostPath", "hostPath=mnt", "pvc=", "pvc=A", "ephemeral=", "nvme"] {
            assert!(text.parse::<DiskVolume>().is_err(), "{text}");
        }
    }
}
