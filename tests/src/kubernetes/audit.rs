//! Reads the requests of the audited user from an API server's audit log.
//! It must not count requests of the test itself.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use serde_json::Value;

use crate::Outcome;

/// The audit log of one API server. It contains complete requests and responses of `AUDITED_USER`.
#[derive(Debug, Clone)]
pub struct AuditLog {
    path: PathBuf,
}

/// One completed request of the audited user.
#[derive(Debug, Clone)]
pub struct AuditedRequest {
    pub verb: String,
    pub namespace: String,
    /// API group; empty for the core group.
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub name: String,
    pub code: u64,
    /// Resource version of the object in the response, if it is a single object.
    pub resource_version: Option<String>,
    pub dry_run: bool,
    /// The user of the request: the impersonated user, if any.
    pub user: String,
    pub user_agent: String,
    /// The object in the request, if any.
    pub object: Value,
}

impl AuditedRequest {
    /// Returns whether it changes objects and is not a dry run.
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
            && !self.dry_run
    }
}

impl AuditLog {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Returns the size of the log in bytes. Later requests are after this position.
    pub fn position(&self) -> Outcome<u64> {
        Ok(std::fs::metadata(&self.path).map(|file| file.len()).unwrap_or_default())
    }

    /// Returns the requests in `namespace` after `position`, ordered by response.
    pub fn requests_since(&self, position: u64, namespace: &str) -> Outcome<Vec<AuditedRequest>> {
        let mut requests = self.all_since(position)?;
        requests.retain(|request| request.namespace == namespace);
        Ok(requests)
    }

    /// Returns every request of `user` after `position`, including discovery and cluster-scoped objects. Run
    /// the plugin with `--as USER` so that requests of other cases are not counted.
    pub fn requests_for(&self, position: u64, user: &str) -> Outcome<Vec<AuditedRequest>> {
        let mut requests = self.all_since(position)?;
        requests.retain(|request| request.user == user);
        Ok(requests)
    }

    fn all_since(&self, position: u64) -> Outcome<Vec<AuditedRequest>> {
        // Only the new part is read: the log of a whole tier is large and read often.
        let seek_position = position.saturating_sub(1);
        let mut log = File::open(&self.path)?;
        log.seek(SeekFrom::Start(seek_position))?;
        let mut read = Vec::new();
        log.read_to_end(&mut read)?;
        let mut new = read.as_slice();
        // A line that was incomplete at `position` belongs to an earlier request.
        if position > 0 {
            let line_start = new.iter().position(|byte| *byte == b'\n').map_or(new.len(), |end| end + 1);
            new = &new[line_start..];
        }
        // The last line may be incomplete.
        let complete_end = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let new = &new[..complete_end];
        let mut requests = Vec::new();
        for line in new.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let event: Value = serde_json::from_slice(line)?;
            // The response of a watch starts when the watch starts and completes when it ends, which may be
            // after the count.
            let watch = event["verb"] == "watch";
            if event["stage"] == if watch { "ResponseStarted" } else { "ResponseComplete" } {
                requests.push(parse_request(&event));
            }
        }
        Ok(requests)
    }
}

fn parse_request(event: &Value) -> AuditedRequest {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &event["objectRef"];
    AuditedRequest {
        verb: text(&event["verb"]),
        namespace: text(&object["namespace"]),
        group: text(&object["apiGroup"]),
        resource: text(&object["resource"]),
        subresource: text(&object["subresource"]),
        name: text(&object["name"]),
        code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
        resource_version: event["responseObject"]["metadata"]["resourceVersion"].as_str().map(str::to_owned),
        user: match &event["impersonatedUser"]["username"] {
            Value::Null => text(&event["user"]["username"]),
            user => text(user),
        },
        dry_run: event["requestURI"].as_str().is_some_and(|uri| uri.contains("dryRun=All")),
        user_agent: text(&event["userAgent"]),
        object: event["requestObject"].clone(),
    }
}
