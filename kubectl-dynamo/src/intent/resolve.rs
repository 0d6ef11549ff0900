//! From everything that was said to the wish: what is missing is filled in, and what cannot be meant together is
//! refused with the words that said it. A flag, a file and a wizard end here.

mod shape;

use serde_json::Value;

use super::request::{Found, Merged, Source, intent_leaves};
use super::{
    AccessMode, Backend, Cache, DiskTier, DiskVolume, IntentError, KvOffload, ModelRef, Placement, Router,
    RouterMode, ServingIntent, TokenSecret, Word, engine_flags, name, quantity,
};

/// The variables that hub clients read a token from.
const TOKEN_VARIABLES: [&str; 3] = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN"];

/// What a wish falls back to where nothing was said; it differs between a cluster and this machine.
pub struct Fallback {
    /// Serves when no model is named.
    pub model: Option<ModelRef>,
    pub backend: Backend,
    /// Longest default name.
    pub name_length: usize,
}

/// The wish that was said.
///
/// # Errors
/// Values that cannot be meant, and values that contradict each other.
pub fn resolve(said: &Merged, fallback: &Fallback) -> Result<ServingIntent, IntentError> {
    let model = model(said, fallback)?;
    let name = name(said, fallback)?;
    let router = router(said)?;
    let engine_args = arguments(said, "engineArgs")?;
    Ok(ServingIntent {
        name,
        served_model_name: text(said, "servedModelName").unwrap_or_else(|| model.default_served_name()),
        model,
        trust_remote_code: switch(said, "trustRemoteCode").unwrap_or(false),
        backend: word(said, "backend").unwrap_or(fallback.backend),
        topology: shape::topology(said)?,
        router,
        frontend_replicas: count(said.get("frontend.replicas"))?,
        kv_offload: kv_offload(said)?,
        engine_args,
        cache: cache(said)?,
        token_secret: token_secret(said)?,
        placement: placement(said)?,
    })
}

/// The name of the deployment that is meant, for which nothing else need be said yet.
///
/// # Errors
/// No name and no model to make one from; a name that no object can have.
pub fn name(said: &Merged, fallback: &Fallback) -> Result<String, IntentError> {
    let name = match said.get("name") {
        Some(name) => name.text().to_owned(),
        None => name::default_name(&model(said, fallback)?.short_name(), fallback.name_length),
    };
    name::check_label(&name)?;
    Ok(name)
}

/// Who said a value of a resolved wish: a path as `--plan` shows it, with its value.
fn source_of(said: &Merged, path: &str, value: &Value) -> Source {
    let of = |path: &str| said.iter().find(|found| found.leaf.path() == path && found.leaf.value == *value);
    // What is said of all workers is meant for prefill and decode.
    let shared = || {
        let (role, rest) = path.split_once('.')?;
        ["prefill", "decode"].contains(&role).then(|| format!("worker.{rest}"))
    };
    let found = of(path).or_else(|| of(&shared()?)).or_else(|| match path {
        "model" => said.get("revision").filter(|_| said.get("model").is_none()).or_else(|| said.get("model")),
        "hfTokenSecret" => said.get(path),
        _ => None,
    });
    found.map_or(Source::Default, |found| found.source.clone())
}

fn model(said: &Merged, fallback: &Fallback) -> Result<ModelRef, IntentError> {
    let model = said.get("model");
    let revision =
        said.get("revision").filter(|revision| model.is_none_or(|model| revision.outweighs(model)));
    let named = match model {
        Some(model) => ModelRef::named(model.text())?,
        None => fallback.model.clone().ok_or(IntentError::NoModel)?,
    };
    match (revision, model) {
        (None, _) => Ok(named),
        // A stronger source changes the revision that a weaker one named with the model.
        (Some(revision), Some(model)) if !model.outweighs(revision) => named.unpinned().at(revision.text()),
        (Some(revision), _) => named.at(revision.text()),
    }
}

fn router(said: &Merged) -> Result<Router, IntentError> {
    let said_mode = said.get("router.mode");
    let mode = word(said, "router.mode").unwrap_or(RouterMode::RoundRobin);
    let mut of_kv = Vec::new();
    for path in ["router.temperature", "router.overlapWeight", "router.kvEvents"] {
        match said.get(path) {
            Some(found) if mode == RouterMode::Kv => of_kv.push(found),
            Some(found) if found.insists(said_mode) => {
                return Err(IntentError::Alone { said: found.wording(), needs: "--router-mode kv" });
            }
            Some(_) | None => {}
        }
    }
    let number = |path: &str| of_kv.iter().find(|found| found.leaf.field.path == path)?.leaf.value.as_f64();
    let announced = of_kv.iter().find_map(|found| found.leaf.value.as_bool());
    Ok(Router {
        temperature: number("router.temperature"),
        overlap_weight: number("router.overlapWeight"),
        kv_events: announced.unwrap_or(true),
        ..Router::of(mode)
    })
}

fn kv_offload(said: &Merged) -> Result<Option<KvOffload>, IntentError> {
    let cpu = said.get("kvOffload.cpu");
    let is_off = cpu.is_none_or(|cpu| cpu.text() == "none");
    let (disk, volume) = (said.get("kvOffload.disk"), said.get("kvOffload.diskVolume"));
    // What a weaker source says of a tier that is switched off is not meant any more.
    let insisting = [disk, volume].into_iter().flatten().find(|found| found.insists(cpu));
    if let (true, Some(found)) = (is_off, insisting) {
        return Err(IntentError::Alone { said: found.wording(), needs: "--kv-offload cpu=20Gi" });
    }
    let Some(cpu) = cpu.filter(|_| !is_off) else { return Ok(None) };
    if !quantity::is_quantity(cpu.text()) {
        return Err(IntentError::Quantity { flag: cpu.wording(), given: cpu.text().into() });
    }
    let Some(disk) = disk else {
        return match volume.filter(|volume| volume.insists(None)) {
            Some(volume) => {
                Err(IntentError::Alone { said: volume.wording(), needs: "--kv-offload cpu=20Gi,disk=200Gi" })
            }
            None => Ok(Some(KvOffload { cpu: cpu.text().into(), disk: None })),
        };
    };
    let volume = match volume {
        Some(found) => found.text().parse().map_err(|reason| unreadable(found, reason))?,
        None => DiskVolume::Ephemeral { storage_class: None },
    };
    Ok(Some(KvOffload { cpu: cpu.text().into(), disk: Some(DiskTier { size: disk.text().into(), volume }) }))
}

fn cache(said: &Merged) -> Result<Cache, IntentError> {
    let of_made = ["cache.size", "cache.storageClass", "cache.accessMode"].map(|path| said.get(path));
    let of_made = of_made.into_iter().flatten().max_by_key(|found| found.source.strength());
    // A claim that is only a setting gives way to a deployment that has one of its own.
    let gives_way = |claim: &&Found| {
        !claim.source.is_of_this_deployment() && of_made.is_some_and(|made| !claim.outweighs(made))
    };
    if let Some(claim) = said.get("cache.claim").filter(|claim| !gives_way(claim)) {
        if let Some(found) = of_made.filter(|found| found.insists(Some(claim))) {
            let why = "an existing claim keeps its size, class and access mode";
            return Err(IntentError::Contradiction { one: found.wording(), other: claim.wording(), why });
        }
        // A volume is named after it, and volumes are labels.
        if !name::is_object_label(claim.text()) {
            return Err(IntentError::ObjectName { flag: claim.wording(), given: claim.text().into() });
        }
        return Ok(Cache::Existing { claim: claim.text().into() });
    }
    Ok(Cache::Made {
        claim: Cache::DEFAULT_CLAIM.into(),
        size: text(said, "cache.size").unwrap_or_else(|| Cache::DEFAULT_SIZE.into()),
        storage_class: object_name(said, "cache.storageClass")?,
        access_mode: word(said, "cache.accessMode").unwrap_or(AccessMode::ReadWriteMany),
    })
}

fn token_secret(said: &Merged) -> Result<Option<TokenSecret>, IntentError> {
    let Some(found) = said.get("hfTokenSecret") else { return Ok(None) };
    found.text().parse().map(Some).map_err(|reason| unreadable(found, reason))
}

fn placement(said: &Merged) -> Result<Placement, IntentError> {
    // A token in an argument would stand in the process list and in the rendered objects. The message names the
    // variable and not its value.
    let is_token =
        |found: &&Found| found.leaf.key.as_deref().is_some_and(|key| TOKEN_VARIABLES.contains(&key));
    if let Some(found) = said.all("env").find(is_token) {
        let variable = found.leaf.key.as_deref().unwrap_or_default();
        let said = match found.source {
            Source::Flag => found.wording(),
            _ => format!("{variable} ({})", found.wording()),
        };
        return Err(IntentError::TokenInEnvironment { said });
    }
    for found in said.all("labels").chain(said.all("nodeSelector")) {
        if !name::is_label(found.leaf.key.as_deref().unwrap_or_default(), found.text()) {
            return Err(not_a_label(found));
        }
    }
    if let Some(found) = said
        .all("annotations")
        .find(|found| !name::is_label(found.leaf.key.as_deref().unwrap_or_default(), ""))
    {
        return Err(not_a_label(found));
    }
    let secrets = said.all("imagePullSecrets");
    let tolerations = said.all("tolerations");
    Ok(Placement {
        image: image(said, "image")?,
        fetcher_image: image(said, "fetcherImage")?,
        image_pull_secrets: secrets.map(checked_name).collect::<Result<_, _>>()?,
        node_selector: pairs(said, "nodeSelector"),
        tolerations: tolerations
            .map(|found| found.text().parse().map_err(|reason| unreadable(found, reason)))
            .collect::<Result<_, _>>()?,
        priority_class: object_name(said, "priorityClass")?,
        service_account: object_name(said, "serviceAccount")?,
        labels: pairs(said, "labels"),
        annotations: pairs(said, "annotations"),
        env: pairs(said, "env"),
        shared_memory: text(said, "sharedMemory"),
    })
}

fn image(said: &Merged, path: &str) -> Result<Option<String>, IntentError> {
    let Some(found) = said.get(path) else { return Ok(None) };
    if found.text().contains(char::is_whitespace) {
        return Err(unreadable(found, "an image has no spaces".into()));
    }
    Ok(Some(found.text().into()))
}

fn arguments(said: &Merged, path: &str) -> Result<Vec<String>, IntentError> {
    let groups = said.all(path).filter_map(|found| found.leaf.value.as_array());
    let args: Vec<String> = groups.flatten().filter_map(|arg| arg.as_str().map(Into::into)).collect();
    engine_flags::check(&args)?;
    Ok(args)
}

fn pairs(said: &Merged, path: &str) -> Vec<(String, String)> {
    said.all(path).filter_map(|found| Some((found.leaf.key.clone()?, found.text().to_owned()))).collect()
}

fn text(said: &Merged, path: &str) -> Option<String> {
    said.get(path).map(|found| found.text().into())
}

fn object_name(said: &Merged, path: &str) -> Result<Option<String>, IntentError> {
    said.get(path).map(checked_name).transpose()
}

fn checked_name(found: &Found) -> Result<String, IntentError> {
    match found.text() {
        name if name::is_object_name(name) => Ok(name.into()),
        given => Err(IntentError::ObjectName { flag: found.wording(), given: given.into() }),
    }
}

fn switch(said: &Merged, path: &str) -> Option<bool> {
    said.get(path)?.leaf.value.as_bool()
}

fn word<T: Word>(said: &Merged, path: &str) -> Option<T> {
    let given = said.get(path)?.text().to_owned();
    T::ALL.iter().find(|known| known.as_str() == given).copied()
}

fn count(found: Option<&Found>) -> Result<u32, IntentError> {
    let Some(found) = found else { return Ok(1) };
    let given = found.leaf.value.as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or_default();
    if given == 0 { Err(IntentError::Zero { flag: found.wording() }) } else { Ok(given) }
}

fn unreadable(found: &Found, reason: String) -> IntentError {
    IntentError::Unreadable { said: found.wording(), reason }
}

fn not_a_label(found: &Found) -> IntentError {
    let key = found.leaf.key.as_deref().unwrap_or_default();
    IntentError::Label { given: format!("{key}={}", found.text()) }
}

/// Every value of a wish with who said it, as `--plan` shows them.
pub fn sources(said: &Merged, intent: &ServingIntent) -> Vec<(String, Value, Source)> {
    intent_leaves(intent)
        .into_iter()
        .map(|leaf| {
            let source = source_of(said, &leaf.path(), &leaf.value);
            (leaf.path(), leaf.value, source)
        })
        .collect()
}

#[cfg(test)]
mod tests;
