//! GPUs by name: their memory as the driver tells it, and how many stand in how many nodes.

use std::fmt;
use std::str::FromStr;

/// A GPU model, how many of it a node has, and how many such nodes there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hardware {
    pub name: String,
    /// Memory of one GPU, in bytes.
    pub gpu_memory: u64,
    pub gpus_per_node: u32,
    pub nodes: u32,
}

/// MiB as `nvidia-smi` and the label `nvidia.com/gpu.memory` tell it; a little less than the name says.
const KNOWN: &[(&str, u64)] = &[
    ("t4-16g", 15_360),
    ("l4-24g", 23_034),
    ("a10g-24g", 23_028),
    ("a10-24g", 23_028),
    ("a30-24g", 24_576),
    ("l40-48g", 46_068),
    ("l40s-48g", 46_068),
    ("a6000-48g", 49_140),
    ("a100-80g", 81_920),
    ("a100-40g", 40_960),
    ("h100-80g", 81_559),
    ("h20-96g", 97_871),
    ("gh200-96g", 97_871),
    ("h200-141g", 143_771),
    ("b200-180g", 183_359),
];

/// Why a text names no hardware.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not hardware: {reason}")]
pub struct HardwareError {
    given: String,
    reason: String,
}

impl FromStr for Hardware {
    type Err = HardwareError;

    /// Reads `h100-80g`, `h100-80g:8` (GPUs of a node) or `h100-80g:8x4` (and nodes).
    fn from_str(given: &str) -> Result<Self, HardwareError> {
        let refuse = |reason: String| HardwareError { given: given.into(), reason };
        let (name, counts) = given.split_once(':').unwrap_or((given, "1"));
        let (gpus, nodes) = counts.split_once('x').unwrap_or((counts, "1"));
        let count = |text: &str| match text.parse() {
            Ok(0) | Err(_) => {
                Err(refuse("behind the colon stand GPUs of a node and, behind x, nodes, as in 8x4".into()))
            }
            Ok(count) => Ok(count),
        };
        let name = name.to_ascii_lowercase();
        let gpu_memory = memory(&name).ok_or_else(|| {
            let known: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).collect();
            refuse(format!("use NAME-MEMORYg, such as one of: {}", known.join(" ")))
        })?;
        Ok(Self { name, gpu_memory, gpus_per_node: count(gpus)?, nodes: count(nodes)? })
    }
}

/// Memory of a GPU by name: as known, or else by the number in it, less what drivers usually keep.
fn memory(name: &str) -> Option<u64> {
    let alone = |known: &str| known.split('-').next() == Some(name);
    if let Some((_, mebibytes)) = KNOWN.iter().find(|(known, _)| *known == name || alone(known)) {
        return Some(mebibytes << 20);
    }
    let gigabytes: u64 = name.rsplit_once('-')?.1.strip_suffix('g')?.parse().ok()?;
    (1..=4096).contains(&gigabytes).then(|| (gigabytes << 30) / 100 * 96)
}

impl Hardware {
    /// All GPUs.
    pub fn gpus(&self) -> u32 {
        self.gpus_per_node.saturating_mul(self.nodes)
    }
}

impl fmt::Display for Hardware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}x{}", self.name, self.gpus_per_node, self.nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_gpus_of_a_node_and_nodes() {
        let read =
            |text: &str| text.parse::<Hardware>().map(|h| (h.gpu_memory >> 20, h.gpus_per_node, h.nodes));
        assert_eq!(read("h100-80g:8x4"), Ok((81_559, 8, 4)));
        assert_eq!(read("H100:8"), Ok((81_559, 8, 1)));
        assert_eq!(read("l4"), Ok((23_034, 1, 1)));
        assert_eq!(read("new-100g:2"), Ok((98_304, 2, 1)));
        for text in ["", "h100-80g:0", "h100-80g:8x", "h100-80g:x4", "mystery", "big-99999g", "h100:8x4x2"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
