//! What 0.9.1 rejects in a graph. It does not mutate, and it reports everything as plain text.
//! The texts are those of the real operator.

use serde_json::{Map, Value};

use super::super::api_client::{list, text};
use super::verdict::AdmissionVerdict;

pub(super) fn validate(object: &Value, old: Option<&Value>) -> AdmissionVerdict {
    let empty = Map::new();
    let services = object["spec"]["services"].as_object().unwrap_or(&empty);
    let mut texts = Vec::new();
    let mut warnings = Vec::new();
    if services.is_empty() {
        texts.push("spec.services must have at least one service".to_owned());
    }
    for (name, service) in services {
        let path = format!("spec.services[{name}]");
        texts.extend(service_texts(&path, service));
        for field in ["autoscaling", "dynamoNamespace"] {
            if !service[field].is_null() {
                warnings.push(format!("{path}.{field} is deprecated and ignored"));
            }
        }
    }
    texts.extend(pvc_texts(object));
    if let Some(old) = old {
        let before = old["spec"]["services"].as_object().unwrap_or(&empty);
        texts.extend(topology_text(services, before));
        if object["spec"]["backendFramework"] != old["spec"]["backendFramework"] {
            texts.push("spec.backendFramework is immutable and cannot be changed after creation".to_owned());
            warnings.push("Changing spec.backendFramework may cause unexpected behavior".to_owned());
        }
    }
    AdmissionVerdict::from_texts(&texts, warnings)
}

fn service_texts(path: &str, service: &Value) -> Vec<String> {
    let mut texts = Vec::new();
    if service["replicas"].as_i64().is_some_and(|replicas| replicas < 0) {
        texts.push(format!("{path}.replicas must be non-negative"));
    }
    if service["ingress"]["enabled"] == true && text(service, "/ingress/host").is_empty() {
        texts.push(format!("{path}.ingress.host is required when ingress is enabled"));
    }
    for (index, mount) in list(service, "/volumeMounts").iter().enumerate() {
        if mount["useAsCompilationCache"] != true && text(mount, "/mountPoint").is_empty() {
            texts.push(format!(
                "{path}.volumeMounts[{index}].mountPoint is required when useAsCompilationCache is false"
            ));
        }
    }
    let memory = &service["sharedMemory"];
    if memory.is_object() && memory["disabled"] != true && matches!(text(memory, "/size"), "" | "0") {
        texts.push(format!("{path}.sharedMemory.size is required when disabled is false"));
    }
    texts
}

fn pvc_texts(object: &Value) -> Vec<String> {
    let mut texts = Vec::new();
    for (index, pvc) in list(object, "/spec/pvcs").iter().enumerate().filter(|(_, pvc)| pvc["create"] == true)
    {
        for field in ["storageClass", "size", "volumeAccessMode"] {
            if text(pvc, &format!("/{field}")).is_empty() {
                texts.push(format!("spec.pvcs[{index}].{field} is required when create is true"));
            }
        }
    }
    texts
}

fn topology_text(now: &Map<String, Value>, before: &Map<String, Value>) -> Option<String> {
    let missing = |these: &Map<String, Value>, those: &Map<String, Value>| {
        let missing: Vec<&str> =
            these.keys().filter(|name| !those.contains_key(*name)).map(String::as_str).collect();
        missing.join(" ")
    };
    let changes = [("added", missing(now, before)), ("removed", missing(before, now))];
    let parts: Vec<String> = changes
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(change, names)| format!("services {change}: [{names}]"))
        .collect();
    let text = "service topology is immutable and cannot be modified after creation";
    (!parts.is_empty()).then(|| format!("{text}: {}", parts.join(", ")))
}
