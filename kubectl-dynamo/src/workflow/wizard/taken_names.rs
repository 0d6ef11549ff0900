//! The names that deployments of the namespace already have: the wizard says by what a name is taken, and proposes
//! a free one.

use super::answer_error::AnswerError;
use crate::workflow::summary;
use kubectl_dynamo_cluster::{Cluster, ClusterError, Kind, Platform};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::intent::name::numbered_names;
use kubectl_dynamo_core::intent::{ServingIntent, StringEnum};

/// The deployments of a namespace.
#[derive(Debug, Clone, Default)]
pub(super) struct TakenNames(Vec<TakenName>);

#[derive(Debug, Clone)]
struct TakenName {
    name: String,
    /// Such as `acme/tiny, agg`.
    description: String,
    mode: &'static str,
}

impl TakenNames {
    /// Lists the deployments. Without the permission, none is known, and `up` still detects a conflict.
    pub(super) async fn list(cluster: &Cluster, platform: &Platform) -> Result<Self> {
        let graphs = match cluster.list(Kind::Graph(platform.graph_api), "").await {
            Ok(graphs) => graphs,
            Err(ClusterError::Forbidden { .. }) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let taken = graphs.iter().map(summary::summarize).map(|one| TakenName {
            description: format!("{}, {}", one.model, one.mode.as_str()),
            name: one.name,
            mode: one.mode.as_str(),
        });
        Ok(Self(taken.collect()))
    }

    /// Returns the name, or the first free one that follows it.
    pub(super) fn free_name(&self, name: &str, max_length: usize) -> String {
        let is_free = |candidate: &String| self.find(candidate).is_none();
        let mut candidates = std::iter::once(name.to_owned()).chain(numbered_names(name, max_length));
        candidates.find(is_free).unwrap_or_else(|| name.to_owned())
    }

    /// Returns by what a name is taken.
    pub(super) fn description(&self, name: &str) -> Option<&str> {
        self.find(name).map(|taken| taken.description.as_str())
    }

    /// Rejects the name of a deployment that cannot become this one: the operator does not allow another mode.
    pub(super) fn check(
        &self,
        intent: &ServingIntent,
        max_length: usize,
    ) -> std::result::Result<(), AnswerError> {
        match self.find(&intent.name) {
            Some(taken) if taken.mode != intent.topology.mode() => Err(AnswerError::NameTaken {
                name: intent.name.clone(),
                description: taken.description.clone(),
                free_name: self.free_name(&intent.name, max_length),
            }),
            _ => Ok(()),
        }
    }

    fn find(&self, name: &str) -> Option<&TakenName> {
        self.0.iter().find(|taken| taken.name == name)
    }
}
