//! Checks a folder of safetensors without a receipt: the shards in the index exist, and file sizes match the
//! headers. Lengths are checked before memory is allocated; an invalid header is a reported problem and never
//! a panic.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use crate::source::listing_error::PathError;
use crate::source::tree::validate_path;
use model_fetcher_contract::weights::{WeightIndex, WeightIndexError};

/// Header size limit of the safetensors format.
const MAX_HEADER_BYTES: u64 = 100_000_000;
const INDEX_FILE: &str = "model.safetensors.index.json";
/// Larger files are not indexes. Chosen: the index of a model with 100,000 tensors has some 10 MB.
pub(crate) const MAX_INDEX_BYTES: u64 = 64 << 20;

/// Why the index of a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShardIndexError {
    #[error("cannot be read: {0}")]
    Read(std::io::Error),
    #[error("{0}")]
    Content(WeightIndexError),
    #[error("refers to a file outside the folder: {0}")]
    Path(PathError),
}

/// One tensor of a header. `__metadata__` does not have offsets.
#[derive(Deserialize)]
struct TensorHeader {
    data_offsets: Option<(u64, u64)>,
}

/// Returns what is wrong with the safetensors directly in `folder`, or `None` if they are valid or there are
/// none.
pub(crate) fn find_problem_in_folder(folder: &Path) -> Option<String> {
    let names = fs::read_dir(folder).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut shards: BTreeSet<String> = names.filter(|name| name.ends_with(".safetensors")).collect();
    let index = read_index(&folder.join(INDEX_FILE));
    match index.and_then(|json| json.map_or_else(|| Ok(BTreeSet::new()), |json| parse_shard_names(&json))) {
        Ok(shard_names) => shards.extend(shard_names),
        Err(problem) => return Some(format!("{INDEX_FILE} {problem}")),
    }
    shards.into_iter().find_map(|name| {
        let path = folder.join(&name);
        match File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file))) {
            Err(_) => Some(format!("{name} is missing")),
            Ok((size, mut file)) => find_problem(&mut file, size).map(|problem| format!("{name} {problem}")),
        }
    })
}

/// Reads the index, if there is one.
fn read_index(path: &Path) -> Result<Option<Vec<u8>>, ShardIndexError> {
    let Ok(file) = File::open(path) else {
        return Ok(None);
    };
    let mut json = Vec::new();
    file.take(MAX_INDEX_BYTES).read_to_end(&mut json).map_err(ShardIndexError::Read)?;
    Ok(Some(json))
}

/// Returns the shards in an index. Each must be inside its folder.
pub(crate) fn parse_shard_names(json: &[u8]) -> Result<BTreeSet<String>, ShardIndexError> {
    let WeightIndex { shards, .. } =
        WeightIndex::parse(INDEX_FILE, json).map_err(ShardIndexError::Content)?;
    match shards.iter().find_map(|name| validate_path(name).err()) {
        Some(error) => Err(ShardIndexError::Path(error)),
        None => Ok(shards),
    }
}

/// Returns what is wrong with a safetensors file of `size` bytes.
pub(crate) fn find_problem(content: &mut impl Read, size: u64) -> Option<String> {
    let mut length = [0; 8];
    if size < 8 || content.read_exact(&mut length).is_err() {
        return Some(format!("has {size} bytes, too small for a header"));
    }
    let length = u64::from_le_bytes(length);
    let Some(data_bytes) =
        size.checked_sub(8).and_then(|data_and_header| data_and_header.checked_sub(length))
    else {
        return Some(format!("has {size} bytes and a header of {length}"));
    };
    if length > MAX_HEADER_BYTES {
        return Some(format!("has a header of {length} bytes"));
    }
    let mut header = Vec::new();
    if content.take(length).read_to_end(&mut header).is_err() || header.len() as u64 != length {
        return Some("has an incomplete header".into());
    }
    let tensors: std::collections::HashMap<String, TensorHeader> = match serde_json::from_slice(&header) {
        Ok(tensors) => tensors,
        Err(error) => return Some(format!("has an invalid header: {error}")),
    };
    find_offset_problem(tensors.into_values().filter_map(|tensor| tensor.data_offsets).collect(), data_bytes)
}

/// Returns a problem unless tensors are contiguous from 0 to the end of the file.
fn find_offset_problem(mut offsets: Vec<(u64, u64)>, data_bytes: u64) -> Option<String> {
    offsets.sort_unstable();
    let mut end = 0;
    for (first, last) in offsets {
        if first != end || last < first {
            return Some(format!("has a tensor at bytes {first} to {last}, expected to start at {end}"));
        }
        end = last;
    }
    (end != data_bytes).then(|| format!("has {data_bytes} bytes of tensors, expected {end}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn safetensors_file(header: &str, data: usize) -> Vec<u8> {
        let mut content = (header.len() as u64).to_le_bytes().to_vec();
        content.extend(header.as_bytes());
        content.resize(content.len() + data, 0);
        content
    }

    fn problem_in_bytes(content: &[u8]) -> Option<String> {
        find_problem(&mut &content[..], content.len() as u64)
    }

    const TWO_TENSORS: &str = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
        "b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;

    #[test]
    fn complete_file_has_no_problem() {
        assert_eq!(problem_in_bytes(&safetensors_file(TWO_TENSORS, 8)), None);
        assert_eq!(problem_in_bytes(&safetensors_file("{}", 0)), None);
    }

    #[test]
    fn truncated_file_reports_both_sizes() {
        assert!(
            problem_in_bytes(&safetensors_file(TWO_TENSORS, 7))
                .unwrap()
                .contains("7 bytes of tensors, expected 8")
        );
        assert!(problem_in_bytes(&[1, 2, 3]).unwrap().contains("too small"));
    }

    #[test]
    fn malformed_headers_are_reported() {
        let huge = (1u64 << 63).to_le_bytes();
        assert!(problem_in_bytes(&huge).unwrap().contains("a header of 9223372036854775808"));
        let overlapping = r#"{"a":{"data_offsets":[0,6]},"b":{"data_offsets":[4,8]}}"#;
        assert!(
            problem_in_bytes(&safetensors_file(overlapping, 8)).unwrap().contains("expected to start at 6")
        );
        assert!(problem_in_bytes(&safetensors_file(r#"{"a":{"data_offsets":[5,1]}}"#, 1)).is_some());
        assert!(
            problem_in_bytes(&safetensors_file(&"[".repeat(100_000), 0)).unwrap().contains("invalid header")
        );
        assert!(
            problem_in_bytes(&safetensors_file(r#"{"a":{"data_offsets":[0,18446744073709551615]}}"#, 0))
                .is_some()
        );
    }

    #[test]
    fn index_reports_missing_shard() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(find_problem_in_folder(folder.path()), None);
        fs::write(folder.path().join("model-1.safetensors"), safetensors_file("{}", 0)).unwrap();
        fs::write(
            folder.path().join(INDEX_FILE),
            r#"{"weight_map":{"x":"model-1.safetensors","y":"model-2.safetensors"}}"#,
        )
        .unwrap();
        assert_eq!(find_problem_in_folder(folder.path()).unwrap(), "model-2.safetensors is missing");
        fs::write(folder.path().join(INDEX_FILE), r#"{"weight_map":{"x":"../../etc/passwd"}}"#).unwrap();
        assert!(find_problem_in_folder(folder.path()).unwrap().contains("outside"));
    }
}
