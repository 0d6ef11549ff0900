//! `render`: exactly the objects that `up` would apply.

use std::path::{Path, PathBuf};

use clap::Args;

use super::asked::{Wanted, wanted};
use super::deployment::{self, Deployment, Offline};
use super::kube_flags::FlagError;
use super::plan_view::{self, PlanFormat};
use super::serving_flags::ServingFlags;
use super::unwritable::Unwritable;
use super::{Context, print_data, wizard, words};
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
    pub serving: ServingFlags,
    /// Shape of the DynamoGraphDeployment
    #[arg(long, value_name = "VERSION", value_parser = words::<GraphApi>())]
    graph_api: Option<GraphApi>,
    /// Without a cluster, take it that Grove is absent, so that names may be longer
    #[arg(long, requires = "graph_api")]
    assume_component_path: bool,
    /// Show every value and who said it, instead of objects
    #[arg(long)]
    plan: bool,
    /// Write each object to a file of its own in this folder, in the order they are applied
    #[arg(long, value_name = "FOLDER", conflicts_with = "plan")]
    output_dir: Option<PathBuf>,
    /// Output format; objects are yaml unless it is given
    #[arg(short, long, value_parser = words::<RenderFormat>())]
    output: Option<RenderFormat>,
}

/// How objects, or a plan, are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RenderFormat {
    Yaml,
    Json,
    /// Of a plan only.
    Table,
}

impl Word for RenderFormat {
    const ALL: &'static [Self] = &[Self::Yaml, Self::Json, Self::Table];

    fn as_str(self) -> &'static str {
        match self {
            Self::Yaml => "yaml",
            Self::Json => "json",
            Self::Table => "table",
        }
    }
}

pub(super) async fn run(mut args: RenderArgs, context: &Context) -> Result<Exit> {
    context.kube.refuse_all_namespaces()?;
    let wanted = wanted(&args.serving)?;
    let asks = wanted.names_nothing() && wizard::can_ask();
    let says_release = match &wanted {
        Wanted::Request(asked) => asked.merged().get("release").is_some(),
        Wanted::Objects(_) => true,
    };
    let (deployment, namespace) = match args.graph_api.filter(|_| says_release) {
        Some(graph_api) => {
            let namespace = context.namespace()?.unwrap_or_else(|| DEFAULT_NAMESPACE.into());
            let budget = offline_budget(args.assume_component_path, graph_api);
            let known = Offline { namespace: &namespace, graph_api, budget };
            if asks {
                return wizard::for_render(&mut args.serving, context, &known);
            }
            let deployment = match &wanted {
                Wanted::Request(asked) => deployment::offline(asked, &known)?,
                Wanted::Objects(objects) => deployment::as_is_offline(objects, &known)?,
            };
            (deployment, namespace)
        }
        None => {
            match &wanted {
                Wanted::Request(asked) if !asks => asked.check()?,
                Wanted::Request(_) | Wanted::Objects(_) => {}
            }
            let cluster = context.cluster().await?;
            let mut platform = cluster.platform().await?;
            platform.graph_api = args.graph_api.unwrap_or(platform.graph_api);
            if asks {
                return wizard::for_render_on(&mut args.serving, context, &cluster, &platform).await;
            }
            let deployment = match &wanted {
                Wanted::Request(asked) => deployment::on_cluster(asked, &cluster, &platform, false).await?,
                Wanted::Objects(objects) => deployment::as_is(objects, &cluster, &platform).await?,
            };
            (deployment, cluster.namespace.clone())
        }
    };
    if args.plan {
        return plan_view::print(&deployment, &namespace, plan_format(args.output)?);
    }
    for warning in deployment.plan_warnings() {
        context.report.warn(Some(warning.code()), warning.to_string(), None);
    }
    match &args.output_dir {
        Some(folder) => write_each(&deployment, folder, args.output, context)?,
        None => print_data(&text(&deployment, args.output)?)?,
    }
    Ok(Exit::Ok)
}

/// Each object in a file of its own, numbered in the order they are applied.
fn write_each(
    deployment: &Deployment,
    folder: &Path,
    format: Option<RenderFormat>,
    context: &Context,
) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(Unwritable::at(folder))?;
    for (place, resource) in deployment.resources.iter().enumerate() {
        let (ending, text) = match format {
            Some(RenderFormat::Table) => return Err(FlagError::PlanFormat.into()),
            Some(RenderFormat::Json) => ("json", format!("{:#}\n", resource.object)),
            None | Some(RenderFormat::Yaml) => {
                ("yaml", to_yaml(std::slice::from_ref(resource)).map_err(std::io::Error::other)?)
            }
        };
        let kind = resource.kind().to_lowercase();
        let path = folder.join(format!("{}-{kind}-{}.{ending}", place + 1, resource.name()));
        std::fs::write(&path, text).map_err(Unwritable::at(&path))?;
        context.report.detail(format!("written: {}", path.display()));
    }
    Ok(())
}

fn offline_budget(component_path: bool, graph_api: GraphApi) -> NameBudget {
    match (component_path, graph_api) {
        (false, _) => NameBudget::Grove,
        (true, GraphApi::V1Alpha1) => NameBudget::DeploymentsWithDebugServices,
        (true, GraphApi::V1Beta1) => NameBudget::DeploymentsWithHash,
    }
}

fn plan_format(output: Option<RenderFormat>) -> Result<PlanFormat> {
    match output {
        None | Some(RenderFormat::Table) => Ok(PlanFormat::Table),
        Some(RenderFormat::Json) => Ok(PlanFormat::Json),
        Some(RenderFormat::Yaml) => Err(FlagError::PlanFormat.into()),
    }
}

fn text(deployment: &Deployment, format: Option<RenderFormat>) -> Result<String> {
    match format {
        Some(RenderFormat::Table) => Err(FlagError::PlanFormat.into()),
        None | Some(RenderFormat::Yaml) => wizard::objects(deployment),
        Some(RenderFormat::Json) => {
            let items: Vec<_> = deployment.resources.iter().map(|resource| &resource.object).collect();
            Ok(format!("{:#}\n", serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": items })))
        }
    }
}
