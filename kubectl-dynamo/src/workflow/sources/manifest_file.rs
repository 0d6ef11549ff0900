//! Reads the file of `-f`: a request in this project's schema, or Kubernetes objects that include one
//! DynamoGraphDeployment. This module must not access a cluster.

use std::io::Read;

use serde_json::Value;

use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::error::{Explain, Result};
use kubectl_dynamo_core::intent::request::{
    API_VERSION, KIND, RequestError, SettingSource, SettingsLayer, flatten,
};
use kubectl_dynamo_core::object::ObjectView;
use kubectl_dynamo_core::resources::is_companion;

/// The kind of the graph, which is applied unchanged.
const GRAPH: &str = "DynamoGraphDeployment";

/// The content of a manifest file.
pub(crate) enum ManifestContent {
    Request(SettingsLayer),
    /// The objects in the order of the file, with the graph last.
    Objects(Vec<Value>),
}

/// An error of a manifest file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestFileError {
    #[error("cannot read {place}: {source}")]
    Unreadable { place: String, source: std::io::Error },
    #[error("{place} is not valid YAML or JSON: {reason}")]
    Syntax { place: String, reason: String },
    #[error("unexpected content in {place}: {reason}")]
    UnsupportedContent { place: String, reason: String },
}

impl Explain for ManifestFileError {
    fn code(&self) -> Option<MessageCode> {
        Some(MessageCode::InvalidManifestFile)
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::Unreadable { .. } => "pass the name of a file, or - for standard input".into(),
            Self::Syntax { .. } => "indent with spaces, and quote strings that contain `: ` or `#`".into(),
            Self::UnsupportedContent { .. } => {
                let apply = SuggestedCommand::kubectl("apply").flag("-f").flag("FILE");
                apply.after(format!(
                    "provide one {KIND} of {API_VERSION}, or one {GRAPH} with its PVC, Job, Secret, ConfigMap, \
                     ComputeDomain, and ResourceClaimTemplate; apply other kinds with "
                ))
            }
        })
    }
}

/// Reads a file; `-` is standard input, of which at most 4 MiB are read.
///
/// # Errors
/// Unreadable files, and content that is neither a request nor a graph.
pub(crate) fn read(path: &str) -> Result<ManifestContent> {
    let place = if path == "-" { "standard input".to_owned() } else { path.to_owned() };
    let unreadable = |source| ManifestFileError::Unreadable { place: place.clone(), source };
    let text = match path {
        "-" => std::io::read_to_string(std::io::stdin().take(4 << 20)).map_err(unreadable)?,
        path => std::fs::read_to_string(path).map_err(unreadable)?,
    };
    let documents = parse_documents(&text, &place)?;
    let kind = |document: &Value| ObjectView::new(document).kind().to_owned();
    let content_error =
        |reason: String| ManifestFileError::UnsupportedContent { place: place.clone(), reason };
    match documents.as_slice() {
        [] => Err(content_error("the file is empty".into()).into()),
        [request] if kind(request) == KIND || request.get("kind").is_none_or(Value::is_null) => {
            let view = ObjectView::new(request);
            if view.api_version() != API_VERSION || view.kind() != KIND {
                let field_text = |field: &str| view.text(field).unwrap_or("none").to_owned();
                let reason =
                    format!("apiVersion is {}, kind is {}", field_text("/apiVersion"), field_text("/kind"));
                return Err(RequestError::Document { location: place, reason }.into());
            }
            Ok(ManifestContent::Request(flatten(request, SettingSource::File(place), &[])?))
        }
        objects_or_request => {
            let graphs = objects_or_request.iter().filter(|document| kind(document) == GRAPH).count();
            let is_supported = |document: &&Value| {
                [GRAPH, "PersistentVolumeClaim", "Job", "Secret"].contains(&kind(document).as_str())
                    || is_companion(document)
            };
            if let Some(other) = objects_or_request.iter().find(|document| !is_supported(document)) {
                return Err(content_error(format!("unsupported kind \"{}\"", kind(other))).into());
            }
            if graphs != 1 {
                return Err(
                    content_error(format!("expected 1 object of kind {GRAPH}, found {graphs}")).into()
                );
            }
            let (mut graph, mut objects): (Vec<Value>, Vec<Value>) =
                objects_or_request.iter().cloned().partition(|document| kind(document) == GRAPH);
            objects.append(&mut graph);
            Ok(ManifestContent::Objects(objects))
        }
    }
}

/// Splits a YAML or JSON stream into its documents; a List is replaced by its items.
fn parse_documents(text: &str, place: &str) -> std::result::Result<Vec<Value>, ManifestFileError> {
    let syntax_error = |reason: String| ManifestFileError::Syntax { place: place.into(), reason };
    let parsed: Vec<Value> = if text.trim_start().starts_with('{') {
        let stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        stream.collect::<std::result::Result<_, _>>().map_err(|error| syntax_error(error.to_string()))?
    } else {
        serde_saphyr::from_multiple(text).map_err(|error| syntax_error(error.to_string()))?
    };
    let list_items = |document: Value| match document.get("items").and_then(Value::as_array) {
        Some(list_items) if ObjectView::new(&document).kind() == "List" => list_items.clone(),
        _ => vec![document],
    };
    Ok(parsed.into_iter().filter(|document| !document.is_null()).flat_map(list_items).collect())
}
