//! What the user typed to describe a deployment: a target, a file, flags, and `--set`. It converts them to
//! settings layers and does not parse arguments.

use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::intent::ValueError;
use kubectl_dynamo_core::intent::request::{
    Field, FieldType, RequestError, SettingSource, SettingsLayer, find_field,
};

/// The values of the serving flags as typed.
#[derive(Debug, Default)]
pub(crate) struct ServingInput {
    /// Model, or name of a deployment.
    pub target: Option<String>,
    /// Path of `-f`; `-` is standard input.
    pub file: Option<String>,
    /// Fields with their values, from flags.
    pub flag_values: Vec<(&'static Field, Vec<String>)>,
    /// Assignments of `--set`.
    pub assignments: Vec<String>,
}

impl ServingInput {
    /// Adds a flag as if the user had typed it.
    pub(crate) fn add(&mut self, field: &'static Field, texts: Vec<String>) {
        self.flag_values.push((field, texts));
    }

    /// Returns the settings of the flags and those of `--set`.
    ///
    /// # Errors
    /// Returns an error for an invalid value or path.
    pub(crate) fn layers(&self) -> Result<[SettingsLayer; 2]> {
        let mut flags = SettingsLayer::new(SettingSource::Flag);
        for (field, texts) in &self.flag_values {
            for text in texts {
                match field.path {
                    "kvOffload.cpu" => set_kv_offload(&mut flags, text)?,
                    "engineArgs" | "prefill.args" | "decode.args" => {}
                    _ => flags.push_str(field, text)?,
                }
            }
            if field.kind == FieldType::Args {
                flags.set_json(field, &texts.clone().into())?;
            }
        }
        let mut set = SettingsLayer::new(SettingSource::Set);
        for assignment in &self.assignments {
            set.set(assignment)?;
        }
        Ok([flags, set])
    }
}

/// Parses `cpu=QUANTITY[,disk=QUANTITY]`, or `none`.
fn set_kv_offload(layer: &mut SettingsLayer, text: &str) -> std::result::Result<(), RequestError> {
    let value_error = |reason: ValueError| RequestError::Value {
        setting: "--kv-offload".into(),
        reason,
        example: "--kv-offload cpu=20Gi,disk=200Gi".into(),
    };
    let (cpu, disk) = (field("kvOffload.cpu"), field("kvOffload.disk"));
    if text == "none" {
        return layer.set_str(cpu, text);
    }
    if !text.split(',').any(|tier| tier.starts_with("cpu=")) {
        return Err(value_error(ValueError::MissingCpuTier { given: text.into() }));
    }
    for tier in text.split(',') {
        match tier.split_once('=') {
            Some(("cpu", size)) => layer.set_str(cpu, size)?,
            Some(("disk", size)) => layer.set_str(disk, size)?,
            _ => return Err(value_error(ValueError::UnknownTier { given: text.into() })),
        }
    }
    Ok(())
}

fn field(path: &str) -> &'static Field {
    find_field(path).expect("every path in this file is in the field table")
}
