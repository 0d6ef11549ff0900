//! Resolves a request to the objects that `up` would apply. It never writes to the cluster and does not contact
//! it if the release and the API version are given.

use crate::context::Context;
use crate::workflow::resolve::{self, ClusterAssumptions, ResolvedDeployment, TokenSecretCheck};
use crate::workflow::serving_input::ServingInput;
use crate::workflow::sources::{UpInput, collect_input};
use crate::workflow::wizard::{self, WizardResult};
use kubectl_dynamo_cluster::DEFAULT_NAMESPACE;
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::intent::name::NameBudget;
use kubectl_dynamo_core::resources::GraphApi;

/// Options of `render`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RenderOptions {
    /// API version of the graph; the one that the cluster stores if not set.
    pub graph_api: Option<GraphApi>,
    pub component_path: ComponentPath,
}

/// Whether the operator creates component deployments, and not Grove objects, which have shorter names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ComponentPath {
    Assumed,
    Unknown,
}

/// A resolved deployment and its namespace.
pub(crate) struct RenderedDeployment {
    pub deployment: ResolvedDeployment,
    pub namespace: String,
}

/// The result of `render`.
pub(crate) enum RenderOutcome {
    Rendered(Box<RenderedDeployment>),
    /// The user answered the wizard's questions. `command` repeats the request.
    Reviewed {
        deployment: Box<ResolvedDeployment>,
        command: String,
    },
    /// The user left the wizard.
    Cancelled(Exit),
}

impl From<WizardResult> for RenderOutcome {
    fn from(result: WizardResult) -> Self {
        match result {
            WizardResult::Proceed { deployment, command, .. } => Self::Reviewed { deployment, command },
            WizardResult::Cancelled(exit) => Self::Cancelled(exit),
        }
    }
}

/// Resolves a request. Without a target, it starts the wizard on a terminal.
///
/// # Errors
/// A request that cannot be resolved, or an API error.
pub(crate) async fn render(
    serving: &mut ServingInput,
    options: RenderOptions,
    context: &Context,
) -> Result<RenderOutcome> {
    context.kube.refuse_all_namespaces()?;
    let input = collect_input(serving)?;
    let has_release = match &input {
        UpInput::Request(request) => request.merged().get("release").is_some(),
        UpInput::Manifest(_) => true,
    };
    match options.graph_api.filter(|_| has_release) {
        Some(graph_api) => render_offline(serving, &input, graph_api, options.component_path, context),
        None => render_on_cluster(serving, &input, options.graph_api, context).await,
    }
}

fn render_offline(
    serving: &mut ServingInput,
    input: &UpInput,
    graph_api: GraphApi,
    component_path: ComponentPath,
    context: &Context,
) -> Result<RenderOutcome> {
    let namespace = context.namespace()?.unwrap_or_else(|| DEFAULT_NAMESPACE.into());
    let budget = offline_budget(component_path, graph_api);
    let assumptions = ClusterAssumptions { namespace: &namespace, graph_api, budget };
    if uses_wizard(input) {
        return Ok(wizard::for_render(serving, context, &assumptions)?.into());
    }
    let deployment = match input {
        UpInput::Request(request) => resolve::resolve_offline(request, &assumptions)?,
        UpInput::Manifest(objects) => resolve::from_manifest_offline(objects, &assumptions)?,
    };
    Ok(RenderOutcome::Rendered(Box::new(RenderedDeployment { deployment, namespace })))
}

async fn render_on_cluster(
    serving: &mut ServingInput,
    input: &UpInput,
    graph_api: Option<GraphApi>,
    context: &Context,
) -> Result<RenderOutcome> {
    let uses_wizard = uses_wizard(input);
    if !uses_wizard {
        input.check()?;
    }
    let cluster = context.cluster().await?;
    let mut platform = cluster.platform().await?;
    platform.graph_api = graph_api.unwrap_or(platform.graph_api);
    if uses_wizard {
        return Ok(wizard::for_render_on(serving, context, &cluster, &platform).await?.into());
    }
    let deployment =
        resolve::resolve_input(input, &cluster, &platform, TokenSecretCheck::Required, &context.report)
            .await?;
    let namespace = cluster.namespace.clone();
    Ok(RenderOutcome::Rendered(Box::new(RenderedDeployment { deployment, namespace })))
}

fn uses_wizard(input: &UpInput) -> bool {
    input.is_empty_target() && wizard::is_interactive()
}

fn offline_budget(component_path: ComponentPath, graph_api: GraphApi) -> NameBudget {
    match (component_path, graph_api) {
        (ComponentPath::Unknown, _) => NameBudget::Grove,
        (ComponentPath::Assumed, GraphApi::V1Alpha1) => NameBudget::DeploymentsWithDebugServices,
        (ComponentPath::Assumed, GraphApi::V1Beta1) => NameBudget::DeploymentsWithHash,
    }
}
