//! Errors of the whole program: every error has an exit code, and most have a permanent message code and a
//! hint. `commands::run` prints them in one place; the code that returns an error never prints it.

use crate::code::MessageCode;
use crate::command::Fix;
pub use crate::exit::{EXIT_CODES, Exit};

/// What an error provides besides its message.
pub trait Explain: std::error::Error {
    /// The permanent message code, such as `KD0101`.
    fn code(&self) -> Option<MessageCode> {
        None
    }

    /// The next step: an imperative sentence or a command to paste.
    fn hint(&self) -> Option<Fix> {
        None
    }

    /// The exit code of the process.
    fn exit(&self) -> Exit {
        self.code().map_or(Exit::Failed, MessageCode::exit)
    }

    /// Whether a check found the error before anything changed, so that there is nothing to diagnose.
    fn is_preflight(&self) -> bool {
        false
    }
}

/// The error of any command, as `commands::run` prints it.
pub type Error = Box<dyn Explain + Send + Sync>;

impl<E: Explain + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Box::new(error)
    }
}

impl Explain for std::io::Error {}

/// The result of a command.
pub type Result<T> = std::result::Result<T, Error>;
