//! Errors of the `bench` verbs. Results that were measured are kept when one of them is returned.

use std::path::{Path, PathBuf};

use kubectl_dynamo_core::bench::BenchFinding;
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::error::{Exit, Explain};

/// An error of a `bench` verb.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error("benchmark run \"{name}\" already exists")]
    RunExists { name: String },
    #[error("benchmark run \"{name}\" not found in {}", folder.display())]
    RunNotFound { name: String, folder: PathBuf },
    #[error("benchmark run \"{name}\" is still running")]
    StillRunning { name: String },
    #[error("benchmark run \"{name}\" does not contain a result")]
    WithoutResults { name: String },
    #[error("\"{name}\" is not a valid name of a benchmark run")]
    InvalidName { name: String },
    #[error("cannot {action} {}: {source}", path.display())]
    File { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("cannot read the trace {}: {reason}", path.display())]
    Trace { path: PathBuf, reason: String },
    #[error("no tokenizer specified for {url}, which AIPerf needs to generate prompts")]
    NoTokenizer { url: String },
    #[error("the URL of --url contains credentials, which AIPerf would show in its command line")]
    CredentialsInUrl,
    #[error("folder {} does not contain a tokenizer", path.display())]
    TokenizerNotFound { path: PathBuf },
    #[error("benchmark run \"{name}\" is not good: {}", finding.message)]
    NotGood { name: String, finding: BenchFinding },
    #[error("benchmark runs \"{before}\" and \"{after}\" do not have the same workload: {}", differences.join("; "))]
    WorkloadsDiffer { before: String, after: String, differences: Vec<String> },
    #[error("limit {limit} is exceeded: {ratio:.2}x at level {level}")]
    LimitExceeded { limit: String, level: String, ratio: f64 },
    #[error("both benchmark runs must contain the metric of limit {limit}")]
    LimitNotMeasured { limit: String },
    #[error("benchmark run \"{name}\" was interrupted; {measured} of {total} measurements are complete")]
    Interrupted { name: String, measured: usize, total: usize },
}

/// The result of a step of a `bench` verb.
pub(crate) type BenchResult<T> = std::result::Result<T, BenchError>;

impl BenchError {
    /// Creates a [`BenchError::File`] for `map_err`; `action` is a verb phrase such as "write".
    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}

/// Returns a command about a run.
fn run_command(verb: &str, name: &str) -> SuggestedCommand {
    SuggestedCommand::plugin(verb).operand(name, "RUN").on_this_machine()
}

impl Explain for BenchError {
    fn code(&self) -> Option<MessageCode> {
        Some(match self {
            Self::RunExists { .. } => MessageCode::BenchRunExists,
            Self::RunNotFound { .. } => MessageCode::BenchRunNotFound,
            Self::StillRunning { .. } | Self::WithoutResults { .. } | Self::LimitNotMeasured { .. } => {
                MessageCode::BenchRunWithoutResults
            }
            Self::WorkloadsDiffer { .. } => MessageCode::WorkloadsDiffer,
            Self::LimitExceeded { .. } => MessageCode::BenchLimitExceeded,
            Self::InvalidName { .. } => MessageCode::InvalidValue,
            Self::File { .. } => MessageCode::BenchFileError,
            Self::Trace { .. } => MessageCode::TraceUnreadable,
            Self::NoTokenizer { .. } | Self::TokenizerNotFound { .. } => MessageCode::TokenizerNotFound,
            Self::CredentialsInUrl => MessageCode::InvalidEndpointUrl,
            Self::NotGood { finding, .. } => {
                return MessageCode::ALL.iter().copied().find(|code| code.as_str() == finding.code);
            }
            Self::Interrupted { .. } => return None,
        })
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::RunExists { name } => {
                run_command("bench rm", name).after("choose another name with --name, or remove it: ")
            }
            Self::RunNotFound { .. } => {
                SuggestedCommand::plugin("bench list").on_this_machine().after("list the runs: ")
            }
            Self::StillRunning { name } | Self::WithoutResults { name } | Self::Interrupted { name, .. } => {
                run_command("bench show", name).after("see its state: ")
            }
            Self::WorkloadsDiffer { .. } => {
                "repeat one of them with the flags of the other, such as --seed and --concurrency".into()
            }
            Self::LimitExceeded { .. } => "see the table above for the other metrics and levels".into(),
            Self::LimitNotMeasured { .. } => "use a metric of the table above, such as ttft_p95".into(),
            Self::InvalidName { .. } => {
                "use at most 63 lowercase letters, digits, and hyphens, such as tiny-check-1".into()
            }
            Self::File { path, .. } => {
                format!("check the owner and the free space of {}", path.display()).into()
            }
            Self::Trace { .. } => "specify a file in the Mooncake format: one JSON object per line".into(),
            Self::NoTokenizer { .. } => {
                "specify the folder with its tokenizer.json: --tokenizer FOLDER".into()
            }
            Self::TokenizerNotFound { .. } => {
                "specify a folder with tokenizer.json or tokenizer.model: --tokenizer FOLDER".into()
            }
            Self::CredentialsInUrl => "use a URL without a user name and a password".into(),
            Self::NotGood { name, .. } => run_command("bench show", name).after("see all findings: "),
        })
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Interrupted { .. } => Exit::Interrupted,
            _ => self.code().map_or(Exit::Failed, MessageCode::exit),
        }
    }
}
