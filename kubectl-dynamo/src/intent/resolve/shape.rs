//! The shape of a wish: one kind of worker, or prefill and decode apart, and what belongs to the other of the two.

use super::{arguments, count, switch, word};
use crate::intent::request::{Found, Merged, Shape};
use crate::intent::{IntentError, Parallelism, Topology, WorkerGroup};

/// The topology that was said.
pub(super) fn topology(said: &Merged) -> Result<Topology, IntentError> {
    match word(said, "mode").unwrap_or(Shape::Aggregated) {
        Shape::Aggregated => {
            let apart = |found: &&Found| {
                let path = found.leaf.field.path;
                path.starts_with("prefill.") || path.starts_with("decode.")
            };
            refuse_of_other_mode(said, "disagg", apart)?;
            Ok(Topology::Aggregated { worker: group(said, "worker")? })
        }
        Shape::Disaggregated => {
            refuse_of_other_mode(said, "agg", |found| found.leaf.field.path == "worker.replicas")?;
            Ok(Topology::Disaggregated { prefill: group(said, "prefill")?, decode: group(said, "decode")? })
        }
    }
}

/// What belongs to the other mode is refused where it was said at least as strongly as the mode itself; a mode
/// that is changed leaves behind what a weaker source said for the one before.
fn refuse_of_other_mode(
    said: &Merged,
    other: &'static str,
    belongs: impl Fn(&&Found) -> bool,
) -> Result<(), IntentError> {
    let mode = said.get("mode");
    let mut of_other = said.iter().filter(belongs);
    match of_other.find(|found| found.insists(mode)) {
        Some(found) => Err(IntentError::OtherMode { flag: found.wording(), mode: other }),
        None => Ok(()),
    }
}

fn group(said: &Merged, role: &str) -> Result<WorkerGroup, IntentError> {
    let path = |field: &str| format!("{role}.{field}");
    // What is said of all workers holds for a role unless something as strong is said of that role.
    let shared = |field: &str| -> Option<&Found> {
        let of_all = said.iter().find(|found| found.leaf.field.path == format!("worker.{field}"));
        let own = said.iter().find(|found| found.leaf.field.path == path(field));
        match (own, of_all) {
            (Some(own), Some(of_all)) if !own.outweighs(of_all) => Some(of_all),
            (own, of_all) => own.or(of_all),
        }
    };
    Ok(WorkerGroup {
        replicas: count(said.get(&path("replicas")))?,
        parallelism: Parallelism {
            tensor: count(shared("tensorParallelSize"))?,
            pipeline: count(shared("pipelineParallelSize"))?,
            data: count(shared("dataParallelSize"))?,
            expert: shared("enableExpertParallel")
                .and_then(|found| found.leaf.value.as_bool())
                .unwrap_or_else(|| switch(said, "worker.enableExpertParallel").unwrap_or(false)),
        },
        nodes: count(shared("nodes"))?,
        engine_args: arguments(said, &path("args"))?,
    })
}
