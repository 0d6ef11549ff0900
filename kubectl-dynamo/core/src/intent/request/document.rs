//! Converts requests between JSON values and settings: the content of a file to a [`SettingsLayer`], and
//! settings or a [`ServingIntent`] back to a file. Reading and writing the file is the caller's task.

use serde_json::{Map, Value, json};

use super::argument_groups::group_by_flag;
use super::{
    Field, FieldType, RequestError, Setting, SettingSource, SettingsLayer, fields, find_field, nearest_path,
};
use crate::intent::{Cache, DiskVolume, ServingIntent, StringEnum, Topology, ValueError, WorkerGroup};

/// `apiVersion` of all documents of the plugin.
pub const API_VERSION: &str = "kubectl-dynamo.dev/v1";
/// `kind` of a request file.
pub const KIND: &str = "ServingRequest";

const WHOLE_NUMBER: &str = "a whole number";

/// Converts the content of a file to settings. `more` lists additional fields that the file may contain.
///
/// # Errors
/// Unknown fields, with the most similar known field, and values of the wrong type.
pub fn flatten(
    content: &Value,
    source: SettingSource,
    extra_fields: &[&'static Field],
) -> Result<SettingsLayer, RequestError> {
    let mut layer = SettingsLayer::new(source);
    let location = match &layer.source {
        SettingSource::File(location)
        | SettingSource::UserConfig(location)
        | SettingSource::ProjectFile(location) => location.clone(),
        other => other.to_string(),
    };
    let Some(root) = content.as_object() else {
        return Err(RequestError::Document { location, reason: "expected a mapping of fields".into() });
    };
    let fields_under = |path: &str| {
        fields()
            .chain(extra_fields.iter().copied())
            .filter(move |field| is_at_or_below(field.path, path))
            .collect::<Vec<_>>()
    };
    let mut pending: Vec<(String, &Value)> = entries_with_prefix(root, "");
    while let Some((path, value)) = (!pending.is_empty()).then(|| pending.remove(0)) {
        if matches!(path.as_str(), "apiVersion" | "kind") {
            continue;
        }
        let matching = fields_under(&path);
        match (matching.as_slice(), value) {
            ([], _) => {
                return Err(RequestError::UnknownField { nearest: nearest_path(&path), path, location });
            }
            ([field], _) if field.path == path => layer.set_json(field, value)?,
            (inside, Value::Null) => {
                for field in inside {
                    layer.set_json(field, &Value::Null)?;
                }
            }
            (_, Value::Object(inside)) => pending.extend(entries_with_prefix(inside, &format!("{path}."))),
            _ => {
                let reason = format!("\"{path}\" must be a mapping of fields");
                return Err(RequestError::Document { location, reason });
            }
        }
    }
    Ok(layer)
}

fn entries_with_prefix<'a>(object: &'a Map<String, Value>, prefix: &str) -> Vec<(String, &'a Value)> {
    object.iter().map(|(key, value)| (format!("{prefix}{key}"), value)).collect()
}

fn is_at_or_below(path: &str, ancestor: &str) -> bool {
    path.strip_prefix(ancestor).is_some_and(|suffix| suffix.is_empty() || suffix.starts_with('.'))
}

/// Converts the value of a field to settings, one for each element of a list or map.
///
/// # Errors
/// The reason why the value does not have the type of the field.
pub(super) fn settings_from_value(field: &'static Field, value: &Value) -> Result<Vec<Setting>, ValueError> {
    let setting = |key: Option<String>, value: Value| Setting { field, key, value };
    let strings = |value: &Value| -> Result<Vec<String>, ValueError> {
        let texts = value.as_array().map(|elements| elements.iter().map(string_from).collect::<Option<_>>());
        texts.flatten().ok_or(ValueError::Expected("a list of strings"))
    };
    if value.is_null() {
        return Ok(vec![setting(None, Value::Null)]);
    }
    Ok(match field.kind {
        FieldType::List => {
            strings(value)?.into_iter().map(|text| setting(Some(text.clone()), text.into())).collect()
        }
        FieldType::Args => group_by_flag(&strings(value)?)
            .into_iter()
            .map(|(name, args)| setting(Some(name), args.into()))
            .collect(),
        FieldType::Map => {
            let object = value.as_object().ok_or(ValueError::Expected("a mapping of strings"))?;
            let texts = object.iter().map(|(key, value)| Some((key.clone(), string_from(value)?)));
            let texts: Vec<_> = texts
                .collect::<Option<_>>()
                .ok_or(ValueError::Expected("strings (put numbers in quotes)"))?;
            texts.into_iter().map(|(key, value)| setting(Some(key), value.into())).collect()
        }
        FieldType::Quantity | FieldType::Enum(_) => {
            check_type(field, value)?;
            // YAML reads `107374182400` as a number, which is also a quantity.
            vec![setting(None, text_of(value).into())]
        }
        _ => {
            check_type(field, value)?;
            vec![setting(None, value.clone())]
        }
    })
}

/// The text of a scalar, as it is written in a file.
fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), Into::into)
}

fn string_from(value: &Value) -> Option<String> {
    value.as_str().map(Into::into)
}

/// Checks that a value has the type of the field.
///
/// # Errors
/// The reason why it does not.
fn check_type(field: &Field, value: &Value) -> Result<(), ValueError> {
    let given = text_of(value);
    match field.kind {
        FieldType::String => match value.as_str() {
            Some("") => Err(ValueError::Empty),
            Some(_) => Ok(()),
            None => Err(ValueError::UnquotedString { given }),
        },
        FieldType::Quantity if crate::intent::quantity::is_quantity(&given) => Ok(()),
        FieldType::Quantity => {
            Err(ValueError::WrongType { given, expected: "a Kubernetes quantity above zero" })
        }
        FieldType::Integer if value.as_u64().is_some_and(|count| u32::try_from(count).is_ok()) => Ok(()),
        FieldType::Integer => Err(ValueError::WrongType { given, expected: WHOLE_NUMBER }),
        FieldType::Number if value.as_f64().is_some_and(|number| number.is_finite() && number >= 0.0) => {
            Ok(())
        }
        FieldType::Number => Err(ValueError::WrongType { given, expected: "a number of at least 0" }),
        FieldType::Bool if value.is_boolean() => Ok(()),
        FieldType::Bool => Err(ValueError::NotBoolean { given }),
        FieldType::Enum(known) => match known().contains(&given.as_str()) {
            true => Ok(()),
            false if field.path == "backend" => {
                Err(ValueError::UnsupportedEngine { given, supported: known() })
            }
            false => Err(ValueError::NotAllowed { given, allowed: known() }),
        },
        FieldType::List | FieldType::Args | FieldType::Map => Ok(()),
    }
}

/// Parses a string as the value of a field.
///
/// # Errors
/// The reason why the string is not a value of the field's type.
pub(super) fn parse_value(field: &Field, text: &str) -> Result<Value, ValueError> {
    if text == "null" {
        return Ok(Value::Null);
    }
    let json = |opening: char| -> Option<Result<Value, ValueError>> {
        text.starts_with(opening)
            .then(|| serde_json::from_str(text).map_err(|error| ValueError::Json(error.to_string())))
    };
    let wrong_type = |expected| ValueError::WrongType { given: text.into(), expected };
    let split_on = |separator: char| text.split(separator).map(str::trim).filter(|one| !one.is_empty());
    match field.kind {
        FieldType::String | FieldType::Quantity | FieldType::Enum(_) => Ok(text.into()),
        FieldType::Integer => text.parse::<u32>().map(Into::into).map_err(|_| wrong_type(WHOLE_NUMBER)),
        FieldType::Number => text.parse::<f64>().map(Into::into).map_err(|_| wrong_type("a number")),
        FieldType::Bool => match text {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            _ => Err(ValueError::NotBoolean { given: text.into() }),
        },
        FieldType::List => json('[').unwrap_or_else(|| Ok(split_on(',').collect::<Vec<_>>().into())),
        FieldType::Args => json('[').unwrap_or_else(|| Ok(split_on(' ').collect::<Vec<_>>().into())),
        FieldType::Map => json('{').unwrap_or_else(|| {
            let pairs = split_on(',').map(|pair| pair.split_once('=').filter(|(key, _)| !key.is_empty()));
            let pairs = pairs.map(|pair| pair.map(|(key, value)| (key.to_owned(), Value::from(value))));
            pairs.collect::<Option<Map<_, _>>>().map(Value::Object).ok_or(ValueError::Expected("KEY=VALUE"))
        }),
    }
}

/// An example value of a field, as the user would type it.
pub(super) fn example_value(field: &Field) -> String {
    match field.kind {
        FieldType::Enum(known) => known().first().copied().unwrap_or_default().into(),
        FieldType::Bool => "true".into(),
        _ => field.example.into(),
    }
}

/// Converts settings to a nested document with complete lists and maps.
pub fn to_document<'a>(settings: impl IntoIterator<Item = &'a Setting>) -> Value {
    let mut root = json!({ "apiVersion": API_VERSION, "kind": KIND });
    for setting in settings {
        let target = setting.field.path.split('.').fold(&mut root, |object, part| &mut object[part]);
        match (setting.field.kind, &setting.key) {
            (FieldType::List, _) => append(target, [setting.value.clone()]),
            (FieldType::Args, _) => append(target, setting.value.as_array().cloned().unwrap_or_default()),
            (FieldType::Map, Some(key)) => target[key] = setting.value.clone(),
            _ => *target = setting.value.clone(),
        }
    }
    root
}

fn append(list: &mut Value, items: impl IntoIterator<Item = Value>) {
    if list.is_null() {
        *list = json!([]);
    }
    if let Some(list) = list.as_array_mut() {
        list.extend(items);
    }
}

/// Converts an intent to the settings that resolve to exactly this intent.
pub fn intent_settings(intent: &ServingIntent) -> Vec<Setting> {
    let mut settings = IntentSettings(Vec::new());
    settings.push("name", intent.name.as_str());
    settings.push("model", intent.model.to_string());
    settings.push("servedModelName", intent.served_model_name.as_str());
    settings.push("trustRemoteCode", intent.trust_remote_code);
    settings.push("backend", intent.backend.as_str());
    settings.push("mode", intent.topology.mode());
    match &intent.topology {
        Topology::Aggregated { worker } => settings.push_worker_group("worker", worker),
        Topology::Disaggregated { prefill, decode } => {
            settings.push_worker_group("prefill", prefill);
            settings.push_worker_group("decode", decode);
        }
    }
    settings.push("engineArgs", intent.engine_args.clone());
    settings.push("router.mode", intent.router.mode.as_str());
    settings.push("router.temperature", intent.router.temperature);
    settings.push("router.overlapWeight", intent.router.overlap_weight);
    if intent.router.mode == crate::intent::RouterMode::Kv {
        settings.push("router.kvEvents", intent.router.kv_events);
    }
    settings.push("frontend.replicas", intent.frontend_replicas);
    settings.push("toolCallParser", intent.parsers.tool_call.clone());
    settings.push("reasoningParser", intent.parsers.reasoning.clone());
    if let Some(offload) = &intent.kv_offload {
        settings.push("kvOffload.cpu", offload.cpu.as_str());
        if let Some(disk) = &offload.disk {
            settings.push("kvOffload.disk", disk.size.as_str());
            settings.push("kvOffload.diskVolume", volume_text(&disk.volume));
        }
    }
    match &intent.cache {
        Cache::Existing { pvc } => settings.push("cache.claim", pvc.as_str()),
        Cache::Managed { size, storage_class, access_mode, .. } => {
            settings.push("cache.size", size.as_str());
            settings.push("cache.storageClass", storage_class.clone());
            settings.push("cache.accessMode", access_mode.as_str());
        }
    }
    if let Some(secret) = &intent.token_secret {
        settings.push("hfTokenSecret", format!("{}/{}", secret.name, secret.key));
    }
    settings.push_placement(intent);
    settings.0
}

/// The settings of a live deployment: every value that was resolved when it was applied, in the stored order.
pub fn live_layer(intent: &ServingIntent, release: Option<&str>) -> SettingsLayer {
    let mut settings = intent_settings(intent);
    // The default name follows the model, which the request may change.
    if intent.served_model_name == intent.model.default_served_name() {
        settings.retain(|setting| setting.field.path != "servedModelName");
    }
    let field = find_field("release").expect("the table contains every path used here");
    settings.extend(release.map(|release| Setting { field, key: None, value: release.into() }));
    SettingsLayer { source: SettingSource::Live(intent.name.clone()), settings }
}

/// A volume in the notation of `--kv-offload-disk-volume`.
fn volume_text(volume: &DiskVolume) -> String {
    match volume {
        DiskVolume::Ephemeral { storage_class: None } => "ephemeral".into(),
        DiskVolume::Ephemeral { storage_class: Some(class) } => format!("ephemeral={class}"),
        DiskVolume::HostPath { path } => format!("hostPath={path}"),
        DiskVolume::Pvc { name } => format!("pvc={name}"),
    }
}

struct IntentSettings(Vec<Setting>);

impl IntentSettings {
    fn push(&mut self, path: &str, value: impl Into<Value>) {
        let value = value.into();
        if value.is_null() {
            return;
        }
        let field = find_field(path).expect("the table contains every path used here");
        self.0.extend(settings_from_value(field, &value).expect("an intent has values of the field's type"));
    }

    /// Adds map entries in their order, which a JSON object does not have.
    fn push_map(&mut self, path: &str, pairs: &[(String, String)]) {
        let field = find_field(path).expect("the table contains every path used here");
        let setting = |(key, value): &(String, String)| Setting {
            field,
            key: Some(key.clone()),
            value: value.as_str().into(),
        };
        self.0.extend(pairs.iter().map(setting));
    }

    fn push_worker_group(&mut self, role: &str, group: &WorkerGroup) {
        let parallelism = group.parallelism;
        self.push(&format!("{role}.replicas"), group.replicas);
        self.push(&format!("{role}.tensorParallelSize"), parallelism.tensor);
        self.push(&format!("{role}.pipelineParallelSize"), parallelism.pipeline);
        self.push(&format!("{role}.dataParallelSize"), parallelism.data);
        self.push(&format!("{role}.enableExpertParallel"), parallelism.expert);
        self.push(&format!("{role}.nodes"), group.nodes);
        if role != "worker" {
            self.push(&format!("{role}.args"), group.engine_args.clone());
        }
    }

    fn push_placement(&mut self, intent: &ServingIntent) {
        let placement = &intent.placement;
        self.push("image", placement.image.clone());
        self.push("fetcherImage", placement.fetcher_image.clone());
        self.push("imagePullSecrets", placement.image_pull_secrets.clone());
        self.push_map("nodeSelector", &placement.node_selector);
        let tolerations: Vec<String> = placement.tolerations.iter().map(ToString::to_string).collect();
        self.push("tolerations", tolerations);
        self.push("priorityClass", placement.priority_class.clone());
        self.push("serviceAccount", placement.service_account.clone());
        self.push("podSecurity", placement.pod_security.as_str());
        self.push_map("labels", &placement.labels);
        self.push_map("annotations", &placement.annotations);
        self.push_map("env", &placement.env);
        self.push_map("fetcherEnv", &placement.fetcher_env);
        self.push("caBundle", placement.ca_bundle.as_ref().map(ToString::to_string));
        self.push("sharedMemory", placement.shared_memory.clone());
    }
}
