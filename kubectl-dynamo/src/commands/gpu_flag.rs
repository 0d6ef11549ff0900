//! The value of `--gpu`: GPUs by name, or those of the cluster.

use crate::context::Context;
use crate::workflow::fit;
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::Fix;
use kubectl_dynamo_core::error::{Explain, Result};
use kubectl_dynamo_core::fit::{Hardware, HardwareError};

/// The value of `--gpu` for the GPUs of the cluster.
const AUTO: &str = "auto";

/// An invalid value of `--gpu`.
#[derive(Debug, thiserror::Error)]
#[error("--gpu: {0}")]
struct HardwareFlagError(HardwareError);

impl Explain for HardwareFlagError {
    fn code(&self) -> Option<MessageCode> {
        Some(MessageCode::InvalidValue)
    }

    fn hint(&self) -> Option<Fix> {
        Some("use a value such as --gpu h100-80g:8x4 (four nodes with eight GPUs each)".into())
    }
}

/// Returns the hardware of a value of `--gpu`.
///
/// # Errors
/// An invalid value, or a cluster whose GPUs are not known.
pub(super) async fn hardware_of(gpu: &str, context: &Context) -> Result<Hardware> {
    match gpu {
        AUTO => fit::cluster_hardware(context).await,
        gpu => Ok(gpu.parse().map_err(HardwareFlagError)?),
    }
}
