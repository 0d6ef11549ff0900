//! Deployments that run as processes on this machine: resolve the request, start, find, and follow them.
//! Process management is in [`crate::local`].

pub(crate) mod environment;
pub(crate) mod lookup;
pub(crate) mod resolve;
pub(crate) mod session;
pub(crate) mod up;
