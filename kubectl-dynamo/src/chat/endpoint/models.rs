//! The list of models of an endpoint, and the choice of one. Not every endpoint lists its models: a gateway can list
//! nothing, or a pattern such as `*`. So a model that the user names is only rejected if a complete list lacks it.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::Endpoint;
use crate::chat::error_message::error_message;
use crate::chat::{ChatError, EndpointKind};
use kubectl_dynamo_core::lenient;

/// Timeout for listing the models.
const LIST_TIMEOUT: Duration = Duration::from_secs(20);

impl Endpoint {
    /// Lists the models, in the order of the response.
    ///
    /// # Errors
    /// No connection, an HTTP error, or a response in another format.
    pub async fn models(&self) -> Result<Vec<String>, ChatError> {
        let request = self.client.get(format!("{}/models", self.base_url)).timeout(LIST_TIMEOUT);
        let body = self.read_body(self.send(request).await?).await?;
        let listed: Value =
            serde_json::from_slice(&body).map_err(|error| self.not_openai(error.to_string()))?;
        match model_ids(&listed) {
            Some(ids) => Ok(ids),
            None => Err(self.not_openai(
                error_message(&listed)
                    .unwrap_or_else(|| "the model list does not have a \"data\" field".into()),
            )),
        }
    }

    /// Chooses the model: the requested one, or the only listed one.
    ///
    /// # Errors
    /// No model is listed, several are listed and none is requested, or the requested one is not listed.
    pub async fn choose_model(&self, requested: Option<&str>) -> Result<String, ChatError> {
        let url = self.shown_url.clone();
        let models = match (requested, self.models().await) {
            (_, Ok(models)) => models,
            (Some(requested), Err(error)) if self.is_list_optional(&error) => return Ok(requested.into()),
            (None, Err(ChatError::Refused { status: status @ (404 | 405 | 501), message })) => {
                return Err(ChatError::ModelsNotListed { url, reason: format!("HTTP {status}, {message}") });
            }
            (_, Err(error)) => return Err(error),
        };
        let is_complete = !models.iter().any(|model| model.contains('*'));
        match (requested, models.as_slice()) {
            (Some(requested), _) if models.iter().any(|model| model == requested) => Ok(requested.into()),
            // A Dynamo frontend without a listed model does not have a worker.
            (Some(requested), []) if self.kind == EndpointKind::OpenAiCompatible => Ok(requested.into()),
            (Some(requested), _) if !is_complete => Ok(requested.into()),
            (_, []) => Err(ChatError::NoModel { url }),
            (Some(requested), _) => {
                Err(ChatError::UnknownModel { url, model: requested.into(), models: models.join(", ") })
            }
            (None, [only]) if is_complete => Ok(only.clone()),
            (None, [pattern]) => {
                Err(ChatError::ModelsNotListed { url, reason: format!("only the pattern \"{pattern}\"") })
            }
            (None, _) => Err(ChatError::WhichModel { url, models: models.join(", ") }),
        }
    }

    /// Whether a request can succeed although the list of models could not be read. If the endpoint cannot be reached
    /// or denies the key, the next request would fail in the same way.
    fn is_list_optional(&self, error: &ChatError) -> bool {
        self.kind == EndpointKind::OpenAiCompatible
            && !matches!(
                error,
                ChatError::Unreachable { .. }
                    | ChatError::StreamError { .. }
                    | ChatError::Access { status: 401, .. }
            )
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ModelList {
    #[serde(deserialize_with = "lenient::value")]
    data: Option<Vec<Value>>,
    #[serde(deserialize_with = "lenient::value")]
    models: Option<Vec<Value>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ListedModel {
    #[serde(deserialize_with = "lenient::value")]
    id: Option<String>,
    #[serde(deserialize_with = "lenient::value")]
    name: Option<String>,
    #[serde(deserialize_with = "lenient::value")]
    model: Option<String>,
}

/// The model names of a list: OpenAI's `data`, the `models` of Ollama and llama.cpp, or a list without an object.
fn model_ids(listed: &Value) -> Option<Vec<String>> {
    let ModelList { data, models } = lenient::read(listed);
    let models = data.or(models).or_else(|| listed.as_array().cloned())?;
    let id = |model: &Value| match model {
        Value::String(id) => Some(id.clone()),
        _ => {
            let ListedModel { id, name, model } = lenient::read(model);
            id.or(name).or(model)
        }
    };
    Some(models.iter().filter_map(id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_every_format_of_a_model_list() {
        for (listed, ids) in [
            (json!({"object": "list", "data": [{"id": "a"}, {"id": "b"}]}), Some(&["a", "b"][..])),
            (json!({"data": []}), Some(&[])),
            (json!([{"id": "a"}]), Some(&["a"])),
            (json!(["a", "b"]), Some(&["a", "b"])),
            (json!({"models": [{"name": "a:latest", "model": "a:latest"}]}), Some(&["a:latest"])),
            (json!({"detail": "Not Found"}), None),
            (json!("text"), None),
        ] {
            let expected = ids.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
            assert_eq!(model_ids(&listed), expected, "{listed}");
        }
    }
}
