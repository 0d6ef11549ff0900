//! What the audited user asked of an API server, from its audit log.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use serde_json::Value;

use crate::Outcome;

/// The audit log of one API server; holds whole requests and answers of `AUDITED_USER`.
#[derive(Debug, Clone)]
pub struct Audit {
    path: PathBuf,
}

/// One answered request of the audited user.
#[derive(Debug, Clone)]
pub struct Request {
    pub verb: String,
    pub namespace: String,
    /// Of the core group empty.
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub name: String,
    pub code: u64,
    /// The resource version of the object in the answer, where it was one object.
    pub resource_version: Option<String>,
    pub dry_run: bool,
    /// Who it was made for: the impersonated user, where there is one.
    pub user: String,
    /// The object that was sent, if one was.
    pub sent: Value,
}

impl Request {
    /// Whether it asked for a change, and not only to hear what one would do.
    pub fn writes(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
            && !self.dry_run
    }
}

impl Audit {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// How many bytes the log has: requests after this moment are those behind it.
    pub fn position(&self) -> Outcome<u64> {
        Ok(std::fs::metadata(&self.path).map(|file| file.len()).unwrap_or_default())
    }

    /// The requests in `namespace` behind `position`, in the order of their answers.
    pub fn requests_since(&self, position: u64, namespace: &str) -> Outcome<Vec<Request>> {
        let mut requests = self.all_since(position)?;
        requests.retain(|request| request.namespace == namespace);
        Ok(requests)
    }

    /// Every request that was made for `user` behind `position`, discovery and objects of no namespace among them: run
    /// the plugin with `--as USER`, and nothing of another case is counted.
    pub fn requests_for(&self, position: u64, user: &str) -> Outcome<Vec<Request>> {
        let mut requests = self.all_since(position)?;
        requests.retain(|request| request.user == user);
        Ok(requests)
    }

    fn all_since(&self, position: u64) -> Outcome<Vec<Request>> {
        // Nothing but what is new is read: the log of a whole tier is large, and looked at often.
        let before = position.saturating_sub(1);
        let mut log = File::open(&self.path)?;
        log.seek(SeekFrom::Start(before))?;
        let mut read = Vec::new();
        log.read_to_end(&mut read)?;
        let mut new = read.as_slice();
        // A line that was half written at that moment began before it.
        if position > 0 {
            let begun = new.iter().position(|byte| *byte == b'\n').map_or(new.len(), |end| end + 1);
            new = &new[begun..];
        }
        // The last line may be half written.
        let whole = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let new = &new[..whole];
        let mut requests = Vec::new();
        for line in new.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let event: Value = serde_json::from_slice(line)?;
            // A watch is answered when it starts and complete when it ends, which may be after the count.
            let watch = event["verb"] == "watch";
            if event["stage"] == if watch { "ResponseStarted" } else { "ResponseComplete" } {
                requests.push(request(&event));
            }
        }
        Ok(requests)
    }
}

fn request(event: &Value) -> Request {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &event["objectRef"];
    Request {
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
        sent: event["requestObject"].clone(),
    }
}
