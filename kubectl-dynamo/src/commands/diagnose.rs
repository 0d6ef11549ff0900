//! `diagnose`: prints the causal chain from the graph down to the log line that shows why it is not serving,
//! with one message code and one fix. The rules are in the core; this file must not decide a verdict.

use clap::Args;
use serde_json::{Value, json};

use super::output_flag::output_parser;
use crate::context::Context;
use crate::output::{PrintFormat, TextFormat, print_data};
use crate::render::fetch_status;
use crate::render::status::render_chain;
use crate::typed_command::typed;
use crate::workflow::fetch_status::FetchStatus;
use crate::workflow::lookup::{self, DeploymentLookup};
use crate::workflow::snapshot::{LogScope, gather};
use crate::workflow::status::{diagnose_with_operator, failed_verdict, frontend_lists_no_model};
use kubectl_dynamo_core::command::SuggestedCommand;
use kubectl_dynamo_core::diagnosis::{Diagnosis, DiagnosisResult, model_not_listed, redact};
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::readiness::components;

#[derive(Args)]
pub(super) struct DiagnoseArgs {
    /// Name of the deployment
    pub name: String,
    /// Output format
    #[arg(short, long, value_parser = output_parser::<TextFormat>(), default_value = "text")]
    pub output: PrintFormat<TextFormat>,
}

pub(super) async fn run(args: DiagnoseArgs, context: &Context) -> Result<Exit> {
    let DeploymentLookup { cluster, platform, graph } = lookup::find_deployment(&args.name, context).await?;
    let Some(graph) = graph else {
        let status = FetchStatus::find_unfinished(&args.name, &cluster, &platform, &context.report).await?;
        print_data(&fetch_status::render(&status, &args.output)?)?;
        return Ok(status.exit());
    };
    let mut snapshot = gather(&cluster, graph.clone(), platform.graph_api, LogScope::NotReady).await?;
    let mut diagnosis = diagnose_with_operator(&cluster, &snapshot.evidence).await;
    if diagnosis.result == DiagnosisResult::Ready
        && let Some(cause) = frontend_lists_no_model(&cluster, &args.name).await
    {
        snapshot = gather(&cluster, graph.clone(), platform.graph_api, LogScope::All).await?;
        let cause = model_not_listed(&snapshot.evidence).unwrap_or(cause);
        diagnosis.result = DiagnosisResult::Failed { cause };
    }
    let skipped = snapshot.skipped_messages(&cluster);
    let failed_verdict = failed_verdict(&components(&graph, &snapshot.evidence.observation.pods));
    print_data(&args.output.text(
        || document(&args.name, &diagnosis, failed_verdict, &skipped),
        |TextFormat::Text| screen(&args.name, &diagnosis, failed_verdict, &skipped),
    )?)?;
    Ok(match &diagnosis.result {
        DiagnosisResult::Ready => Exit::Ok,
        DiagnosisResult::Progressing { .. } | DiagnosisResult::Blocked { .. } => Exit::NotReadyInTime,
        DiagnosisResult::Failed { .. } | DiagnosisResult::Terminating { .. } => Exit::Failed,
    })
}

fn screen(name: &str, diagnosis: &Diagnosis, failed_verdict: &str, skipped: &[String]) -> String {
    let mut text = match &diagnosis.result {
        DiagnosisResult::Ready => format!("✔ deployment \"{name}\" is serving\n"),
        DiagnosisResult::Progressing { waits_for } => {
            format!("… deployment \"{name}\" is starting: waiting for {waits_for}\n")
        }
        DiagnosisResult::Terminating { waits_for } => {
            format!("✗ deployment \"{name}\" is being deleted: waiting for {waits_for}\n")
        }
        DiagnosisResult::Blocked { cause } => {
            format!("… deployment \"{name}\" is waiting: {cause} ({})\n", cause.code)
        }
        DiagnosisResult::Failed { cause } if failed_verdict == "DEGRADED" => {
            format!("! deployment \"{name}\" serves with fewer pods: {cause} ({})\n", cause.code)
        }
        DiagnosisResult::Failed { cause } => {
            format!("✗ deployment \"{name}\" is not serving: {cause} ({})\n", cause.code)
        }
    };
    text += &render_chain(&diagnosis.chain);
    if let Some(cause) = diagnosis.result.cause() {
        text += &format!(
            "  cause    {} {cause}\n  at       {}\n  fix      {}\n",
            cause.code,
            cause.location,
            typed(cause.fix.clone())
        );
        text += &format!(
            "  more     {}\n",
            SuggestedCommand::plugin("explain").operand(cause.code.as_str(), "CODE")
        );
        text += &cause.code.address().map(|address| format!("           {address}\n")).unwrap_or_default();
    }
    for message in skipped {
        text += &format!("  skipped  {message}\n");
    }
    redact(&text)
}

fn document(name: &str, diagnosis: &Diagnosis, failed_verdict: &str, skipped: &[String]) -> Value {
    let chain: Vec<Value> = diagnosis
        .chain
        .iter()
        .map(|link| json!({ "kind": link.kind, "name": link.name, "text": redact(&link.detail) }))
        .collect();
    let (verdict, waits_for) = match &diagnosis.result {
        DiagnosisResult::Ready => ("UP", None),
        DiagnosisResult::Progressing { waits_for } => ("STARTING", Some(waits_for)),
        DiagnosisResult::Terminating { waits_for } => ("DELETING", Some(waits_for)),
        DiagnosisResult::Blocked { .. } => ("STARTING", None),
        DiagnosisResult::Failed { .. } => (failed_verdict, None),
    };
    let cause = diagnosis.result.cause().map(|cause| {
        json!({ "code": cause.code, "text": redact(&cause.text), "object": cause.location.to_string(), "hint": typed(cause.fix.clone()) })
    });
    json!({
        "apiVersion": "kubectl-dynamo.dev/v1", "kind": "Diagnosis",
        "name": name, "verdict": verdict, "waitsFor": waits_for,
        "cause": cause, "chain": chain, "skipped": skipped,
    })
}
