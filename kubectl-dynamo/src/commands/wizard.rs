//! The wizard: on a terminal, and only for what neither a flag nor a setting says. Every answer becomes a flag, so it
//! ends with the one-line command that does the same without it.

mod ending;
mod pager;
mod prompt;
mod questions;

use std::io::IsTerminal;

use super::asked::{Wanted, usual_token_secret, wanted};
use super::deployment::{self, Deployment, Offline, budget};
use super::render::RenderArgs;
use super::up::UpArgs;
use super::up::screen::plan_lines;
use super::{Context, print_data};
use crate::cluster::{Cluster, ClusterError};
use crate::error::{Exit, Result};
use crate::intent::{Cache, TokenSecret, Word};
use crate::report::ProgressMode;
use ending::{Choice, Ending, Plan};
use prompt::Prompt;
use questions::{Known, Session};

/// Whether somebody is there to be asked.
pub(super) fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// What came of the questions.
pub(super) enum Agreed {
    /// Carry it out, with a token if one was typed.
    Deploy { token: Option<String>, repeat: String },
    /// Nothing is to be done any more.
    Left(Exit),
}

/// Asks on behalf of `up`: questions, the plan, and what to do with it. The answers are left in the flags.
pub(super) async fn for_up(args: &mut UpArgs, context: &Context, cluster: &Cluster) -> Result<Agreed> {
    let platform = cluster.platform().await?;
    let known = Known {
        namespace: cluster.namespace.clone(),
        budget: budget(&platform),
        token_secret: has_token_secret(cluster).await?,
        has_claim: cluster.claim(Cache::DEFAULT_CLAIM).await?.is_some(),
    };
    let mut prompt = Prompt::new(is_plain(context))?;
    let mut session = Session::new(&mut args.serving, &mut prompt, known)?;
    let asked = tokio::task::block_in_place(|| session.questions())?;
    let Some(token) = asked else { return Ok(Agreed::Left(left(context))) };
    let asked = match wanted(&args.serving)? {
        Wanted::Request(mut asked) => {
            asked.layers.extend(token.as_ref().map(|_| usual_token_secret()));
            asked
        }
        Wanted::Objects(_) => return Ok(Agreed::Left(Exit::Ok)),
    };
    let deployment = deployment::on_cluster(&asked, cluster, &platform, token.is_some()).await?;
    let live = cluster.get(crate::cluster::Kind::Graph(platform.graph_api), &deployment.name).await?;
    let plan = Plan {
        lines: plan_lines(&deployment, &cluster.namespace, cluster.context.as_deref()),
        deployment: &deployment,
        live: live.as_ref(),
        choices: &[Choice::Deploy, Choice::Review, Choice::Save, Choice::Quit],
        command: command("up", &args.serving, context, &cluster.namespace, &[])?,
        leaves: said(&args.serving)?,
        verb: "up",
    };
    match tokio::task::block_in_place(|| ending::decide(&plan, &mut prompt, &context.report))? {
        Ending::GoOn => Ok(Agreed::Deploy { token, repeat: plan.command }),
        Ending::Done => Ok(Agreed::Left(Exit::Ok)),
        Ending::Left => Ok(Agreed::Left(left(context))),
    }
}

/// Asks on behalf of `render`, where no cluster is asked, and prints the objects.
pub(super) fn for_render(args: &mut RenderArgs, context: &Context, known: &Offline<'_>) -> Result<Exit> {
    let facts = Known {
        namespace: known.namespace.into(),
        budget: known.budget,
        token_secret: TokenState::Unknown,
        has_claim: false,
    };
    let mut prompt = Prompt::new(is_plain(context))?;
    let mut session = Session::new(&mut args.serving, &mut prompt, facts)?;
    if tokio::task::block_in_place(|| session.questions())?.is_none() {
        return Ok(left(context));
    }
    let Wanted::Request(asked) = wanted(&args.serving)? else { return Ok(Exit::Ok) };
    let deployment = deployment::offline(&asked, known)?;
    let graph_api = ["--graph-api".to_owned(), known.graph_api.as_str().to_owned()];
    let plan = Plan {
        lines: plan_lines(&deployment, known.namespace, None),
        deployment: &deployment,
        live: None,
        choices: &[Choice::Print, Choice::Review, Choice::Save, Choice::Quit],
        command: command("render", &args.serving, context, known.namespace, &graph_api)?,
        leaves: said(&args.serving)?,
        verb: "render",
    };
    match tokio::task::block_in_place(|| ending::decide(&plan, &mut prompt, &context.report))? {
        Ending::GoOn => {
            print_data(&objects(&deployment)?)?;
            context.report.closing(vec![format!("  again     {}", plan.command)]);
            Ok(Exit::Ok)
        }
        Ending::Done => Ok(Exit::Ok),
        Ending::Left => Ok(left(context)),
    }
}

/// The objects as YAML.
pub(super) fn objects(deployment: &Deployment) -> Result<String> {
    Ok(crate::resources::to_yaml(&deployment.resources).map_err(std::io::Error::other)?)
}

/// A plain mode for screen readers and terminals that cannot move their cursor.
fn is_plain(context: &Context) -> bool {
    let dumb = std::env::var("TERM").map_or(true, |term| term.is_empty() || term == "dumb");
    dumb || context.progress == ProgressMode::Plain
}

fn left(context: &Context) -> Exit {
    context.report.closing(vec!["left; nothing was done".into()]);
    Exit::Interrupted
}

/// What is known of the Secret that usually holds the hub token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenState {
    There,
    Absent,
    Unknown,
}

async fn has_token_secret(cluster: &Cluster) -> Result<TokenState> {
    match cluster.secret_has_key(TokenSecret::DEFAULT_NAME, TokenSecret::DEFAULT_KEY).await {
        Ok(Some(true)) => Ok(TokenState::There),
        Ok(_) => Ok(TokenState::Absent),
        // Who may not read Secrets may still use one.
        Err(ClusterError::Forbidden { .. }) => Ok(TokenState::Unknown),
        Err(error) => Err(error.into()),
    }
}

/// What was typed and answered.
fn said(flags: &super::serving_flags::ServingFlags) -> Result<Vec<crate::intent::request::Leaf>> {
    let [typed, set] = flags.layers()?;
    Ok(crate::intent::request::together([set, typed]))
}

fn command(
    verb: &str,
    flags: &super::serving_flags::ServingFlags,
    context: &Context,
    namespace: &str,
    more: &[String],
) -> Result<String> {
    use crate::intent::request::{command_words, quoted};
    let mut words = vec!["kubectl".into(), "dynamo".into(), verb.into()];
    words.extend(context.kube.context.iter().flat_map(|name| ["--context".to_owned(), name.clone()]));
    words.extend(["-n".into(), namespace.into()]);
    words.extend(more.iter().cloned());
    words.extend(command_words(&said(flags)?));
    Ok(quoted(&words))
}
