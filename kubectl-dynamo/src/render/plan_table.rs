//! Renders a plan: each resolved value of a deployment and its source, as a table or as a document.

use serde_json::{Value, json};

use crate::output::{PrintFormat, TableFormat};
use crate::render::table::table;
use crate::render::value::setting_text;
use crate::workflow::resolve::ResolvedDeployment;
use crate::workflow::superseded_fetch::SupersededFetch;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::intent::StringEnum;
use kubectl_dynamo_core::intent::request::{API_VERSION, SettingSource};
use kubectl_dynamo_core::resources::object_at;

/// Returns the resolved values of a deployment and the fetch Jobs that `up` would end, in one format.
///
/// # Errors
/// A template that does not fit the document.
pub(crate) fn text(
    deployment: &ResolvedDeployment,
    namespace: &str,
    superseded: &[SupersededFetch],
    format: &PrintFormat<TableFormat>,
) -> Result<String> {
    format.text(
        || document(deployment, namespace, superseded),
        |TableFormat::Table| rows(deployment) + &superseded_lines(superseded),
    )
}

fn superseded_lines(superseded: &[SupersededFetch]) -> String {
    let line = |one: &SupersededFetch| match one.is_deleted() {
        true => format!("\n{one}; up deletes it\n"),
        false => format!("\n{one}\n"),
    };
    superseded.iter().map(line).collect()
}

fn rows(deployment: &ResolvedDeployment) -> String {
    let to_row = |(path, value, source): &(String, Value, SettingSource)| {
        let reason = deployment.reason(path).map(|reason| format!(": {reason}")).unwrap_or_default();
        vec![path.clone(), setting_text(value), format!("{source}{reason}")]
    };
    table(&["FIELD", "VALUE", "SOURCE"], deployment.values.iter().map(to_row).collect())
}

fn document(deployment: &ResolvedDeployment, namespace: &str, superseded: &[SupersededFetch]) -> Value {
    let superseded: Vec<Value> = superseded
        .iter()
        .map(|one| {
            json!({
                "name": one.name(), "model": one.model(), "bytesFetched": one.bytes_fetched(),
                "deleted": one.is_deleted(),
            })
        })
        .collect();
    let plan = deployment.plan.as_ref();
    let values: Vec<Value> = deployment
        .values
        .iter()
        .map(|(field, value, source)| match deployment.reason(field) {
            Some(reason) => {
                json!({ "field": field, "value": value, "source": source.to_string(), "reason": reason })
            }
            None => json!({ "field": field, "value": value, "source": source.to_string() }),
        })
        .collect();
    let mut document = json!({
        "apiVersion": API_VERSION, "kind": "Plan",
        "name": deployment.name, "namespace": namespace, "release": plan.map(|plan| &plan.version),
        "image": plan.map(|plan| &plan.image), "graphApi": deployment.graph_api.as_str(),
        "gpus": plan.map(|plan| plan.intent.gpus()), "values": values, "kept": deployment.preserved,
    });
    if !superseded.is_empty() {
        object_at(&mut document, &[]).insert("supersededJobs".into(), superseded.into());
    }
    document
}
