//! What 1.5 changes in a graph before it is stored, and what it refuses.

use serde_json::{Value, json};

use super::super::access::{list, text};
use super::super::words;
use super::refusal::{Cause, Verdict};

/// The patch that stamps and completes a graph, or the refusal of a quantity that cannot be read.
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
        for (annotation, value) in [(words::ORIGIN_VERSION, "1.5.0"), (words::WORKLOAD_PROVIDER, "component")]
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

/// Refuses what 1.5 refuses of a graph without Grove.
pub(super) fn validate(object: &Value, old: Option<&Value>) -> Verdict {
    let components = list(object, "/spec/components");
    let mut causes = Vec::new();
    if components.is_empty() {
        causes.push(Cause::required("spec.components", "must have at least one component"));
    }
    if object["spec"]["priorityClassName"].is_string() {
        let text = "requires the Grove pathway, but workload provider \"component\" is selected";
        causes.push(Cause::forbidden("spec.priorityClassName", text));
    }
    for (index, component) in components.iter().enumerate() {
        causes.extend(component_cause(&format!("spec.components[{index}]"), component));
        if !component["minAvailable"].is_null() {
            let field = format!("spec.components[{index}].minAvailable");
            causes.push(Cause::forbidden(field, "is currently supported only for Grove-backed components"));
        }
    }
    let mut warnings = Vec::new();
    if let Some(old) = old {
        causes.extend(changes(object, old));
        if object["spec"]["backendFramework"] != old["spec"]["backendFramework"] {
            warnings.push("Changing spec.backendFramework may cause unexpected behavior".to_owned());
        }
    }
    Verdict::with_causes(object, &causes, warnings)
}

fn component_cause(field: &str, component: &Value) -> Option<Cause> {
    let containers = list(component, "/podTemplate/spec/containers");
    let Some(place) = containers.iter().position(|container| text(container, "/name") == "main") else {
        return Some(Cause::required(format!("{field}.podTemplate.spec.containers"), "is required"));
    };
    let image = text(&containers[place], "/image");
    if image.is_empty() {
        let field = format!("{field}.podTemplate.spec.containers[{place}].image");
        return Some(Cause::required(field, "is required"));
    }
    (!has_version(image) && component["runtimeVersionOverride"].is_null()).then(|| {
        let text =
            "is required when the specified main container image has no parseable semantic-version tag";
        Cause::required(format!("{field}.runtimeVersionOverride"), text)
    })
}

/// Whether the image's tag is a semantic version: three numbers, with `v` in front or more behind.
fn has_version(image: &str) -> bool {
    let name = image.split('@').next().unwrap_or_default();
    let Some((_, tag)) = name.rsplit('/').next().unwrap_or_default().split_once(':') else { return false };
    let tag = tag.strip_prefix('v').unwrap_or(tag);
    let core = tag.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<&str> = core.split('.').collect();
    numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u32>().is_ok())
}

fn changes(object: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (now, before) = (list(object, "/spec/components"), list(old, "/spec/components"));
    let (added, removed) = (names_missing(now, before), names_missing(before, now));
    if !added.is_empty() || !removed.is_empty() {
        let mut parts = Vec::new();
        for (word, names) in [("added", added), ("removed", removed)] {
            if !names.is_empty() {
                parts.push(format!("components {word}: [{}]", names.join(" ")));
            }
        }
        let text = format!(
            "component topology is immutable and cannot be modified after creation: {}",
            parts.join(", ")
        );
        causes.push(Cause::forbidden("spec.components", &text));
    }
    let framework = text(object, "/spec/backendFramework");
    if framework != text(old, "/spec/backendFramework") {
        let text = "is immutable and cannot be changed after creation";
        causes.push(Cause::invalid("spec.backendFramework", framework, text));
    }
    let provider = |object: &Value| object["metadata"]["annotations"][words::WORKLOAD_PROVIDER].clone();
    if provider(object) != provider(old) {
        let field = format!("metadata.annotations[{}]", words::WORKLOAD_PROVIDER);
        causes.push(Cause::invalid(
            field,
            provider(object).as_str().unwrap_or_default(),
            "field is immutable",
        ));
    }
    for (index, component) in now.iter().enumerate() {
        let same = before.iter().find(|other| other["name"] == component["name"]);
        causes.extend(same.and_then(|before| component_change(index, component, before)));
    }
    causes
}

fn component_change(index: usize, now: &Value, before: &Value) -> Option<Cause> {
    if now["multinode"].is_null() != before["multinode"].is_null() {
        let text = "cannot change node topology between single-node and multi-node after creation";
        return Some(Cause::forbidden(format!("spec.components[{index}].multinode"), text));
    }
    (before["scalingAdapter"].is_object() && now["replicas"] != before["replicas"]).then(|| {
        let text = "cannot be modified directly when scaling adapter is enabled; scale or update the related \
                    DynamoGraphDeploymentScalingAdapter instead";
        Cause::forbidden(format!("spec.components[{index}].replicas"), text)
    })
}

fn names_missing<'a>(these: &'a [Value], those: &[Value]) -> Vec<&'a str> {
    let missing = these.iter().filter(|one| !those.iter().any(|other| other["name"] == one["name"]));
    missing.map(|one| text(one, "/name")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_three_numbers() {
        for image in ["a/b:1.6.1", "a/b:1.2.0-cuda13", "a/b:v1.0.0", "a/b:1.6.1@sha256:0"] {
            assert!(has_version(image), "{image}");
        }
        for image in ["a/b:latest", "a/b", "host:5000/b", "a/b:1.6", "a/b@sha256:0", "a/b:my-tag"] {
            assert!(!has_version(image), "{image}");
        }
    }

    #[test]
    fn a_quantity_is_a_number_with_a_known_suffix() {
        for text in ["1", "500m", "8Gi", "1e3", "-1", "0.5"] {
            assert!(is_quantity(text), "{text}");
        }
        for text in ["abc", "", "Gi", "1 Gi", "1GiB"] {
            assert!(!is_quantity(text), "{text}");
        }
    }
}
