//! Resolves a request to the objects that `up` would apply. It never writes to the cluster and does not contact
//! it if the release and the API version are given.

use crate::context::Context;
use crate::workflow::resolve::{self, ClusterAssumptions, ResolvedDeployment, TokenSecretCheck};
use crate::workflow::serving_input::ServingInput;
use crate::workflow::sources::{RequestInput, collect_input};
use crate::workflow::wizard::{self, WizardResult};
use kubectl_dynamo_cluster::DEFAULT_NAMESPACE;
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::intent::name::NameBudget;
use kubectl_dynamo_core::resources::GraphApi;

/// Options of `render`.
#[derive(Debug)]
pub(crate) struct RenderOptions {
    /// API version of the graph; the one that the cluster stores if not set.
    pub graph_api: Option<GraphApi>,
    pub component_path: ComponentPath,
    /// The typed flags that are not settings, for the command that repeats the wizard's request.
    pub flags: Vec<String>,
}

/// Whether the operator creates component deployments, and not Grove objects, which have shorter names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ComponentPath {
    Assumed,
    Unknown,
}

/// A resolved deployment and its namespace.
pub(crate) struct RenderedDeployment {
    pub deployment: Box<ResolvedDeployment>,
    pub namespace: String,
    /// After the wizard, the command that repeats the request.
    pub command: Option<String>,
}

/// The result of `render`.
pub(crate) enum RenderOutcome {
    Rendered(RenderedDeployment),
    /// The user left the wizard.
    Cancelled(Exit),
}

impl RenderOutcome {
    fn from_wizard(result: WizardResult, namespace: String) -> Self {
        match result {
            WizardResult::Proceed { deployment, command, .. } => {
                Self::Rendered(RenderedDeployment { deployment, namespace, command: Some(command) })
            }
            WizardResult::Cancelled(exit) => Self::Cancelled(exit),
        }
    }

    fn from_deployment(deployment: ResolvedDeployment, namespace: String) -> Self {
        Self::Rendered(RenderedDeployment { deployment: Box::new(deployment), namespace, command: None })
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
        RequestInput::Request(request) => request.merged().get("release").is_some(),
        RequestInput::Manifest(_) => true,
    };
    match options.graph_api.filter(|_| has_release) {
        Some(graph_api) => render_offline(serving, &input, graph_api, &options, context),
        None => render_on_cluster(serving, &input, &options, context).await,
    }
}

fn render_offline(
    serving: &mut ServingInput,
    input: &RequestInput,
    graph_api: GraphApi,
    options: &RenderOptions,
    context: &Context,
) -> Result<RenderOutcome> {
    let namespace = context.namespace()?.unwrap_or_else(|| DEFAULT_NAMESPACE.into());
    let budget = offline_budget(options.component_path, graph_api);
    let assumptions = ClusterAssumptions { namespace: &namespace, graph_api, budget };
    if uses_wizard(input) {
        let result = wizard::for_render(serving, &options.flags, context, &assumptions)?;
        return Ok(RenderOutcome::from_wizard(result, namespace));
    }
    let deployment = match input {
        RequestInput::Request(request) => resolve::resolve_offline(request, &assumptions)?,
        RequestInput::Manifest(objects) => resolve::from_manifest_offline(objects, &assumptions)?,
    };
    Ok(RenderOutcome::from_deployment(deployment, namespace))
}

async fn render_on_cluster(
    serving: &mut ServingInput,
    input: &RequestInput,
    options: &RenderOptions,
    context: &Context,
) -> Result<RenderOutcome> {
    let uses_wizard = uses_wizard(input);
    if !uses_wizard {
        input.check()?;
    }
    let cluster = context.cluster().await?;
    let mut platform = cluster.platform().await?;
    platform.graph_api = options.graph_api.unwrap_or(platform.graph_api);
    if uses_wizard {
        let result = wizard::for_render_on(serving, &options.flags, context, &cluster, &platform).await?;
        return Ok(RenderOutcome::from_wizard(result, cluster.namespace.clone()));
    }
    let deployment =
        resolve::resolve_input(input, &cluster, &platform, TokenSecretCheck::Required, &context.report)
            .await?;
    Ok(RenderOutcome::from_deployment(deployment, cluster.namespace.clone()))
}

fn uses_wizard(input: &RequestInput) -> bool {
    input.is_empty_target() && wizard::is_interactive()
}

fn offline_budget(component_path: ComponentPath, graph_api: GraphApi) -> NameBudget {
    match (component_path, graph_api) {
        (ComponentPath::Unknown, _) => NameBudget::Grove,
        (ComponentPath::Assumed, GraphApi::V1Alpha1) => NameBudget::DeploymentsWithDebugServices,
        (ComponentPath::Assumed, GraphApi::V1Beta1) => NameBudget::DeploymentsWithHash,
    }
}
