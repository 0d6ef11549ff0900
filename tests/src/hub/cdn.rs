//! The host that redirects lead to: content by hash, behind signed addresses that expire.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, RANGE};

use super::content::{self, Answer, text, with};
use super::repository::Repository;
use super::server::Line;
use super::{FaultKind, State};

/// The signed address of a large file.
pub(crate) fn address(state: &State, repository: &Repository, commit: &str, path: &str) -> String {
    let generation = state.generation.load(Ordering::SeqCst);
    let encoded = path.replace(' ', "%20").replace('#', "%23");
    format!("{}/{}/{commit}/{encoded}?Signature={generation}", state.cdn_url, repository.id)
}

pub(crate) fn answer(
    request: &Request<Incoming>,
    state: &Arc<State>,
    fault: Option<FaultKind>,
    line: &Line,
) -> Answer {
    if let Some(FaultKind::Status(status, headers)) = &fault {
        return headers
            .iter()
            .fold(text(*status, "a fault on request"), |answer, (name, value)| with(answer, name, value));
    }
    if let Some(FaultKind::Redirect(target)) = &fault {
        return with(text(302, ""), "location", target);
    }
    // As S3 does: a signed address and a token are one kind of authorisation too many.
    if request.headers().contains_key(AUTHORIZATION) {
        return text(400, "Only one auth mechanism allowed");
    }
    let current = format!("Signature={}", state.generation.load(Ordering::SeqCst));
    if request.uri().query() != Some(current.as_str()) {
        return text(403, "Request has expired");
    }
    let path = percent_decoded(request.uri().path());
    let parts: Vec<&str> = path.trim_start_matches('/').splitn(4, '/').collect();
    let [owner, name, commit, file] = parts.as_slice() else {
        return text(404, "no such key");
    };
    let Some(repository) = state.repository(&format!("{owner}/{name}")) else {
        return text(404, "no such key");
    };
    let found =
        repository.resolve(commit).and_then(|(_, files)| files.iter().find(|held| held.path == *file));
    let Some(found) = found else {
        return text(404, "no such key");
    };
    let range = request.headers().get(RANGE).and_then(|value| value.to_str().ok());
    let answer = content::file(state, found, range, fault, line);
    match &found.sha256 {
        Some(sha256) => with(answer, "etag", format!("\"{sha256}\"")),
        None => answer,
    }
}

pub(crate) fn percent_decoded(path: &str) -> String {
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
