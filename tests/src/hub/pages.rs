//! The hub's own host: the API, `resolve` with its redirects, and the small files.

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use serde_json::{Value, json};

use super::address::{Address, decoded, encoded, signed};
use super::content::{self, Answer, text, with};
use super::repository::{Access, HubFile, Repository};
use super::server::Line;
use super::{FaultKind, State};

pub(crate) fn answer(
    request: &Request<Incoming>,
    state: &Arc<State>,
    fault: Option<FaultKind>,
    line: &Line,
) -> Answer {
    let Some(path) = request.uri().path().strip_prefix(state.settings.path_prefix.as_str()) else {
        return text(404, "nothing here: the mirror is below a path");
    };
    let visit = Visit { request, state, fault, line };
    if let Some(rest) = path.strip_prefix("/api/resolve-cache/models/") {
        return visit.small_file(rest);
    }
    if let Some(rest) = path.strip_prefix("/api/models/") {
        return visit.api(rest);
    }
    visit.resolve(path.trim_start_matches('/'))
}

/// One request and what it needs.
struct Visit<'a> {
    request: &'a Request<Incoming>,
    state: &'a Arc<State>,
    fault: Option<FaultKind>,
    line: &'a Line,
}

impl Visit<'_> {
    /// `{owner}/{name}[/revision/{revision}]` and `{owner}/{name}/tree/{revision}`.
    fn api(self, rest: &str) -> Answer {
        let parts: Vec<&str> = rest.splitn(4, '/').collect();
        let [owner, name, more @ ..] = parts.as_slice() else {
            return error(404, "RepoNotFound", "Repository not found");
        };
        let repository = match self.repository(&format!("{owner}/{name}")) {
            Ok(repository) => repository,
            Err(answer) => return *answer,
        };
        let canonical = format!("{owner}/{name}");
        if repository.id != canonical {
            let target = self.request.uri().path().replacen(&canonical, &repository.id, 1);
            return with(text(307, ""), "location", target);
        }
        match more {
            [] => self.information(&repository, "main"),
            ["revision", revision] => self.information(&repository, &decoded(revision)),
            ["tree", revision] => self.tree(&repository, &decoded(revision)),
            ["xet-read-token", _] => self.xet_token(),
            _ => error(404, "EntryNotFound", "no such page"),
        }
    }

    /// Where xet storage is, and a token for it.
    fn xet_token(&self) -> Answer {
        match &self.state.settings.xet_url {
            Some(url) => {
                json_page(&json!({ "casUrl": url, "accessToken": "of-the-store", "exp": 4_000_000_000_u64 }))
            }
            None => error(404, "EntryNotFound", "no xet storage"),
        }
    }

    /// The repository if this caller may know of it. Nobody learns whether a private one exists.
    fn repository(&self, id: &str) -> Result<Repository, Box<Answer>> {
        let found = self.state.repository(id).filter(|repository| match &repository.access {
            Access::Private { token } => self.has_token(token),
            _ => true,
        });
        found.ok_or_else(|| match self.request.headers().contains_key(AUTHORIZATION) {
            true => Box::new(error(404, "RepoNotFound", "Repository not found")),
            false => Box::new(error(401, "RepoNotFound", "Invalid username or password.")),
        })
    }

    fn has_token(&self, token: &str) -> bool {
        let given = self.request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        given == Some(format!("Bearer {token}").as_str())
    }

    fn information(&self, repository: &Repository, revision: &str) -> Answer {
        let Some((commit, files)) = repository.resolve(revision) else {
            return error(404, "RevisionNotFound", &format!("Invalid rev id: {revision}"));
        };
        let blobs = self.request.uri().query().is_some_and(|query| query.contains("blobs=true"));
        let siblings: Vec<Value> = files.iter().map(|file| sibling(file, blobs)).collect();
        json_page(&json!({
            "_id": "0", "id": repository.id, "modelId": repository.id, "sha": commit,
            "private": matches!(repository.access, Access::Private { .. }),
            "gated": if matches!(repository.access, Access::Gated { .. }) { json!("auto") } else { json!(false) },
            "disabled": false, "downloads": 0, "likes": 0, "tags": [], "siblings": siblings,
            "createdAt": "2026-01-01T00:00:00.000Z", "lastModified": "2026-01-01T00:00:00.000Z",
        }))
    }

    fn tree(&self, repository: &Repository, revision: &str) -> Answer {
        let Some((_, files)) = repository.resolve(revision) else {
            return error(404, "RevisionNotFound", &format!("Invalid rev id: {revision}"));
        };
        let query = self.request.uri().query().unwrap_or_default();
        let parameter =
            |name: &str| query.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        let start: usize = parameter("cursor").and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
        let entries = self.state.settings.page_entries;
        let page: Vec<Value> = files.iter().skip(start).take(entries).map(tree_entry).collect();
        let answer = json_page(&Value::Array(page));
        let repeats = matches!(self.fault, Some(FaultKind::RepeatPage));
        let endless = matches!(self.fault, Some(FaultKind::EndlessPages));
        let next = if repeats { start } else { start + entries };
        if next >= files.len() && !repeats && !endless {
            return answer;
        }
        let host = self.request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
        let scheme = if self.state.settings.identity.is_some() { "https" } else { "http" };
        let path = self.request.uri().path();
        let link = format!("<{scheme}://{host}{path}?recursive=true&cursor={next}>; rel=\"next\"");
        with(answer, "link", link)
    }

    /// `{owner}/{name}/resolve/{revision}/{path}`.
    fn resolve(self, rest: &str) -> Answer {
        let parts: Vec<&str> = rest.splitn(5, '/').collect();
        let [owner, name, "resolve", revision, path] = parts.as_slice() else {
            return error(404, "RepoNotFound", "Repository not found");
        };
        let (revision, path) = (decoded(revision), decoded(path));
        let repository = match self.repository(&format!("{owner}/{name}")) {
            Ok(repository) => repository,
            Err(answer) => return *answer,
        };
        let canonical = format!("{owner}/{name}");
        if repository.id != canonical {
            let target = self.request.uri().path().replacen(&canonical, &repository.id, 1);
            return with(text(307, ""), "location", target);
        }
        if let Access::Gated { token } = &repository.access
            && !self.has_token(token)
        {
            let given = self.request.headers().contains_key(AUTHORIZATION);
            let message = format!("Access to model {} is restricted.", repository.id);
            return error(if given { 403 } else { 401 }, "GatedRepo", &message);
        }
        let Some((commit, files)) = repository.resolve(&revision) else {
            return error(404, "RevisionNotFound", &format!("Invalid rev id: {revision}"));
        };
        let Some(file) = files.iter().find(|file| file.path == path) else {
            return with(error(404, "EntryNotFound", "Entry not found"), "x-repo-commit", commit);
        };
        self.redirect(&repository, commit, file)
    }

    fn redirect(&self, repository: &Repository, commit: &str, file: &HubFile) -> Answer {
        let answer = match &file.sha256 {
            Some(sha256) => {
                let target = signed(self.state, repository, commit, &file.path);
                let answer = with(text(302, "Found. Redirecting to the content"), "location", target);
                with(answer, "x-linked-etag", format!("\"{sha256}\""))
            }
            None => {
                let (prefix, path) = (&self.state.settings.path_prefix, encoded(&file.path));
                let target = format!("{prefix}/api/resolve-cache/models/{}/{commit}/{path}", repository.id);
                let answer = with(text(307, "Temporary Redirect"), "location", target);
                with(answer, "x-linked-etag", format!("\"{}\"", file.blob_id))
            }
        };
        with(with(answer, "x-linked-size", file.size.to_string()), "x-repo-commit", commit)
    }

    /// `{owner}/{name}/{commit}/{path}` of the small files' own route.
    fn small_file(self, rest: &str) -> Answer {
        let Some(address) = Address::read(rest) else {
            return error(404, "RepoNotFound", "Repository not found");
        };
        let repository = match self.repository(&address.repository) {
            Ok(repository) => repository,
            Err(answer) => return *answer,
        };
        let Some(file) = address.find(&repository) else {
            return error(404, "EntryNotFound", "Entry not found");
        };
        let answer = content::file(self.request, self.state, file, self.fault.clone(), self.line);
        with(with(answer, "etag", format!("\"{}\"", file.blob_id)), "x-repo-commit", address.commit)
    }
}

fn sibling(file: &HubFile, blobs: bool) -> Value {
    let mut sibling = json!({ "rfilename": file.path });
    if blobs {
        sibling["size"] = json!(file.size);
        sibling["blobId"] = json!(file.blob_id);
        if let Some(sha256) = &file.sha256 {
            sibling["lfs"] = json!({ "sha256": sha256, "size": file.size, "pointerSize": 134 });
        }
    }
    sibling
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

fn json_page(value: &Value) -> Answer {
    with(text(200, value.to_string()), "content-type", "application/json; charset=utf-8")
}

fn error(status: u16, code: &str, message: &str) -> Answer {
    let answer = text(status, json!({ "error": message }).to_string());
    with(with(answer, "x-error-code", code), "x-error-message", message)
}
