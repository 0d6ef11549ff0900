//! Which components are to have how many replicas, and the wish that says the same.

use std::fmt;

use serde_json::Value;

use super::{ScaleArgs, ScaleError};
use crate::change::{Component, graph_components};
use crate::commands::summary;
use crate::error::Result;
use crate::intent::Topology;

/// One component, and its replicas now and then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub component: String,
    pub role: String,
    pub from: u64,
    pub to: u32,
    /// Whether a scaling adapter owns the number.
    pub has_adapter: bool,
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {} replicas", self.component, self.from, self.to)
    }
}

/// What the flags mean for the components that there are.
pub(super) fn wanted(args: &ScaleArgs, graph: &Value) -> Result<Vec<Wanted>> {
    let components = graph_components(graph);
    let mut found: Vec<Wanted> = Vec::new();
    for (flag, role, to) in [
        ("--replicas", "worker", args.replicas),
        ("--prefill-replicas", "prefill", args.prefill_replicas),
        ("--decode-replicas", "decode", args.decode_replicas),
        ("--frontend-replicas", "frontend", args.frontend_replicas),
    ] {
        let Some(to) = to else { continue };
        // The general flag is meant for all workers, and a special one beside it outweighs it.
        let is_meant = |one: &&Component| one.role() == role || (role == "worker" && one.is_worker());
        let meant: Vec<&Component> = components.iter().filter(is_meant).collect();
        if meant.is_empty() {
            let names = components.iter().map(|one| one.name.to_owned()).collect();
            let name = args.name.clone();
            return Err(ScaleError::NoSuchRole { name, role, flag, components: names }.into());
        }
        found.retain(|one| meant.iter().all(|component| component.name != one.component));
        found.extend(meant.into_iter().map(|one| Wanted {
            component: one.name.into(),
            role: one.role().into(),
            from: one.replicas(),
            to,
            has_adapter: one.has_scaling_adapter(),
        }));
    }
    if found.is_empty() {
        return Err(ScaleError::Nothing { name: args.name.clone() }.into());
    }
    Ok(found)
}

/// The wish of a live graph with these numbers; none where it holds none.
pub(super) fn wish(graph: &Value, wanted: &[Wanted]) -> Option<String> {
    let mut intent = summary::intent(graph)?;
    for one in wanted {
        match (&mut intent.topology, one.role.as_str()) {
            (_, "frontend") => intent.frontend_replicas = one.to,
            (Topology::Aggregated { worker }, _) => worker.replicas = one.to,
            (Topology::Disaggregated { prefill, .. }, "prefill") => prefill.replicas = one.to,
            (Topology::Disaggregated { decode, .. }, "decode") => decode.replicas = one.to,
            (Topology::Disaggregated { .. }, _) => {}
        }
    }
    serde_json::to_string(&intent).ok()
}
