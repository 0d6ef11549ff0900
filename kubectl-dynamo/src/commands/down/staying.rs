//! What of a deployment's surroundings goes with it, and what stays.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::intent::ServingIntent;

/// Claims that a graph of the older shape made itself: they are its children, and so are the models on them.
pub(super) fn claims_that_go(graph: &Value) -> Vec<String> {
    let claims = graph["spec"]["pvcs"].as_array().into_iter().flatten();
    let made = claims.filter(|claim| claim["create"] == true);
    made.filter_map(|claim| claim["name"].as_str().map(ToOwned::to_owned)).collect()
}

/// Claims that a graph mounts and Secrets that it reads, which are nobody's children.
pub(super) fn what_stays(graph: &Value, intent: Option<&ServingIntent>) -> Vec<String> {
    let going = claims_that_go(graph);
    let mut claims = BTreeSet::new();
    let mut secrets = BTreeSet::new();
    if let Some(intent) = intent {
        claims.insert(intent.cache.claim().to_owned());
        secrets.extend(intent.token_secret.as_ref().map(|secret| secret.name.clone()));
    }
    let listed = graph["spec"]["pvcs"].as_array().into_iter().flatten();
    claims.extend(listed.filter_map(|claim| claim["name"].as_str().map(ToOwned::to_owned)));
    collect(&graph["spec"], &mut claims, &mut secrets);
    let claims = claims.into_iter().filter(|claim| !going.contains(claim));
    let claims = claims.map(|claim| format!("pvc/{claim} stays, and the models on it"));
    claims.chain(secrets.into_iter().map(|secret| format!("secret/{secret} stays"))).collect()
}

fn collect(value: &Value, claims: &mut BTreeSet<String>, secrets: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                match (field.as_str(), value) {
                    ("claimName", Value::String(name)) => drop(claims.insert(name.clone())),
                    ("envFromSecret", Value::String(name)) => drop(secrets.insert(name.clone())),
                    ("secretKeyRef" | "secretRef", value) => {
                        secrets.extend(value["name"].as_str().map(ToOwned::to_owned));
                    }
                    (_, value) => collect(value, claims, secrets),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, claims, secrets)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_claim_that_its_graph_made_goes_and_others_stay() {
        let graph = json!({ "spec": {
            "pvcs": [{ "name": "own", "create": true }, { "name": "shared", "create": false }],
            "services": { "Worker": { "envFromSecret": "hf" } },
        } });
        assert_eq!(claims_that_go(&graph), ["own"]);
        assert_eq!(what_stays(&graph, None), ["pvc/shared stays, and the models on it", "secret/hf stays"]);
    }
}
