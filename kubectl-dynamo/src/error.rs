//! What can go wrong, in words a person can act on: every failure has an exit code, most a permanent
//! message code and a hint. It is printed in one place
//! (`commands::run`), never where it happens.

use std::process::ExitCode;

/// The exit codes of `kubectl dynamo`; scripts rely on the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was done.
    Ok = 0,
    /// It was tried and did not work.
    Failed = 1,
    /// The command line cannot be understood or contradicts itself.
    Usage = 2,
    /// Not ready in time, and still progressing.
    NotReadyInTime = 3,
    /// Kubernetes or the hub refused who asks.
    Access = 4,
    /// Capacity, memory or quota do not suffice.
    DoesNotFit = 5,
    /// The Dynamo platform is missing, or its version is not supported.
    Platform = 6,
    /// The model or its cache is the problem.
    Model = 7,
    /// A dry run that was asked to fail on changes found some.
    Changes = 8,
    /// Everything reported ready, and the real request failed.
    SmokeTest = 9,
    /// Ended by Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What every error of this crate can say besides its message.
pub trait Explain: std::error::Error {
    /// The permanent message code, such as `KD0101`.
    fn code(&self) -> Option<&'static str> {
        None
    }

    /// What to do next, beginning with a verb or a command to paste.
    fn hint(&self) -> Option<String> {
        None
    }

    /// The exit code of the process.
    fn exit(&self) -> Exit {
        Exit::Failed
    }

    /// Whether it was found before anything was changed, so that nothing is there to be looked into.
    fn is_preflight(&self) -> bool {
        false
    }
}

/// A failure of any verb, as `commands::run` prints it.
pub type Error = Box<dyn Explain + Send + Sync>;

impl<E: Explain + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Box::new(error)
    }
}

impl Explain for std::io::Error {}

/// The result of a verb.
pub type Result<T> = std::result::Result<T, Error>;

/// The table that `--help` prints.
pub const EXIT_CODES: &str = "\
Exit codes:
  0 ok                          6 platform missing or unsupported version
  1 failed                      7 model or cache error
  2 usage                       8 changes found (--fail-on-change)
  3 not ready in time           9 smoke test failed
  4 access (kube, hub, RBAC)  130 interrupted
  5 does not fit (capacity, memory, quota)";
