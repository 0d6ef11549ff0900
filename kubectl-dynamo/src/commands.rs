//! The command line: the root parser, kubectl's global flags, and the dispatch to one file per verb.
//! This file must not contain the logic of a verb.

mod adopt;
mod bench;
mod cache;
mod change_flags;
mod chat;
mod check;
mod completion;
mod config;
mod diagnose;
mod diff;
mod docs;
mod down;
mod endpoint;
mod events;
mod explain;
mod fit;
mod gateway;
mod gpu_flag;
mod lazy;
mod list;
mod local;
mod logs;
mod output_flag;
mod port_forward;
mod rbac;
mod recommend;
mod render;
mod report;
mod rollout;
mod scale;
mod serving_flags;
mod status;
#[cfg(test)]
mod suggested_commands;
mod test;
mod top;
mod up;
mod version;

use std::ffi::OsString;
use std::io::Write;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};

use self::lazy::Lazy;
use crate::context::Context;
use crate::kube_flags::KubeFlags;
use crate::report::{Event, ProgressMode, Report};
use crate::signals;
use crate::typed_command;
use crate::workflow::missing_permissions;
use kubectl_dynamo_cluster::MissingPermissions;
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::error::{EXIT_CODES, Exit, Result};
use kubectl_dynamo_core::intent::StringEnum;

/// Sets the format of the progress output, as `--progress` does.
const PROGRESS_VARIABLE: &str = "KUBECTL_DYNAMO_PROGRESS";

/// Serve large language models with NVIDIA Dynamo
///
/// Deploys a model on a Kubernetes cluster with the Dynamo platform and verifies that it answers. With
/// `up --local`, it runs the model on this machine without a cluster or a GPU.
#[derive(Parser)]
#[command(
    name = "kubectl-dynamo",
    bin_name = "kubectl dynamo",
    version,
    after_help = EXIT_CODES,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
struct Root {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    kube: KubeFlags,
    /// Format of the progress output on stderr
    #[arg(long, global = true, value_name = "MODE", default_value = "auto", value_parser = enum_value_parser::<ProgressMode>(), env = PROGRESS_VARIABLE, hide_env = true)]
    progress: ProgressMode,
}

#[derive(Subcommand)]
enum Verb {
    /// Create or update a deployment and wait until it answers
    Up(Lazy<up::UpArgs>),
    /// Print the objects that `up` would apply
    ///
    /// With --release and --graph-api no cluster is needed, but the values that `up` derives from the cluster and the hub
    /// are not set: parsers, log format, and the toleration of EKS Auto Mode. Otherwise the cluster of the current context
    /// determines the API version and the release.
    Render(Lazy<render::RenderArgs>),
    /// Show what `up` would change; exits 0 without changes, 1 with changes, and >1 on failure
    Diff(Lazy<diff::DiffArgs>),
    /// Check the cluster, and whether it can run a deployment or a change
    ///
    /// Exits 0 if every check passes, 3 if a check waits for the cluster, and 1 if a check fails.
    Check(Lazy<check::ClusterCheckArgs>),
    /// Show where a model fits: weights and KV cache per GPU for each parallelism
    ///
    /// Reads only the file list and config.json of a model on the hub. Accesses a cluster only with --gpu auto.
    Fit(Lazy<fit::FitArgs>),
    /// Predict how fast a model serves on GPUs, and print the sizes to deploy
    ///
    /// Installs aiconfigurator into a private Python environment once, and ranks the deployments that it predicts to meet the
    /// latency limits. The result is a command of `up` and a request file. The numbers are predictions: measure them with
    /// `bench run`. Reads only the file list and config.json of a model on the hub. Accesses a cluster only with --gpu auto.
    Recommend(Lazy<recommend::RecommendArgs>),
    /// Change the replica counts of a deployment
    Scale(Lazy<scale::ScaleArgs>),
    /// Manage the rollout of a deployment
    Rollout(Lazy<rollout::RolloutArgs>),
    /// Take over the management of an existing deployment without changing its pods
    Adopt(Lazy<adopt::AdoptArgs>),
    /// Delete deployments and list what is retained
    Down(Lazy<down::DownArgs>),
    /// List deployments
    #[command(visible_alias = "ls")]
    List(Lazy<list::ListArgs>),
    /// Show the status of a deployment
    Status(Lazy<status::StatusArgs>),
    /// Show why a deployment is not serving: the chain of causes, a message code, and a fix
    Diagnose(Lazy<diagnose::DiagnoseArgs>),
    /// Show the events of a deployment and its child objects, oldest first
    Events(Lazy<events::EventsArgs>),
    /// Explain a message code such as KD0604, or list all codes
    Explain(Lazy<explain::ExplainArgs>),
    /// Print the documentation of a verb, or a page, without network access
    Docs(Lazy<docs::DocsArgs>),
    /// Write a support bundle with objects, events, and logs, without secrets
    Report(Lazy<report::ReportArgs>),
    /// Print the merged logs of a deployment's pods
    Logs(Lazy<logs::LogsArgs>),
    /// Chat with a served model interactively, or send one prompt from the arguments or stdin
    Chat(Lazy<chat::ChatArgs>),
    /// Verify with requests that a deployment works as configured
    ///
    /// Sends few, small requests, prints how many, and never changes the deployment. Exits 0 if no probe fails, and 9
    /// if a probe fails.
    Test(Lazy<test::TestArgs>),
    /// Show the live load of deployments
    ///
    /// Reads the metrics of each frontend and worker twice, without Prometheus, and shows what happened in between:
    /// requests, latencies, tokens, and the use of the KV cache. A value that a release does not export is shown as `–`.
    /// Quantiles are estimated from histograms and shown with `≈`. On a terminal, it shows a full-screen view.
    Top(Lazy<top::TopArgs>),
    /// Measure a deployment with AIPerf: run, list, show, compare, logs, and rm
    #[command(subcommand)]
    Bench(Lazy<bench::BenchVerb>),
    /// Print the URL and the model names of a deployment
    Endpoint(Lazy<endpoint::EndpointArgs>),
    /// Forward a local port to a deployment's frontend until Ctrl-C
    PortForward(Lazy<port_forward::PortForwardArgs>),
    /// Manage models on PVCs: list, pull, verify, and remove
    #[command(subcommand)]
    Cache(Lazy<cache::CacheVerb>),
    /// Configure and test LiteLLM in front of deployments
    #[command(subcommand)]
    Gateway(Lazy<gateway::GatewayVerb>),
    /// Generate the RBAC permissions that the commands need
    #[command(subcommand)]
    Rbac(Lazy<rbac::RbacVerb>),
    /// Set up completion of verbs, flags, and names for kubectl or for a shell
    Completion(Lazy<completion::CompletionArgs>),
    /// Show and change the default settings of deployments
    ///
    /// Settings are the fields of a request, and the namespace. The project config (.kubectl-dynamo.toml in the
    /// working folder or above) takes precedence over the user config. KUBECTL_DYNAMO_* variables, a live
    /// deployment, files, and flags take precedence over both. The namespace of the kubeconfig context takes
    /// precedence over the namespace setting.
    Config(Lazy<config::ConfigArgs>),
    /// Print the version of the plugin and the supported Dynamo releases
    Version(Lazy<version::VersionArgs>),
    /// Supervise local processes (internal)
    #[command(hide = true, name = crate::local::supervisor::SUPERVISE_VERB)]
    Supervise(Lazy<local::SuperviseArgs>),
}

impl Verb {
    /// Returns the verb as it is typed on the command line.
    fn name(&self) -> &'static str {
        match self {
            Self::Up(_) => "up",
            Self::Render(_) => "render",
            Self::Diff(_) => "diff",
            Self::Fit(_) => "fit",
            Self::Recommend(_) => "recommend",
            Self::Scale(_) => "scale",
            Self::Rollout(args) => args.0.name(),
            Self::Adopt(_) => "adopt",
            Self::Down(_) => "down",
            Self::List(_) => "list",
            Self::Status(_) => "status",
            Self::Diagnose(_) => "diagnose",
            Self::Events(_) => "events",
            Self::Explain(_) => "explain",
            Self::Docs(_) => "docs",
            Self::Report(_) => "report",
            Self::Logs(_) => "logs",
            Self::Chat(_) => "chat",
            Self::Test(_) => "test",
            Self::Top(_) => "top",
            Self::Bench(verb) => verb.0.name(),
            Self::Endpoint(_) => "endpoint",
            Self::PortForward(_) => "port-forward",
            Self::Check(_) => "check",
            Self::Cache(verb) => verb.0.name(),
            Self::Gateway(verb) => verb.0.name(),
            Self::Rbac(verb) => verb.0.name(),
            Self::Completion(_) => "completion",
            Self::Config(_) => "config",
            Self::Version(_) => "version",
            Self::Supervise(_) => crate::local::supervisor::SUPERVISE_VERB,
        }
    }
}

/// Parses the command line, runs one verb, prints its error if any, and returns the exit code.
pub(crate) fn run(args: Vec<OsString>) -> Exit {
    if let Some(exit) = completion::complete_if_requested(&args) {
        return exit;
    }
    // What follows `--` belongs to the engine.
    let own = args.split(|word| word == "--").next().unwrap_or_default();
    let json_progress = own.windows(2).any(|pair| pair == ["--progress", "json"])
        || own.iter().any(|arg| arg == "--progress=json")
        || std::env::var_os(PROGRESS_VARIABLE).is_some_and(|mode| mode == "json");
    let root = match Root::try_parse_from(args) {
        Ok(root) => root,
        Err(error) if json_progress && error.use_stderr() => return report_usage_error(&error),
        Err(error) => return print_usage(&error),
    };
    log_requests(root.kube.verbosity);
    typed_command::remember_scope(&root.kube);
    let context = Context {
        verb: root.verb.name(),
        kube: root.kube,
        report: Report::new(root.progress),
        progress: root.progress,
        missing_permissions: MissingPermissions::default(),
    };
    // The supervisor of local processes stops them at a signal, however long that takes.
    if !matches!(root.verb, Verb::Supervise(_)) {
        signals::watch_signals();
    }
    let result = dispatch(root.verb, &context);
    missing_permissions::warn_missing_permissions(&context, result.as_ref().err());
    result.unwrap_or_else(|error| context.report.failed(&error))
}

/// Logs API requests as kubectl does: requests from level 6, their details from level 8. Headers, and
/// therefore tokens, are never logged.
fn log_requests(verbosity: u8) {
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;
    let level = match verbosity {
        0..=5 => return,
        6..=7 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    let request_target = tracing_subscriber::filter::Targets::new().with_target("kube_client::client", level);
    let stderr_layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(request_target).with(stderr_layer).init();
}

fn dispatch(verb: Verb, context: &Context) -> Result<Exit> {
    match verb {
        Verb::Up(Lazy(args)) => block_on(up::run(*args, context)),
        Verb::Render(Lazy(args)) => block_on(render::run(*args, context)),
        Verb::Diff(Lazy(args)) => block_on(diff::run(*args, context)),
        Verb::Check(Lazy(args)) => block_on(check::run(*args, context)),
        Verb::Scale(Lazy(args)) => block_on(scale::run(*args, context)),
        Verb::Rollout(Lazy(args)) => block_on(rollout::run(*args, context)),
        Verb::Adopt(Lazy(args)) => block_on(adopt::run(*args, context)),
        Verb::Down(Lazy(args)) => block_on(down::run(*args, context)),
        Verb::Logs(Lazy(args)) => block_on(logs::run(*args, context)),
        Verb::List(Lazy(args)) => block_on(list::run(*args, context)),
        Verb::Status(Lazy(args)) => block_on(status::run(*args, context)),
        Verb::Diagnose(Lazy(args)) => block_on(diagnose::run(*args, context)),
        Verb::Events(Lazy(args)) => block_on(events::run(*args, context)),
        Verb::Explain(Lazy(args)) => explain::run(&args),
        Verb::Docs(Lazy(args)) => docs::run(&args, context),
        Verb::Report(Lazy(args)) => block_on(report::run(*args, context)),
        Verb::Fit(Lazy(args)) => block_on(fit::run(*args, context)),
        Verb::Recommend(Lazy(args)) => block_on(recommend::run(*args, context)),
        Verb::Chat(Lazy(args)) => block_on(chat::run(*args, context)),
        Verb::Test(Lazy(args)) => block_on(test::run(*args, context)),
        Verb::Top(Lazy(args)) => block_on(top::run(*args, context)),
        Verb::Bench(Lazy(verb)) => block_on(bench::run(*verb, context)),
        Verb::Endpoint(Lazy(args)) => block_on(endpoint::run(*args, context)),
        Verb::PortForward(Lazy(args)) => block_on(port_forward::run(*args, context)),
        Verb::Cache(Lazy(verb)) => block_on(cache::run(*verb, context)),
        Verb::Gateway(Lazy(verb)) => block_on(gateway::run(*verb, context)),
        Verb::Rbac(Lazy(verb)) => rbac::run(&verb, context),
        Verb::Completion(Lazy(args)) => completion::run(&args, context),
        Verb::Config(Lazy(args)) => config::run(&args, context),
        Verb::Version(Lazy(args)) => version::run(&args),
        Verb::Supervise(Lazy(args)) => block_on(local::supervise(*args)),
    }
}

/// Runs an asynchronous verb. The runtime is created here: `version` and similar verbs have only the one that watches
/// signals.
fn block_on<F: Future<Output = Result<Exit>>>(verb: F) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(verb);
    runtime.shutdown_background();
    result
}

/// Reports a usage error as an event on stderr.
fn report_usage_error(error: &clap::Error) -> Exit {
    let text = error.to_string().trim_start_matches("error: ").trim_end().to_owned();
    Report::new(ProgressMode::Json).event(&Event::Failed {
        code: Some(MessageCode::InvalidCommandLine),
        text,
        hint: None,
        exit: Exit::Usage as u8,
    });
    Exit::Usage
}

/// Prints the output of the parser: help to stdout, a usage error with its code to stderr.
fn print_usage(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        let _ = error.print();
        return Exit::Ok;
    }
    let text = error.render().ansi().to_string();
    let text_with_code = text.replacen("error:", &format!("error [{}]:", MessageCode::InvalidCommandLine), 1);
    let _ = write!(anstream::stderr().lock(), "{text_with_code}");
    Exit::Usage
}

/// Returns the value parser of a flag with a closed set of values.
fn enum_value_parser<T: StringEnum + Send + Sync>() -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(T::ALL.iter().map(|value| value.as_str())).map(|name| {
        *T::ALL
            .iter()
            .find(|value| value.as_str() == name)
            .expect("the parser accepts only the values in ALL")
    })
}
