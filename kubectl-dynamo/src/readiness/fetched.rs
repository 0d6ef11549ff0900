//! What a fetch container left behind when it ended: its exit code, its last words, and what they say of a model
//! that is complete.

use serde_json::Value;

use crate::resources::FETCH_CONTAINER;

/// How a fetch container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastWords {
    pub exit_code: u64,
    /// The message it left, or the reason Kubernetes gives where it left none.
    pub message: String,
    /// RFC 3339.
    pub at: String,
}

/// How the fetch container of a pod ended: an init container or that of a Job's pod. Nothing while it runs.
pub fn last_words(pod: &Value) -> Option<LastWords> {
    let status = ["initContainerStatuses", "containerStatuses"]
        .iter()
        .flat_map(|field| pod["status"][field].as_array().into_iter().flatten())
        .find(|status| status["name"] == FETCH_CONTAINER)?;
    if status["state"]["running"].is_object() {
        return None;
    }
    let ended = [&status["state"]["terminated"], &status["lastState"]["terminated"]]
        .into_iter()
        .find(|state| state.is_object())?;
    let text = |field: &str| ended[field].as_str().map(str::trim).filter(|text| !text.is_empty());
    Some(LastWords {
        exit_code: ended["exitCode"].as_u64()?,
        message: text("message").or_else(|| text("reason")).unwrap_or("no message").to_owned(),
        at: text("finishedAt").unwrap_or_default().to_owned(),
    })
}

/// What the fetcher says of a model that it found complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The first digits of the commit.
    pub commit: String,
    pub files: usize,
    /// As the fetcher writes it: `32.90 GiB`.
    pub size: String,
}

impl Fetched {
    /// Reads the last line of a fetch or a verification: `complete: FOLDER at COMMIT, 19 files, 32.90 GiB; …`.
    pub fn read(message: &str) -> Option<Self> {
        let line = message.lines().find_map(|line| line.strip_prefix("complete: "))?;
        let (_, rest) = line.rsplit_once(" at ")?;
        let mut parts = rest.splitn(3, ", ");
        let commit = parts.next()?.to_owned();
        let files = parts.next()?.strip_suffix(" files")?.parse().ok()?;
        let size = parts.next()?.split(';').next()?.to_owned();
        Some(Self { commit, files, size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_models_last_line_tells_what_is_there() {
        let line =
            "complete: /opt/models/acme/at home at 0123456789ab, 5 files, 24.00 MiB; 0 B fetched in 0.0 s\n";
        let fetched = Fetched { commit: "0123456789ab".into(), files: 5, size: "24.00 MiB".into() };
        assert_eq!(Fetched::read(line), Some(fetched));
        assert_eq!(Fetched::read("error: the hub wants a token"), None);
    }
}
