//! Renders the fit of a deployment: one row for each worker role, its KV cache tiers, and the required GPUs.

use serde::Serialize;
use serde_json::{Value, json};

use crate::render::fit::{document_head, format_bytes, heading, result_text, row_document};
use crate::render::table::table;
use crate::workflow::fit::{FitQuery, RoleFit, RoleFits};
use kubectl_dynamo_core::fit::Fit;

/// Returns the fit of each role as a table.
pub(crate) fn table_text(query: &FitQuery, fits: &RoleFits) -> String {
    let RoleFits { roles, gpus_needed } = fits;
    let row = |role: &RoleFit| {
        let (row, parallelism) = (&role.row, role.group.parallelism);
        let fit_cell = |render: &dyn Fn(&Fit) -> String| row.fit.as_ref().map_or("-".into(), render);
        let ranks = u64::from(role.group.replicas) * u64::from(parallelism.data.max(1));
        vec![
            role.role.to_string(),
            format!("×{}", role.group.replicas),
            parallelism.tensor.to_string(),
            parallelism.pipeline.to_string(),
            parallelism.data.to_string(),
            format_bytes(row.weights),
            fit_cell(&|fit| format_bytes(fit.kv_capacity)),
            fit_cell(&|fit| format_bytes(fit.kv_per_request)),
            fit_cell(&|fit| (fit.concurrent_requests() * ranks).to_string()),
            result_text(&row.result),
        ]
    };
    let headings = ["ROLE", "", "TP", "PP", "DP", "WEIGHTS", "KV CACHE", "KV/REQ", "REQUESTS", ""];
    let mut text = heading(query) + "\n";
    text += &table(&headings, roles.iter().map(row).collect());
    for role in roles {
        for (tier, requests) in [("CPU", role.cpu_tier_requests), ("disk", role.disk_tier_requests)] {
            if let Some(requests) = requests {
                text +=
                    &format!("{tier} tier of a {} worker: {requests} more full-length requests\n", role.role);
            }
        }
    }
    text += &match gpus_needed {
        Ok(gpus) => format!("GPUs: {gpus} of {}\n", query.hardware.gpus()),
        Err(reason) => format!("{reason}\n"),
    };
    text
}

/// Returns the fit of each role as a JSON document.
pub(crate) fn document(query: &FitQuery, fits: &RoleFits) -> Value {
    let RoleFits { roles, gpus_needed } = fits;
    let role_document = |role: &RoleFit| RoleDocument {
        row: row_document(&role.row),
        role: role.role.to_string(),
        replicas: role.group.replicas,
        data_parallel_size: role.group.parallelism.data,
        requests_in_tiers: json!({ "cpu": role.cpu_tier_requests, "disk": role.disk_tier_requests }),
    };
    json!(RoleFitsDocument {
        head: document_head(query),
        roles: roles.iter().map(role_document).collect(),
        gpus: json!({ "needed": gpus_needed.as_ref().ok(), "of": query.hardware.gpus() }),
        text: gpus_needed.as_ref().err().map(ToString::to_string),
    })
}

#[derive(Serialize)]
struct RoleFitsDocument {
    #[serde(flatten)]
    head: Value,
    roles: Vec<RoleDocument>,
    gpus: Value,
    /// Why the deployment does not fit.
    text: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RoleDocument {
    #[serde(flatten)]
    row: Value,
    role: String,
    replicas: u32,
    data_parallel_size: u32,
    requests_in_tiers: Value,
}
