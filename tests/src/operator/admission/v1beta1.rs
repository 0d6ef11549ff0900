//! How 1.5 mutates a graph before it is stored, and what it rejects.
//! The texts are those of the real operator.

use serde_json::{Value, json};

use super::super::api_client::{list, text};
use super::super::names;
use super::verdict::{AdmissionVerdict, FieldCause};

/// Returns the patch that completes a graph, or the rejection of an invalid quantity.
pub(super) fn mutate(object: &Value, is_new: bool) -> Result<Value, Value> {
    if list(object, "/spec/components").iter().flat_map(quantities).any(|quantity| !is_quantity(quantity)) {
        let message = "quantities must match the regular expression \
                       '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
        return Err(
            json!({"allowed": false, "status": {"status": "Failure", "code": 400, "message": message}}),
        );
    }
    let mut patch = Vec::new();
    if is_new {
        if object["metadata"]["annotations"].is_null() {
            patch.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
        }
        for (annotation, value) in [(names::ORIGIN_VERSION, "1.5.0"), (names::WORKLOAD_PROVIDER, "component")]
        {
            let path = format!("/metadata/annotations/{}", annotation.replace('/', "~1"));
            patch.push(json!({"op": "add", "path": path, "value": value}));
        }
    }
    for (index, component) in list(object, "/spec/components").iter().enumerate() {
        if component["replicas"].is_null() {
            patch
                .push(json!({"op": "add", "path": format!("/spec/components/{index}/replicas"), "value": 1}));
        }
    }
    Ok(json!(patch))
}

fn quantities(component: &Value) -> Vec<&str> {
    let mut found: Vec<&str> = component["sharedMemorySize"].as_str().into_iter().collect();
    for container in list(component, "/podTemplate/spec/containers") {
        for part in ["requests", "limits"] {
            let amounts = container["resources"][part].as_object();
            found.extend(amounts.into_iter().flatten().filter_map(|(_, amount)| amount.as_str()));
        }
    }
    found
}

fn is_quantity(text: &str) -> bool {
    let number = text
        .trim_start_matches(['+', '-'])
        .trim_start_matches(|character: char| character.is_ascii_digit() || character == '.');
    number.len() < text.len()
        && text.starts_with(|character: char| character.is_ascii_digit() || "+-.".contains(character))
        && (["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
            .contains(&number)
            || number.strip_prefix(['e', 'E']).is_some_and(|exponent| exponent.parse::<i32>().is_ok()))
}

/// Rejects what 1.5 rejects in a graph without Grove.
pub(super) fn validate(object: &Value, old: Option<&Value>) -> AdmissionVerdict {
    let components = list(object, "/spec/components");
    let mut causes = Vec::new();
    if components.is_empty() {
        causes.push(FieldCause::required("spec.components", "must have at least one component"));
    }
    if object["spec"]["priorityClassName"].is_string() {
        let text = "requires the Grove pathway, but workload provider \"component\" is selected";
        causes.push(FieldCause::forbidden("spec.priorityClassName", text));
    }
    for (index, component) in components.iter().enumerate() {
        causes.extend(component_cause(&format!("spec.components[{index}]"), component));
        if !component["minAvailable"].is_null() {
            let field = format!("spec.components[{index}].minAvailable");
            causes.push(FieldCause::forbidden(
                field,
                "is currently supported only for Grove-backed components",
            ));
        }
    }
    let mut warnings = Vec::new();
    if let Some(old) = old {
        causes.extend(update_causes(object, old));
        if object["spec"]["backendFramework"] != old["spec"]["backendFramework"] {
            warnings.push("Changing spec.backendFramework may cause unexpected behavior".to_owned());
        }
    }
    AdmissionVerdict::from_causes(object, &causes, warnings)
}

fn component_cause(field: &str, component: &Value) -> Option<FieldCause> {
    let containers = list(component, "/podTemplate/spec/containers");
    let Some(position) = containers.iter().position(|container| text(container, "/name") == "main") else {
        return Some(FieldCause::required(format!("{field}.podTemplate.spec.containers"), "is required"));
    };
    let image = text(&containers[position], "/image");
    if image.is_empty() {
        let field = format!("{field}.podTemplate.spec.containers[{position}].image");
        return Some(FieldCause::required(field, "is required"));
    }
    (!has_version(image) && component["runtimeVersionOverride"].is_null()).then(|| {
        let text =
            "is required when the specified main container image has no parseable semantic-version tag";
        FieldCause::required(format!("{field}.runtimeVersionOverride"), text)
    })
}

/// Returns whether the image's tag is a semantic version: three numbers, with an optional `v` prefix and
/// suffix.
fn has_version(image: &str) -> bool {
    let name = image.split('@').next().unwrap_or_default();
    let Some((_, tag)) = name.rsplit('/').next().unwrap_or_default().split_once(':') else { return false };
    let tag = tag.strip_prefix('v').unwrap_or(tag);
    let core = tag.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<&str> = core.split('.').collect();
    numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u32>().is_ok())
}

fn update_causes(object: &Value, old: &Value) -> Vec<FieldCause> {
    let mut causes = Vec::new();
    let (now, before) = (list(object, "/spec/components"), list(old, "/spec/components"));
    let (added, removed) = (missing_names(now, before), missing_names(before, now));
    if !added.is_empty() || !removed.is_empty() {
        let mut parts = Vec::new();
        for (change, names) in [("added", added), ("removed", removed)] {
            if !names.is_empty() {
                parts.push(format!("components {change}: [{}]", names.join(" ")));
            }
        }
        let text = format!(
            "component topology is immutable and cannot be modified after creation: {}",
            parts.join(", ")
        );
        causes.push(FieldCause::forbidden("spec.components", &text));
    }
    let framework = text(object, "/spec/backendFramework");
    if framework != text(old, "/spec/backendFramework") {
        let text = "is immutable and cannot be changed after creation";
        causes.push(FieldCause::invalid("spec.backendFramework", framework, text));
    }
    let provider = |object: &Value| object["metadata"]["annotations"][names::WORKLOAD_PROVIDER].clone();
    if provider(object) != provider(old) {
        let field = format!("metadata.annotations[{}]", names::WORKLOAD_PROVIDER);
        causes.push(FieldCause::invalid(
            field,
            provider(object).as_str().unwrap_or_default(),
            "field is immutable",
        ));
    }
    for (index, component) in now.iter().enumerate() {
        let same = before.iter().find(|other| other["name"] == component["name"]);
        causes.extend(same.and_then(|before| component_update_cause(index, component, before)));
    }
    causes
}

fn component_update_cause(index: usize, now: &Value, before: &Value) -> Option<FieldCause> {
    if now["multinode"].is_null() != before["multinode"].is_null() {
        let text = "cannot change node topology between single-node and multi-node after creation";
        return Some(FieldCause::forbidden(format!("spec.components[{index}].multinode"), text));
    }
    (before["scalingAdapter"].is_object() && now["replicas"] != before["replicas"]).then(|| {
        let text = "cannot be modified directly when scaling adapter is enabled; scale or update the related \
                    DynamoGraphDeploymentScalingAdapter instead";
        FieldCause::forbidden(format!("spec.components[{index}].replicas"), text)
    })
}

fn missing_names<'a>(these: &'a [Value], those: &[Value]) -> Vec<&'a str> {
    let missing = these.iter().filter(|one| !those.iter().any(|other| other["name"] == one["name"]));
    missing.map(|one| text(one, "/name")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_tag_needs_three_numbers() {
        for image in ["a/b:1.6.1", "a/b:1.2.0-cuda13", "a/b:v1.0.0", "a/b:1.6.1@sha256:0"] {
            assert!(has_version(image), "{image}");
        }
        for image in ["a/b:latest", "a/b", "host:5000/b", "a/b:1.6", "a/b@sha256:0", "a/b:my-tag"] {
            assert!(!has_version(image), "{image}");
        }
    }

    #[test]
    fn quantity_needs_a_number_and_a_known_suffix() {
        for text in ["1", "500m", "8Gi", "1e3", "-1", "0.5"] {
            assert!(is_quantity(text), "{text}");
        }
        for text in ["abc", "", "Gi", "1 Gi", "1GiB"] {
            assert!(!is_quantity(text), "{text}");
        }
    }
}
