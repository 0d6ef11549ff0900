//! Behaviors of the real operators that a case requests for its namespace.
//! They were observed rarely or only after a restart, so they are not the default.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A behavior of the real operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperatorFault {
    /// The validating webhook refuses the next review of a graph, as it can once right after the operator became
    /// ready.
    RefusesNextReview,
    /// 0.9.1: component deployments are updated, and their Deployments keep the previous pod template.
    LeavesDeployments,
    /// Nothing is reconciled, as for up to 24 s after a restart of the API server. The webhooks respond.
    Idle,
}

/// The current behaviors of each namespace.
#[derive(Debug, Default)]
pub(super) struct OperatorFaults(Mutex<HashSet<(OperatorFault, String)>>);

impl OperatorFaults {
    pub(super) fn start(&self, fault: OperatorFault, namespace: &str) {
        self.current().insert((fault, namespace.to_owned()));
    }

    /// Ends the behavior and returns whether the namespace had it.
    pub(super) fn end(&self, fault: OperatorFault, namespace: &str) -> bool {
        self.current().remove(&(fault, namespace.to_owned()))
    }

    pub(super) fn contains(&self, fault: OperatorFault, namespace: &str) -> bool {
        self.current().contains(&(fault, namespace.to_owned()))
    }

    fn current(&self) -> MutexGuard<'_, HashSet<(OperatorFault, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
