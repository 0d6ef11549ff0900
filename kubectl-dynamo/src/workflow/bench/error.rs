//! Errors of the `bench` verbs. Results that were measured are kept when one of them is returned.

use std::path::{Path, PathBuf};

use kubectl_dynamo_core::bench::BenchFinding;
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::error::{Exit, Explain};
use kubectl_dynamo_core::resources::BENCH_NAME_LIMIT;

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
    #[error("cannot read the recommendation \"{}\": {reason}", path.display())]
    Recommendation { path: PathBuf, reason: String },
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
    #[error("\"{name}\" has more than {BENCH_NAME_LIMIT} characters")]
    NameTooLong { name: String },
    #[error("the trace has {bytes} bytes after compression, which is too large for a ConfigMap")]
    TraceTooLarge { bytes: usize },
    #[error("deployment \"{name}\" in namespace \"{namespace}\" is not managed by kubectl-dynamo")]
    NotManaged { name: String, namespace: String },
    #[error("folder {path} on the PVC of the model does not contain a tokenizer")]
    TokenizerNotOnPvc { path: String },
    #[error("the image of benchmark run \"{name}\" does not contain AIPerf")]
    AiperfNotInImage { name: String },
    #[error("the Job of benchmark run \"{name}\" cannot start: {cause}")]
    JobCannotStart { name: String, namespace: String, deployment: String, cause: String },
    #[error(
        "the Job of benchmark run \"{name}\" failed: {reason}; {measured} of {total} measurements are complete"
    )]
    JobFailed { name: String, namespace: String, reason: String, measured: usize, total: usize },
    #[error(
        "the log of benchmark run \"{name}\" is incomplete; {measured} of {total} measurements are stored"
    )]
    LogIncomplete { name: String, namespace: String, measured: usize, total: usize },
    #[error("benchmark run \"{name}\" is not complete ({status})")]
    NotCompleted { name: String, status: &'static str },
    #[error("benchmark run \"{name}\" continues in namespace \"{namespace}\"")]
    Detached { name: String, namespace: String },
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
    SuggestedCommand::plugin(verb).operand(name, "RUN")
}

/// The command that follows a run of a cluster, and stores its results.
pub(crate) fn follow_command(name: &str, namespace: &str) -> SuggestedCommand {
    run_command("bench logs", name).in_namespace(namespace).flag("-f")
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
            Self::Recommendation { .. } => MessageCode::RecommendationUnreadable,
            Self::NoTokenizer { .. } | Self::TokenizerNotFound { .. } => MessageCode::TokenizerNotFound,
            Self::CredentialsInUrl => MessageCode::InvalidEndpointUrl,
            Self::NotGood { finding, .. } => {
                return MessageCode::ALL.iter().copied().find(|code| code.as_str() == finding.code);
            }
            Self::NameTooLong { .. } => MessageCode::InvalidValue,
            Self::TraceTooLarge { .. } => MessageCode::TraceUnreadable,
            Self::NotManaged { .. } => MessageCode::UnmanagedDeployment,
            Self::TokenizerNotOnPvc { .. } => MessageCode::TokenizerNotFound,
            Self::AiperfNotInImage { .. } | Self::JobCannotStart { .. } | Self::JobFailed { .. } => {
                MessageCode::BenchJobFailed
            }
            Self::LogIncomplete { .. } => MessageCode::BenchResultsIncomplete,
            Self::NotCompleted { .. } => MessageCode::BenchRunWithoutResults,
            Self::Interrupted { .. } | Self::Detached { .. } => return None,
        })
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::RunExists { name } => {
                run_command("bench rm", name).after("choose another name with --name, or remove it: ")
            }
            Self::RunNotFound { .. } => SuggestedCommand::plugin("bench list").after("list the runs: "),
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
            Self::Recommendation { .. } => SuggestedCommand::plugin("recommend")
                .operand("", "MODEL")
                .flag("-o=json")
                .after("write the file with "),
            Self::NoTokenizer { .. } => {
                "specify the folder with its tokenizer.json: --tokenizer FOLDER".into()
            }
            Self::TokenizerNotFound { .. } => {
                "specify a folder with tokenizer.json or tokenizer.model: --tokenizer FOLDER".into()
            }
            Self::CredentialsInUrl => "use a URL without a user name and a password".into(),
            Self::NotGood { name, .. } => run_command("bench show", name).after("see all findings: "),
            Self::NameTooLong { .. } => "choose a shorter name with --name".into(),
            Self::TraceTooLarge { .. } => "use a part of the trace".into(),
            Self::NotManaged { name, namespace } => SuggestedCommand::plugin("adopt")
                .operand(name, "NAME")
                .in_namespace(namespace)
                .after("adopt it: "),
            Self::TokenizerNotOnPvc { .. } => {
                "specify the folder with its tokenizer.json in the pods: --tokenizer FOLDER".into()
            }
            Self::AiperfNotInImage { .. } => "specify an image with AIPerf: --image IMAGE".into(),
            Self::JobCannotStart { deployment, namespace, .. } => SuggestedCommand::plugin("bench run")
                .operand(deployment, "NAME")
                .in_namespace(namespace)
                .after("fix the cause, for example with another --image, then start the run again: "),
            Self::JobFailed { name, measured: 0, .. } => {
                format!("fix the cause, then start the run again with --name {name}").into()
            }
            Self::JobFailed { name, namespace, .. } => {
                run_command("bench show", name).in_namespace(namespace).after("see what was measured: ")
            }
            Self::LogIncomplete { name, namespace, .. } => {
                follow_command(name, namespace).after("its Job is kept; read the log again: ")
            }
            Self::NotCompleted { name, .. } => {
                run_command("bench show", name).after("see what was measured: ")
            }
            Self::Detached { name, namespace } => follow_command(name, namespace).after("follow it: "),
        })
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Interrupted { .. } | Self::Detached { .. } => Exit::Interrupted,
            _ => self.code().map_or(Exit::Failed, MessageCode::exit),
        }
    }
}
