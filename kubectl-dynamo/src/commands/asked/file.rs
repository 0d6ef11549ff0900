//! The file of `-f`: a request of our own schema, or Kubernetes objects with one DynamoGraphDeployment among them.

use std::io::Read;

use serde_json::Value;

use crate::error::{Exit, Explain, Result};
use crate::intent::request::{API_VERSION, KIND, Layer, RequestError, Source, flatten};

/// The kind that is applied as it is.
const GRAPH: &str = "DynamoGraphDeployment";

/// What a file holds.
pub(super) enum Content {
    Request(Layer),
    /// In the order of the file, the graph last.
    Objects(Vec<Value>),
}

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("{place} cannot be read: {source}")]
    Unreadable { place: String, source: std::io::Error },
    #[error("{place} is neither YAML nor JSON: {reason}")]
    Syntax { place: String, reason: String },
    #[error("{place} holds {reason}")]
    Content { place: String, reason: String },
}

impl Explain for FileError {
    fn code(&self) -> Option<&'static str> {
        Some("KD0006")
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unreadable { .. } => "name a file, or - for standard input".into(),
            Self::Syntax { .. } => "indent with spaces, and put texts with `: ` or `#` in quotes".into(),
            Self::Content { .. } => {
                format!("one {KIND} of {API_VERSION}, or one {GRAPH} with the claim, Job and Secret it needs")
            }
        })
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Reads a file; `-` is standard input.
///
/// # Errors
/// Unreadable files, and contents that are neither a request nor a graph.
pub(super) fn content(path: &str) -> Result<Content> {
    let place = if path == "-" { "standard input".to_owned() } else { path.to_owned() };
    let unreadable = |source| FileError::Unreadable { place: place.clone(), source };
    let text = match path {
        "-" => std::io::read_to_string(std::io::stdin().take(4 << 20)).map_err(unreadable)?,
        path => std::fs::read_to_string(path).map_err(unreadable)?,
    };
    let documents = documents(&text, &place)?;
    let kind = |document: &Value| document["kind"].as_str().unwrap_or_default().to_owned();
    let holds = |reason: String| FileError::Content { place: place.clone(), reason };
    match documents.as_slice() {
        [] => Err(holds("nothing".into()).into()),
        [request] if kind(request) == KIND || request["kind"].is_null() => {
            if request["apiVersion"] != API_VERSION || request["kind"] != KIND {
                let found = |field: &str| request[field].as_str().unwrap_or("none").to_owned();
                let reason = format!("apiVersion is {}, kind is {}", found("apiVersion"), found("kind"));
                return Err(RequestError::Document { place, reason }.into());
            }
            Ok(Content::Request(flatten(request, Source::File(place), &[])?))
        }
        all => {
            let graphs = all.iter().filter(|document| kind(document) == GRAPH).count();
            let known = |document: &&Value| {
                [GRAPH, "PersistentVolumeClaim", "Job", "Secret"].contains(&kind(document).as_str())
            };
            if let Some(other) = all.iter().find(|document| !known(document)) {
                return Err(holds(format!("an object of kind {}", kind(other))).into());
            }
            if graphs != 1 {
                return Err(holds(format!("{graphs} objects of kind {GRAPH}")).into());
            }
            let (mut graph, mut objects): (Vec<Value>, Vec<Value>) =
                all.iter().cloned().partition(|document| kind(document) == GRAPH);
            objects.append(&mut graph);
            Ok(Content::Objects(objects))
        }
    }
}

/// The documents of a YAML stream, those of a List one by one.
fn documents(text: &str, place: &str) -> std::result::Result<Vec<Value>, FileError> {
    let syntax = |reason: String| FileError::Syntax { place: place.into(), reason };
    let parsed: Vec<Value> = if text.trim_start().starts_with('{') {
        let stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        stream.collect::<std::result::Result<_, _>>().map_err(|error| syntax(error.to_string()))?
    } else {
        serde_saphyr::from_multiple(text).map_err(|error| syntax(error.to_string()))?
    };
    let items = |document: Value| match document["items"].as_array() {
        Some(items) if document["kind"] == "List" => items.clone(),
        _ => vec![document],
    };
    Ok(parsed.into_iter().filter(|document| !document.is_null()).flat_map(items).collect())
}
