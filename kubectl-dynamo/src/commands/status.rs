//! `status`: one screen that answers "is it fine?" in its first line; it can wait for a yes.

mod fetching;
mod look;
mod screen;

use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::frontend::{self, Sought};
use super::interruption::unless_left;
use super::{Context, endpoint, kube_flags, list, print_data, words};
use crate::cluster::{Cluster, Kind, NO_RIGHT, Platform, Seen, Watched};
use crate::diagnosis::Cause;
use crate::error::{Exit, Result};
use crate::intent::Word;
use crate::readiness::GRAPH_LABEL;
use fetching::Fetching;
pub(super) use fetching::fetching;
use look::View;
pub(super) use screen::tree;

/// Show whether a deployment is fine, and why not
#[derive(Args)]
pub(super) struct StatusArgs {
    /// Name of the deployment; all of the namespace when absent
    pub name: Option<String>,
    /// The deployment is one of this machine
    #[arg(long, conflicts_with_all = ["watch", "wait", "details"])]
    pub local: bool,
    /// Show it again whenever it changes
    #[arg(short, long, requires = "name")]
    pub watch: bool,
    /// Return when it serves, or when it cannot without somebody's help
    #[arg(long, requires = "name", conflicts_with = "watch")]
    pub wait: bool,
    /// Longest time for --wait or --watch
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = kube_flags::duration)]
    pub timeout: Duration,
    /// Also the chain of objects and the last events
    #[arg(long, requires = "name")]
    pub details: bool,
    /// Output format
    #[arg(short, long, value_parser = words::<StatusFormat>(), default_value = "text")]
    pub output: StatusFormat,
}

/// How a status is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StatusFormat {
    Text,
    Json,
}

impl Word for StatusFormat {
    const ALL: &'static [Self] = &[Self::Text, Self::Json];

    fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// The answer to "is it fine?".
enum Verdict {
    /// With what the frontend lists; nothing where there is no right to ask it.
    Up {
        models: Vec<String>,
    },
    ComingUp {
        waits_for: String,
        cause: Option<Cause>,
    },
    Down {
        cause: Cause,
    },
}

impl Verdict {
    fn exit(&self) -> Exit {
        match self {
            Self::Up { .. } => Exit::Ok,
            Self::ComingUp { .. } => Exit::NotReadyInTime,
            Self::Down { .. } => Exit::Failed,
        }
    }

    fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Up { .. } => None,
            Self::ComingUp { cause, .. } => cause.as_ref(),
            Self::Down { cause } => Some(cause),
        }
    }
}

/// How long one that is down is given with `--wait`, as `up` gives it.
const GRACE: Duration = Duration::from_secs(20);
/// A burst of changes is shown once.
const SETTLES: Duration = Duration::from_millis(300);
/// How often a frontend that lists no model yet is asked again: there is nothing to watch for that.
const ASK_AGAIN: Duration = Duration::from_secs(1);

pub(super) async fn run(args: StatusArgs, context: &Context) -> Result<Exit> {
    if args.local {
        return super::local::status(args.name.as_deref(), args.output, context).await;
    }
    let Some(name) = &args.name else { return list::status(args.output, context).await };
    let Sought { cluster, platform, graph } = frontend::look(name, context).await?;
    if args.watch || args.wait {
        let followed = unless_left(follow(&args, name, &cluster, &platform)).await;
        return followed.unwrap_or(Ok(Exit::Interrupted));
    }
    let Some(graph) = graph else { return fetching(name, &cluster, &platform, args.output).await };
    let view = look::look(&cluster, graph, platform.graph_api).await?;
    print_data(&printed(&args, &view))?;
    Ok(view.verdict.exit())
}

fn printed(args: &StatusArgs, view: &View) -> String {
    match args.output {
        StatusFormat::Text => screen::screen(view, args.details),
        StatusFormat::Json => format!("{:#}\n", screen::document(view)),
    }
}

/// Looks again whenever an object of the deployment changes, until the wait is over.
async fn follow(args: &StatusArgs, name: &str, cluster: &Cluster, platform: &Platform) -> Result<Exit> {
    let until = Instant::now() + args.timeout;
    let of_graph = || format!("{GRAPH_LABEL}={name}");
    let graph = Kind::Graph(platform.graph_api);
    let mut changes = cluster.watch(&[
        Watched::named(graph, name),
        Watched::labelled(Kind::Job, frontend::job_labels(name)),
        Watched::labelled(Kind::ComponentDeployment(platform.graph_api), of_graph()),
        Watched::labelled(Kind::Pod, of_graph()),
    ]);
    let (mut last, mut was_there, mut down_since) = (String::new(), false, None);
    loop {
        let mut unsettled = false;
        let exit = match cluster.get(graph, name).await {
            Ok(Some(graph)) => {
                was_there = true;
                let view = look::look(cluster, graph, platform.graph_api).await?;
                show(args, &printed(args, &view), &mut last)?;
                unsettled = view.is_unlisted();
                Some(view.verdict.exit())
            }
            Ok(None) if was_there && args.wait => {
                return Err(frontend::absent(cluster, platform, name).into());
            }
            Ok(None) if was_there => {
                show(args, &format!("{name} is gone\n"), &mut last)?;
                None
            }
            Ok(None) => match Fetching::look(name, cluster).await? {
                Some(fetching) => {
                    show(args, &fetching.printed(args.output), &mut last)?;
                    Some(fetching.exit())
                }
                None if args.wait => return Err(frontend::absent(cluster, platform, name).into()),
                None => {
                    show(args, &format!("… {name} is not created yet\n"), &mut last)?;
                    None
                }
            },
            Err(error) if error.may_pass() => None,
            Err(error) => return Err(error.into()),
        };
        down_since = (exit == Some(Exit::Failed)).then(|| down_since.unwrap_or_else(Instant::now));
        let lost = down_since.filter(|_| args.wait).map(|since: Instant| since + GRACE);
        if args.wait && exit == Some(Exit::Ok) {
            print_data(&last)?;
            return Ok(Exit::Ok);
        }
        let next = until.min(lost.unwrap_or(until)).min(match unsettled {
            true => Instant::now() + ASK_AGAIN,
            false => until,
        });
        let changed = timeout_at(next, changes.next()).await;
        if let Ok(Some(Seen::Trouble(_, error))) = &changed
            && error.may_pass()
        {
            sleep_until(Instant::now() + SETTLES).await;
        }
        let now = Instant::now();
        if now >= until || lost.is_some_and(|lost| now >= lost) {
            if args.wait {
                print_data(&last)?;
            }
            return Ok(exit.unwrap_or(Exit::NotReadyInTime));
        }
        while let Ok(Some(_)) = timeout(SETTLES, changes.next()).await {}
    }
}

/// With `--watch` the screen is drawn anew, or printed again where there is none; with `--wait` it is only kept.
fn show(args: &StatusArgs, text: &str, last: &mut String) -> Result<()> {
    use std::io::IsTerminal;
    if args.watch && text != last {
        let clear = if std::io::stdout().is_terminal() { "\u{1b}[H\u{1b}[2J" } else { "" };
        print_data(&format!("{clear}{text}"))?;
    }
    text.clone_into(last);
    Ok(())
}

/// Why a deployment that reports ready serves nothing: its frontend lists no model, or does not answer.
pub(super) async fn unlisted(cluster: &Cluster, name: &str) -> Option<Cause> {
    listed(cluster, name).await.err()
}

async fn listed(cluster: &Cluster, name: &str) -> std::result::Result<Vec<String>, Cause> {
    let place = format!("deployment {name}");
    let namespace = &cluster.namespace;
    match endpoint::models(cluster, name).await {
        Ok(models) if !models.is_empty() => Ok(models),
        Ok(_) => Err(Cause {
            code: "KD0702",
            text: "everything reports ready and no model is listed".into(),
            fix: format!("see what the workers say: kubectl dynamo logs {name} -n {namespace}"),
            exit: Exit::Failed,
            place,
        }),
        Err(error) if error.code() == Some(NO_RIGHT) => Ok(Vec::new()),
        Err(error) => Err(Cause {
            code: error.code().unwrap_or("KD0802"),
            text: error.to_string(),
            fix: error.hint().unwrap_or_else(|| format!("kubectl dynamo logs {name} -n {namespace}")),
            exit: error.exit(),
            place,
        }),
    }
}
