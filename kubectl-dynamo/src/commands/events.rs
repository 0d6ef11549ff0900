//! `events`: prints the events of every object of a deployment in chronological order.

use clap::Args;
use k8s_openapi::api::core::v1::Event;

use super::output_flag::output_parser;
use crate::context::Context;
use crate::output::{DocumentCount, DocumentFormat, DocumentSeparator, PrintFormat, TextFormat, print_data};
use crate::render::events as screen;
use crate::signals::follow_until_signal;
use crate::workflow::deployment_events::DeploymentEvents;
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::object::ObservedObject;

#[derive(Args)]
pub(super) struct EventsArgs {
    /// Name of the deployment
    pub name: String,
    /// Watch for new events after printing the existing ones
    #[arg(short, long)]
    pub watch: bool,
    /// Output format
    #[arg(short, long, value_parser = output_parser::<TextFormat>(), default_value = "text")]
    pub output: PrintFormat<TextFormat>,
}

pub(super) async fn run(args: EventsArgs, context: &Context) -> Result<Exit> {
    let mut deployment = DeploymentEvents::find(&args.name, context).await?;
    let events = deployment.list().await?;
    let count = if args.watch { DocumentCount::Many } else { DocumentCount::One };
    let mut separator = DocumentSeparator::new(count);
    let mut print = |event: &ObservedObject<Event>| {
        print_data(&match &args.output {
            PrintFormat::Own(TextFormat::Text) => screen::line(event),
            PrintFormat::Document(DocumentFormat::Json) => format!("{}\n", event.document()),
            PrintFormat::Document(format) => separator.separate(format.text(event.document())?, &args.output),
        })
    };
    match &args.output {
        PrintFormat::Own(TextFormat::Text) if events.is_empty() => context
            .report
            .info(format!("no events found for deployment \"{}\"; events expire after one hour", args.name)),
        PrintFormat::Own(TextFormat::Text) => print_data(&screen::rows(&events))?,
        // As in kubectl, each event of a watch is a document.
        PrintFormat::Document(DocumentFormat::Yaml | DocumentFormat::JsonPath(_)) if args.watch => {
            events.iter().try_for_each(&mut print)?;
        }
        PrintFormat::Document(format) => print_data(&format.text(&screen::document(&events))?)?,
    }
    if !args.watch {
        return Ok(Exit::Ok);
    }
    follow_until_signal(deployment.follow(print)).await
}
