//! A whole deployment of a given shape: what lies on each GPU of each kind of worker, what its tiers of KV cache hold,
//! and whether the hardware has room for all of it.

use serde_json::{Value, json};

use super::{FitFormat, Question, Row, said, size};
use crate::commands::print_data;
use crate::commands::table::table;
use crate::error::{Exit, Result};
use crate::fit::{EngineMemory, Hardware};
use crate::intent::request::Merged;
use crate::intent::{Backend, Fallback, ModelRef, ServingIntent, WorkerGroup, WorkerRole, resolve};
use crate::plan::Quantity;

/// What leaves the shape open, so that each is shown.
const OPEN: [&str; 4] =
    ["worker.tensorParallelSize", "worker.pipelineParallelSize", "worker.enableExpertParallel", "engineArgs"];

/// Whether somebody says a deployment, and not only a worker.
pub(super) fn is_whole(said: &Merged) -> bool {
    said.iter().any(|found| !OPEN.contains(&found.leaf.field.path))
}

/// One kind of worker.
struct Role {
    role: WorkerRole,
    group: WorkerGroup,
    row: Row,
    /// Requests of full length that the tiers of one worker hold.
    in_cpu: Option<u64>,
    in_disk: Option<u64>,
}

/// Prints what there is to tell of each kind of worker.
pub(super) fn answer(question: &Question, said: Merged, format: FitFormat) -> Result<Exit> {
    let model = ModelRef::named(&question.weighed.name)?;
    let fallback = Fallback { model: Some(model), backend: Backend::Vllm, name_length: usize::MAX };
    let intent = resolve(&said, &fallback)?;
    let roles: Vec<Role> = intent
        .topology
        .groups()
        .into_iter()
        .map(|(role, group)| of_role(question, &intent, role, group))
        .collect();
    let room = room(&question.hardware, &roles);
    print_data(&match format {
        FitFormat::Table => screen(question, &roles, &room),
        FitFormat::Json => format!("{:#}\n", document(question, &roles, &room)),
    })?;
    let fits = room.is_ok() && roles.iter().all(|role| role.row.fits());
    Ok(if fits { Exit::Ok } else { Exit::DoesNotFit })
}

fn of_role(question: &Question, intent: &ServingIntent, role: WorkerRole, group: &WorkerGroup) -> Role {
    let args: Vec<String> = intent.engine_args.iter().chain(&group.engine_args).cloned().collect();
    let engine = EngineMemory::of(&args);
    let of_role = Question {
        engine,
        longest_request: engine.longest_request.unwrap_or(question.longest_request),
        ..question.clone()
    };
    let row = of_role.row(group.parallelism);
    let offload = intent.kv_offload.as_ref().filter(|_| role != WorkerRole::Decode);
    let held = |given: &str| {
        let bytes = Quantity::parse(given)?.bytes;
        row.fit.map(|fit| fit.requests_in_tier(bytes))
    };
    let in_cpu = offload.and_then(|offload| held(&offload.cpu));
    let in_disk = offload.and_then(|offload| held(&offload.disk.as_ref()?.size));
    Role { role, group: group.clone(), row, in_cpu, in_disk }
}

/// GPUs that are needed, or why the hardware has no room.
fn room(hardware: &Hardware, roles: &[Role]) -> std::result::Result<u32, String> {
    let mut free = vec![hardware.gpus_per_node; hardware.nodes as usize];
    let mut pods: Vec<(u32, &Role)> = Vec::new();
    for role in roles {
        let nodes = role.group.nodes.max(1);
        let gpus = role.group.parallelism.gpus();
        let each = gpus / nodes;
        if each > hardware.gpus_per_node {
            let needed = gpus.div_ceil(hardware.gpus_per_node);
            return Err(format!(
                "a {} worker takes {each} GPUs of one node, which has {}: add --nodes {needed}",
                role.role, hardware.gpus_per_node
            ));
        }
        let count = role.group.replicas.saturating_mul(nodes).min(hardware.gpus().saturating_add(1));
        pods.extend((0..count).map(|_| (each, role)));
    }
    // The large ones first, each on the first node that has room.
    pods.sort_by_key(|(gpus, _)| std::cmp::Reverse(*gpus));
    for (gpus, role) in &pods {
        match free.iter_mut().find(|left| **left >= *gpus) {
            Some(left) => *left -= gpus,
            None => {
                let all: u32 = roles.iter().fold(0, |sum, role| sum.saturating_add(role.group.gpus()));
                let of = hardware.gpus();
                let why =
                    format!("{all} GPUs are needed of {of}, and the last {} worker has no room", role.role);
                return Err(why);
            }
        }
    }
    Ok(pods.iter().map(|(gpus, _)| gpus).sum())
}

fn screen(question: &Question, roles: &[Role], room: &std::result::Result<u32, String>) -> String {
    let row = |role: &Role| {
        let (row, shape) = (&role.row, role.group.parallelism);
        let of_fit = |show: &dyn Fn(&crate::fit::Fit) -> String| row.fit.as_ref().map_or("-".into(), show);
        let copies = u64::from(role.group.replicas) * u64::from(shape.data.max(1));
        vec![
            role.role.to_string(),
            format!("×{}", role.group.replicas),
            shape.tensor.to_string(),
            shape.pipeline.to_string(),
            shape.data.to_string(),
            size(row.weights),
            of_fit(&|fit| size(fit.kv_room)),
            of_fit(&|fit| size(fit.kv_per_request)),
            of_fit(&|fit| (fit.requests() * copies).to_string()),
            said(&row.verdict),
        ]
    };
    let headings = ["ROLE", "", "TP", "PP", "DP", "WEIGHTS", "KV ROOM", "A REQUEST", "AT ONCE", ""];
    let mut text = question.heading() + "\n";
    text += &table(&headings, roles.iter().map(row).collect());
    for role in roles {
        for (tier, held) in [("CPU", role.in_cpu), ("disk", role.in_disk)] {
            if let Some(held) = held {
                text +=
                    &format!("{tier} tier of a {} worker: {held} more requests of full length\n", role.role);
            }
        }
    }
    text += &match room {
        Ok(gpus) => format!("GPUs: {gpus} of {}\n", question.hardware.gpus()),
        Err(why) => format!("{why}\n"),
    };
    text
}

fn document(question: &Question, roles: &[Role], room: &std::result::Result<u32, String>) -> Value {
    let one = |role: &Role| {
        let mut shown = question.row_document(&role.row);
        shown["role"] = role.role.to_string().into();
        shown["replicas"] = role.group.replicas.into();
        shown["dataParallelSize"] = role.group.parallelism.data.into();
        shown["requestsInTiers"] = json!({ "cpu": role.in_cpu, "disk": role.in_disk });
        shown
    };
    let mut document = question.document_head();
    document["roles"] = roles.iter().map(one).collect();
    document["gpus"] = json!({ "needed": room.as_ref().ok(), "of": question.hardware.gpus() });
    document["says"] = room.as_ref().err().cloned().into();
    document
}
