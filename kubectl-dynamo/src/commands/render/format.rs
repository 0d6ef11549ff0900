//! The formats of `render`: of objects, of files, and of a plan.

use super::RenderArgs;
use crate::commands::output_flag;
use crate::kube_flags::FlagError;
use crate::output::{DocumentFormat, ObjectFormat, PreviewFormat, PrintFormat, TableFormat};
use crate::render::objects::FileFormat;
use kubectl_dynamo_core::error::Result;

impl RenderArgs {
    /// Returns the format of the objects.
    pub(super) fn object_format(&self) -> Result<PrintFormat<ObjectFormat>> {
        match &self.output {
            None => Ok(PrintFormat::Document(DocumentFormat::Yaml)),
            Some(PrintFormat::Own(PreviewFormat::Table)) => {
                Err(FlagError::UnsuitableFormat { format: "table", place: "without --plan" }.into())
            }
            Some(PrintFormat::Own(PreviewFormat::Name)) => Ok(PrintFormat::Own(ObjectFormat::Name)),
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
        output_flag::plan_format(self.output.as_ref())
    }
}
