//! Requests as JSON values: what a file holds becomes leaves, and leaves become a file again.

use serde_json::{Map, Value, json};

use super::argument_groups::groups;
use super::{Field, Kind, Layer, Leaf, RequestError, Source, fields, find, nearest};
use crate::intent::{Cache, DiskVolume, ServingIntent, Topology, Word, WorkerGroup};

/// `apiVersion` of everything this program writes for itself.
pub const API_VERSION: &str = "kubectl-dynamo.dev/v1";
/// `kind` of a request's file.
pub const KIND: &str = "ServingRequest";

/// The leaves of a file's content. `more` are fields that this file may have besides those of a request.
///
/// # Errors
/// Unknown fields, with the nearest, and values of another kind.
pub fn flatten(content: &Value, source: Source, more: &[&'static Field]) -> Result<Layer, RequestError> {
    let mut layer = Layer::of(source);
    let place = match &layer.source {
        Source::File(place) | Source::UserConfig(place) | Source::ProjectFile(place) => place.clone(),
        other => other.to_string(),
    };
    let Some(root) = content.as_object() else {
        return Err(RequestError::Document { place, reason: "it holds no fields".into() });
    };
    let known = |path: &str| {
        fields()
            .chain(more.iter().copied())
            .filter(move |field| is_at_or_below(field.path, path))
            .collect::<Vec<_>>()
    };
    let mut open: Vec<(String, &Value)> = named(root, "");
    while let Some((path, value)) = (!open.is_empty()).then(|| open.remove(0)) {
        if matches!(path.as_str(), "apiVersion" | "kind") {
            continue;
        }
        let found = known(&path);
        match (found.as_slice(), value) {
            ([], _) => return Err(RequestError::UnknownField { nearest: nearest(&path), path, place }),
            ([field], _) if field.path == path => layer.put(field, value)?,
            (inside, Value::Null) => {
                for field in inside {
                    layer.put(field, &Value::Null)?;
                }
            }
            (_, Value::Object(inside)) => open.extend(named(inside, &format!("{path}."))),
            _ => {
                let reason = format!("`{path}` holds fields of its own");
                return Err(RequestError::Document { place, reason });
            }
        }
    }
    Ok(layer)
}

fn named<'a>(object: &'a Map<String, Value>, prefix: &str) -> Vec<(String, &'a Value)> {
    object.iter().map(|(key, value)| (format!("{prefix}{key}"), value)).collect()
}

fn is_at_or_below(path: &str, ancestor: &str) -> bool {
    path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The leaves of one field's value; why it cannot be one otherwise.
pub(super) fn leaves(field: &'static Field, value: &Value) -> Result<Vec<Leaf>, String> {
    let one = |key: Option<String>, value: Value| Leaf { field, key, value };
    let words = |value: &Value| -> Result<Vec<String>, String> {
        let texts = value.as_array().ok_or("expected a list of texts")?.iter().map(text);
        texts.collect::<Option<_>>().ok_or_else(|| "expected a list of texts".into())
    };
    if value.is_null() {
        return Ok(vec![one(None, Value::Null)]);
    }
    Ok(match field.kind {
        Kind::List => words(value)?.into_iter().map(|word| one(Some(word.clone()), word.into())).collect(),
        Kind::Arguments => {
            groups(&words(value)?).into_iter().map(|(name, args)| one(Some(name), args.into())).collect()
        }
        Kind::Map => {
            let object = value.as_object().ok_or("expected texts by key")?;
            let texts = object.iter().map(|(key, value)| Some((key.clone(), text(value)?)));
            let texts: Vec<_> =
                texts.collect::<Option<_>>().ok_or("expected texts (a number goes in quotes)")?;
            texts.into_iter().map(|(key, value)| one(Some(key), value.into())).collect()
        }
        _ => {
            check(field, value)?;
            vec![one(None, value.clone())]
        }
    })
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(Into::into)
}

/// Whether a value is of the field's kind.
fn check(field: &Field, value: &Value) -> Result<(), String> {
    let shown = value.as_str().map_or_else(|| value.to_string(), Into::into);
    match field.kind {
        Kind::Text => match value.as_str() {
            Some("") => Err("it is empty".into()),
            Some(_) => Ok(()),
            None => Err(format!("expected a text, and {shown} goes in quotes")),
        },
        Kind::Quantity if crate::intent::quantity::is_quantity(&shown) => Ok(()),
        Kind::Quantity => Err(format!("`{shown}` is not a Kubernetes quantity above zero")),
        Kind::Count if value.as_u64().is_some_and(|count| u32::try_from(count).is_ok()) => Ok(()),
        Kind::Count => Err(format!("`{shown}` is not a whole number")),
        Kind::Number if value.as_f64().is_some_and(|number| number.is_finite() && number >= 0.0) => Ok(()),
        Kind::Number => Err(format!("`{shown}` is not a number from 0 on")),
        Kind::Switch if value.is_boolean() => Ok(()),
        Kind::Switch => Err(format!("`{shown}` is neither true nor false")),
        Kind::Words(known) => match known().contains(&shown.as_str()) {
            true => Ok(()),
            false if field.path == "backend" => Err(format!(
                "`{shown}` is not supported yet: of Dynamo's engines this program knows {}",
                known().join(" and ")
            )),
            false => Err(format!("`{shown}` is not one of {}", known().join(", "))),
        },
        Kind::List | Kind::Arguments | Kind::Map => Ok(()),
    }
}

/// The value that a text means for a field.
pub(super) fn value_of(field: &Field, text: &str) -> Result<Value, String> {
    if text == "null" {
        return Ok(Value::Null);
    }
    let json = |begins: char| -> Option<Result<Value, String>> {
        text.starts_with(begins).then(|| serde_json::from_str(text).map_err(|e| format!("no JSON: {e}")))
    };
    let apart = |separator: char| text.split(separator).map(str::trim).filter(|one| !one.is_empty());
    match field.kind {
        Kind::Text | Kind::Quantity | Kind::Words(_) => Ok(text.into()),
        Kind::Count => {
            text.parse::<u32>().map(Into::into).map_err(|_| format!("`{text}` is not a whole number"))
        }
        Kind::Number => text.parse::<f64>().map(Into::into).map_err(|_| format!("`{text}` is not a number")),
        Kind::Switch => match text {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            _ => Err(format!("`{text}` is neither true nor false")),
        },
        Kind::List => json('[').unwrap_or_else(|| Ok(apart(',').collect::<Vec<_>>().into())),
        Kind::Arguments => json('[').unwrap_or_else(|| Ok(apart(' ').collect::<Vec<_>>().into())),
        Kind::Map => json('{').unwrap_or_else(|| {
            let pairs = apart(',').map(|pair| pair.split_once('=').filter(|(key, _)| !key.is_empty()));
            let pairs = pairs.map(|pair| pair.map(|(key, value)| (key.to_owned(), Value::from(value))));
            pairs.collect::<Option<Map<_, _>>>().map(Value::Object).ok_or_else(|| "expected KEY=VALUE".into())
        }),
    }
}

/// A value that a field takes, as it is typed.
pub(super) fn example(field: &Field) -> String {
    match field.kind {
        Kind::Words(known) => known().first().copied().unwrap_or_default().into(),
        Kind::Switch => "true".into(),
        _ => field.example.into(),
    }
}

/// The nested form of leaves, with lists and maps whole.
pub fn document<'a>(leaves: impl IntoIterator<Item = &'a Leaf>) -> Value {
    let mut root = json!({ "apiVersion": API_VERSION, "kind": KIND });
    for leaf in leaves {
        let place = leaf.field.path.split('.').fold(&mut root, |object, part| &mut object[part]);
        match (leaf.field.kind, &leaf.key) {
            (Kind::List, _) => append(place, [leaf.value.clone()]),
            (Kind::Arguments, _) => append(place, leaf.value.as_array().cloned().unwrap_or_default()),
            (Kind::Map, Some(key)) => place[key] = leaf.value.clone(),
            _ => *place = leaf.value.clone(),
        }
    }
    root
}

fn append(list: &mut Value, more: impl IntoIterator<Item = Value>) {
    if list.is_null() {
        *list = json!([]);
    }
    if let Some(list) = list.as_array_mut() {
        list.extend(more);
    }
}

/// Everything a wish says, as leaves: what a request that means just this would say.
pub fn intent_leaves(intent: &ServingIntent) -> Vec<Leaf> {
    let mut said = Said(Vec::new());
    said.put("name", intent.name.as_str());
    said.put("model", intent.model.to_string());
    said.put("servedModelName", intent.served_model_name.as_str());
    said.put("trustRemoteCode", intent.trust_remote_code);
    said.put("backend", intent.backend.as_str());
    said.put("mode", intent.topology.mode());
    match &intent.topology {
        Topology::Aggregated { worker } => said.group("worker", worker),
        Topology::Disaggregated { prefill, decode } => {
            said.group("prefill", prefill);
            said.group("decode", decode);
        }
    }
    said.put("engineArgs", intent.engine_args.clone());
    said.put("router.mode", intent.router.mode.as_str());
    said.put("router.temperature", intent.router.temperature);
    said.put("router.overlapWeight", intent.router.overlap_weight);
    if intent.router.mode == crate::intent::RouterMode::Kv {
        said.put("router.kvEvents", intent.router.kv_events);
    }
    said.put("frontend.replicas", intent.frontend_replicas);
    if let Some(offload) = &intent.kv_offload {
        said.put("kvOffload.cpu", offload.cpu.as_str());
        if let Some(disk) = &offload.disk {
            said.put("kvOffload.disk", disk.size.as_str());
            said.put("kvOffload.diskVolume", volume_word(&disk.volume));
        }
    }
    match &intent.cache {
        Cache::Existing { claim } => said.put("cache.claim", claim.as_str()),
        Cache::Made { size, storage_class, access_mode, .. } => {
            said.put("cache.size", size.as_str());
            said.put("cache.storageClass", storage_class.clone());
            said.put("cache.accessMode", access_mode.as_str());
        }
    }
    if let Some(secret) = &intent.token_secret {
        said.put("hfTokenSecret", format!("{}/{}", secret.name, secret.key));
    }
    said.placement(intent);
    said.0
}

/// A volume as `--kv-offload-disk-volume` writes it.
fn volume_word(volume: &DiskVolume) -> String {
    match volume {
        DiskVolume::Ephemeral { storage_class: None } => "ephemeral".into(),
        DiskVolume::Ephemeral { storage_class: Some(class) } => format!("ephemeral={class}"),
        DiskVolume::HostPath { path } => format!("hostPath={path}"),
        DiskVolume::Claim { claim } => format!("pvc={claim}"),
    }
}

struct Said(Vec<Leaf>);

impl Said {
    fn put(&mut self, path: &str, value: impl Into<Value>) {
        let value = value.into();
        if value.is_null() {
            return;
        }
        let field = find(path).expect("the table has every path that is written here");
        self.0.extend(leaves(field, &value).expect("a wish holds values of the field's kind"));
    }

    fn group(&mut self, role: &str, group: &WorkerGroup) {
        let parallelism = group.parallelism;
        self.put(&format!("{role}.replicas"), group.replicas);
        self.put(&format!("{role}.tensorParallelSize"), parallelism.tensor);
        self.put(&format!("{role}.pipelineParallelSize"), parallelism.pipeline);
        self.put(&format!("{role}.dataParallelSize"), parallelism.data);
        self.put(&format!("{role}.enableExpertParallel"), parallelism.expert);
        self.put(&format!("{role}.nodes"), group.nodes);
        if role != "worker" {
            self.put(&format!("{role}.args"), group.engine_args.clone());
        }
    }

    fn placement(&mut self, intent: &ServingIntent) {
        let placement = &intent.placement;
        let map = |pairs: &[(String, String)]| -> Value {
            pairs
                .iter()
                .map(|(key, value)| (key.clone(), Value::from(value.clone())))
                .collect::<Map<_, _>>()
                .into()
        };
        self.put("image", placement.image.clone());
        self.put("fetcherImage", placement.fetcher_image.clone());
        self.put("imagePullSecrets", placement.image_pull_secrets.clone());
        self.put("nodeSelector", map(&placement.node_selector));
        let tolerations: Vec<String> = placement.tolerations.iter().map(ToString::to_string).collect();
        self.put("tolerations", tolerations);
        self.put("priorityClass", placement.priority_class.clone());
        self.put("serviceAccount", placement.service_account.clone());
        self.put("labels", map(&placement.labels));
        self.put("annotations", map(&placement.annotations));
        self.put("env", map(&placement.env));
        self.put("sharedMemory", placement.shared_memory.clone());
    }
}
