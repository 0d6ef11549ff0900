//! Where a worker keeps KV cache that no longer fits its GPUs: CPU memory, and a disk behind it.

use serde::{Deserialize, Serialize};

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
