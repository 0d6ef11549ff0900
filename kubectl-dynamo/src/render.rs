//! Renders the results of commands as tables, screens, and documents. It prints only what a caller passes to
//! [`crate::output`], and it must not access a cluster.

pub(crate) mod adoption;
pub(crate) mod bench;
pub(crate) mod bench_comparison;
pub(crate) mod bench_html;
pub(crate) mod bench_prediction;
pub(crate) mod check;
pub(crate) mod deployment;
pub(crate) mod diff;
pub(crate) mod documentation;
pub(crate) mod dry_run;
pub(crate) mod events;
pub(crate) mod fetch_status;
pub(crate) mod findings;
pub(crate) mod fit;
pub(crate) mod gateway;
pub(crate) mod junit;
pub(crate) mod list;
pub(crate) mod local;
pub(crate) mod objects;
pub(crate) mod plan_table;
pub(crate) mod probes;
pub(crate) mod recommendation;
pub(crate) mod role_fit;
pub(crate) mod rollout_status;
pub(crate) mod settings;
pub(crate) mod status;
pub(crate) mod table;
pub(crate) mod top;
pub(crate) mod value;
