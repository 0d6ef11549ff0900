//! Passes the events of watches to what stores the objects. What a change means is decided by the core.

use serde_json::Value;

use kubectl_dynamo_cluster::{ClusterError, Kind};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::readiness::{DeploymentReducer, ObjectChange};

/// Objects that watches keep up to date.
pub(crate) trait WatchedObjects {
    /// Records a change of the objects of a kind.
    ///
    /// # Errors
    /// An object that does not have the fields of its kind.
    fn record_change(&mut self, kind: Kind, change: ObjectChange<Value>) -> Result<()>;

    /// Records that the watch of a kind has failed. It may reconnect.
    fn record_failure(&mut self, kind: Kind);
}

impl WatchedObjects for DeploymentReducer {
    fn record_change(&mut self, kind: Kind, change: ObjectChange<Value>) -> Result<()> {
        if let Some(observed) = kind.observed() {
            self.apply(observed, change).map_err(|error| ClusterError::malformed("watch", kind, error))?;
        }
        Ok(())
    }

    fn record_failure(&mut self, kind: Kind) {
        if let Some(kind) = kind.observed() {
            self.watch_failed(kind);
        }
    }
}

/// The objects of one kind.
impl WatchedObjects for Vec<Value> {
    fn record_change(&mut self, _kind: Kind, change: ObjectChange<Value>) -> Result<()> {
        change.apply_to(self);
        Ok(())
    }

    fn record_failure(&mut self, _kind: Kind) {}
}
