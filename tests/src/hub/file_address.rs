//! Paths of files in URLs: their encoding, and `{owner}/{name}/{commit}/{path}`, which both hosts use.
//! It does not access the disk.

use super::HubState;
use super::repository::{HubFile, Repository};

/// A file as a URL identifies it.
pub(crate) struct FileAddress<'a> {
    /// `owner/name`.
    pub(crate) repository: String,
    pub(crate) commit: &'a str,
    path: String,
}

impl<'a> FileAddress<'a> {
    /// Parses `{owner}/{name}/{commit}/{path}`; the path is percent-encoded.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.trim_start_matches('/').splitn(4, '/').collect();
        let [owner, name, commit, path] = parts.as_slice() else { return None };
        Some(Self { repository: format!("{owner}/{name}"), commit, path: percent_decode(path) })
    }

    /// Returns the file in `repository`.
    pub(crate) fn find_file<'r>(&self, repository: &'r Repository) -> Option<&'r HubFile> {
        let (_, files) = repository.resolve(self.commit)?;
        files.iter().find(|file| file.path == self.path)
    }
}

/// Returns the signed URL of a large file.
pub(crate) fn signed_url(state: &HubState, repository: &Repository, commit: &str, path: &str) -> String {
    format!("{}/{}/{commit}/{}?{}", state.cdn_url, repository.id, percent_encode(path), signature(state))
}

/// Returns the query of URLs that have not expired.
pub(crate) fn signature(state: &HubState) -> String {
    format!("Signature={}", state.generation.load(std::sync::atomic::Ordering::SeqCst))
}

pub(crate) fn percent_encode(path: &str) -> String {
    let is_kept = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    let encode = |byte: u8| if is_kept(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    path.bytes().map(encode).collect()
}

pub(crate) fn percent_decode(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code =
            tail.get(..2).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match (first, code) {
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_round_trips() {
        for path in ["a/b.json", "a name with spaces #1.json", "100%.txt", "what?.md"] {
            assert_eq!(percent_decode(&percent_encode(path)), path);
            assert!(!percent_encode(path).contains([' ', '#', '?']));
        }
    }
}
