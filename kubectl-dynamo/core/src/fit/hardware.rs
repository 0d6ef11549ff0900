//! GPU models by name, with the memory that the driver reports, and the number of GPUs and nodes.
//! It parses text only and does not query a driver or a cluster.

use std::fmt;
use std::str::FromStr;

/// A GPU model, the number of GPUs per node, and the number of nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hardware {
    pub name: String,
    /// Memory of one GPU, in bytes.
    pub gpu_memory: u64,
    pub gpus_per_node: u32,
    pub nodes: u32,
}

/// GPU memory in MiB, as reported by `nvidia-smi` and the label `nvidia.com/gpu.memory`. It is slightly less
/// than the nominal size.
const KNOWN_GPUS: &[(&str, u64)] = &[
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

/// Limits that keep memory and time bounded. No cluster has more.
const MOST_GPUS_PER_NODE: u32 = 1024;
const MOST_NODES: u32 = 65_536;

/// Why a string is not a valid hardware description.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid hardware \"{given}\": {reason}")]
pub struct HardwareError {
    given: String,
    reason: String,
}

impl FromStr for Hardware {
    type Err = HardwareError;

    /// Parses `h100-80g`, `h100-80g:8` (GPUs per node), or `h100-80g:8x4` (GPUs per node and nodes).
    fn from_str(given: &str) -> Result<Self, HardwareError> {
        let invalid = |reason: String| HardwareError { given: given.into(), reason };
        let (name, counts) = given.split_once(':').unwrap_or((given, "1"));
        let (gpus, nodes) = counts.split_once('x').unwrap_or((counts, "1"));
        let count = |text: &str, most: u32| match text.parse() {
            Ok(count) if (1..=most).contains(&count) => Ok(count),
            Ok(count) if count > most => Err(invalid(format!("{count} is more than {most}"))),
            _ => Err(invalid("expected GPUS or GPUSxNODES after the colon, for example 8x4".into())),
        };
        let name = name.to_ascii_lowercase();
        let gpu_memory = lookup_gpu_memory(&name).ok_or_else(|| {
            let known: Vec<&str> = KNOWN_GPUS.iter().map(|(name, _)| *name).collect();
            invalid(format!("expected NAME-MEMORYg, for example one of: {}", known.join(" ")))
        })?;
        Ok(Self {
            name,
            gpu_memory,
            gpus_per_node: count(gpus, MOST_GPUS_PER_NODE)?,
            nodes: count(nodes, MOST_NODES)?,
        })
    }
}

/// Memory of a GPU in bytes: from the table, or from the number in its name, less the 4 % that drivers
/// usually reserve.
fn lookup_gpu_memory(name: &str) -> Option<u64> {
    let matches_short_name = |known: &str| known.split('-').next() == Some(name);
    if let Some((_, mebibytes)) =
        KNOWN_GPUS.iter().find(|(known, _)| *known == name || matches_short_name(known))
    {
        return Some(mebibytes << 20);
    }
    let gigabytes: u64 = name.rsplit_once('-')?.1.strip_suffix('g')?.parse().ok()?;
    (1..=4096).contains(&gigabytes).then(|| (gigabytes << 30) / 100 * 96)
}

impl Hardware {
    /// Returns GPUs with this memory in bytes. Their name is a known one, or is made of the product.
    pub fn with_memory(product: &str, gpu_memory: u64, gpus_per_node: u32, nodes: u32) -> Self {
        let mebibytes = gpu_memory >> 20;
        let known: Vec<&str> =
            KNOWN_GPUS.iter().filter(|(_, memory)| *memory == mebibytes).map(|(name, _)| *name).collect();
        let product = product.to_lowercase().replace("nvidia-", "");
        let is_of_product =
            |name: &&&str| name.split('-').next().is_some_and(|short| product.contains(short));
        let name = match known.iter().find(is_of_product).or(known.first()) {
            Some(known) => (*known).to_owned(),
            None => {
                let model: Vec<&str> = product.split(['-', ' ']).filter(|part| !part.is_empty()).collect();
                let model = if model.is_empty() { "gpu".into() } else { model.join("-") };
                format!("{model}-{}g", mebibytes >> 10)
            }
        };
        Self { name, gpu_memory, gpus_per_node, nodes }
    }

    /// Total number of GPUs.
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
    fn parses_gpus_per_node_and_node_count() {
        let read =
            |text: &str| text.parse::<Hardware>().map(|h| (h.gpu_memory >> 20, h.gpus_per_node, h.nodes));
        assert_eq!(read("h100-80g:8x4"), Ok((81_559, 8, 4)));
        assert_eq!(read("H100:8"), Ok((81_559, 8, 1)));
        assert_eq!(read("l4"), Ok((23_034, 1, 1)));
        assert_eq!(read("new-100g:2"), Ok((98_304, 2, 1)));
        for text in [
            "",
            "h100-80g:0",
            "h100-80g:8x",
            "h100-80g:x4",
            "mystery",
            "big-99999g",
            "h100:8x4x2",
            "h100:4000000000",
            "h100:1x4000000000",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
