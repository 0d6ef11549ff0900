//! The GPUs of a cluster's nodes as the hardware of `fit`: their memory is in the label that preflight uses too.

use std::collections::BTreeMap;

use super::Node;
use super::memory::{GPU_MEMORY, gpu_memory_of};
use crate::code::MessageCode;
use crate::command::{Fix, SuggestedCommand};
use crate::error::{Exit, Explain};
use crate::fit::Hardware;
use crate::rbac::{Persona, generate_command};

/// The node label with the GPU model, set by NVIDIA GPU Feature Discovery.
pub const GPU_PRODUCT: &str = "nvidia.com/gpu.product";

/// The flag of every command that reads the GPUs of a cluster.
const EXAMPLE: &str = "--gpu h100-80g:8";

/// Why the hardware of a cluster is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterHardwareError {
    #[error("no node that accepts pods has GPUs (nvidia.com/gpu)")]
    NoGpus,
    #[error("the GPU node \"{node}\" does not have the label {GPU_MEMORY}")]
    NoMemoryLabel { node: String },
    #[error("the cluster has GPUs of several kinds: {}", describe(kinds))]
    SeveralKinds { kinds: Vec<Hardware> },
    #[error("the nodes of the cluster are unknown: {reason}")]
    Unavailable { reason: String },
}

/// Returns the kinds with their values of `--gpu`.
fn describe(kinds: &[Hardware]) -> String {
    kinds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Explain for ClusterHardwareError {
    fn code(&self) -> Option<MessageCode> {
        Some(match self {
            Self::NoGpus => MessageCode::NoGpuNode,
            Self::NoMemoryLabel { .. } | Self::SeveralKinds { .. } => MessageCode::InvalidValue,
            Self::Unavailable { .. } => MessageCode::RbacDenied,
        })
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::NoGpus => SuggestedCommand::kubectl("get nodes")
                .flag("--show-labels")
                .cluster_scoped()
                .after("inspect the nodes with ")
                .text(format!(", or specify the GPUs with {EXAMPLE}")),
            Self::NoMemoryLabel { .. } => {
                format!("install NVIDIA GPU Feature Discovery, or specify the GPUs with {EXAMPLE}").into()
            }
            Self::SeveralKinds { kinds } => {
                let first = kinds.first().map(ToString::to_string).unwrap_or_default();
                format!("select one with --gpu {first}").into()
            }
            Self::Unavailable { .. } => Fix::from("ask an administrator: ")
                .then(generate_command(Persona::Platform, None, None))
                .text(format!("; or specify the GPUs with {EXAMPLE}")),
        })
    }

    fn exit(&self) -> Exit {
        self.code().map_or(Exit::Failed, MessageCode::exit)
    }
}

/// Returns the GPUs of the nodes that accept pods. Nodes with fewer GPUs than the largest count as a part of one.
///
/// # Errors
/// There are no GPUs, they are of several kinds, or their memory is unknown.
pub fn cluster_hardware(nodes: &[Node]) -> Result<Hardware, ClusterHardwareError> {
    let mut kinds: BTreeMap<(u64, &str), Vec<u64>> = BTreeMap::new();
    for node in nodes.iter().filter(|node| node.gpus > 0 && node.ready && !node.cordoned) {
        let memory = gpu_memory_of(node)
            .ok_or_else(|| ClusterHardwareError::NoMemoryLabel { node: node.name.clone() })?;
        let product = node.labels.get(GPU_PRODUCT).map(String::as_str).unwrap_or_default();
        kinds.entry((memory, product)).or_default().push(node.gpus);
    }
    let hardware = |((memory, product), gpus): (&(u64, &str), &Vec<u64>)| {
        let most = gpus.iter().max().copied().unwrap_or(1);
        let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Hardware::with_memory(product, *memory, count(most), count(gpus.iter().sum::<u64>() / most))
    };
    let mut kinds: Vec<Hardware> = kinds.iter().map(hardware).collect();
    match (kinds.pop(), kinds.is_empty()) {
        (None, _) => Err(ClusterHardwareError::NoGpus),
        (Some(only), true) => Ok(only),
        (Some(last), false) => {
            kinds.push(last);
            Err(ClusterHardwareError::SeveralKinds { kinds })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, gpus: u64, labels: &[(&str, &str)]) -> Node {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Node { name: name.into(), gpus, labels, ready: true, ..Node::default() }
    }

    const H100: [(&str, &str); 2] = [(GPU_MEMORY, "81559"), (GPU_PRODUCT, "NVIDIA-H100-80GB-HBM3")];
    const OTHER: [(&str, &str); 2] = [(GPU_MEMORY, "30000"), (GPU_PRODUCT, "NVIDIA-New-GPU")];

    #[test]
    fn hardware_is_that_of_the_nodes_that_accept_pods() {
        let cordoned = Node { cordoned: true, ..node("c", 8, &OTHER) };
        let not_ready = Node { ready: false, ..node("d", 8, &OTHER) };
        let nodes = [
            node("a", 8, &H100),
            node("b", 8, &H100),
            node("e", 4, &H100),
            node("cpu", 0, &[]),
            cordoned,
            not_ready,
        ];
        let hardware = cluster_hardware(&nodes).expect("one kind");
        assert_eq!(hardware.to_string(), "h100-80g:8x2");
        assert_eq!(hardware.gpu_memory >> 20, 81_559);
        let other = cluster_hardware(&[node("a", 1, &OTHER)]).expect("one kind");
        assert_eq!((other.to_string().as_str(), other.gpu_memory >> 20), ("new-gpu-29g:1x1", 30_000));
        let parsed: Hardware = other.to_string().parse().expect("a value of --gpu");
        assert!(parsed.gpu_memory <= other.gpu_memory, "{parsed:?}");
    }

    #[test]
    fn unknown_hardware_is_an_error_with_a_command() {
        let several = [node("a", 8, &H100), node("b", 4, &OTHER)];
        let unavailable =
            ClusterHardwareError::Unavailable { reason: "missing permission to list nodes".into() };
        for (error, code, hint) in [
            (cluster_hardware(&[]).expect_err("none"), MessageCode::NoGpuNode, "--gpu h100-80g:8"),
            (
                cluster_hardware(&[node("a", 1, &[])]).expect_err("no label"),
                MessageCode::InvalidValue,
                "--gpu h100-80g:8",
            ),
            (
                cluster_hardware(&several).expect_err("two kinds"),
                MessageCode::InvalidValue,
                "--gpu new-gpu-29g:4x1",
            ),
            (unavailable, MessageCode::RbacDenied, "--persona platform"),
        ] {
            assert_eq!(error.code(), Some(code), "{error}");
            let text = error.hint().expect("a hint").to_string();
            assert!(text.contains(hint), "{error}: {text}");
        }
        let text = cluster_hardware(&several).expect_err("two kinds").to_string();
        assert!(text.ends_with("new-gpu-29g:4x1, h100-80g:8x1"), "{text}");
    }
}
