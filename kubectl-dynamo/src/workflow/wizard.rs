//! The wizard: asks on a terminal for values that neither a flag nor a setting provides. Each answer becomes
//! a flag, so the wizard ends with the one-line command that repeats it. It never runs without a terminal.

mod answer_error;
mod pager;
mod review;
mod steps;
mod taken_names;
mod validate;

use std::io::IsTerminal;

use crate::context::Context;
use crate::prompt::Prompt;
use crate::render::deployment::plan_lines;
use crate::workflow::resolve::{self, ClusterAssumptions, ResolvedDeployment, TokenSecretCheck, name_budget};
use crate::workflow::serving_input::ServingInput;
use crate::workflow::sources::{RequestInput, collect_input, default_token_secret};
use kubectl_dynamo_cluster::{Cluster, ClusterError, Kind, Platform};
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::intent::{Cache, TokenSecret};
use kubectl_dynamo_core::preflight::ClusterFacts;
use review::{ReviewChoice, ReviewPlan, ReviewStep};
use steps::{WizardFacts, WizardSession};
use taken_names::TakenNames;

/// Returns whether stdin and stderr are terminals.
pub(crate) fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// The result of the wizard.
pub(crate) enum WizardResult {
    /// The user confirmed. Contains the typed token, if any, and the one-line command that repeats the request.
    Proceed { token: Option<String>, deployment: Box<ResolvedDeployment>, command: String },
    /// Nothing more to do: the user saved the request, quit, or canceled.
    Cancelled(Exit),
}

/// Runs the wizard of `up`: questions, plan, and choice. It adds the answers to the flags.
pub(crate) async fn for_up(
    serving: &mut ServingInput,
    context: &Context,
    cluster: &Cluster,
) -> Result<WizardResult> {
    let platform = cluster.platform().await?;
    let token_secret = token_state(cluster).await?;
    let choices = &[ReviewChoice::Deploy, ReviewChoice::Review, ReviewChoice::Save, ReviewChoice::Quit];
    let wizard = WizardContext { verb: "up", choices, token_secret, flags: &[] };
    wizard.run_on_cluster(serving, context, cluster, &platform).await
}

/// Runs the wizard of `render` with a cluster for the missing values. `flags` are those of the output, which the
/// printed command repeats.
pub(crate) async fn for_render_on(
    serving: &mut ServingInput,
    flags: &[String],
    context: &Context,
    cluster: &Cluster,
    platform: &Platform,
) -> Result<WizardResult> {
    render_wizard(flags).run_on_cluster(serving, context, cluster, platform).await
}

/// Runs the wizard of `render` without a cluster. `flags` are those of the output.
pub(crate) fn for_render(
    serving: &mut ServingInput,
    flags: &[String],
    context: &Context,
    assumptions: &ClusterAssumptions<'_>,
) -> Result<WizardResult> {
    render_wizard(flags).run_offline(serving, context, assumptions)
}

fn render_wizard(flags: &[String]) -> WizardContext<'_> {
    let choices = &[ReviewChoice::Print, ReviewChoice::Review, ReviewChoice::Save, ReviewChoice::Quit];
    WizardContext { verb: "render", choices, token_secret: TokenState::Unknown, flags }
}

/// The command that runs the wizard.
struct WizardContext<'a> {
    verb: &'static str,
    choices: &'static [ReviewChoice],
    token_secret: TokenState,
    /// Flags that are not settings, which the printed command repeats.
    flags: &'a [String],
}

impl WizardContext<'_> {
    async fn run_on_cluster(
        &self,
        serving: &mut ServingInput,
        context: &Context,
        cluster: &Cluster,
        platform: &Platform,
    ) -> Result<WizardResult> {
        let facts = WizardFacts {
            namespace: cluster.namespace.clone(),
            budget: name_budget(platform),
            token_secret: self.token_secret,
            has_pvc: cluster.pvc_facts(Cache::DEFAULT_PVC).await?.is_some(),
            release: resolve::query_supported_release(cluster, platform).await?,
            eks_auto_mode: platform.eks_auto_mode,
            taken_names: TakenNames::list(cluster, platform).await?,
        };
        let prompt = Prompt::new(context.progress);
        let Some(token) = run_steps(serving, prompt, facts)? else { return Ok(cancelled(context)) };
        let RequestInput::Request(mut request) = collect_input(serving)? else {
            return Ok(WizardResult::Cancelled(Exit::Ok));
        };
        request.layers.extend(token.as_ref().map(|_| default_token_secret()));
        let command = command(self.verb, serving, context, &cluster.namespace, self.flags)?;
        let token_check = TokenSecretCheck::for_token(token.as_deref());
        let deployment =
            resolve::resolve_on_cluster(&request, cluster, platform, token_check, &context.report).await;
        let deployment = deployment.inspect_err(|_| report_command(context, "retry", &command))?;
        let live = cluster.get(Kind::Graph(platform.graph_api), &deployment.name).await?;
        let plan = ReviewPlan {
            lines: plan_lines(
                &deployment,
                &cluster.namespace,
                cluster.context.as_deref(),
                &ClusterFacts::default(),
            ),
            deployment: &deployment,
            live: live.as_ref(),
            choices: self.choices,
            command,
            settings: typed_settings(serving)?,
            verb: self.verb,
        };
        let (decision, command) = (decide(&plan, prompt, context)?, plan.command);
        Ok(to_result(decision, token, deployment, command, context))
    }

    fn run_offline(
        &self,
        serving: &mut ServingInput,
        context: &Context,
        assumptions: &ClusterAssumptions<'_>,
    ) -> Result<WizardResult> {
        let facts = WizardFacts {
            namespace: assumptions.namespace.into(),
            budget: assumptions.budget,
            token_secret: self.token_secret,
            has_pvc: false,
            release: kubectl_dynamo_core::release::DEFAULT_RELEASE,
            eks_auto_mode: false,
            taken_names: TakenNames::default(),
        };
        let prompt = Prompt::new(context.progress);
        if run_steps(serving, prompt, facts)?.is_none() {
            return Ok(cancelled(context));
        }
        let RequestInput::Request(request) = collect_input(serving)? else {
            return Ok(WizardResult::Cancelled(Exit::Ok));
        };
        let command = command(self.verb, serving, context, assumptions.namespace, self.flags)?;
        let deployment = resolve::resolve_offline(&request, assumptions)
            .inspect_err(|_| report_command(context, "retry", &command))?;
        let plan = ReviewPlan {
            lines: plan_lines(&deployment, assumptions.namespace, None, &ClusterFacts::default()),
            deployment: &deployment,
            live: None,
            choices: self.choices,
            command,
            settings: typed_settings(serving)?,
            verb: self.verb,
        };
        let (decision, command) = (decide(&plan, prompt, context)?, plan.command);
        Ok(to_result(decision, None, deployment, command, context))
    }
}

/// Asks the questions. Returns the typed token, if any, or `None` if the user cancels.
fn run_steps(
    serving: &mut ServingInput,
    prompt: Prompt,
    facts: WizardFacts,
) -> Result<Option<Option<String>>> {
    let mut session = WizardSession::new(serving, prompt, facts)?;
    tokio::task::block_in_place(|| session.run())
}

fn decide(plan: &ReviewPlan<'_>, prompt: Prompt, context: &Context) -> Result<ReviewStep> {
    tokio::task::block_in_place(|| review::decide(plan, prompt, &context.report))
}

fn to_result(
    decision: ReviewStep,
    token: Option<String>,
    deployment: ResolvedDeployment,
    command: String,
    context: &Context,
) -> WizardResult {
    match decision {
        ReviewStep::Proceed => WizardResult::Proceed { token, deployment: Box::new(deployment), command },
        ReviewStep::Done => WizardResult::Cancelled(Exit::Ok),
        ReviewStep::Cancelled => cancelled(context),
    }
}

fn cancelled(context: &Context) -> WizardResult {
    context.report.summary(vec!["aborted; nothing was changed".into()]);
    WizardResult::Cancelled(Exit::Interrupted)
}

/// Reports the command with all answers: to repeat (`again`) or `retry` a run, or for a step that was not made.
pub(crate) fn report_command(context: &Context, purpose: &str, command: &str) {
    context.report.summary(vec![format!("  {purpose:<9} {command}")]);
}

/// The state of the default Secret of the hub token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenState {
    Present,
    Absent,
    Unknown,
}

async fn token_state(cluster: &Cluster) -> Result<TokenState> {
    match cluster.secret_has_key(TokenSecret::DEFAULT_NAME, TokenSecret::DEFAULT_KEY).await {
        Ok(Some(true)) => Ok(TokenState::Present),
        Ok(_) => Ok(TokenState::Absent),
        // The deployment can use a Secret that the user is not allowed to read.
        Err(ClusterError::Forbidden { .. }) => Ok(TokenState::Unknown),
        Err(error) => Err(error.into()),
    }
}

/// Returns the settings from the typed flags and the answers.
fn typed_settings(flags: &ServingInput) -> Result<Vec<kubectl_dynamo_core::intent::request::Setting>> {
    let [typed, set] = flags.layers()?;
    Ok(kubectl_dynamo_core::intent::request::merge([set, typed]))
}

fn command(
    verb: &str,
    flags: &ServingInput,
    context: &Context,
    namespace: &str,
    extra_args: &[String],
) -> Result<String> {
    use kubectl_dynamo_core::intent::request::{shell_quote, to_args};
    let mut args = vec!["kubectl".into(), "dynamo".into(), verb.into()];
    args.extend(context.kube.scope_of_commands().connection);
    args.extend(["-n".into(), namespace.into()]);
    args.extend(extra_args.iter().cloned());
    args.extend(to_args(&typed_settings(flags)?));
    Ok(shell_quote(&args))
}
