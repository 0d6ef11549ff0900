//! `events`: prints the events of every object of a deployment in chronological order.

use clap::Args;
use k8s_openapi::api::core::v1::Event;

use crate::commands::enum_value_parser;
use crate::context::Context;
use crate::output::{StatusFormat, print_data};
use crate::render::events as screen;
use crate::signals::follow_until_signal;
use crate::workflow::deployment_events::DeploymentEvents;
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::object::ObservedObject;

/// Show the events of a deployment and its child objects, oldest first
#[derive(Args)]
pub(super) struct EventsArgs {
    /// Name of the deployment
    pub name: String,
    /// Watch for new events after printing the existing ones
    #[arg(short, long)]
    pub watch: bool,
    /// Output format
    #[arg(short, long, value_parser = enum_value_parser::<StatusFormat>(), default_value = "text")]
    pub output: StatusFormat,
}

pub(super) async fn run(args: EventsArgs, context: &Context) -> Result<Exit> {
    let mut deployment = DeploymentEvents::find(&args.name, context).await?;
    let events = deployment.list().await?;
    match args.output {
        StatusFormat::Json => print_data(&format!("{:#}\n", screen::document(&events)))?,
        StatusFormat::Text if events.is_empty() => {
            context.report.info(format!(
                "no events found for deployment \"{}\"; events expire after one hour",
                args.name
            ));
        }
        StatusFormat::Text => print_data(&screen::rows(&events))?,
    }
    if !args.watch {
        return Ok(Exit::Ok);
    }
    let print = |event: &ObservedObject<Event>| {
        print_data(&match args.output {
            StatusFormat::Json => format!("{}\n", event.document()),
            StatusFormat::Text => screen::line(event),
        })
    };
    follow_until_signal(deployment.follow(print)).await
}
