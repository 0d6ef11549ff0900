//! The host that redirects lead to: content by hash, behind signed addresses that expire.

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;

use super::address::{Address, signature};
use super::content::{self, Answer, text, with};
use super::server::Line;
use super::{FaultKind, State};

pub(crate) fn answer(
    request: &Request<Incoming>,
    state: &Arc<State>,
    fault: Option<FaultKind>,
    line: &Line,
) -> Answer {
    // As S3 does: a signed address and a token are one kind of authorisation too many.
    if request.headers().contains_key(AUTHORIZATION) {
        return text(400, "Only one auth mechanism allowed");
    }
    if request.uri().query() != Some(signature(state).as_str()) {
        return text(403, "Request has expired");
    }
    let no_such_key = || text(404, "no such key");
    let Some(address) = Address::read(request.uri().path()) else { return no_such_key() };
    let Some(repository) = state.repository(&address.repository) else { return no_such_key() };
    let Some(found) = address.find(&repository) else { return no_such_key() };
    let answer = content::file(request, state, found, fault, line);
    match &found.sha256 {
        Some(sha256) => with(answer, "etag", format!("\"{sha256}\"")),
        None => answer,
    }
}
