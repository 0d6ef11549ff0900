//! Paths of files in addresses: their encoding, and `{owner}/{name}/{commit}/{path}`, which both hosts use.

use super::State;
use super::repository::{HubFile, Repository};

/// A file as an address names it.
pub(crate) struct Address<'a> {
    /// `owner/name`.
    pub(crate) repository: String,
    pub(crate) commit: &'a str,
    path: String,
}

impl<'a> Address<'a> {
    /// Reads `{owner}/{name}/{commit}/{path}`; the path is percent-encoded.
    pub(crate) fn read(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.trim_start_matches('/').splitn(4, '/').collect();
        let [owner, name, commit, path] = parts.as_slice() else { return None };
        Some(Self { repository: format!("{owner}/{name}"), commit, path: decoded(path) })
    }

    /// The file it names in `repository`.
    pub(crate) fn find<'r>(&self, repository: &'r Repository) -> Option<&'r HubFile> {
        let (_, files) = repository.resolve(self.commit)?;
        files.iter().find(|file| file.path == self.path)
    }
}

/// The signed address of a large file.
pub(crate) fn signed(state: &State, repository: &Repository, commit: &str, path: &str) -> String {
    format!("{}/{}/{commit}/{}?{}", state.cdn_url, repository.id, encoded(path), signature(state))
}

/// The query of addresses that have not expired.
pub(crate) fn signature(state: &State) -> String {
    format!("Signature={}", state.generation.load(std::sync::atomic::Ordering::SeqCst))
}

pub(crate) fn encoded(path: &str) -> String {
    path.replace('%', "%25").replace(' ', "%20").replace('#', "%23").replace('?', "%3F")
}

pub(crate) fn decoded(path: &str) -> String {
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
    fn what_is_encoded_is_read_again() {
        for path in ["a/b.json", "a name with spaces #1.json", "100%.txt", "what?.md"] {
            assert_eq!(decoded(&encoded(path)), path);
            assert!(!encoded(path).contains([' ', '#', '?']));
        }
    }
}
