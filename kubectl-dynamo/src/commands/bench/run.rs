//! `bench run`: measures a deployment or a URL.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};

use super::StoreArgs;
use crate::commands::enum_value_parser;
use crate::commands::output_flag::output_parser;
use crate::context::Context;
use crate::kube_flags;
use crate::local::aiperf::ServerKey;
use crate::output::{PrintFormat, TableFormat, print_data, print_styled};
use crate::render::bench as screen;
use crate::settings;
use crate::typed_command::typed;
use crate::workflow::bench::{
    self, BenchError, BenchRunOptions, BenchTargetName, ClusterRunOptions, DirectTarget, JobWaiting,
    ModelOptions, follow_command,
};
use kubectl_dynamo_core::bench::{
    BenchRun, BenchStatus, ErrorBound, GoodputLimit, TokenLengths, Turns, WorkloadKind, WorkloadOptions,
};
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::quantity::ExactQuantity;

/// Measure a deployment or an OpenAI-compatible server under load
///
/// Runs AIPerf for each level, and keeps its files with a record of the run. In a cluster, one Job measures all levels;
/// with --local and --url, AIPerf runs in a private Python environment on this machine. Exits 0 only if the numbers can
/// be trusted: every request is accounted for and answered with the requested length, and AIPerf was not the bottleneck.
/// The server must accept `ignore_eos` and `min_tokens`.
#[derive(Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("target").required(true).args(["deployment", "local", "url"]))]
pub(in crate::commands) struct BenchRunArgs {
    /// Name of the deployment
    #[arg(value_name = "NAME")]
    pub deployment: Option<String>,
    /// Local deployment to measure (default: the only one)
    #[arg(long, value_name = "NAME", num_args = 0..=1)]
    pub local: Option<Option<String>>,
    /// Base URL of an OpenAI-compatible server, ending in /v1
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Environment variable with the API key for --url
    #[arg(long, value_name = "NAME", requires = "url")]
    pub api_key_env: Option<String>,
    /// Model to use if the server lists several
    #[arg(short, long)]
    pub model: Option<String>,
    /// Folder with the tokenizer of the model (default: the model folder of the deployment)
    #[arg(long, value_name = "FOLDER")]
    pub tokenizer: Option<PathBuf>,
    /// Name of the run (default: the deployment, the workload, and a number)
    #[arg(long)]
    pub name: Option<String>,
    /// Workload to run
    #[arg(long, default_value = "check", value_parser = enum_value_parser::<WorkloadKind>())]
    pub workload: WorkloadKind,
    /// File with the output of `recommend -o json` or `-o yaml`: measure its load, and compare with its prediction
    #[arg(long, value_name = "FILE", conflicts_with_all = ["workload", "concurrency", "request_rate", "isl_osl", "turns", "prefix_tokens", "trace"])]
    pub against: Option<PathBuf>,
    #[command(flatten)]
    pub load: LoadArgs,
    /// Share of requests that may fail, in percent
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = parse_percent)]
    pub max_errors: f64,
    #[command(flatten)]
    pub job: JobArgs,
    #[command(flatten)]
    store: StoreArgs,
    /// Output format
    #[arg(short, long, value_parser = output_parser::<TableFormat>(), default_value = "table")]
    pub output: PrintFormat<TableFormat>,
    /// More options for AIPerf, after --
    #[arg(last = true, value_name = "AIPERF_OPTIONS")]
    pub aiperf_options: Vec<String>,
}

/// The parts of a workload. Each replaces a default of it.
#[derive(Args)]
pub(in crate::commands) struct LoadArgs {
    /// Requests in flight at each level (comma-separated)
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub concurrency: Vec<u32>,
    /// Requests per second at each level (comma-separated)
    #[arg(long, value_name = "RATE", value_delimiter = ',', allow_negative_numbers = true)]
    pub request_rate: Vec<f64>,
    /// Input and output tokens, or a distribution such as '64,10:70;1024,256:30'
    #[arg(long, value_name = "ISL,OSL", value_parser = parse::<TokenLengths>)]
    pub isl_osl: Option<TokenLengths>,
    /// Turns of a conversation, with an optional standard deviation
    #[arg(long, value_name = "MEAN[,DEVIATION]", value_parser = parse::<Turns>)]
    pub turns: Option<Turns>,
    /// Tokens of each of 10 prefixes that prompts share
    #[arg(long, value_name = "TOKENS")]
    pub prefix_tokens: Option<u32>,
    /// Trace in the Mooncake format to replay
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Duration of each level, such as 90s or 2m, instead of a number of requests
    #[arg(long, value_name = "DURATION", value_parser = kube_flags::parse_duration)]
    pub duration: Option<Duration>,
    /// Repeats of each level, for confidence intervals
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// Latency limits of a good request, such as ttft=200ms,itl=20ms
    #[arg(long, value_name = "LIMITS", value_delimiter = ',', value_parser = parse::<GoodputLimit>)]
    pub goodput: Vec<GoodputLimit>,
    /// Seed of the prompts
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub seed: u64,
}

/// The Job that measures a deployment of a cluster.
#[derive(Args)]
pub(in crate::commands) struct JobArgs {
    /// Image with AIPerf
    #[arg(long, conflicts_with_all = ["local", "url"])]
    pub image: Option<String>,
    /// Registry mirror for the default image
    #[arg(long, value_name = "REGISTRY", conflicts_with_all = ["local", "url"])]
    pub registry_mirror: Option<String>,
    /// PVC that keeps all files of AIPerf
    #[arg(long, value_name = "PVC", conflicts_with_all = ["local", "url"])]
    pub results: Option<String>,
    /// CPU request of the Job's pod (default: 2, and more for more than 32 requests in flight)
    #[arg(long, value_name = "CPU", value_parser = parse_cpu, conflicts_with_all = ["local", "url"])]
    pub cpu: Option<u32>,
    /// Deadline of the Job, such as 30m
    #[arg(long, value_name = "DURATION", default_value = "2h", value_parser = kube_flags::parse_duration, conflicts_with_all = ["local", "url"])]
    pub timeout: Duration,
    /// Start the Job and do not wait for it
    #[arg(long, conflicts_with_all = ["local", "url"])]
    pub detach: bool,
}

const EXAMPLES: &str = "\
Examples:
  kubectl dynamo bench run tiny -n serving
  kubectl dynamo bench run tiny -n serving --workload sweep --results bench-results --detach
  kubectl dynamo bench run --local tiny
  kubectl dynamo bench run --local tiny --workload sweep --concurrency 1,8,32 --runs 3
  kubectl dynamo bench run --local tiny --isl-osl 1000,100 --goodput ttft=200ms,itl=20ms
  kubectl dynamo bench run qwen -n serving --against recommendation.json
  kubectl dynamo bench run --url http://127.0.0.1:8000/v1 --tokenizer ./model --name before
  kubectl dynamo bench run --local tiny --request-rate 5 --duration 60s -- --arrival-pattern constant";

/// A share in percent that is not between 0 and 100.
#[derive(Debug, thiserror::Error)]
#[error("\"{given}\" is not a number from 0 to 100")]
struct PercentError {
    given: String,
}

fn parse_percent(text: &str) -> std::result::Result<f64, PercentError> {
    let number = text.parse().ok().filter(|number| (0.0..=100.0).contains(number));
    number.ok_or_else(|| PercentError { given: text.into() })
}

/// A CPU request that is not a positive quantity.
#[derive(Debug, thiserror::Error)]
#[error("\"{given}\" is not a number of CPU cores, such as 500m or 2")]
struct CpuError {
    given: String,
}

fn parse_cpu(text: &str) -> std::result::Result<u32, CpuError> {
    let thousandths = ExactQuantity::parse(text).and_then(|quantity| quantity.thousandths());
    let millicpu = thousandths.and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0);
    millicpu.ok_or_else(|| CpuError { given: text.into() })
}

/// Parses a value and keeps the hint of its error.
fn parse<T: std::str::FromStr<Err = kubectl_dynamo_core::bench::WorkloadError>>(
    text: &str,
) -> std::result::Result<T, kubectl_dynamo_core::bench::WorkloadError> {
    text.parse()
}

fn server_key(variable: String) -> Result<ServerKey> {
    Ok(ServerKey { value: settings::api_key(&variable)?, variable })
}

impl JobArgs {
    fn options(self, deployment: String) -> ClusterRunOptions {
        ClusterRunOptions {
            deployment,
            image: self.image,
            registry_mirror: self.registry_mirror,
            results_pvc: self.results,
            millicpu: self.cpu,
            deadline: self.timeout,
            waiting: JobWaiting::from_detach_flag(self.detach),
        }
    }
}

impl BenchRunArgs {
    fn options(self) -> Result<BenchRunOptions> {
        let load = self.load;
        let prediction = self.against.as_deref().map(bench::read_recommendation).transpose()?;
        let workload = WorkloadOptions {
            kind: Some(self.workload),
            concurrency: load.concurrency,
            request_rate: load.request_rate,
            lengths: load.isl_osl,
            turns: load.turns,
            prefix_tokens: load.prefix_tokens,
            trace: None,
            duration_seconds: load.duration.map(|duration| duration.as_secs()),
            runs: load.runs,
            goodput: load.goodput,
            seed: Some(load.seed),
            extra_arguments: self.aiperf_options,
        };
        Ok(BenchRunOptions {
            target: match (self.deployment, self.url) {
                (Some(deployment), _) => BenchTargetName::Cluster(Box::new(self.job.options(deployment))),
                (None, Some(url)) => {
                    let key = self.api_key_env.map(server_key).transpose()?;
                    BenchTargetName::Direct(DirectTarget::Url { url, key })
                }
                (None, None) => BenchTargetName::Direct(DirectTarget::Local(self.local.flatten())),
            },
            model: ModelOptions { model: self.model, tokenizer: self.tokenizer },
            workload: match &prediction {
                Some(prediction) => bench::predicted_load(prediction, workload),
                None => workload,
            },
            prediction,
            trace: load.trace,
            name: self.name,
            output_dir: self.store.output_dir,
            bound: ErrorBound(self.max_errors / 100.0),
        })
    }
}

pub(super) async fn run(args: BenchRunArgs, context: &Context) -> Result<Exit> {
    let output = args.output.clone();
    let run = bench::run(args.options()?, context).await?;
    print_result(run, &output, context)
}

/// Prints a run. A run that is not good is an error; one whose Job still measures is not.
pub(super) fn print_result(
    run: BenchRun,
    output: &PrintFormat<TableFormat>,
    context: &Context,
) -> Result<Exit> {
    let job = run.namespace_of_job().map(ToOwned::to_owned);
    match output {
        PrintFormat::Own(TableFormat::Table) if job.is_some() => {
            print_data(&format!("benchmark run \"{}\" started\n", run.name))?;
        }
        PrintFormat::Own(TableFormat::Table) => print_styled(&screen::screen(&run))?,
        PrintFormat::Document(format) => {
            print_data(&format.text(&serde_json::to_value(&run).unwrap_or_default())?)?;
        }
    }
    if let Some(namespace) = job {
        let follow = follow_command(&run.name, &namespace);
        context.report.info(typed(follow.after("follow it, and store its results: ")));
        return Ok(Exit::Ok);
    }
    if run.verdict.failure().is_none() && run.status != BenchStatus::Completed {
        return Err(BenchError::NotCompleted { name: run.name, status: run.status.as_text() }.into());
    }
    match run.verdict.failure() {
        Some(finding) => Err(BenchError::NotGood { name: run.name, finding: finding.clone() }.into()),
        None => Ok(Exit::Ok),
    }
}
