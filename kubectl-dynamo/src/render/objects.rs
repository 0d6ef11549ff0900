//! Renders Kubernetes objects as YAML or JSON: as one text, or as one file for each object.

use serde_json::json;

use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::resources::{Resource, to_yaml};

/// Output formats of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectFormat {
    Yaml,
    Json,
}

/// Returns all objects as one text.
///
/// # Errors
/// Does not fail in practice, because every object can be written.
pub(crate) fn text(resources: &[Resource], format: ObjectFormat) -> Result<String> {
    match format {
        ObjectFormat::Yaml => Ok(to_yaml(resources).map_err(std::io::Error::other)?),
        ObjectFormat::Json => {
            let items: Vec<_> = resources.iter().map(|resource| &resource.object).collect();
            Ok(format!("{:#}\n", json!({ "apiVersion": "v1", "kind": "List", "items": items })))
        }
    }
}

/// Returns the name and the content of one file for each object. Names start with the position in apply order.
///
/// # Errors
/// Does not fail in practice, because every object can be written.
pub(crate) fn files(resources: &[Resource], format: ObjectFormat) -> Result<Vec<(String, String)>> {
    let file = |(index, resource): (usize, &Resource)| {
        let (extension, text) = match format {
            ObjectFormat::Json => ("json", format!("{:#}\n", resource.object)),
            ObjectFormat::Yaml => ("yaml", text(std::slice::from_ref(resource), format)?),
        };
        let kind = resource.kind().to_lowercase();
        Ok((format!("{}-{kind}-{}.{extension}", index + 1, resource.name()), text))
    };
    resources.iter().enumerate().map(file).collect()
}
