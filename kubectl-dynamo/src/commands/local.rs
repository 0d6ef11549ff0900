//! The verbs with `--local`: the same words, for processes of this machine.

use super::Context;
use super::serving_flags::Defaults;
use super::up::UpArgs;
use crate::error::{Exit, Result};
use crate::intent::{Backend, ModelRef};

/// Serves on this machine.
pub(super) async fn up(args: UpArgs, _context: &Context) -> Result<Exit> {
    let defaults = Defaults { model: Some(ModelRef::BuiltIn), backend: Backend::Mocker, name_length: 40 };
    let _intent = args.serving.intent(defaults)?;
    Ok(Exit::Ok)
}
