//! Talking to an OpenAI-compatible endpoint: the wire format, streams and what a turn took.
//! It prints nothing and reads no environment; `commands::chat` shows what it gives.

mod endpoint;
mod error;
mod event_stream;
mod turn;
mod wire;

pub use endpoint::{Endpoint, Kind};
pub use error::ChatError;
pub use turn::{Turn, Usage, Workers};
pub use wire::{Message, Piece, Request, Role};
