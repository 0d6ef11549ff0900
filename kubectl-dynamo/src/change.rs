//! What a change is: which fields differ, which pods move for it, what this program said of an object before, what is
//! left to others, and what is kept of it to go back to. It compares JSON with JSON and asks nobody.

mod applied;
mod carried;
mod command_line;
mod component;
mod difference;
mod effect;
mod left;
mod ownership;
pub mod revision;
mod understood;

pub use applied::applied;
pub use carried::carried;
pub use component::{Component, component_mut, graph_components};
pub use difference::{Difference, differences};
pub use effect::{ComponentChange, Effect, GraphChange, Renewal, last_start_seconds};
pub use left::{LeftToAdapter, leave_to_others};
pub use ownership::{disowned, owners};
pub use understood::{Strange, Understood, understood};
