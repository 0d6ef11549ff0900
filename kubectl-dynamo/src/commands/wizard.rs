//! The wizard: on a terminal, and only for what neither a flag nor a setting says. Every answer becomes a flag, so it
//! ends with the one-line command that does the same without it.

mod answers;
mod ending;
mod pager;
mod prompt;
mod questions;

use std::io::IsTerminal;

use super::asked::{Wanted, usual_token_secret, wanted};
use super::deployment::{self, Deployment, Offline, budget, detected_release};
use super::serving_flags::ServingFlags;
use super::up::screen::plan_lines;
use super::{Context, print_data};
use crate::cluster::{Cluster, ClusterError, Kind, Platform};
use crate::error::{Exit, Result};
use crate::intent::{Cache, TokenSecret, Word};
use crate::preflight::ClusterFacts;
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
    /// Carry it out, with a token if one was typed; and what says the same again.
    GoOn { token: Option<String>, deployment: Box<Deployment>, again: Vec<String> },
    /// Nothing is to be done any more.
    Left(Exit),
}

/// Asks on behalf of `up`: questions, the plan, and what to do with it. The answers are left in the flags.
pub(super) async fn for_up(
    serving: &mut ServingFlags,
    context: &Context,
    cluster: &Cluster,
) -> Result<Agreed> {
    let platform = cluster.platform().await?;
    let token_secret = has_token_secret(cluster).await?;
    let choices = &[Choice::Deploy, Choice::Review, Choice::Save, Choice::Quit];
    let asking = Asking { verb: "up", choices, token_secret };
    asking.on_cluster(serving, context, cluster, &platform).await
}

/// Asks on behalf of `render` where a cluster says what is not said, and prints the objects.
pub(super) async fn for_render_on(
    serving: &mut ServingFlags,
    context: &Context,
    cluster: &Cluster,
    platform: &Platform,
) -> Result<Exit> {
    let asking = Asking { verb: "render", choices: OF_RENDER, token_secret: TokenState::Unknown };
    finish(asking.on_cluster(serving, context, cluster, platform).await?, context)
}

/// Asks on behalf of `render`, where no cluster is asked, and prints the objects.
pub(super) fn for_render(serving: &mut ServingFlags, context: &Context, known: &Offline<'_>) -> Result<Exit> {
    let asking = Asking { verb: "render", choices: OF_RENDER, token_secret: TokenState::Unknown };
    finish(asking.offline(serving, context, known)?, context)
}

const OF_RENDER: &[Choice] = &[Choice::Print, Choice::Review, Choice::Save, Choice::Quit];

fn finish(agreed: Agreed, context: &Context) -> Result<Exit> {
    match agreed {
        Agreed::GoOn { deployment, again, .. } => {
            print_data(&objects(&deployment)?)?;
            context.report.closing(again);
            Ok(Exit::Ok)
        }
        Agreed::Left(exit) => Ok(exit),
    }
}

/// On whose behalf somebody is asked.
struct Asking {
    verb: &'static str,
    choices: &'static [Choice],
    token_secret: TokenState,
}

impl Asking {
    async fn on_cluster(
        &self,
        serving: &mut ServingFlags,
        context: &Context,
        cluster: &Cluster,
        platform: &Platform,
    ) -> Result<Agreed> {
        let known = Known {
            namespace: cluster.namespace.clone(),
            budget: budget(platform),
            token_secret: self.token_secret,
            has_claim: cluster.claim(Cache::DEFAULT_CLAIM).await?.is_some(),
            release: detected_release(platform),
            eks_auto_mode: platform.eks_auto_mode,
        };
        let mut prompt = Prompt::new(is_plain(context))?;
        let Some(token) = questions(serving, &mut prompt, known)? else { return Ok(left(context)) };
        let Wanted::Request(mut asked) = wanted(serving)? else { return Ok(Agreed::Left(Exit::Ok)) };
        asked.layers.extend(token.as_ref().map(|_| usual_token_secret()));
        let deployment = deployment::on_cluster(&asked, cluster, platform, token.is_some()).await?;
        let live = cluster.get(Kind::Graph(platform.graph_api), &deployment.name).await?;
        let plan = Plan {
            lines: plan_lines(
                &deployment,
                &cluster.namespace,
                cluster.context.as_deref(),
                &ClusterFacts::default(),
            ),
            deployment: &deployment,
            live: live.as_ref(),
            choices: self.choices,
            command: command(self.verb, serving, context, &cluster.namespace, &[])?,
            leaves: said(serving)?,
            verb: self.verb,
        };
        let (ending, again) = (decide(&plan, &mut prompt, context)?, plan.again());
        Ok(agreed(ending, token, deployment, again, context))
    }

    fn offline(&self, serving: &mut ServingFlags, context: &Context, known: &Offline<'_>) -> Result<Agreed> {
        let facts = Known {
            namespace: known.namespace.into(),
            budget: known.budget,
            token_secret: self.token_secret,
            has_claim: false,
            release: crate::release::DEFAULT,
            eks_auto_mode: false,
        };
        let mut prompt = Prompt::new(is_plain(context))?;
        if questions(serving, &mut prompt, facts)?.is_none() {
            return Ok(left(context));
        }
        let Wanted::Request(asked) = wanted(serving)? else { return Ok(Agreed::Left(Exit::Ok)) };
        let deployment = deployment::offline(&asked, known)?;
        let graph_api = ["--graph-api".to_owned(), known.graph_api.as_str().to_owned()];
        let plan = Plan {
            lines: plan_lines(&deployment, known.namespace, None, &ClusterFacts::default()),
            deployment: &deployment,
            live: None,
            choices: self.choices,
            command: command(self.verb, serving, context, known.namespace, &graph_api)?,
            leaves: said(serving)?,
            verb: self.verb,
        };
        let (ending, again) = (decide(&plan, &mut prompt, context)?, plan.again());
        Ok(agreed(ending, None, deployment, again, context))
    }
}

/// The token, if one was typed; `None` when the person leaves.
fn questions(
    serving: &mut ServingFlags,
    prompt: &mut Prompt,
    known: Known,
) -> Result<Option<Option<String>>> {
    let mut session = Session::new(serving, prompt, known)?;
    tokio::task::block_in_place(|| session.questions())
}

fn decide(plan: &Plan<'_>, prompt: &mut Prompt, context: &Context) -> Result<Ending> {
    tokio::task::block_in_place(|| ending::decide(plan, prompt, &context.report))
}

fn agreed(
    ending: Ending,
    token: Option<String>,
    deployment: Deployment,
    again: Vec<String>,
    context: &Context,
) -> Agreed {
    match ending {
        Ending::GoOn => Agreed::GoOn { token, deployment: Box::new(deployment), again },
        Ending::Done => Agreed::Left(Exit::Ok),
        Ending::Left => left(context),
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

fn left(context: &Context) -> Agreed {
    context.report.closing(vec!["left; nothing was done".into()]);
    Agreed::Left(Exit::Interrupted)
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
fn said(flags: &ServingFlags) -> Result<Vec<crate::intent::request::Leaf>> {
    let [typed, set] = flags.layers()?;
    Ok(crate::intent::request::together([set, typed]))
}

fn command(
    verb: &str,
    flags: &ServingFlags,
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
