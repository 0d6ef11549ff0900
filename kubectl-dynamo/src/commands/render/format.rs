//! The formats of `render`: of objects, of files, and of a plan.

use super::RenderArgs;
use crate::kube_flags::FlagError;
use crate::output::{DocumentFormat, ObjectFormat, PrintFormat, TableFormat};
use crate::render::objects::FileFormat;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::intent::StringEnum;

/// Formats of objects or of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RenderFormat {
    /// Only for a plan.
    Table,
    /// Only for objects.
    Name,
}

impl StringEnum for RenderFormat {
    const ALL: &'static [Self] = &[Self::Table, Self::Name];

    fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Name => "name",
        }
    }
}

impl RenderArgs {
    /// Returns the format of the objects.
    pub(super) fn object_format(&self) -> Result<PrintFormat<ObjectFormat>> {
        match &self.output {
            None => Ok(PrintFormat::Document(DocumentFormat::Yaml)),
            Some(PrintFormat::Own(RenderFormat::Table)) => {
                Err(FlagError::UnsuitableFormat { format: "table", place: "without --plan" }.into())
            }
            Some(PrintFormat::Own(RenderFormat::Name)) => Ok(PrintFormat::Own(ObjectFormat::Name)),
            Some(PrintFormat::Document(format)) => Ok(PrintFormat::Document(format.clone())),
        }
    }

    /// Returns the format of the files.
    pub(super) fn file_format(&self) -> Result<FileFormat> {
        let unsuitable =
            |format| Err(FlagError::UnsuitableFormat { format, place: "with --output-dir" }.into());
        match self.object_format()? {
            PrintFormat::Document(DocumentFormat::Yaml) => Ok(FileFormat::Yaml),
            PrintFormat::Document(DocumentFormat::Json) => Ok(FileFormat::Json),
            PrintFormat::Document(DocumentFormat::JsonPath(_)) => unsuitable("jsonpath"),
            PrintFormat::Own(ObjectFormat::Name) => unsuitable("name"),
        }
    }

    /// Returns the format of the plan.
    pub(super) fn plan_format(&self) -> Result<PrintFormat<TableFormat>> {
        match &self.output {
            None | Some(PrintFormat::Own(RenderFormat::Table)) => Ok(PrintFormat::Own(TableFormat::Table)),
            Some(PrintFormat::Own(RenderFormat::Name)) => {
                Err(FlagError::UnsuitableFormat { format: "name", place: "with --plan" }.into())
            }
            Some(PrintFormat::Document(format)) => Ok(PrintFormat::Document(format.clone())),
        }
    }
}
