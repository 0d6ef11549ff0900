//! Whether the engine of an image may know more flags and parsers than the tables of this program.

use crate::intent::ServingIntent;
use crate::release::Release;

/// What happens to a flag or parser that the tables do not contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnknownNames {
    /// It causes a warning: the engine of an unknown release or of a custom image may know more than the tables.
    Reported,
    Rejected,
}

impl UnknownNames {
    pub(super) fn for_image(intent: &ServingIntent, release: &Release, version: &str) -> Self {
        let is_custom_image = |image: &String| !image.ends_with(&format!("/vllm-runtime:{version}"));
        match !release.covers_minor(version) || intent.placement.image.as_ref().is_some_and(is_custom_image) {
            true => Self::Reported,
            false => Self::Rejected,
        }
    }
}
