//! Reads the termination state of a fetch container: exit code, message, and the summary of a complete model.
//!
//! The message formats are those of model-fetcher, including older versions of it.

use k8s_openapi::api::core::v1::Pod;
use model_fetcher_contract::FailureReason;

use super::pod_fields::{container_statuses, is_running, last_termination};
use crate::object::time_text;
use crate::resources::FETCH_CONTAINER;

/// The termination state of a fetch container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchTermination {
    pub exit_code: u64,
    /// The termination message, or the reason from Kubernetes if there is no message.
    pub message: String,
    /// The machine-readable failure reason. Older fetchers do not write it.
    pub reason: Option<FailureReason>,
    /// Time of termination, RFC 3339.
    pub finished_at: String,
}

/// Returns the termination state of a pod's fetch container (an init container or the container of a Job's
/// pod), or `None` while it runs.
pub fn fetch_termination(pod: &Pod) -> Option<FetchTermination> {
    let status = container_statuses(pod).find(|status| status.name == FETCH_CONTAINER)?;
    if is_running(status) {
        return None;
    }
    let terminated = last_termination(status)?;
    let text = |text: &'_ Option<String>| -> Option<String> {
        text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(ToOwned::to_owned)
    };
    let written = text(&terminated.message).unwrap_or_default();
    let (message, reason) = FailureReason::split(&written);
    let message = Some(message).filter(|message| !message.is_empty());
    Some(FetchTermination {
        exit_code: u64::try_from(terminated.exit_code).ok()?,
        message: message
            .map(ToOwned::to_owned)
            .or_else(|| text(&terminated.reason))
            .unwrap_or_else(|| "no message".into()),
        reason,
        finished_at: time_text(terminated.finished_at.as_ref()),
    })
}

/// The summary that model-fetcher writes for a complete model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchSummary {
    /// The abbreviated commit.
    pub commit: String,
    pub files: usize,
    /// The size as model-fetcher writes it, such as `32.90 GiB`.
    pub size: String,
}

impl FetchSummary {
    /// Parses the last line of `fetch` or `verify`: `complete: FOLDER at COMMIT, 19 files, 32.90 GiB; …`.
    pub fn parse(message: &str) -> Option<Self> {
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
    use serde_json::json;

    use super::*;
    use crate::code::MessageCode;
    use crate::error::Explain;
    use crate::readiness::fetch_problem;

    #[test]
    fn parses_fetch_summary() {
        let line =
            "complete: /opt/models/acme/at home at 0123456789ab, 5 files, 24.00 MiB; 0 B fetched in 0.0 s\n";
        let summary = FetchSummary { commit: "0123456789ab".into(), files: 5, size: "24.00 MiB".into() };
        assert_eq!(FetchSummary::parse(line), Some(summary));
        assert_eq!(FetchSummary::parse("error: the hub requires a token"), None);
    }

    #[test]
    fn another_revision_is_recognized_by_its_reason_and_by_the_sentence_of_older_fetchers() {
        let ended = |exit_code: u64, message: &str| {
            let state = json!({ "terminated": { "exitCode": exit_code, "message": message } });
            let status = json!({ "name": FETCH_CONTAINER, "state": state });
            let pod = json!({
                "metadata": { "name": "fetch-x" },
                "status": { "containerStatuses": [status] },
            });
            fetch_problem(&serde_json::from_value(pod).expect("a pod")).unwrap()
        };
        let old = "error: /opt/models/acme/tiny holds revision 0123, not main\n  hint: x\n";
        let log = r#"{"event":"failed","exit_code":1,"error":"another text","hint":null,"reason":"other_revision"}"#;
        for message in [old, "error: another text\nreason: other_revision\n", log] {
            let trouble = ended(1, message);
            assert!(trouble.is_revision_mismatch() && !trouble.is_transient(), "{message}");
            assert_eq!(trouble.code(), Some(MessageCode::OtherRevisionInFolder));
        }
        let text = ended(1, "error: another text\nreason: other_revision\n").to_string();
        assert!(text.ends_with("exit code 1): error: another text"), "{text}");
        for (exit_code, message) in [
            (1, "error: a file is missing\nreason: not_complete"),
            (1, "error: a file that holds revision x\nreason: not_complete"),
            (13, "error: /opt/models/acme/tiny holds revision 0123, not main"),
            (1, "error: another text\nreason: a_new_reason"),
        ] {
            assert!(!ended(exit_code, message).is_revision_mismatch(), "{message}");
        }
    }
}
