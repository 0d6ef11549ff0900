//! The input for building the components of a plan and their arguments. It holds only data.

use super::Logging;
use super::kv_offload::KvOffloadPlan;
use crate::intent::ServingIntent;
use crate::release::Release;

/// Input for building the components of a plan.
pub(super) struct PlanContext<'a> {
    pub(super) intent: &'a ServingIntent,
    pub(super) release: &'static Release,
    pub(super) logging: Logging,
    pub(super) model_folder: &'a str,
    pub(super) offload: Option<KvOffloadPlan>,
}
