//! The host that redirects point to: content by hash, with signed URLs that expire.
//! It must not accept the token of the hub.

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;

use super::content::{self, HubResponse, text_response, with_header};
use super::file_address::{FileAddress, signature};
use super::server::ConnectionHandle;
use super::{FaultKind, HubState};

pub(crate) fn respond(
    request: &Request<Incoming>,
    state: &Arc<HubState>,
    fault: Option<FaultKind>,
    connection: &ConnectionHandle,
) -> HubResponse {
    // Like S3: a signed URL together with a token is rejected.
    if request.headers().contains_key(AUTHORIZATION) {
        return text_response(400, "Only one auth mechanism allowed");
    }
    if request.uri().query() != Some(signature(state).as_str()) {
        return text_response(403, "Request has expired");
    }
    let no_such_key = || text_response(404, "no such key");
    let Some(address) = FileAddress::parse(request.uri().path()) else { return no_such_key() };
    let Some(repository) = state.repository(&address.repository) else { return no_such_key() };
    let Some(file) = address.find_file(&repository) else { return no_such_key() };
    let response = content::file_response(request, state, file, fault, connection);
    match &file.sha256 {
        Some(sha256) => with_header(response, "etag", format!("\"{sha256}\"")),
        None => response,
    }
}
