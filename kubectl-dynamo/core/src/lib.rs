//! The pure logic of `kubectl dynamo`: no input or output, no clock, no async.
//!
//! Settings resolve to an [`intent::ServingIntent`]. Together with a [`release::Release`] it becomes a
//! [`plan::ServingPlan`], which [`resources`] renders as Kubernetes objects. [`preflight`] checks a plan
//! against facts about a cluster, [`readiness`] reduces observed objects to the state of a deployment, and
//! [`diagnosis`] explains why a deployment fails.

pub mod bench;
pub mod change;
pub mod chat_template;
pub mod code;
pub mod command;
pub mod diagnosis;
pub mod documentation;
pub mod error;
pub mod exit;
pub mod finding;
pub mod fit;
pub mod gateway;
pub mod graph;
pub mod intent;
pub mod jsonpath;
pub mod lenient;
pub mod nearest_name;
pub mod object;
pub mod plan;
pub mod preflight;
pub mod probe;
pub mod prometheus;
pub mod quantity;
pub mod rbac;
pub mod readiness;
pub mod recommend;
pub mod registry;
pub mod release;
pub mod resources;
pub mod top;

pub use model_fetcher_contract::user_agent;
