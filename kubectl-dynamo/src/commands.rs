//! The command line: the root parser, kubectl's own flags, and the dispatch to one file per verb.

mod adopt;
mod asked;
mod cache;
mod changes;
mod chat;
mod check;
mod completion;
mod config;
mod configuration;
mod confirm;
mod deployment;
mod diagnose;
mod diff;
mod down;
mod endpoint;
mod events;
mod evidence;
mod explain;
mod fetcher_log;
mod fit;
mod frontend;
mod interruption;
mod kube_flags;
mod left_out;
mod list;
mod local;
mod logs;
mod model_volumes;
mod plan_view;
mod port_forward;
mod rbac;
mod render;
mod report;
mod revisions;
mod rollout;
mod scale;
mod serving_flags;
mod settle;
mod status;
mod summary;
mod table;
mod unwritable;
mod up;
mod version;
mod wizard;

use std::ffi::OsString;
use std::io::Write;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};

use crate::cluster::{Cluster, Refusals};
use crate::error::{EXIT_CODES, Exit, Result};
use crate::intent::Word;
use crate::report::{Event, ProgressMode, Report};
use kube_flags::KubeFlags;

/// Serve large language models with NVIDIA Dynamo
///
/// From a model's name to an answered token: on a Kubernetes cluster with the Dynamo platform, or with
/// `up --local` on this machine without a cluster and without a GPU.
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
    /// How progress is shown on stderr
    #[arg(long, global = true, value_name = "MODE", default_value = "auto", value_parser = words::<ProgressMode>(), env = "KUBECTL_DYNAMO_PROGRESS", hide_env = true)]
    progress: ProgressMode,
}

#[derive(Subcommand)]
enum Verb {
    Up(Box<up::UpArgs>),
    Render(Box<render::RenderArgs>),
    Diff(Box<diff::DiffArgs>),
    Check(Box<check::CheckArgs>),
    Fit(Box<fit::FitArgs>),
    Scale(scale::ScaleArgs),
    Rollout(rollout::RolloutArgs),
    Adopt(adopt::AdoptArgs),
    Down(down::DownArgs),
    List(list::ListArgs),
    Status(status::StatusArgs),
    Diagnose(diagnose::DiagnoseArgs),
    Events(events::EventsArgs),
    Explain(explain::ExplainArgs),
    Report(report::ReportArgs),
    Logs(logs::LogsArgs),
    Chat(chat::ChatArgs),
    Endpoint(endpoint::EndpointArgs),
    PortForward(port_forward::PortForwardArgs),
    #[command(subcommand)]
    Cache(cache::CacheVerb),
    #[command(subcommand)]
    Rbac(rbac::RbacVerb),
    Completion(completion::CompletionArgs),
    Config(config::ConfigArgs),
    Version(version::VersionArgs),
    #[command(name = crate::local::supervisor::VERB)]
    Supervise(local::SuperviseArgs),
}

impl Verb {
    /// Its words, as they are typed.
    fn name(&self) -> &'static str {
        match self {
            Self::Up(_) => "up",
            Self::Render(_) => "render",
            Self::Diff(_) => "diff",
            Self::Fit(_) => "fit",
            Self::Scale(_) => "scale",
            Self::Rollout(args) => args.name(),
            Self::Adopt(_) => "adopt",
            Self::Down(_) => "down",
            Self::List(_) => "list",
            Self::Status(_) => "status",
            Self::Diagnose(_) => "diagnose",
            Self::Events(_) => "events",
            Self::Explain(_) => "explain",
            Self::Report(_) => "report",
            Self::Logs(_) => "logs",
            Self::Chat(_) => "chat",
            Self::Endpoint(_) => "endpoint",
            Self::PortForward(_) => "port-forward",
            Self::Check(_) => "check",
            Self::Cache(verb) => verb.name(),
            Self::Rbac(verb) => verb.name(),
            Self::Completion(_) => "completion",
            Self::Config(_) => "config",
            Self::Version(_) => "version",
            Self::Supervise(_) => crate::local::supervisor::VERB,
        }
    }
}

/// What every verb is given besides its own flags.
struct Context {
    kube: KubeFlags,
    report: Report,
    progress: ProgressMode,
    /// The verb that runs, as the table of rights names it.
    verb: &'static str,
    refusals: Refusals,
}

impl Context {
    /// Connects to the cluster that kubectl's flags mean.
    async fn cluster(&self) -> Result<Cluster> {
        let mut access = self.kube.access()?;
        access.namespace = self.namespace()?;
        access.verb = self.verb;
        access.refusals = self.refusals.clone();
        Ok(Cluster::connect(&access).await?)
    }

    /// The namespace that a flag names, or a setting; otherwise the kubeconfig's context decides.
    fn namespace(&self) -> Result<Option<String>> {
        match &self.kube.namespace {
            Some(namespace) => Ok(Some(namespace.clone())),
            None => config::settings::namespace(),
        }
    }
}

/// Parses, runs one verb, prints its error if any, and says the exit code.
pub(crate) fn run(args: Vec<OsString>) -> Exit {
    if let Some(exit) = completion::answer(&args) {
        return exit;
    }
    let wants_json = args.windows(2).any(|pair| pair == ["--progress", "json"])
        || args.iter().any(|word| word == "--progress=json");
    let root = match Root::try_parse_from(args) {
        Ok(root) => root,
        Err(error) => return show_usage(&error, wants_json),
    };
    log_requests(root.kube.verbosity);
    let context = Context {
        verb: root.verb.name(),
        kube: root.kube,
        report: Report::new(root.progress),
        progress: root.progress,
        refusals: Refusals::default(),
    };
    let ended = dispatch(root.verb, &context);
    left_out::say(&context, ended.as_ref().err());
    ended.unwrap_or_else(|error| context.report.failed(&error))
}

/// kubectl's verbosity: requests from level 6 on, their details from 8. Headers, and so tokens, are never in it.
fn log_requests(verbosity: u8) {
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;
    let level = match verbosity {
        0..=5 => return,
        6..=7 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    let ours = tracing_subscriber::filter::Targets::new().with_target("kube_client::client", level);
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(ours).with(lines).init();
}

fn dispatch(verb: Verb, context: &Context) -> Result<Exit> {
    match verb {
        Verb::Up(args) => wait(up::run(*args, context)),
        Verb::Render(args) => wait(render::run(*args, context)),
        Verb::Diff(args) => wait(diff::run(*args, context)),
        Verb::Check(args) => wait(check::run(*args, context)),
        Verb::Scale(args) => wait(scale::run(args, context)),
        Verb::Rollout(args) => wait(rollout::run(args, context)),
        Verb::Adopt(args) => wait(adopt::run(args, context)),
        Verb::Down(args) => wait(down::run(args, context)),
        Verb::Logs(args) => wait(logs::run(args, context)),
        Verb::List(args) => wait(list::run(args, context)),
        Verb::Status(args) => wait(status::run(args, context)),
        Verb::Diagnose(args) => wait(diagnose::run(args, context)),
        Verb::Events(args) => wait(events::run(args, context)),
        Verb::Explain(args) => explain::run(&args),
        Verb::Report(args) => wait(report::run(args, context)),
        Verb::Fit(args) => wait(fit::run(*args, context)),
        Verb::Chat(args) => wait(chat::run(args, context)),
        Verb::Endpoint(args) => wait(endpoint::run(args, context)),
        Verb::PortForward(args) => wait(port_forward::run(args, context)),
        Verb::Cache(verb) => wait(cache::run(verb, context)),
        Verb::Rbac(verb) => rbac::run(&verb, context),
        Verb::Completion(args) => completion::run(&args, context),
        Verb::Config(args) => config::run(&args, context),
        Verb::Version(args) => version::run(&args),
        Verb::Supervise(args) => wait(local::supervise(args)),
    }
}

/// Runs a verb that waits for something; the runtime is made here so that `version` never pays for it.
fn wait<F: Future<Output = Result<Exit>>>(verb: F) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(verb);
    runtime.shutdown_background();
    result
}

/// Prints what the parser says: help to stdout, a mistake to stderr with its code.
fn show_usage(error: &clap::Error, as_json: bool) -> Exit {
    if !error.use_stderr() {
        let _ = error.print();
        return Exit::Ok;
    }
    if as_json {
        let text = error.to_string().trim_start_matches("error: ").trim_end().to_owned();
        Report::new(ProgressMode::Json).event(&Event::Failed {
            code: Some("KD0001"),
            text,
            hint: None,
            exit: Exit::Usage as u8,
        });
        return Exit::Usage;
    }
    let text = error.render().ansi().to_string();
    let coded = text.replacen("error:", "error [KD0001]:", 1);
    let _ = write!(anstream::stderr().lock(), "{coded}");
    Exit::Usage
}

/// A flag's value parser for a closed set of words.
fn words<T: Word + Send + Sync>() -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(T::ALL.iter().map(|word| word.as_str())).map(|given| {
        *T::ALL
            .iter()
            .find(|word| word.as_str() == given)
            .expect("the parser lets only the words of ALL through")
    })
}

/// Writes data to stdout. A closed pipe ends the program quietly, as users of `head` expect.
fn print_data(text: &str) -> Result<()> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(Exit::Ok as i32),
        result => Ok(result?),
    }
}
