//! `up`: create or update a deployment, and return when it has answered a real request.

pub(super) mod deploy;
pub(super) mod error;
pub(super) mod failed;
pub(super) mod fetch;
pub(super) mod leaving;
mod predecessor;
pub(super) mod preflight;
mod rollback;
pub(super) mod screen;
mod starting;
mod troubled;

use std::cell::{Cell, OnceCell};
use std::io::Read;
use std::time::{Duration, Instant};

use clap::Args;

use super::asked::{self, Wanted, wanted};
use super::changes::{self, Answer};
use super::deployment::{self, Deployment};
use super::kube_flags::FlagError;
use super::plan_view::{self, PlanFormat};
use super::serving_flags::ServingFlags;
use super::settle::{self, SettleArgs};
use super::wizard::{self, Agreed};
use super::{Context, local, revisions, words};
use crate::cluster::{Change, Cluster, Kind, Outcome, Platform};
use crate::error::{Exit, Result};
use crate::intent::{TokenSecret, Word};
use crate::readiness::is_going;
use crate::report::{Event, Stage};
use deploy::Awaited;
use error::UpError;
use leaving::Stands;
use preflight::Preflight;
use screen::{closing_lines, print_client_dry_run, print_server_dry_run};

/// Serve a model: create or update a deployment and wait until it answers
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct UpArgs {
    #[command(flatten)]
    pub serving: ServingFlags,
    /// Serve on this machine, without a cluster; without MODEL a tiny built-in one
    #[arg(long, help_heading = "Flow")]
    pub local: bool,
    #[command(flatten, next_help_heading = "Flow")]
    pub settle: SettleArgs,
    /// Port of the endpoint on this machine; a free one when absent
    #[arg(long, value_name = "PORT", help_heading = "Flow")]
    pub port: Option<u16>,
    /// Show the logs of every process
    #[arg(long, help_heading = "Flow")]
    pub logs: bool,
    /// Only say what would be done: `client` sends nothing, `server` lets the API server check every object
    #[arg(long, value_name = "MODE", value_parser = words::<DryRun>(), default_value = "none", help_heading = "Flow")]
    pub dry_run: DryRun,
    /// Exit 8 where --dry-run=server finds something to change
    #[arg(long, requires = "dry_run", help_heading = "Flow")]
    pub fail_on_change: bool,
    /// Only show every value and who said it
    #[arg(long, conflicts_with = "local", help_heading = "Flow")]
    pub plan: bool,
    /// Output format of --plan
    #[arg(short, long, requires = "plan", value_parser = words::<PlanFormat>(), help_heading = "Flow")]
    pub output: Option<PlanFormat>,
    /// When a change of a deployment fails, or is not ready in time, go back to what was there before
    #[arg(long, conflicts_with_all = ["local", "detach"], help_heading = "Flow")]
    pub rollback_on_failure: bool,
    /// Take over fields that another manager holds
    #[arg(long, help_heading = "Flow")]
    pub force_conflicts: bool,
    /// Do not ask before a change that leaves a serving deployment without answers for a while
    #[arg(short, long, help_heading = "Flow")]
    pub yes: bool,
    /// Begin although the check that says this code fails, or `all`; may be given again
    #[arg(long, value_name = "CODE", value_delimiter = ',', help_heading = "Flow")]
    pub ignore_preflight: Vec<String>,
    /// Read the hub token from stdin and keep it in the Secret of --hf-token-secret
    #[arg(long, help_heading = "Flow")]
    pub hf_token_stdin: bool,
}

/// How much of `up` is only said and not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DryRun {
    None,
    Client,
    Server,
}

impl Word for DryRun {
    const ALL: &'static [Self] = &[Self::None, Self::Client, Self::Server];

    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  kubectl dynamo up --local                       a tiny model on this machine, no GPU needed
  kubectl dynamo up Qwen/Qwen3-0.6B               on the cluster of the current context
  kubectl dynamo up Qwen/Qwen3-0.6B -- --max-model-len 8192";

pub(super) async fn run(args: UpArgs, context: &Context) -> Result<Exit> {
    if args.local {
        return local::up(args, context).await;
    }
    context.kube.refuse_all_namespaces()?;
    for (flag, given) in [("--port", args.port.is_some()), ("--logs", args.logs)] {
        if given {
            return Err(FlagError::OnlyLocal { flag }.into());
        }
    }
    if args.fail_on_change && args.dry_run != DryRun::Server {
        return Err(FlagError::OnlyServerKnows.into());
    }
    let mut wanted = wanted(&args.serving)?;
    if wanted.names_nothing() && wizard::can_ask() {
        return ask_first(args, context).await;
    }
    let token = read_token(&args, &mut wanted)?;
    if let Wanted::Request(asked) = &wanted {
        asked.check()?;
    }
    let cluster = context.cluster().await?;
    carry_out(&args, &wanted, token, context, &cluster).await
}

/// The wizard, and then what was agreed on.
async fn ask_first(mut args: UpArgs, context: &Context) -> Result<Exit> {
    let cluster = context.cluster().await?;
    match wizard::for_up(&mut args.serving, context, &cluster).await? {
        Agreed::Left(exit) => Ok(exit),
        Agreed::GoOn { token, again, .. } => {
            let mut wanted = wanted(&args.serving)?;
            if let (Wanted::Request(asked), Some(_)) = (&mut wanted, &token) {
                asked.layers.push(asked::usual_token_secret());
            }
            let exit = carry_out(&args, &wanted, token, context, &cluster).await;
            context.report.closing(again);
            exit
        }
    }
}

async fn carry_out(
    args: &UpArgs,
    wanted: &Wanted,
    token: Option<String>,
    context: &Context,
    cluster: &Cluster,
) -> Result<Exit> {
    let done = Progress::default();
    cluster.wait_while_away(args.settle.timeout);
    let told = async {
        match story(args, wanted, token.as_deref(), context, cluster, &done).await {
            Err(error) => {
                let awaited = done.planned.get().map(Awaited::of);
                let error = failed::explained(error, cluster, awaited.as_ref(), &context.report).await;
                Err(match done.applied.get().filter(|_| args.rollback_on_failure) {
                    Some(change) => {
                        done.stands.set(Stands::GoesBack);
                        rollback::go_back(error, change, args, cluster, &context.report).await
                    }
                    None => error,
                })
            }
            done => done,
        }
    };
    match leaving::told(told, context, cluster).await {
        Some(outcome) => outcome,
        None => Ok(leaving::interrupted(context, cluster, done.planned.get(), done.stands.get()).await),
    }
}

/// How far it came.
#[derive(Default)]
struct Progress {
    /// Filled as soon as it is known what will be applied.
    planned: OnceCell<Deployment>,
    /// The graph's change, filled when it is made.
    applied: OnceCell<Change>,
    stands: Cell<Stands>,
}

/// From the first question to the last answer.
async fn story(
    args: &UpArgs,
    wanted: &Wanted,
    token: Option<&str>,
    context: &Context,
    cluster: &Cluster,
    done: &Progress,
) -> Result<Exit> {
    let (begun, limit) = (Instant::now(), args.settle.timeout);
    let looked = look_first(args, wanted, token, context, cluster, done);
    let (platform, changes) = match in_time(looked, limit, args, context, cluster, done).await? {
        Looked::Enough(exit) => return Ok(exit),
        Looked::GoOn { platform, changes } => (platform, changes),
    };
    let left = limit.saturating_sub(begun.elapsed());
    // A person may think about it for as long as they like.
    if !changes::accepted(cluster, &platform, &changes, Answer::of(args.yes), context).await? {
        return Ok(Exit::Ok);
    }
    let deployment = done.planned.get().expect("what is compared was planned");
    let applied = apply_and_wait(args, token, context, cluster, deployment, &changes, done);
    in_time(applied, left, args, context, cluster, done).await?;
    context.report.closing(closing_lines(deployment, cluster, args.settle.detach));
    Ok(Exit::Ok)
}

/// A part of the story, for which so much of `--timeout` is left.
async fn in_time<T>(
    part: impl Future<Output = Result<T>>,
    left: Duration,
    args: &UpArgs,
    context: &Context,
    cluster: &Cluster,
    done: &Progress,
) -> Result<T> {
    let name = || done.planned.get().map_or("the deployment", |planned| &planned.name);
    let late = || UpError::late(name(), done.stands.get(), cluster, args.settle.timeout, &context.report);
    tokio::time::timeout(left, part).await.unwrap_or_else(|_| Err(late().into()))
}

/// What came of looking.
enum Looked {
    /// It was all that was asked for.
    Enough(Exit),
    GoOn {
        platform: Platform,
        changes: Vec<Change>,
    },
}

/// Plans, looks at the cluster and compares; nothing is written.
async fn look_first(
    args: &UpArgs,
    wanted: &Wanted,
    token: Option<&str>,
    context: &Context,
    cluster: &Cluster,
    done: &Progress,
) -> Result<Looked> {
    let report = &context.report;
    report.waiting(Stage::Preflight, format!("{} to answer", cluster.server));
    let platform = cluster.platform().await?;
    let deployment = match wanted {
        Wanted::Request(asked) => deployment::on_cluster(asked, cluster, &platform, token.is_some()).await?,
        Wanted::Objects(objects) => deployment::as_is(objects, cluster, &platform).await?,
    };
    let deployment = done.planned.get_or_init(|| deployment);
    if args.plan {
        let format = args.output.unwrap_or(PlanFormat::Table);
        return plan_view::print(deployment, &cluster.namespace, format).map(Looked::Enough);
    }
    let mut preflight = Preflight::new(cluster, &platform, deployment, &args.ignore_preflight, report);
    if args.dry_run != DryRun::Client {
        preflight.look().await?;
    }
    report.event(&Event::Plan { lines: preflight.plan_lines() });
    for warning in deployment.plan_warnings() {
        report.warn(Some(warning.code()), warning.to_string(), None);
    }
    for warning in &deployment.warnings {
        report.warn(Some("KD0416"), warning, None);
    }
    if args.dry_run == DryRun::Client {
        return print_client_dry_run(&cluster.look(&deployment.resources).await?).map(Looked::Enough);
    }
    preflight.judge()?;
    let mut changes =
        cluster.compare_knowing(&deployment.read, &deployment.resources, args.force_conflicts).await?;
    if args.dry_run == DryRun::None && changes.iter().any(is_of_going_graph) {
        predecessor::wait_for_graph(cluster, &platform, &deployment.name, context).await?;
        changes = cluster.compare(&deployment.resources, args.force_conflicts).await?;
    }
    let mut outcomes = Vec::new();
    if let Some((secret, token)) = kept_in(deployment, token) {
        let outcome = cluster.put_secret(&secret.name, &secret.key, token, true).await?;
        outcomes.push((format!("secret/{}", secret.name), outcome));
    }
    preflight.judge_change(&changes).await?;
    if args.dry_run == DryRun::Server {
        outcomes.extend(changes.iter().map(|change| (change.resource.to_string(), change.outcome)));
        print_server_dry_run(&outcomes)?;
        let fails = args.fail_on_change && outcomes.iter().any(|(_, outcome)| outcome.writes());
        return Ok(Looked::Enough(if fails { Exit::Changes } else { Exit::Ok }));
    }
    report.done(Stage::Preflight, preflight.tally());
    Ok(Looked::GoOn { platform, changes })
}

/// Whether it is a graph that is being deleted.
fn is_of_going_graph(change: &Change) -> bool {
    let is_graph = matches!(Kind::of(&change.resource), Some(Kind::Graph(_)));
    is_graph && change.live.as_ref().is_some_and(is_going)
}

async fn apply_and_wait(
    args: &UpArgs,
    token: Option<&str>,
    context: &Context,
    cluster: &Cluster,
    deployment: &Deployment,
    changes: &[Change],
    done: &Progress,
) -> Result<()> {
    let report = &context.report;
    let (graph, before) = changes.split_last().expect("a graph is always rendered, and last");
    if !before.is_empty() {
        let names: Vec<String> = before.iter().map(|change| change.resource.to_string()).collect();
        report.waiting(Stage::Objects, format!("{} to take {}", cluster.server, names.join(", ")));
    }
    let mut outcomes: Vec<Outcome> = changes.iter().map(|change| change.outcome).collect();
    let mut written = Vec::new();
    if let Some((secret, token)) = kept_in(deployment, token) {
        let outcome = cluster.put_secret(&secret.name, &secret.key, token, false).await?;
        outcomes.push(outcome);
        written.push(format!("secret/{} {outcome}", secret.name));
    }
    for change in before {
        cluster.apply(change, args.force_conflicts).await?;
        written.push(format!("{} {}", change.resource, change.outcome));
    }
    if !written.is_empty() {
        report.done(Stage::Objects, written.join(" · "));
    }
    let job = before.iter().find(|change| change.resource.kind() == "Job");
    // A graph that is there already holds its GPUs; only a new one waits until the model is there.
    if let Some(job) = job.filter(|_| !args.settle.detach && graph.outcome == Outcome::Created) {
        report.event(&Event::Outlook {
            stage: Stage::ModelFetch,
            next: Some(format!("{:<14} waits for the model", Stage::Deploy.title())),
            leaving: "Ctrl-C leaves the download running; the same command continues".into(),
        });
        fetch::wait(cluster, job.resource.name(), Stage::ModelFetch, report).await?;
    }
    if graph.outcome == Outcome::Created {
        predecessor::wait_for_children(cluster, deployment, context).await?;
    }
    report.waiting(Stage::Deploy, format!("{} to take {}", cluster.server, graph.resource));
    let pods_before = deploy::attempts(cluster, &deployment.name).await;
    done.stands.set(Stands::Applied);
    let live = revisions::apply(cluster, graph, args.force_conflicts, "up", report).await?;
    let _ = done.applied.set(graph.clone());
    report.done(Stage::Deploy, format!("{} {}", graph.resource, graph.outcome));
    if !outcomes.iter().any(|outcome| outcome.writes()) {
        report.detail("unchanged: nothing was written");
    }
    if !args.settle.detach {
        report.event(&Event::Outlook {
            stage: Stage::Ready,
            next: None,
            leaving: format!("Ctrl-C stops only the watching: kubectl dynamo status {}", deployment.name),
        });
    }
    settle::serve_again(&Awaited::of(deployment), &live, pods_before, &args.settle, cluster, report).await
}

/// The token. It is read from stdin alone, and only when that was asked for. Where nobody names a Secret for it, it
/// goes to that of Dynamo's own examples.
fn read_token(args: &UpArgs, wanted: &mut Wanted) -> Result<Option<String>> {
    if !args.hf_token_stdin {
        return Ok(None);
    }
    let Wanted::Request(asked) = wanted else { return Err(UpError::TokenOfFile.into()) };
    let mut text = String::new();
    std::io::stdin().take(4096).read_to_string(&mut text)?;
    let token = text.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(UpError::NoToken.into());
    }
    asked.layers.push(asked::usual_token_secret());
    Ok(Some(token.to_owned()))
}

/// The Secret that keeps the token of a deployment.
fn kept_in<'a>(deployment: &'a Deployment, token: Option<&'a str>) -> Option<(&'a TokenSecret, &'a str)> {
    Some((deployment.plan.as_ref()?.intent.token_secret.as_ref()?, token?))
}
