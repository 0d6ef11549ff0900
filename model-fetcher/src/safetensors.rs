//! What can be said about a folder of safetensors without a receipt: shards the index names, and sizes the headers
//! promise. Reads lengths before it allocates; a hostile header is a problem reported, never a panic.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use crate::source::tree::validate_path;

/// The format's own limit for a header.
const LARGEST_HEADER_BYTES: u64 = 100_000_000;
const INDEX: &str = "model.safetensors.index.json";
const LARGEST_INDEX_BYTES: u64 = 64 << 20;

#[derive(Deserialize)]
struct Index {
    weight_map: std::collections::HashMap<String, String>,
}

/// One tensor of a header; `__metadata__` has no offsets.
#[derive(Deserialize)]
struct Tensor {
    data_offsets: Option<(u64, u64)>,
}

/// What is wrong with the safetensors directly in `folder`, or `None` when nothing is or there are none.
pub(crate) fn problem_in(folder: &Path) -> Option<String> {
    let names = fs::read_dir(folder).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut shards: BTreeSet<String> = names.filter(|name| name.ends_with(".safetensors")).collect();
    let index = read_index(&folder.join(INDEX));
    match index.and_then(|json| json.map_or_else(|| Ok(BTreeSet::new()), |json| shards_named_by(&json))) {
        Ok(named) => shards.extend(named),
        Err(problem) => return Some(format!("{INDEX} {problem}")),
    }
    shards.into_iter().find_map(|name| {
        let place = folder.join(&name);
        match File::open(&place).and_then(|file| Ok((file.metadata()?.len(), file))) {
            Err(_) => Some(format!("{name} is missing")),
            Ok((size, mut file)) => problem(&mut file, size).map(|problem| format!("{name} {problem}")),
        }
    })
}

/// The index, if there is one.
fn read_index(place: &Path) -> Result<Option<Vec<u8>>, String> {
    let Ok(file) = File::open(place) else {
        return Ok(None);
    };
    let mut json = Vec::new();
    file.take(LARGEST_INDEX_BYTES)
        .read_to_end(&mut json)
        .map_err(|error| format!("cannot be read: {error}"))?;
    Ok(Some(json))
}

/// The shards an index names, each inside its folder.
pub(crate) fn shards_named_by(json: &[u8]) -> Result<BTreeSet<String>, String> {
    let index: Index = serde_json::from_slice(json).map_err(|error| format!("is no index: {error}"))?;
    let shards: BTreeSet<String> = index.weight_map.into_values().collect();
    match shards.iter().find_map(|name| validate_path(name).err()) {
        Some(problem) => Err(format!("names a file outside the folder: {problem}")),
        None => Ok(shards),
    }
}

/// What is wrong with a safetensors file of `size` bytes.
pub(crate) fn problem(content: &mut impl Read, size: u64) -> Option<String> {
    let mut length = [0; 8];
    if size < 8 || content.read_exact(&mut length).is_err() {
        return Some(format!("has {size} bytes, too few for a header"));
    }
    let length = u64::from_le_bytes(length);
    let Some(data_bytes) = size.checked_sub(8).and_then(|rest| rest.checked_sub(length)) else {
        return Some(format!("has {size} bytes and a header of {length}"));
    };
    if length > LARGEST_HEADER_BYTES {
        return Some(format!("has a header of {length} bytes"));
    }
    let mut header = Vec::new();
    if content.take(length).read_to_end(&mut header).is_err() || header.len() as u64 != length {
        return Some("has a header that cannot be read".into());
    }
    let tensors: std::collections::HashMap<String, Tensor> = match serde_json::from_slice(&header) {
        Ok(tensors) => tensors,
        Err(error) => return Some(format!("has a header that is no JSON of tensors: {error}")),
    };
    problem_of_offsets(tensors.into_values().filter_map(|tensor| tensor.data_offsets).collect(), data_bytes)
}

/// Tensors follow one another without gap or overlap, from 0 to the end of the file.
fn problem_of_offsets(mut offsets: Vec<(u64, u64)>, data_bytes: u64) -> Option<String> {
    offsets.sort_unstable();
    let mut end = 0;
    for (first, last) in offsets {
        if first != end || last < first {
            return Some(format!("has a tensor at {first} to {last} where {end} was due"));
        }
        end = last;
    }
    (end != data_bytes).then(|| format!("has {data_bytes} bytes of tensors, its header promises {end}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut content = (header.len() as u64).to_le_bytes().to_vec();
        content.extend(header.as_bytes());
        content.resize(content.len() + data, 0);
        content
    }

    fn problem_of(content: &[u8]) -> Option<String> {
        problem(&mut &content[..], content.len() as u64)
    }

    const TWO: &str = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
        "b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;

    #[test]
    fn a_whole_file_has_no_problem() {
        assert_eq!(problem_of(&file(TWO, 8)), None);
        assert_eq!(problem_of(&file("{}", 0)), None);
    }

    #[test]
    fn a_file_cut_short_says_by_how_much() {
        assert!(problem_of(&file(TWO, 7)).unwrap().contains("7 bytes of tensors, its header promises 8"));
        assert!(problem_of(&[1, 2, 3]).unwrap().contains("too few"));
    }

    #[test]
    fn hostile_headers_are_problems_and_nothing_else() {
        let huge = (1u64 << 63).to_le_bytes();
        assert!(problem_of(&huge).unwrap().contains("a header of 9223372036854775808"));
        let overlapping = r#"{"a":{"data_offsets":[0,6]},"b":{"data_offsets":[4,8]}}"#;
        assert!(problem_of(&file(overlapping, 8)).unwrap().contains("where 6 was due"));
        assert!(problem_of(&file(r#"{"a":{"data_offsets":[5,1]}}"#, 1)).is_some());
        assert!(problem_of(&file(&"[".repeat(100_000), 0)).unwrap().contains("no JSON"));
        assert!(problem_of(&file(r#"{"a":{"data_offsets":[0,18446744073709551615]}}"#, 0)).is_some());
    }

    #[test]
    fn an_index_names_the_missing_shard() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(problem_in(folder.path()), None);
        fs::write(folder.path().join("model-1.safetensors"), file("{}", 0)).unwrap();
        fs::write(
            folder.path().join(INDEX),
            r#"{"weight_map":{"x":"model-1.safetensors","y":"model-2.safetensors"}}"#,
        )
        .unwrap();
        assert_eq!(problem_in(folder.path()).unwrap(), "model-2.safetensors is missing");
        fs::write(folder.path().join(INDEX), r#"{"weight_map":{"x":"../../etc/passwd"}}"#).unwrap();
        assert!(problem_in(folder.path()).unwrap().contains("outside"));
    }
}
