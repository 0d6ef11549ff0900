//! Changes of DynamoGraphDeployments: field differences, the effect on pods, field ownership, revisions, and
//! the import of graphs that kubectl-dynamo did not write.
//!
//! All functions compare JSON values. They must not send requests to the API server.

mod container_command;
mod difference;
mod immutable;
mod import;
mod managed_fields;
mod ownership;
pub mod revision;
mod rollout_effect;
mod scaling_adapter;
mod shell_script;
mod three_way_merge;

pub use container_command::vllm_args;
pub use difference::{Difference, differences};
pub use immutable::immutable_changes;
pub use import::{ImportError, ImportedGraph, import_graph};
pub use managed_fields::owned_by;
pub use ownership::{release_spec_ownership, spec_owners};
pub use rollout_effect::{ComponentChange, GraphChange, RolloutEffect, RolloutStrategy};
pub use scaling_adapter::{AdapterOwnedReplicas, yield_replicas};
pub use three_way_merge::three_way_merge;
