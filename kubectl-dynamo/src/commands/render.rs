//! `render`: prints the objects that `up` would apply, or writes them to files. It never writes to the cluster
//! and does not contact it if the release and the API version are given.

mod format;

use std::path::{Path, PathBuf};

use clap::Args;

use super::output_flag::output_parser;
use crate::commands::enum_value_parser;
use crate::context::Context;
use crate::output::{PreviewFormat, PrintFormat, print_data};
use crate::render::objects;
use crate::render::plan_table;
use crate::workflow::render::{self, ComponentPath, RenderOptions, RenderOutcome, RenderedDeployment};
use crate::workflow::serving_input::ServingInput;
use crate::workflow::wizard;
use crate::workflow::write_error::WriteError;
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::intent::StringEnum;
use kubectl_dynamo_core::resources::GraphApi;

#[derive(Args)]
pub(super) struct RenderArgs {
    #[command(flatten)]
    pub serving: ServingInput,
    /// API version of the DynamoGraphDeployment (default: the one that the cluster stores)
    #[arg(long, value_name = "VERSION", value_parser = enum_value_parser::<GraphApi>())]
    graph_api: Option<GraphApi>,
    /// Assume Grove is not installed (allows longer names)
    #[arg(long, requires = "graph_api")]
    assume_component_path: bool,
    /// Print each resolved value and its source instead of the objects
    #[arg(long)]
    plan: bool,
    /// Write each object to its own file in this folder, numbered in apply order
    #[arg(long, value_name = "FOLDER", conflicts_with = "plan")]
    output_dir: Option<PathBuf>,
    /// Output format (default: yaml for objects, table for --plan)
    #[arg(short, long, value_parser = output_parser::<PreviewFormat>())]
    output: Option<PrintFormat<PreviewFormat>>,
}

impl RenderArgs {
    /// Returns the typed flags that are not settings.
    fn typed_flags(&self) -> Vec<String> {
        let mut flags = Vec::new();
        if let Some(graph_api) = self.graph_api {
            flags.extend(["--graph-api".to_owned(), graph_api.as_str().to_owned()]);
        }
        flags.extend(self.assume_component_path.then(|| "--assume-component-path".to_owned()));
        flags.extend(self.plan.then(|| "--plan".to_owned()));
        if let Some(folder) = &self.output_dir {
            flags.extend(["--output-dir".to_owned(), folder.display().to_string()]);
        }
        if let Some(format) = &self.output {
            flags.extend(["--output".to_owned(), format.to_string()]);
        }
        flags
    }
}

pub(super) async fn run(mut args: RenderArgs, context: &Context) -> Result<Exit> {
    let component_path =
        if args.assume_component_path { ComponentPath::Assumed } else { ComponentPath::Unknown };
    let options = RenderOptions { graph_api: args.graph_api, component_path, flags: args.typed_flags() };
    let rendered = match render::render(&mut args.serving, options, context).await? {
        RenderOutcome::Rendered(rendered) => rendered,
        RenderOutcome::Cancelled(exit) => return Ok(exit),
    };
    if args.plan {
        let format = args.plan_format()?;
        print_data(&plan_table::text(&rendered.deployment, &rendered.namespace, &[], &format)?)?;
    } else {
        print_objects(&args, &rendered, context)?;
    }
    if let Some(command) = &rendered.command {
        wizard::report_command(context, "again", command);
    }
    Ok(Exit::Ok)
}

fn print_objects(args: &RenderArgs, rendered: &RenderedDeployment, context: &Context) -> Result<()> {
    // The wizard has shown the warnings with the plan.
    if rendered.command.is_none() {
        for warning in rendered.deployment.plan_warnings() {
            context.report.warn(Some(warning.code()), warning.to_string(), None);
        }
    }
    let resources = &rendered.deployment.resources;
    match &args.output_dir {
        Some(folder) => write_files(folder, &objects::files(resources, args.file_format()?)?, context),
        None => print_data(&objects::text(resources, &args.object_format()?)?),
    }
}

fn write_files(folder: &Path, files: &[(String, String)], context: &Context) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(WriteError::for_path(folder))?;
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(WriteError::for_path(&path))?;
        context.report.info(format!("wrote {}", path.display()));
    }
    Ok(())
}
