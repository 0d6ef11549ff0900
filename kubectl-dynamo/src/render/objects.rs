//! Renders Kubernetes objects in the formats of `-o`: as one text, or as one file for each object.

use serde_json::json;

use crate::output::{DocumentFormat, ObjectFormat, PrintFormat};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::resources::{Resource, to_yaml};

/// Returns all objects as one text: YAML documents, a `List`, or their names.
///
/// # Errors
/// A template that does not fit the list.
pub(crate) fn text(resources: &[Resource], format: &PrintFormat<ObjectFormat>) -> Result<String> {
    match format {
        PrintFormat::Own(ObjectFormat::Name) => {
            Ok(resources.iter().map(|one| one.qualified_name() + "\n").collect())
        }
        PrintFormat::Document(DocumentFormat::Yaml) => yaml(resources),
        PrintFormat::Document(format) => {
            let items: Vec<_> = resources.iter().map(|resource| &resource.object).collect();
            format.text(&json!({ "apiVersion": "v1", "kind": "List", "items": items }))
        }
    }
}

/// Returns all objects as YAML documents.
///
/// # Errors
/// Does not fail in practice, because every object can be written.
pub(crate) fn yaml(resources: &[Resource]) -> Result<String> {
    Ok(to_yaml(resources).map_err(std::io::Error::other)?)
}

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileFormat {
    Yaml,
    Json,
}

/// Returns the name and the content of one file for each object. Names start with the position in apply order.
///
/// # Errors
/// Does not fail in practice, because every object can be written.
pub(crate) fn files(resources: &[Resource], format: FileFormat) -> Result<Vec<(String, String)>> {
    let file = |(index, resource): (usize, &Resource)| {
        let (extension, text) = match format {
            FileFormat::Json => ("json", format!("{:#}\n", resource.object)),
            FileFormat::Yaml => ("yaml", yaml(std::slice::from_ref(resource))?),
        };
        let kind = resource.kind().to_lowercase();
        Ok((format!("{}-{kind}-{}.{extension}", index + 1, resource.name()), text))
    };
    resources.iter().enumerate().map(file).collect()
}
