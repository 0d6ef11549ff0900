//! Names that stored objects and other programs contain: labels, annotations, containers, environment
//! variables; and hashes of the rendered objects.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kubectl_dynamo_core::resources::{GraphApi, INTENT_ANNOTATION, Resource, render};
use kubectl_dynamo_tests::cache::repository;
use kubectl_dynamo_tests::intents::Cell;
use proc_macro2::{Group, TokenStream, TokenTree};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{Home, frozen};

const APIS: [GraphApi; 2] = [GraphApi::V1Alpha1, GraphApi::V1Beta1];

/// Returns the objects of every valid combination, in both versions of the graph API.
fn every_rendered_combination() -> Vec<(String, [Vec<Resource>; 2])> {
    let cells = Cell::all().into_iter().filter_map(|cell| Some((cell.to_string(), cell.plan().unwrap()?)));
    cells.map(|(name, plan)| (name, APIS.map(|api| render(&plan, "serving", api)))).collect()
}

#[test]
fn names_in_rendered_objects() {
    let mut names = BTreeMap::new();
    for (_, objects) in every_rendered_combination() {
        for object in objects.iter().flatten() {
            collect(&object.object, &mut names);
        }
    }
    let mut text = String::new();
    for (kind, names) in names {
        text += &format!("{kind}\n");
        names.iter().for_each(|name| text += &format!("  {name}\n"));
    }
    frozen!("names-in-rendered-objects", text);
}

/// Collects the names of labels, annotations, variables, containers, volumes, and mounts.
fn collect(value: &Value, names: &mut BTreeMap<String, BTreeSet<String>>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let found: Vec<String> = match (key.as_str(), value) {
                    ("labels" | "annotations" | "extraPodMetadata", Value::Object(pairs)) => {
                        pairs.keys().cloned().collect()
                    }
                    (
                        "env" | "envs" | "containers" | "initContainers" | "volumes" | "volumeMounts",
                        Value::Array(items),
                    ) => items.iter().filter_map(|item| item["name"].as_str()).map(str::to_owned).collect(),
                    _ => Vec::new(),
                };
                if !found.is_empty() {
                    names.entry(key.clone()).or_default().extend(found);
                }
                collect(value, names);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
        _ => {}
    }
}

/// One line for each combination: hashes of the v1alpha1 objects, of the v1beta1 objects, and of the intent
/// annotation, which the other two exclude.
#[test]
fn rendered_objects_of_the_matrix() {
    let mut text = String::new();
    for (name, objects) in every_rendered_combination() {
        let mut annotation = Value::Null;
        let hashes = objects.map(|objects| {
            let without: Vec<Value> = objects
                .into_iter()
                .map(|mut one| {
                    if let Some(taken) = one.object["metadata"]["annotations"]
                        .as_object_mut()
                        .and_then(|annotations| annotations.remove(INTENT_ANNOTATION))
                    {
                        annotation = taken;
                    }
                    one.object
                })
                .collect();
            hash(&Value::from(without))
        });
        text += &format!("{} {} {} {name}\n", hashes[0], hashes[1], hash(&annotation));
    }
    frozen!("rendered-objects-of-the-matrix", text);
}

fn hash(value: &Value) -> String {
    let digest = Sha256::digest(value.to_string().as_bytes());
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn environment_variables_of_fields() {
    frozen!("environment-variables-of-fields", Home::new().stdout(&["config", "schema", "-o", "table"], 0));
}

/// Collects names with these prefixes from the source of both programs, without unit tests.
const BEGINNINGS: &[&str] =
    &["KUBECTL_DYNAMO_", "MODEL_FETCHER_", "HF_", "kubectl-dynamo.dev/", ".model-fetcher", "nvidia.com/"];

#[test]
fn names_in_the_source() {
    let mut found = BTreeSet::new();
    for package in ["kubectl-dynamo", "model-fetcher"] {
        source_files(&repository().join(package), &mut |text| {
            literals(text.parse().unwrap(), &mut |literal| {
                for beginning in BEGINNINGS {
                    for (at, _) in literal.match_indices(beginning) {
                        let belongs = |c: &char| c.is_ascii_alphanumeric() || "_-./".contains(*c);
                        let name: String = literal[at..].chars().take_while(belongs).collect();
                        found.insert(name.trim_end_matches(['.', '/']).to_owned());
                    }
                }
            });
        });
    }
    let text: String = found.into_iter().map(|name| name + "\n").collect();
    frozen!("names-in-the-source", text);
}

/// Calls `visit` with every literal of the source.
fn literals(tokens: TokenStream, visit: &mut dyn FnMut(&str)) {
    for token in tokens {
        match token {
            TokenTree::Group(group) if is_comment(&group) => {}
            TokenTree::Group(group) => literals(group.stream(), visit),
            TokenTree::Literal(literal) => visit(&literal.to_string()),
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}

/// Returns whether it is `[doc = …]`, which the parser creates for a comment.
fn is_comment(group: &Group) -> bool {
    matches!(group.stream().into_iter().next(), Some(TokenTree::Ident(name)) if name == "doc")
}

/// Calls `visit` with the text of every source file below the folder, without unit tests.
fn source_files(folder: &Path, visit: &mut dyn FnMut(&str)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source_files(&path, visit);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.file_name().is_some_and(|name| name != "tests.rs")
        {
            let text = std::fs::read_to_string(&path).unwrap();
            visit(text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default());
        }
    }
}

/// The environment variables that are not fields of a request, by purpose.
#[test]
fn environment_variables_of_the_plugin() {
    let home = Home::new();
    let output = |name: &str, value: &str, arguments: &[&str]| {
        home.command(arguments).env(name, value).output().unwrap()
    };
    let config = output("KUBECTL_DYNAMO_CONFIG", "/c/own.toml", &["config", "path"]);
    assert_eq!(String::from_utf8_lossy(&config.stdout), "/c/own.toml\n");

    let progress = output("KUBECTL_DYNAMO_PROGRESS", "json", &["list", "--local"]);
    assert!(progress.stderr.starts_with(b"{\"event\":"), "{progress:?}");

    let completion = output("KUBECTL_DYNAMO_COMPLETE", "bash", &[]);
    assert!(
        String::from_utf8_lossy(&completion.stdout).contains("KUBECTL_DYNAMO_COMPLETE"),
        "{completion:?}"
    );
}
