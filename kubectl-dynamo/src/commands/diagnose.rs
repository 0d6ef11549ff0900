//! `diagnose`: from the graph down to the line that tells why it does not serve, with one code and one fix.

use clap::Args;
use serde_json::{Value, json};

use super::evidence::{Logs, gather};
use super::frontend::{self, Sought};
use super::status::{StatusFormat, unlisted};
use super::{Context, print_data, words};
use crate::diagnosis::{Diagnosis, Verdict, diagnose, redacted, unserved};
use crate::error::{Exit, Result};

/// Show why a deployment does not serve: the chain of causes, a code and a fix
#[derive(Args)]
pub(super) struct DiagnoseArgs {
    /// Name of the deployment
    pub name: String,
    /// Output format
    #[arg(short, long, value_parser = words::<StatusFormat>(), default_value = "text")]
    pub output: StatusFormat,
}

pub(super) async fn run(args: DiagnoseArgs, context: &Context) -> Result<Exit> {
    let Sought { cluster, platform, graph } = frontend::look(&args.name, context).await?;
    let Some(graph) = graph else {
        return super::status::fetching(&args.name, &cluster, &platform, args.output).await;
    };
    let mut gathered = gather(&cluster, graph.clone(), platform.graph_api, Logs::OfWaiting).await?;
    let mut diagnosis = diagnose(&gathered.evidence);
    if diagnosis.verdict == Verdict::Reported
        && let Some(cause) = unlisted(&cluster, &args.name).await
    {
        gathered = gather(&cluster, graph, platform.graph_api, Logs::OfAll).await?;
        let cause = unserved(&gathered.evidence).unwrap_or(cause);
        diagnosis.verdict = Verdict::Broken { cause };
    }
    let skipped = gathered.skipped(&cluster);
    print_data(&match args.output {
        StatusFormat::Text => screen(&args.name, &diagnosis, &skipped),
        StatusFormat::Json => format!("{:#}\n", document(&args.name, &diagnosis, &skipped)),
    })?;
    Ok(match &diagnosis.verdict {
        Verdict::Reported => Exit::Ok,
        Verdict::ComingUp { .. } | Verdict::Held { .. } => Exit::NotReadyInTime,
        Verdict::Broken { .. } => Exit::Failed,
    })
}

fn screen(name: &str, diagnosis: &Diagnosis, skipped: &[String]) -> String {
    let mut text = match &diagnosis.verdict {
        Verdict::Reported => format!("✔ {name} serves\n"),
        Verdict::ComingUp { waits_for } => format!("… {name} comes up: it waits for {waits_for}\n"),
        Verdict::Held { cause } => format!("… {name} waits: {cause} ({})\n", cause.code),
        Verdict::Broken { cause } => format!("✗ {name} does not serve: {cause} ({})\n", cause.code),
    };
    text += &super::status::tree(&diagnosis.chain);
    if let Some(cause) = diagnosis.verdict.cause() {
        text += &format!(
            "  cause    {} {cause}\n  at       {}\n  fix      {}\n",
            cause.code, cause.place, cause.fix
        );
        text += &format!("  more     kubectl dynamo explain {}\n", cause.code);
    }
    for what in skipped {
        text += &format!("  skipped  {what}\n");
    }
    redacted(&text)
}

fn document(name: &str, diagnosis: &Diagnosis, skipped: &[String]) -> Value {
    let chain: Vec<Value> = diagnosis
        .chain
        .iter()
        .map(|link| json!({ "kind": link.kind, "name": link.name, "says": redacted(&link.says) }))
        .collect();
    let (verdict, waits_for) = match &diagnosis.verdict {
        Verdict::Reported => ("UP", None),
        Verdict::ComingUp { waits_for } => ("COMING UP", Some(waits_for)),
        Verdict::Held { .. } => ("COMING UP", None),
        Verdict::Broken { .. } => ("DOWN", None),
    };
    let cause = diagnosis.verdict.cause().map(|cause| {
        json!({ "code": cause.code, "text": redacted(&cause.text), "place": cause.place, "fix": cause.fix })
    });
    json!({
        "apiVersion": "kubectl-dynamo.dev/v1", "kind": "Diagnosis",
        "name": name, "verdict": verdict, "waitsFor": waits_for,
        "cause": cause, "chain": chain, "skipped": skipped,
    })
}
