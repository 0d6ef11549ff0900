//! Resolves merged settings to a [`ServingIntent`]: applies defaults and rejects contradictions. Errors name
//! the sources of the settings. It must not depend on a cluster or a release; flags, files, and the wizard
//! all use it.

mod topology;

use serde_json::Value;

use super::image::check_image_reference;
use super::output_parsers::{AUTO_PARSER, NO_PARSER};
use super::request::{MergedSettings, ResolvedSetting, SettingSource, intent_settings};
use super::{
    AccessMode, Backend, Cache, DiskTier, DiskVolume, IntentError, KvOffload, ModelRef, OutputParsers,
    Placement, Router, RouterMode, ServingIntent, StringEnum, TokenSecret, ValueError, engine_flags, name,
    quantity,
};

/// The environment variables from which hub clients read a token.
const TOKEN_VARIABLES: [&str; 3] = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN"];

/// Defaults that differ between a cluster and `--local`.
pub struct Fallback {
    /// Model if none is specified.
    pub model: Option<ModelRef>,
    pub backend: Backend,
    /// Maximum length of a default name.
    pub max_name_length: usize,
}

/// Resolves settings to an intent.
///
/// # Errors
/// Invalid values, and settings that contradict each other.
pub fn resolve(settings: &MergedSettings, fallback: &Fallback) -> Result<ServingIntent, IntentError> {
    let model = resolve_model(settings, fallback)?;
    let name = resolve_name(settings, fallback)?;
    let router = resolve_router(settings)?;
    let engine_args = resolve_engine_args(settings, "engineArgs")?;
    let backend = enum_value(settings, "backend").unwrap_or(fallback.backend);
    Ok(ServingIntent {
        name,
        served_model_name: string_value(settings, "servedModelName")
            .unwrap_or_else(|| model.default_served_name()),
        model,
        trust_remote_code: bool_value(settings, "trustRemoteCode").unwrap_or(false),
        backend,
        topology: topology::resolve_topology(settings)?,
        router,
        parsers: resolve_parsers(settings, backend)?,
        frontend_replicas: count_or_one(settings.get("frontend.replicas"))?,
        kv_offload: resolve_kv_offload(settings)?,
        engine_args,
        cache: resolve_cache(settings)?,
        token_secret: resolve_token_secret(settings)?,
        placement: resolve_placement(settings)?,
    })
}

/// Resolves only the name of the deployment. Other settings may still be missing.
///
/// # Errors
/// Neither a name nor a model is set, or the name is invalid.
pub fn resolve_name(settings: &MergedSettings, fallback: &Fallback) -> Result<String, IntentError> {
    let name = match settings.get("name") {
        Some(name) => name.text().to_owned(),
        None => {
            name::default_name(&resolve_model(settings, fallback)?.short_name(), fallback.max_name_length)
        }
    };
    name::check_dns1035_label(&name)?;
    Ok(name)
}

/// Source of a value in a resolved intent, by its path in the notation of `--plan`.
fn source_of(settings: &MergedSettings, path: &str, value: &Value) -> SettingSource {
    let find_setting = |path: &str| {
        settings.iter().find(|found| found.setting.path() == path && found.setting.value == *value)
    };
    // Settings for all workers also apply to prefill and decode.
    let for_all_workers = || {
        let (role, field) = path.split_once('.')?;
        ["prefill", "decode"].contains(&role).then(|| format!("worker.{field}"))
    };
    let found = find_setting(path).or_else(|| find_setting(&for_all_workers()?)).or_else(|| match path {
        "model" => settings
            .get("revision")
            .filter(|_| settings.get("model").is_none())
            .or_else(|| settings.get("model")),
        "hfTokenSecret" => settings.get(path),
        _ => None,
    });
    found.map_or(SettingSource::Default, |found| found.source.clone())
}

fn resolve_model(settings: &MergedSettings, fallback: &Fallback) -> Result<ModelRef, IntentError> {
    let model = settings.get("model");
    let revision = settings
        .get("revision")
        .filter(|revision| model.is_none_or(|model| revision.has_at_least_precedence_of(model)));
    let base = match model {
        Some(model) => ModelRef::parse_path_or_hub_id(model.text())?,
        None => fallback.model.clone().ok_or(IntentError::NoModel)?,
    };
    match (revision, model) {
        (None, _) => Ok(base),
        // A source with higher precedence changes the revision that another source set together with the
        // model.
        (Some(revision), Some(model)) if !model.has_at_least_precedence_of(revision) => {
            base.without_revision().with_revision(revision.text())
        }
        (Some(revision), _) => base.with_revision(revision.text()),
    }
}

fn resolve_router(settings: &MergedSettings) -> Result<Router, IntentError> {
    let mode_setting = settings.get("router.mode");
    let mode = enum_value(settings, "router.mode").unwrap_or(RouterMode::RoundRobin);
    let mut kv_settings = Vec::new();
    for path in ["router.temperature", "router.overlapWeight", "router.kvEvents"] {
        match settings.get(path) {
            Some(found) if mode == RouterMode::Kv => kv_settings.push(found),
            Some(found) if found.is_explicit(mode_setting) => {
                return Err(IntentError::MissingCompanionFlag {
                    setting: found.describe(),
                    needs: "--router-mode kv",
                });
            }
            Some(_) | None => {}
        }
    }
    let number = |path: &str| {
        kv_settings.iter().find(|found| found.setting.field.path == path)?.setting.value.as_f64()
    };
    let kv_events = kv_settings.iter().find_map(|found| found.setting.value.as_bool());
    Ok(Router {
        temperature: number("router.temperature"),
        overlap_weight: number("router.overlapWeight"),
        kv_events: kv_events.unwrap_or(true),
        ..Router::new(mode)
    })
}

fn resolve_parsers(settings: &MergedSettings, backend: Backend) -> Result<OutputParsers, IntentError> {
    Ok(OutputParsers {
        tool_call: resolve_parser(settings, backend, "toolCallParser")?,
        reasoning: resolve_parser(settings, backend, "reasoningParser")?,
    })
}

/// Resolves one parser. The mocker generates placeholder text, which does not have anything to parse.
fn resolve_parser(
    settings: &MergedSettings,
    backend: Backend,
    path: &str,
) -> Result<Option<String>, IntentError> {
    // A setting for every deployment does not change a deployment that does not use parsers.
    let applies =
        |found: &&ResolvedSetting| found.source.is_deployment_specific() || !settings.has_live_deployment();
    let Some(found) = settings.get(path).filter(applies) else { return Ok(None) };
    // The workflow derives the parser, because it needs files of the model.
    if found.text() == AUTO_PARSER {
        return Ok(None);
    }
    if backend == Backend::Vllm || found.text() == NO_PARSER {
        return Ok(Some(found.text().into()));
    }
    match found.is_explicit(settings.get("backend")) {
        true => Err(IntentError::MissingCompanionFlag { setting: found.describe(), needs: "--backend vllm" }),
        false => Ok(None),
    }
}

fn resolve_kv_offload(settings: &MergedSettings) -> Result<Option<KvOffload>, IntentError> {
    let cpu = settings.get("kvOffload.cpu");
    let is_off = cpu.is_none_or(|cpu| cpu.text() == "none");
    let (disk, volume) = (settings.get("kvOffload.disk"), settings.get("kvOffload.diskVolume"));
    // Settings with lower precedence for a disabled tier are ignored.
    let explicit = [disk, volume].into_iter().flatten().find(|found| found.is_explicit(cpu));
    if let (true, Some(found)) = (is_off, explicit) {
        return Err(IntentError::MissingCompanionFlag {
            setting: found.describe(),
            needs: "--kv-offload cpu=20Gi",
        });
    }
    let Some(cpu) = cpu.filter(|_| !is_off) else { return Ok(None) };
    if !quantity::is_quantity(cpu.text()) {
        return Err(IntentError::Quantity { flag: cpu.describe(), given: cpu.text().into() });
    }
    let Some(disk) = disk else {
        return match volume.filter(|volume| volume.is_explicit(None)) {
            Some(volume) => Err(IntentError::MissingCompanionFlag {
                setting: volume.describe(),
                needs: "--kv-offload cpu=20Gi,disk=200Gi",
            }),
            None => Ok(Some(KvOffload { cpu: cpu.text().into(), disk: None })),
        };
    };
    let volume = match volume {
        Some(found) => found.text().parse().map_err(|reason| invalid_value(found, reason))?,
        None => DiskVolume::Ephemeral { storage_class: None },
    };
    Ok(Some(KvOffload { cpu: cpu.text().into(), disk: Some(DiskTier { size: disk.text().into(), volume }) }))
}

fn resolve_cache(settings: &MergedSettings) -> Result<Cache, IntentError> {
    let managed_settings =
        ["cache.size", "cache.storageClass", "cache.accessMode"].map(|path| settings.get(path));
    let managed_settings =
        managed_settings.into_iter().flatten().max_by_key(|found| found.source.precedence());
    // A PVC from a general setting does not override a deployment that has its own PVC settings.
    let yields_to_managed = |pvc: &&ResolvedSetting| {
        !pvc.source.is_deployment_specific()
            && managed_settings.is_some_and(|managed| !pvc.has_at_least_precedence_of(managed))
    };
    if let Some(pvc) = settings.get("cache.claim").filter(|pvc| !yields_to_managed(pvc)) {
        if let Some(found) = managed_settings.filter(|found| found.is_explicit(Some(pvc))) {
            let why = "an existing PVC keeps its size, storage class, and access mode";
            return Err(IntentError::Contradiction { one: found.describe(), other: pvc.describe(), why });
        }
        // The pod volume has the name of the PVC, and volume names are DNS-1123 labels.
        if !name::is_dns1123_label(pvc.text()) {
            return Err(IntentError::ObjectName { flag: pvc.describe(), given: pvc.text().into() });
        }
        return Ok(Cache::Existing { pvc: pvc.text().into() });
    }
    Ok(Cache::Managed {
        pvc: Cache::DEFAULT_PVC.into(),
        size: string_value(settings, "cache.size").unwrap_or_else(|| Cache::DEFAULT_SIZE.into()),
        storage_class: object_name_value(settings, "cache.storageClass")?,
        access_mode: enum_value(settings, "cache.accessMode").unwrap_or(AccessMode::ReadWriteMany),
    })
}

fn resolve_token_secret(settings: &MergedSettings) -> Result<Option<TokenSecret>, IntentError> {
    let Some(found) = settings.get("hfTokenSecret") else { return Ok(None) };
    found.text().parse().map(Some).map_err(|reason| invalid_value(found, reason))
}

fn resolve_placement(settings: &MergedSettings) -> Result<Placement, IntentError> {
    // A token would be visible in the rendered objects and, if given as a flag, in the process list. The
    // message contains the variable but not its value.
    let is_token = |found: &&ResolvedSetting| {
        found.setting.key.as_deref().is_some_and(|key| TOKEN_VARIABLES.contains(&key))
    };
    if let Some(found) = settings.all("env").chain(settings.all("fetcherEnv")).find(is_token) {
        let variable = found.setting.key.as_deref().unwrap_or_default();
        let setting = match found.source {
            SettingSource::Flag => found.describe(),
            _ => format!("{variable} ({})", found.describe()),
        };
        return Err(IntentError::TokenInEnvironment { setting });
    }
    for found in settings.all("labels").chain(settings.all("nodeSelector")) {
        if !name::is_label(found.setting.key.as_deref().unwrap_or_default(), found.text()) {
            return Err(invalid_label(found));
        }
    }
    if let Some(found) = settings
        .all("annotations")
        .find(|found| !name::is_label(found.setting.key.as_deref().unwrap_or_default(), ""))
    {
        return Err(invalid_label(found));
    }
    let secrets = settings.all("imagePullSecrets");
    let tolerations = settings.all("tolerations");
    Ok(Placement {
        image: resolve_image(settings, "image")?,
        fetcher_image: resolve_image(settings, "fetcherImage")?,
        image_pull_secrets: secrets.map(parse_object_name).collect::<Result<_, _>>()?,
        node_selector: key_values(settings, "nodeSelector"),
        tolerations: tolerations
            .map(|found| found.text().parse().map_err(|reason| invalid_value(found, reason)))
            .collect::<Result<_, _>>()?,
        priority_class: object_name_value(settings, "priorityClass")?,
        service_account: object_name_value(settings, "serviceAccount")?,
        pod_security: enum_value(settings, "podSecurity").unwrap_or_default(),
        labels: key_values(settings, "labels"),
        annotations: key_values(settings, "annotations"),
        env: key_values(settings, "env"),
        fetcher_env: key_values(settings, "fetcherEnv"),
        ca_bundle: settings
            .get("caBundle")
            .map(|found| found.text().parse().map_err(|reason| invalid_value(found, reason)))
            .transpose()?,
        shared_memory: string_value(settings, "sharedMemory"),
    })
}

fn resolve_image(settings: &MergedSettings, path: &str) -> Result<Option<String>, IntentError> {
    let Some(found) = settings.get(path) else { return Ok(None) };
    check_image_reference(found.text()).map_err(|reason| invalid_value(found, ValueError::Image(reason)))?;
    Ok(Some(found.text().into()))
}

fn resolve_engine_args(settings: &MergedSettings, path: &str) -> Result<Vec<String>, IntentError> {
    let groups = settings.all(path).filter_map(|found| found.setting.value.as_array());
    let args: Vec<String> = groups.flatten().filter_map(|arg| arg.as_str().map(Into::into)).collect();
    engine_flags::check_reserved(&args)?;
    Ok(args)
}

fn key_values(settings: &MergedSettings, path: &str) -> Vec<(String, String)> {
    settings
        .all(path)
        .filter_map(|found| Some((found.setting.key.clone()?, found.text().to_owned())))
        .collect()
}

fn string_value(settings: &MergedSettings, path: &str) -> Option<String> {
    settings.get(path).map(|found| found.text().into())
}

fn object_name_value(settings: &MergedSettings, path: &str) -> Result<Option<String>, IntentError> {
    settings.get(path).map(parse_object_name).transpose()
}

fn parse_object_name(found: &ResolvedSetting) -> Result<String, IntentError> {
    match found.text() {
        name if name::is_dns1123_subdomain(name) => Ok(name.into()),
        given => Err(IntentError::ObjectName { flag: found.describe(), given: given.into() }),
    }
}

fn bool_value(settings: &MergedSettings, path: &str) -> Option<bool> {
    settings.get(path)?.setting.value.as_bool()
}

fn enum_value<T: StringEnum>(settings: &MergedSettings, path: &str) -> Option<T> {
    let value = settings.get(path)?.text().to_owned();
    T::ALL.iter().find(|known| known.as_str() == value).copied()
}

fn count_or_one(found: Option<&ResolvedSetting>) -> Result<u32, IntentError> {
    let Some(found) = found else { return Ok(1) };
    let given = found.setting.value.as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or_default();
    if given == 0 { Err(IntentError::ZeroCount { flag: found.describe() }) } else { Ok(given) }
}

fn invalid_value(found: &ResolvedSetting, reason: ValueError) -> IntentError {
    IntentError::InvalidValue { setting: found.describe(), reason }
}

fn invalid_label(found: &ResolvedSetting) -> IntentError {
    let key = found.setting.key.as_deref().unwrap_or_default();
    IntentError::Label { given: format!("{key}={}", found.text()) }
}

/// All values of an intent with their paths and sources, as shown by `--plan`.
pub fn sources(settings: &MergedSettings, intent: &ServingIntent) -> Vec<(String, Value, SettingSource)> {
    intent_settings(intent)
        .into_iter()
        .map(|setting| {
            let source = source_of(settings, &setting.path(), &setting.value);
            (setting.path(), setting.value, source)
        })
        .collect()
}

#[cfg(test)]
mod tests;
