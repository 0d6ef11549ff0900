//! A client for OpenAI-compatible endpoints: wire format, streaming, and statistics of a turn.
//! It does not print; `commands::chat` prints the results. Only the proxy comes from environment variables.

mod answer_reader;
mod chunk;
mod completion_event;
mod endpoint;
mod error;
mod error_message;
mod turn;
mod wire;

pub use chunk::{RequestTiming, Usage, Workers};
pub use endpoint::Endpoint;
pub use error::ChatError;
pub(crate) use error::innermost_cause;
pub use turn::{ToolCall, Turn};
pub use wire::{ChatMessage, ChatRequest, ChatRole, Delta, EndpointKind};
