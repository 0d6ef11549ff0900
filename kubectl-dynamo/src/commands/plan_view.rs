//! `--plan`: every value of a deployment and who said it, as a table or as JSON. Nothing is sent anywhere.

use serde_json::{Value, json};

use super::deployment::Deployment;
use super::print_data;
use super::table::table;
use crate::error::{Exit, Result};
use crate::intent::Word;
use crate::intent::request::{API_VERSION, Source};

/// How a plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PlanFormat {
    Table,
    Json,
}

impl Word for PlanFormat {
    const ALL: &'static [Self] = &[Self::Table, Self::Json];

    fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
        }
    }
}

/// Prints the values of a deployment.
pub(super) fn print(deployment: &Deployment, namespace: &str, format: PlanFormat) -> Result<Exit> {
    print_data(&match format {
        PlanFormat::Table => rows(deployment),
        PlanFormat::Json => format!("{:#}\n", document(deployment, namespace)),
    })?;
    Ok(Exit::Ok)
}

fn rows(deployment: &Deployment) -> String {
    let row = |(path, value, source): &(String, Value, Source)| {
        vec![path.clone(), shown(value), source.to_string()]
    };
    table(&["FIELD", "VALUE", "SOURCE"], deployment.values.iter().map(row).collect())
}

fn document(deployment: &Deployment, namespace: &str) -> Value {
    let plan = deployment.plan.as_ref();
    let values: Vec<Value> = deployment
        .values
        .iter()
        .map(|(field, value, source)| json!({ "field": field, "value": value, "source": source.to_string() }))
        .collect();
    json!({
        "apiVersion": API_VERSION, "kind": "Plan",
        "name": deployment.name, "namespace": namespace, "release": plan.map(|plan| &plan.version),
        "image": plan.map(|plan| &plan.image), "graphApi": deployment.graph_api.as_str(),
        "gpus": plan.map(|plan| plan.intent.gpus()), "values": values, "kept": deployment.kept,
    })
}

/// A value as a person reads it: a text without quotes, arguments with spaces between.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(shown).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}
