//! `render`: exactly the objects that `up` would apply.

use clap::Args;

use super::deployment::{self, Deployment, Offline};
use super::serving_flags::ServingFlags;
use super::{Context, print_data, words};
use crate::cluster::DEFAULT_NAMESPACE;
use crate::error::{Exit, Result};
use crate::intent::Word;
use crate::intent::name::NameBudget;
use crate::resources::{GraphApi, to_yaml};

/// Print the objects that `up` would apply
///
/// With --release and --graph-api no cluster is asked; otherwise the cluster of the current context says which
/// shape of object it stores and which release it runs.
#[derive(Args)]
pub(super) struct RenderArgs {
    #[command(flatten)]
    serving: ServingFlags,
    /// Shape of the DynamoGraphDeployment
    #[arg(long, value_name = "VERSION", value_parser = words::<GraphApi>())]
    graph_api: Option<GraphApi>,
    /// Without a cluster, take it that Grove is absent, so that names may be longer
    #[arg(long, requires = "graph_api")]
    assume_component_path: bool,
    /// Output format
    #[arg(short, long, value_parser = words::<ObjectFormat>(), default_value = "yaml")]
    output: ObjectFormat,
}

/// How objects are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ObjectFormat {
    Yaml,
    Json,
}

impl Word for ObjectFormat {
    const ALL: &'static [Self] = &[Self::Yaml, Self::Json];

    fn as_str(self) -> &'static str {
        match self {
            Self::Yaml => "yaml",
            Self::Json => "json",
        }
    }
}

pub(super) async fn run(args: RenderArgs, context: &Context) -> Result<Exit> {
    context.kube.refuse_all_namespaces()?;
    let deployment = match (args.graph_api, &args.serving.release) {
        (Some(graph_api), Some(_)) => {
            let namespace = context.kube.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
            let budget = offline_budget(args.assume_component_path, graph_api);
            deployment::offline(&args.serving, &Offline { namespace, graph_api, budget })?
        }
        (wanted, _) => {
            let cluster = context.cluster().await?;
            let mut platform = cluster.platform().await?;
            platform.graph_api = wanted.unwrap_or(platform.graph_api);
            deployment::on_cluster(&args.serving, &cluster, &platform, false).await?
        }
    };
    for warning in &deployment.plan.warnings {
        context.report.warn(Some(warning.code()), warning.to_string(), None);
    }
    print_data(&text(&deployment, args.output)?)?;
    Ok(Exit::Ok)
}

fn offline_budget(component_path: bool, graph_api: GraphApi) -> NameBudget {
    match (component_path, graph_api) {
        (false, _) => NameBudget::Grove,
        (true, GraphApi::V1Alpha1) => NameBudget::DeploymentsWithDebugServices,
        (true, GraphApi::V1Beta1) => NameBudget::DeploymentsWithHash,
    }
}

fn text(deployment: &Deployment, format: ObjectFormat) -> Result<String> {
    match format {
        ObjectFormat::Yaml => Ok(to_yaml(&deployment.resources).map_err(std::io::Error::other)?),
        ObjectFormat::Json => {
            let items: Vec<_> = deployment.resources.iter().map(|resource| &resource.object).collect();
            Ok(format!("{:#}\n", serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": items })))
        }
    }
}
