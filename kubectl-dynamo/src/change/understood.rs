//! A graph that somebody else wrote, read back as a wish: what of it this program has words for, and what it has none
//! for. It reads command lines as they stand in either shape, as a list or behind a shell's `-c`.

use serde_json::Value;

use super::command_line::CommandLine;
use super::component::{Component, graph_components};
use crate::intent::request::{Layer, RequestError, Source};
use crate::intent::{RouterMode, TokenSecret, Word, WorkerRole};

/// What was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Understood {
    /// The wish, as far as the graph says it.
    pub layer: Layer,
    /// What stays as it is, since this program has no word for it.
    pub kept: Vec<String>,
}

/// Why a graph cannot be taken over.
#[derive(Debug, PartialEq, Eq)]
pub enum Strange {
    NoWorker,
    NoModel {
        component: String,
    },
    /// A module that is no engine this program knows; empty where no command is there.
    OtherEngine {
        component: String,
        engine: String,
    },
    /// A value that no field of a wish takes.
    Value(RequestError),
}

impl From<RequestError> for Strange {
    fn from(error: RequestError) -> Self {
        Self::Value(error)
    }
}

/// Flags of vLLM and the mocker that a wish has fields for: their spellings, and the field below its group.
const FLAGS: [(&[&str], &str); 4] = [
    (&["--tensor-parallel-size", "-tp"], "tensorParallelSize"),
    (&["--pipeline-parallel-size", "-pp"], "pipelineParallelSize"),
    (&["--data-parallel-size", "-dp"], "dataParallelSize"),
    (&["--enable-expert-parallel"], "enableExpertParallel"),
];
const MODEL: [&str; 2] = ["--model", "--model-path"];
const SERVED: [&str; 2] = ["--served-model-name", "--model-name"];

/// Reads a graph.
///
/// # Errors
/// [`Strange`].
pub fn understood(graph: &Value) -> Result<Understood, Strange> {
    let components = graph_components(graph);
    let workers: Vec<&Component> = components.iter().filter(|one| one.is_worker()).collect();
    let Some(first) = workers.iter().find(|one| one.role() != "prefill").or(workers.first()) else {
        return Err(Strange::NoWorker);
    };
    let name = graph["metadata"]["name"].as_str().unwrap_or_default();
    let mut said = Said { layer: Layer::of(Source::Live(name.into())), kept: Vec::new() };
    let line = CommandLine::of(main(first));
    let engine = match line.engine() {
        Ok(engine) => engine,
        Err(engine) => return Err(Strange::OtherEngine { component: first.name.into(), engine }),
    };
    let Some(path) = line.value(&MODEL) else {
        return Err(Strange::NoModel { component: first.name.into() });
    };
    let is_apart = workers.iter().any(|one| one.role() == "prefill");
    said.set("name", name)?;
    said.set("backend", engine.as_str())?;
    said.set("mode", if is_apart { "disagg" } else { "agg" })?;
    said.set("model", &model_id(path, first))?;
    said.set("servedModelName", line.value(&SERVED).unwrap_or(path))?;
    for worker in &workers {
        said.worker(worker, is_apart)?;
    }
    for other in components.iter().filter(|one| !one.is_worker()) {
        said.other(other)?;
    }
    said.surroundings(graph, first)?;
    Ok(Understood { layer: said.layer, kept: said.kept })
}

/// The role of a component in the words of a wish.
pub(super) fn role(component: &Component, is_apart: bool) -> Option<WorkerRole> {
    match component.role() {
        "frontend" => Some(WorkerRole::Frontend),
        "prefill" => Some(WorkerRole::Prefill),
        "decode" | "worker" if is_apart => Some(WorkerRole::Decode),
        "decode" | "worker" => Some(WorkerRole::Combined),
        _ => None,
    }
}

struct Said {
    layer: Layer,
    kept: Vec<String>,
}

impl Said {
    fn set(&mut self, path: &str, value: &str) -> Result<(), RequestError> {
        self.layer.set(&format!("{path}={value}"))
    }

    fn worker(&mut self, worker: &Component, is_apart: bool) -> Result<(), RequestError> {
        let group = role(worker, is_apart).unwrap_or(WorkerRole::Combined).component_name();
        self.set(&format!("{group}.replicas"), &worker.replicas().max(1).to_string())?;
        if worker.nodes() > 1 {
            self.set(&format!("{group}.nodes"), &worker.nodes().to_string())?;
        }
        let line = CommandLine::of(main(worker));
        for (spellings, field) in FLAGS {
            match line.value(spellings) {
                Some("") => self.set(&format!("{group}.{field}"), "true")?,
                Some(value) if value.parse::<u32>().is_ok() => {
                    self.set(&format!("{group}.{field}"), value)?
                }
                Some(_) | None => {}
            }
        }
        let known: Vec<&str> =
            FLAGS.iter().flat_map(|(all, _)| all.iter()).chain(&MODEL).chain(&SERVED).copied().collect();
        let others = line.flags_besides(&known);
        if !others.is_empty() {
            self.kept.push(format!("{}: {}", worker.name, others.join(" ")));
        }
        if worker.has_scaling_adapter() {
            self.kept.push(format!("{}: its scaling adapter", worker.name));
        }
        Ok(())
    }

    fn other(&mut self, component: &Component) -> Result<(), RequestError> {
        if component.role() != "frontend" {
            let kind = Some(component.role()).filter(|role| !role.is_empty()).unwrap_or("of no type");
            self.kept.push(format!("{}: a component that is {kind}", component.name));
            return Ok(());
        }
        self.set("frontend.replicas", &component.replicas().max(1).to_string())?;
        let line = CommandLine::of(main(component));
        let mode = line.value(&["--router-mode"]).or_else(|| variable(component, "DYN_ROUTER_MODE"));
        match mode {
            Some(mode) if RouterMode::ALL.iter().any(|one| one.as_str() == mode) => {
                self.set("router.mode", mode)
            }
            Some(mode) => {
                self.kept.push(format!("{}: router mode {mode}", component.name));
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn surroundings(&mut self, graph: &Value, worker: &Component) -> Result<(), RequestError> {
        if let Some(image) = main(worker)["image"].as_str() {
            self.set("image", image)?;
        }
        if let Some(claim) = claim(graph, worker) {
            self.set("cache.claim", claim)?;
        }
        if let Some((name, key)) = token(worker) {
            self.set("hfTokenSecret", &format!("{name}/{key}"))?;
        }
        for (what, fields) in [("graph", &graph["spec"]), ("workers", worker.spec)] {
            let environment = ["env", "envs"].iter().filter_map(|field| fields[*field].as_array());
            let names: Vec<&str> = environment.flatten().filter_map(|one| one["name"].as_str()).collect();
            if !names.is_empty() {
                self.kept.push(format!("environment of the {what}: {}", names.join(" ")));
            }
        }
        let pod = pod(worker);
        let inits = pod["initContainers"].as_array().into_iter().flatten();
        let inits: Vec<&str> = inits.filter_map(|one| one["name"].as_str()).collect();
        if !inits.is_empty() {
            self.kept.push(format!("init containers: {}", inits.join(" ")));
        }
        Ok(())
    }
}

/// The pod of a component, in either shape.
fn pod<'a>(component: &Component<'a>) -> &'a Value {
    match &component.spec["podTemplate"]["spec"] {
        Value::Null => &component.spec["extraPodSpec"],
        pod => pod,
    }
}

/// The container that runs Dynamo, in either shape.
fn main<'a>(component: &Component<'a>) -> &'a Value {
    component.main_container().unwrap_or(&component.spec["extraPodSpec"]["mainContainer"])
}

fn variable<'a>(component: &Component<'a>, name: &str) -> Option<&'a str> {
    let lists = [&main(component)["env"], &component.spec["envs"]];
    let mut all = lists.into_iter().filter_map(Value::as_array).flatten();
    all.find(|one| one["name"] == name)?["value"].as_str()
}

/// The claim that a worker mounts, with the folder it is mounted at.
fn mounts<'a>(component: &Component<'a>) -> Vec<(&'a str, &'a str)> {
    let older = component.spec["volumeMounts"].as_array().into_iter().flatten();
    let older = older.filter_map(|one| Some((one["name"].as_str()?, one["mountPoint"].as_str()?)));
    let newer = main(component)["volumeMounts"].as_array().into_iter().flatten();
    let claim_of = |volume: &'a str| {
        let volumes = pod(component)["volumes"].as_array().into_iter().flatten();
        let own = volumes.into_iter().find(|one| one["name"] == volume);
        // A mount without a volume becomes the claim of its name; other volumes hold no model.
        own.map_or(Some(volume), |own| own["persistentVolumeClaim"]["claimName"].as_str())
    };
    let newer = newer.filter_map(|one| Some((claim_of(one["name"].as_str()?)?, one["mountPath"].as_str()?)));
    older.chain(newer).collect()
}

fn claim<'a>(graph: &'a Value, worker: &Component<'a>) -> Option<&'a str> {
    let listed = graph["spec"]["pvcs"][0]["name"].as_str();
    listed.or_else(|| mounts(worker).first().map(|(claim, _)| *claim))
}

fn token<'a>(worker: &Component<'a>) -> Option<(&'a str, &'a str)> {
    let env = main(worker)["env"].as_array().into_iter().flatten();
    let older = worker.spec["envs"].as_array().into_iter().flatten();
    let named = env.chain(older).find(|one| one["name"] == TokenSecret::DEFAULT_KEY);
    let of_key = named.map(|one| &one["valueFrom"]["secretKeyRef"]);
    let of_key = of_key.and_then(|key| Some((key["name"].as_str()?, key["key"].as_str()?)));
    let whole = worker.spec["envFromSecret"].as_str();
    let whole = whole.or_else(|| main(worker)["envFrom"][0]["secretRef"]["name"].as_str());
    of_key.or_else(|| Some((whole?, TokenSecret::DEFAULT_KEY)))
}

/// A hub id as it is; of a folder on a mounted volume the part below the mount, which is the id there.
fn model_id(path: &str, worker: &Component) -> String {
    let below = mounts(worker).into_iter().find_map(|(_, mount)| path.strip_prefix(mount));
    let below = below.map(|rest| rest.trim_matches('/'));
    match below {
        Some(id) if !id.is_empty() => id.into(),
        _ if path.starts_with('/') => {
            let parts: Vec<&str> = path.trim_matches('/').rsplit('/').take(2).collect();
            parts.into_iter().rev().collect::<Vec<_>>().join("/")
        }
        _ => path.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(graph: &Value) -> (Vec<String>, Vec<String>) {
        let understood = understood(graph).expect("it can be read");
        let leaves = understood.layer.leaves.iter();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), Into::into);
        (leaves.map(|leaf| format!("{}={}", leaf.path(), text(&leaf.value))).collect(), understood.kept)
    }

    #[test]
    fn a_graph_of_the_starter_kit_is_read_from_its_shell_lines() {
        let worker = |role: &str, line: &str| {
            json!({
                "componentType": "worker", "subComponentType": role, "replicas": 2, "envFromSecret": "hf",
                "volumeMounts": [{ "name": "cache", "mountPoint": "/opt/models" }],
                "extraPodSpec": { "mainContainer": {
                    "image": "r/vllm-runtime:0.9.1", "command": ["/bin/sh", "-c"], "args": [line],
                } },
            })
        };
        let line = "python3 -m dynamo.vllm --model /opt/models/Qwen/Q --served-model-name 'Qwen/Q' \\\n -tp 4 \
                    --enable-expert-parallel --block-size 128";
        let graph = json!({ "metadata": { "name": "kit" }, "spec": {
            "pvcs": [{ "name": "cache" }], "envs": [{ "name": "DYN_LOG" }],
            "services": {
                "Frontend": { "componentType": "frontend",
                    "envs": [{ "name": "DYN_ROUTER_MODE", "value": "kv" }] },
                "Planner": { "componentType": "planner" },
                "VllmDecodeWorker": worker("decode", line),
                "VllmPrefillWorker": worker("prefill", line),
            },
        } });
        let (said, kept) = said(&graph);
        for fact in [
            "name=kit",
            "backend=vllm",
            "mode=disagg",
            "model=Qwen/Q",
            "servedModelName=Qwen/Q",
            "decode.replicas=2",
            "decode.tensorParallelSize=4",
            "prefill.enableExpertParallel=true",
            "frontend.replicas=1",
            "router.mode=kv",
            "image=r/vllm-runtime:0.9.1",
            "cache.claim=cache",
            "hfTokenSecret=hf/HF_TOKEN",
        ] {
            assert!(said.iter().any(|one| one == fact), "{fact} is not in {said:?}");
        }
        for fact in [
            "VllmDecodeWorker: --block-size 128",
            "Planner: a component that is planner",
            "environment of the graph: DYN_LOG",
        ] {
            assert!(kept.iter().any(|one| one == fact), "{fact} is not in {kept:?}");
        }
    }

    #[test]
    fn a_recipe_of_the_newer_shape_is_read_from_its_list_of_arguments() {
        let graph = json!({ "metadata": { "name": "recipe" }, "spec": { "components": [
            { "name": "Frontend", "type": "frontend", "replicas": 2, "podTemplate": { "spec": { "containers": [
                { "name": "main", "args": ["-m", "dynamo.frontend", "--router-mode", "least-loaded"] },
            ] } } },
            { "name": "W", "type": "worker", "multinode": { "nodeCount": 2 }, "podTemplate": { "spec": {
                "volumes": [{ "name": "v", "persistentVolumeClaim": { "claimName": "models" } }],
                "initContainers": [{ "name": "wait" }],
                "containers": [{ "name": "main", "image": "r/vllm-runtime:1.6.1",
                    "command": ["python3", "-m", "dynamo.vllm"], "args": ["--model=Qwen/Q", "--seed", "1"],
                    "volumeMounts": [{ "name": "v", "mountPath": "/root/.cache" }],
                    "env": [{ "name": "HF_TOKEN", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } }],
                }],
            } } },
        ] } });
        let (said, kept) = said(&graph);
        for fact in [
            "mode=agg",
            "model=Qwen/Q",
            "worker.nodes=2",
            "frontend.replicas=2",
            "cache.claim=models",
            "hfTokenSecret=s/k",
        ] {
            assert!(said.iter().any(|one| one == fact), "{fact} is not in {said:?}");
        }
        assert_eq!(kept, ["W: --seed 1", "Frontend: router mode least-loaded", "init containers: wait"]);
    }

    #[test]
    fn what_no_wish_can_say_is_told() {
        let graph = |command: Value| {
            json!({ "spec": { "components": [{ "name": "W", "type": "worker", "podTemplate": { "spec": {
                "containers": [{ "name": "main", "command": command }] } } }] } })
        };
        let other = understood(&graph(json!(["python3", "-m", "dynamo.sglang"])));
        assert_eq!(other, Err(Strange::OtherEngine { component: "W".into(), engine: "sglang".into() }));
        let nameless = understood(&graph(json!(["python3", "-m", "dynamo.vllm"])));
        assert_eq!(nameless, Err(Strange::NoModel { component: "W".into() }));
        assert_eq!(understood(&json!({ "spec": {} })), Err(Strange::NoWorker));
    }
}
