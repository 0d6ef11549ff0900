//! The exit codes of `kubectl dynamo` and the table that `--help` prints. Scripts rely on the numbers, which never change.
//! This module must not depend on others, because message codes and errors both use it.

use std::process::ExitCode;

/// Exit codes of `kubectl dynamo`. Scripts rely on the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The command succeeded.
    Ok = 0,
    /// The command failed.
    Failed = 1,
    /// The command line is invalid or contradicts itself.
    Usage = 2,
    /// The deployment is not ready before the timeout but still progresses.
    NotReadyInTime = 3,
    /// Kubernetes or the hub denied access.
    Access = 4,
    /// Capacity, memory, or quota is insufficient.
    DoesNotFit = 5,
    /// The Dynamo platform is missing, or its version is not supported.
    Platform = 6,
    /// The model or its cache failed.
    Model = 7,
    /// Changes or regressions were found on request (`--fail-on-change`, `--fail-if`).
    Changes = 8,
    /// Every component is ready, but the smoke test failed.
    SmokeTest = 9,
    /// Interrupted by Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The table that `--help` prints.
pub const EXIT_CODES: &str = "\
Exit codes:
  0 ok                          6 platform missing or unsupported version
  1 failed                      7 model or cache error
  2 usage                       8 changes or regressions found
  3 not ready in time           9 smoke test failed
  4 access (kube, hub, RBAC)  130 interrupted
  5 does not fit (capacity, memory, quota)";
