//! The hub host: the API, `resolve` with its redirects, and small files.
//! It must respond as huggingface.co does.

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use serde_json::{Value, json};

use super::content::{self, HubResponse, text_response, with_header};
use super::file_address::{FileAddress, percent_decode, percent_encode, signed_url};
use super::repository::{HubFile, Repository, RepositoryAccess};
use super::server::ConnectionHandle;
use super::{FaultKind, HubState};

pub(crate) fn respond(
    request: &Request<Incoming>,
    state: &Arc<HubState>,
    fault: Option<FaultKind>,
    connection: &ConnectionHandle,
) -> HubResponse {
    let Some(path) = request.uri().path().strip_prefix(state.settings.path_prefix.as_str()) else {
        return text_response(404, "not found: the mirror has a path prefix");
    };
    let handler = RequestHandler { request, state, fault, connection };
    if let Some(rest) = path.strip_prefix("/api/resolve-cache/models/") {
        return handler.small_file(rest);
    }
    if let Some(rest) = path.strip_prefix("/api/models/") {
        return handler.api(rest);
    }
    handler.resolve(path.trim_start_matches('/'))
}

/// One request and its context.
struct RequestHandler<'a> {
    request: &'a Request<Incoming>,
    state: &'a Arc<HubState>,
    fault: Option<FaultKind>,
    connection: &'a ConnectionHandle,
}

impl RequestHandler<'_> {
    /// Handles `{owner}/{name}[/revision/{revision}]` and `{owner}/{name}/tree/{revision}`.
    fn api(self, rest: &str) -> HubResponse {
        let parts: Vec<&str> = rest.splitn(4, '/').collect();
        let [owner, name, segments @ ..] = parts.as_slice() else {
            return error_response(404, "RepoNotFound", "Repository not found");
        };
        let repository = match self.repository(&format!("{owner}/{name}")) {
            Ok(repository) => repository,
            Err(response) => return *response,
        };
        let canonical = format!("{owner}/{name}");
        if repository.id != canonical {
            let target = self.request.uri().path().replacen(&canonical, &repository.id, 1);
            return with_header(text_response(307, ""), "location", target);
        }
        match segments {
            [] => self.model_info(&repository, "main"),
            ["revision", revision] => self.model_info(&repository, &percent_decode(revision)),
            ["tree", revision] => self.tree(&repository, &percent_decode(revision)),
            ["xet-read-token", _] => self.xet_token(),
            _ => error_response(404, "EntryNotFound", "no such page"),
        }
    }

    /// Returns the URL of xet storage and a token for it.
    fn xet_token(&self) -> HubResponse {
        match &self.state.settings.xet_url {
            Some(url) => json_response(
                &json!({ "casUrl": url, "accessToken": "of-the-store", "exp": 4_000_000_000_u64 }),
            ),
            None => error_response(404, "EntryNotFound", "no xet storage"),
        }
    }

    /// Returns the repository if this caller may see it. Private repositories look like missing ones.
    fn repository(&self, id: &str) -> Result<Repository, Box<HubResponse>> {
        let found = self.state.repository(id).filter(|repository| match &repository.access {
            RepositoryAccess::Private { token } => self.has_token(token),
            _ => true,
        });
        found.ok_or_else(|| match self.request.headers().contains_key(AUTHORIZATION) {
            true => Box::new(error_response(404, "RepoNotFound", "Repository not found")),
            false => Box::new(error_response(401, "RepoNotFound", "Invalid username or password.")),
        })
    }

    fn has_token(&self, token: &str) -> bool {
        let authorization = self.request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        authorization == Some(format!("Bearer {token}").as_str())
    }

    fn model_info(&self, repository: &Repository, revision: &str) -> HubResponse {
        let Some((commit, files)) = repository.resolve(revision) else {
            return error_response(404, "RevisionNotFound", &format!("Invalid rev id: {revision}"));
        };
        let blobs = self.request.uri().query().is_some_and(|query| query.contains("blobs=true"));
        let siblings: Vec<Value> = files.iter().map(|file| file.sibling(blobs)).collect();
        json_response(&json!({
            "_id": "0", "id": repository.id, "modelId": repository.id, "sha": commit,
            "private": matches!(repository.access, RepositoryAccess::Private { .. }),
            "gated": if matches!(repository.access, RepositoryAccess::Gated { .. }) { json!("auto") } else { json!(false) },
            "disabled": false, "downloads": 0, "likes": 0, "tags": [], "siblings": siblings,
            "createdAt": "2026-01-01T00:00:00.000Z", "lastModified": "2026-01-01T00:00:00.000Z",
        }))
    }

    fn tree(&self, repository: &Repository, revision: &str) -> HubResponse {
        let Some((_, files)) = repository.resolve(revision) else {
            return error_response(404, "RevisionNotFound", &format!("Invalid rev id: {revision}"));
        };
        let query = self.request.uri().query().unwrap_or_default();
        let parameter =
            |name: &str| query.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        let start: usize = parameter("cursor").and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
        let entries = self.state.settings.page_entries;
        let page: Vec<Value> = files.iter().skip(start).take(entries).map(tree_entry).collect();
        let response = json_response(&Value::Array(page));
        let repeats = matches!(self.fault, Some(FaultKind::RepeatPage));
        let endless = matches!(self.fault, Some(FaultKind::EndlessPages));
        let next = if repeats { start } else { start + entries };
        if next >= files.len() && !repeats && !endless {
            return response;
        }
        let host = self.request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
        let scheme = if self.state.settings.identity.is_some() { "https" } else { "http" };
        let path = self.request.uri().path();
        let next = format!("{scheme}://{host}{path}?recursive=true&cursor={next}");
        match &self.fault {
            Some(FaultKind::Link("")) => response,
            Some(FaultKind::Link(link)) => with_header(response, "link", link.replace("{next}", &next)),
            _ => with_header(response, "link", format!("<{next}>; rel=\"next\"")),
        }
    }

    /// Handles `{owner}/{name}/resolve/{revision}/{path}`.
    fn resolve(self, rest: &str) -> HubResponse {
        let parts: Vec<&str> = rest.splitn(5, '/').collect();
        let [owner, name, "resolve", revision, path] = parts.as_slice() else {
            return error_response(404, "RepoNotFound", "Repository not found");
        };
        let (revision, path) = (percent_decode(revision), percent_decode(path));
        let repository = match self.repository(&format!("{owner}/{name}")) {
            Ok(repository) => repository,
            Err(response) => return *response,
        };
        let canonical = format!("{owner}/{name}");
        if repository.id != canonical {
            let target = self.request.uri().path().replacen(&canonical, &repository.id, 1);
            return with_header(text_response(307, ""), "location", target);
        }
        if let RepositoryAccess::Gated { token } = &repository.access
            && !self.has_token(token)
        {
            let is_authenticated = self.request.headers().contains_key(AUTHORIZATION);
            let message = format!("Access to model {} is restricted.", repository.id);
            return error_response(if is_authenticated { 403 } else { 401 }, "GatedRepo", &message);
        }
        let Some((commit, files)) = repository.resolve(&revision) else {
            return error_response(404, "RevisionNotFound", &format!("Invalid rev id: {revision}"));
        };
        let Some(file) = files.iter().find(|file| file.path == path) else {
            return with_header(
                error_response(404, "EntryNotFound", "Entry not found"),
                "x-repo-commit",
                commit,
            );
        };
        self.redirect(&repository, commit, file)
    }

    fn redirect(&self, repository: &Repository, commit: &str, file: &HubFile) -> HubResponse {
        let response = match &file.sha256 {
            Some(sha256) => {
                let target = signed_url(self.state, repository, commit, &file.path);
                let response =
                    with_header(text_response(302, "Found. Redirecting to the content"), "location", target);
                with_header(response, "x-linked-etag", format!("\"{sha256}\""))
            }
            None => {
                let (prefix, path) = (&self.state.settings.path_prefix, percent_encode(&file.path));
                let target = format!("{prefix}/api/resolve-cache/models/{}/{commit}/{path}", repository.id);
                let response = with_header(text_response(307, "Temporary Redirect"), "location", target);
                with_header(response, "x-linked-etag", format!("\"{}\"", file.blob_id))
            }
        };
        with_header(with_header(response, "x-linked-size", file.size.to_string()), "x-repo-commit", commit)
    }

    /// Handles `{owner}/{name}/{commit}/{path}` of small files.
    fn small_file(self, rest: &str) -> HubResponse {
        let Some(address) = FileAddress::parse(rest) else {
            return error_response(404, "RepoNotFound", "Repository not found");
        };
        let repository = match self.repository(&address.repository) {
            Ok(repository) => repository,
            Err(response) => return *response,
        };
        let Some(file) = address.find_file(&repository) else {
            return error_response(404, "EntryNotFound", "Entry not found");
        };
        let response = content::file_response(self.request, self.state, file, self.fault, self.connection);
        with_header(
            with_header(response, "etag", format!("\"{}\"", file.blob_id)),
            "x-repo-commit",
            address.commit,
        )
    }
}

impl HubFile {
    /// Returns the entry in the description of a revision, with its size and hashes if `blobs` is set.
    pub fn sibling(&self, blobs: bool) -> Value {
        let mut sibling = json!({ "rfilename": self.path });
        if blobs {
            sibling["size"] = json!(self.size);
            sibling["blobId"] = json!(self.blob_id);
            if let Some(sha256) = &self.sha256 {
                sibling["lfs"] = json!({ "sha256": sha256, "size": self.size, "pointerSize": 134 });
            }
        }
        sibling
    }
}

fn tree_entry(file: &HubFile) -> Value {
    let mut entry = json!({ "type": "file", "oid": file.blob_id, "size": file.size, "path": file.path });
    if let Some(sha256) = &file.sha256 {
        entry["lfs"] = json!({ "oid": sha256, "size": file.size, "pointerSize": 134 });
    }
    if let Some(xet_hash) = &file.xet_hash {
        entry["xetHash"] = json!(xet_hash);
    }
    entry
}

fn json_response(value: &Value) -> HubResponse {
    with_header(text_response(200, value.to_string()), "content-type", "application/json; charset=utf-8")
}

fn error_response(status: u16, code: &str, message: &str) -> HubResponse {
    let answer = text_response(status, json!({ "error": message }).to_string());
    with_header(with_header(answer, "x-error-code", code), "x-error-message", message)
}
