//! The part of LiteLLM's configuration that routes to deployments: one entry for each served model of each
//! deployment, and the settings that a group of entries needs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::code::MessageCode;
use crate::command::Fix;
use crate::error::Explain;

/// LiteLLM's provider for a server with vLLM's API. It needs no key, and it keeps the fields of vLLM's requests.
const PROVIDER: &str = "hosted_vllm/";

/// A deployment as a gateway reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutedDeployment {
    pub owner: EntryOwner,
    /// Ends in `/v1`.
    pub base_url: String,
    /// What the frontend lists; empty if the deployment does not serve now.
    pub models: Vec<RoutedModel>,
    /// The number of workers that generate answers.
    pub replicas: u64,
}

/// A model that a deployment serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutedModel {
    /// The name exactly as the frontend lists it.
    pub name: String,
    /// The longest prompt and answer together, in tokens, if the frontend reports it.
    pub context_length: Option<u64>,
}

/// The deployment that an entry belongs to. LiteLLM keeps unknown fields of `model_info` and returns them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EntryOwner {
    /// `None` on this machine.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub namespace: Option<String>,
    pub name: String,
}

impl std::fmt::Display for EntryOwner {
    /// Writes `NAMESPACE/NAME`, or the name of a deployment on this machine.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// The part of a LiteLLM configuration that routes to deployments, with LiteLLM's field names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GatewayConfig {
    pub model_list: Vec<GatewayEntry>,
    /// Top-level fields that a group of entries needs; empty without a group.
    #[serde(flatten)]
    pub settings: BTreeMap<&'static str, Value>,
}

/// One entry of `model_list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GatewayEntry {
    /// The name that clients use. Entries with one name form a group.
    pub model_name: String,
    pub litellm_params: RouteParameters,
    pub model_info: ModelLimits,
}

/// How LiteLLM reaches the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteParameters {
    pub model: String,
    pub api_base: String,
    /// The share of the requests of a group; `None` without a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u64>,
}

/// What LiteLLM tells its clients about the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelLimits {
    mode: &'static str,
    /// Prompt and answer share the context, so each can be as long as it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u64>,
    pub kubectl_dynamo: EntryOwner,
}

/// A deployment that serves several models cannot have one name in the gateway.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--model-name names one model, but deployment \"{deployment}\" serves {models}")]
pub struct AliasError {
    deployment: EntryOwner,
    models: String,
}

impl Explain for AliasError {
    fn code(&self) -> Option<MessageCode> {
        Some(MessageCode::ContradictingValues)
    }

    fn hint(&self) -> Option<Fix> {
        Some("remove --model-name: each entry then has the name of its model".into())
    }
}

impl GatewayConfig {
    /// Creates the entries of deployments. Clients use the served names, or `alias` for all deployments.
    ///
    /// # Errors
    /// An alias for a deployment that serves several models.
    pub fn new(deployments: &[RoutedDeployment], alias: Option<&str>) -> Result<Self, AliasError> {
        let mut model_list = Vec::new();
        for deployment in deployments {
            if alias.is_some() && deployment.models.len() > 1 {
                let models: Vec<&str> = deployment.models.iter().map(|model| model.name.as_str()).collect();
                let (deployment, models) = (deployment.owner.clone(), models.join(", "));
                return Err(AliasError { deployment, models });
            }
            model_list.extend(deployment.models.iter().map(|model| entry(deployment, model, alias)));
        }
        let mut sizes: BTreeMap<String, usize> = BTreeMap::new();
        for one in &model_list {
            *sizes.entry(one.model_name.clone()).or_default() += 1;
        }
        for one in model_list.iter_mut().filter(|one| sizes[&one.model_name] == 1) {
            one.litellm_params.weight = None;
        }
        let has_group = sizes.values().any(|size| *size > 1);
        Ok(Self { model_list, settings: if has_group { group_settings() } else { BTreeMap::new() } })
    }

    /// Returns the configuration as a document for JSON and templates.
    pub fn to_document(&self) -> Value {
        serde_json::to_value(self).expect("text and numbers can be written as JSON")
    }

    /// Returns the configuration as YAML, in the order of LiteLLM's documentation.
    pub fn to_yaml(&self) -> String {
        serde_saphyr::to_string(self).expect("text and numbers can be written as YAML")
    }
}

fn entry(deployment: &RoutedDeployment, model: &RoutedModel, alias: Option<&str>) -> GatewayEntry {
    GatewayEntry {
        model_name: alias.unwrap_or(&model.name).to_owned(),
        litellm_params: RouteParameters {
            model: format!("{PROVIDER}{}", model.name),
            api_base: deployment.base_url.clone(),
            weight: Some(deployment.replicas.max(1)),
        },
        model_info: ModelLimits {
            mode: "chat",
            max_input_tokens: model.context_length,
            max_output_tokens: model.context_length,
            kubectl_dynamo: deployment.owner.clone(),
        },
    }
}

/// The settings with which LiteLLM does not send requests of a group to a deployment that fails.
///
/// A deployment leaves its group for some seconds after its first failure (`allowed_fails`), so that a retry goes to
/// another one, and for as long as its health checks fail. Each health check is a real request. A frontend without a
/// worker answers 404, which LiteLLM does not retry by default. Tested with LiteLLM in `tests/gateway`.
fn group_settings() -> BTreeMap<&'static str, Value> {
    let checks = json!({
        "background_health_checks": true,
        "health_check_interval": 15,
        "enable_health_check_routing": true,
    });
    let retries = json!({
        "allowed_fails": 0,
        "num_retries": 2,
        "retry_policy": { "NotFoundErrorRetries": 2 },
    });
    BTreeMap::from([("general_settings", checks), ("router_settings", retries)])
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A deployment in the namespace `serving` that serves one model.
    pub(in crate::gateway) fn deployment(name: &str, model: &str) -> RoutedDeployment {
        RoutedDeployment {
            owner: EntryOwner { namespace: Some("serving".into()), name: name.into() },
            base_url: format!("http://{name}-frontend.serving.svc:8000/v1"),
            models: vec![RoutedModel { name: model.into(), context_length: Some(8192) }],
            replicas: 1,
        }
    }

    #[test]
    fn one_deployment_has_one_entry_without_settings_of_a_group() {
        let config = GatewayConfig::new(&[deployment("qwen32", "Qwen/Qwen3-32B")], None).unwrap();
        let expected = "\
model_list:
- model_name: Qwen/Qwen3-32B
  litellm_params:
    model: hosted_vllm/Qwen/Qwen3-32B
    api_base: http://qwen32-frontend.serving.svc:8000/v1
  model_info:
    mode: chat
    max_input_tokens: 8192
    max_output_tokens: 8192
    kubectl_dynamo:
      namespace: serving
      name: qwen32
";
        assert_eq!(config.to_yaml(), expected);
    }

    #[test]
    fn deployments_of_one_model_are_a_group_with_weights_and_settings() {
        let large = RoutedDeployment { replicas: 3, ..deployment("a", "m") };
        let stopped = RoutedDeployment { replicas: 0, ..deployment("b", "m") };
        let config = GatewayConfig::new(&[large, stopped, deployment("c", "other")], None).unwrap();
        let weights: Vec<Option<u64>> =
            config.model_list.iter().map(|one| one.litellm_params.weight).collect();
        assert_eq!(weights, [Some(3), Some(1), None]);
        let document = serde_json::to_value(&config).unwrap();
        assert_eq!(document["router_settings"]["retry_policy"]["NotFoundErrorRetries"], 2);
        assert_eq!(document["router_settings"]["allowed_fails"], 0);
        assert_eq!(document["general_settings"]["background_health_checks"], true);
        assert_eq!(document["general_settings"]["enable_health_check_routing"], true);
    }

    #[test]
    fn alias_groups_deployments_and_is_refused_for_several_models() {
        let config =
            GatewayConfig::new(&[deployment("a", "m"), deployment("b", "m-fp8")], Some("chat")).unwrap();
        assert!(config.model_list.iter().all(|one| one.model_name == "chat"));
        assert_eq!(config.model_list[1].litellm_params.model, "hosted_vllm/m-fp8");
        let mut several = deployment("a", "m");
        several.models.push(RoutedModel { name: "adapter".into(), context_length: None });
        let error = GatewayConfig::new(std::slice::from_ref(&several), Some("chat")).unwrap_err();
        assert!(error.to_string().contains("\"serving/a\" serves m, adapter"), "{error}");
        let config = GatewayConfig::new(&[several], None).unwrap();
        assert_eq!((config.model_list.len(), config.settings.len()), (2, 0));
        assert_eq!(config.model_list[1].model_info.max_input_tokens, None);
    }

    #[test]
    fn names_that_yaml_reads_as_other_values_stay_text() {
        let local = RoutedDeployment {
            owner: EntryOwner { namespace: None, name: "1".into() },
            ..deployment("a", "1.10")
        };
        let yaml = GatewayConfig::new(&[local], Some("yes")).unwrap().to_yaml();
        let document: Value = serde_saphyr::from_str(&yaml).unwrap();
        let entry = &document["model_list"][0];
        assert_eq!(entry["model_name"], "yes", "{yaml}");
        assert_eq!(entry["model_info"]["kubectl_dynamo"], json!({ "name": "1" }), "{yaml}");
    }
}
