//! What a change is: which fields differ, which pods move for it, and what this program said of an object before.
//! It compares JSON with JSON and asks nobody.

mod applied;
mod difference;
mod effect;

pub use applied::applied;
pub use difference::{Difference, differences};
pub use effect::{ComponentChange, Effect, GraphChange, Renewal, last_start_seconds};
