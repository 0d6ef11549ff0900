//! Imports a foreign DynamoGraphDeployment into a `ServingIntent`.
//!
//! It reads v1alpha1 and v1beta1 graphs and container commands given as a list or as a shell script. Fields
//! that the intent cannot represent are reported and remain unchanged in the graph.

use serde_json::Value;

use super::container_command::{ContainerCommand, Program};
use crate::graph::{ComponentView, GraphView};
use crate::intent::request::{RequestError, SettingSource, SettingsLayer, TopologyMode};
use crate::intent::{RouterMode, StringEnum, TokenSecret, WorkerRole};

/// The settings of an imported graph and the fields that the intent cannot represent.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedGraph {
    /// The settings that the graph contains.
    pub layer: SettingsLayer,
    /// Descriptions of the fields that the intent cannot represent. They remain unchanged.
    pub unmapped: Vec<String>,
}

/// Why a graph cannot be imported.
#[derive(Debug, PartialEq, Eq)]
pub enum ImportError {
    NoWorker,
    NoModel {
        component: String,
    },
    /// The worker runs an unsupported engine module. `engine` is empty if the container does not have a
    /// command.
    UnsupportedEngine {
        component: String,
        engine: String,
    },
    /// A value that is invalid for its intent field.
    InvalidValue(RequestError),
}

impl From<RequestError> for ImportError {
    fn from(error: RequestError) -> Self {
        Self::InvalidValue(error)
    }
}

/// Parallelism flags of vLLM and the mocker: their spellings and the intent field in the worker group.
const PARALLELISM_FLAGS: [(&[&str], &str); 4] = [
    (&["--tensor-parallel-size", "-tp"], "tensorParallelSize"),
    (&["--pipeline-parallel-size", "-pp"], "pipelineParallelSize"),
    (&["--data-parallel-size", "-dp"], "dataParallelSize"),
    (&["--enable-expert-parallel"], "enableExpertParallel"),
];
const MODEL_FLAGS: [&str; 2] = ["--model", "--model-path"];
const SERVED_NAME_FLAGS: [&str; 2] = ["--served-model-name", "--model-name"];

/// Imports a graph.
///
/// # Errors
/// [`ImportError`] if the graph does not have a worker, a model, or a supported engine, or if a value is
/// invalid.
pub fn import_graph(graph: &Value) -> Result<ImportedGraph, ImportError> {
    let graph = GraphView::new(graph);
    let components = graph.components();
    let workers: Vec<&ComponentView> = components.iter().filter(|one| one.is_worker()).collect();
    let Some(first) = workers.iter().find(|one| one.role() != "prefill").or(workers.first()) else {
        return Err(ImportError::NoWorker);
    };
    let name = graph.name();
    let mut importer =
        GraphImporter { layer: SettingsLayer::new(SettingSource::Live(name.into())), unmapped: Vec::new() };
    let command = ContainerCommand::from_container(first.main_container());
    let engine = match command.program() {
        Program::Engine(engine) => engine,
        Program::Unsupported(engine) => {
            return Err(ImportError::UnsupportedEngine { component: first.name.into(), engine });
        }
    };
    let Some(path) = command.value(&MODEL_FLAGS) else {
        return Err(ImportError::NoModel { component: first.name.into() });
    };
    let mode = topology_mode(&components);
    importer.set("name", name)?;
    importer.set("backend", engine.as_str())?;
    importer.set("mode", mode.as_str())?;
    importer.set("model", &model_id(path, first))?;
    importer.set("servedModelName", command.value(&SERVED_NAME_FLAGS).unwrap_or(path))?;
    for worker in &workers {
        importer.import_worker(worker, mode)?;
    }
    for other in components.iter().filter(|one| !one.is_worker()) {
        importer.import_non_worker(other)?;
    }
    importer.import_shared_settings(graph, first)?;
    Ok(ImportedGraph { layer: importer.layer, unmapped: importer.unmapped })
}

/// Returns the mode of a graph with these components.
pub(super) fn topology_mode(components: &[ComponentView]) -> TopologyMode {
    match components.iter().any(|one| one.role() == "prefill") {
        true => TopologyMode::Disaggregated,
        false => TopologyMode::Aggregated,
    }
}

/// Returns the intent role of a component, or `None` for component types that the intent does not have.
pub(super) fn role(component: &ComponentView, mode: TopologyMode) -> Option<WorkerRole> {
    match component.role() {
        "frontend" => Some(WorkerRole::Frontend),
        "prefill" => Some(WorkerRole::Prefill),
        "decode" | "worker" if mode == TopologyMode::Disaggregated => Some(WorkerRole::Decode),
        "decode" | "worker" => Some(WorkerRole::Aggregated),
        _ => None,
    }
}

struct GraphImporter {
    layer: SettingsLayer,
    unmapped: Vec<String>,
}

impl GraphImporter {
    fn set(&mut self, path: &str, value: &str) -> Result<(), RequestError> {
        self.layer.set(&format!("{path}={value}"))
    }

    /// An intent has at least one replica of each component.
    fn import_replicas(&mut self, group: &str, component: &ComponentView) -> Result<(), RequestError> {
        if component.replicas() == 0 {
            self.unmapped.push(format!("{}: 0 replicas", component.name));
        }
        self.set(&format!("{group}.replicas"), &component.replicas().max(1).to_string())
    }

    fn import_worker(&mut self, worker: &ComponentView, mode: TopologyMode) -> Result<(), RequestError> {
        let group = role(worker, mode).unwrap_or(WorkerRole::Aggregated).component_name();
        self.import_replicas(group, worker)?;
        if worker.nodes() > 1 {
            self.set(&format!("{group}.nodes"), &worker.nodes().to_string())?;
        }
        let command = ContainerCommand::from_container(worker.main_container());
        for (spellings, field) in PARALLELISM_FLAGS {
            match command.value(spellings) {
                Some("") => self.set(&format!("{group}.{field}"), "true")?,
                Some(value) if value.parse::<u32>().is_ok() => {
                    self.set(&format!("{group}.{field}"), value)?
                }
                Some(value) => self.unmapped.push(format!("{}: {} {value}", worker.name, spellings[0])),
                None => {}
            }
        }
        let mapped_flags: Vec<&str> = PARALLELISM_FLAGS
            .iter()
            .flat_map(|(all, _)| all.iter())
            .chain(&MODEL_FLAGS)
            .chain(&SERVED_NAME_FLAGS)
            .copied()
            .collect();
        let unmapped_flags = command.flags_except(&mapped_flags);
        if !unmapped_flags.is_empty() {
            self.unmapped.push(format!("{}: {}", worker.name, unmapped_flags.join(" ")));
        }
        if worker.has_scaling_adapter() {
            self.unmapped.push(format!("{}: scaling adapter", worker.name));
        }
        Ok(())
    }

    fn import_non_worker(&mut self, component: &ComponentView) -> Result<(), RequestError> {
        if component.role() != "frontend" {
            let kind = Some(component.role()).filter(|role| !role.is_empty()).unwrap_or("(none)");
            self.unmapped.push(format!("{}: component type {kind}", component.name));
            return Ok(());
        }
        self.import_replicas("frontend", component)?;
        let command = ContainerCommand::from_container(component.main_container());
        let mode = command.value(&["--router-mode"]).or_else(|| component.env_var("DYN_ROUTER_MODE"));
        match mode {
            Some(mode) if RouterMode::ALL.iter().any(|one| one.as_str() == mode) => {
                self.set("router.mode", mode)
            }
            Some(mode) => {
                self.unmapped.push(format!("{}: router mode {mode}", component.name));
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn import_shared_settings(
        &mut self,
        graph: GraphView<'_>,
        worker: &ComponentView,
    ) -> Result<(), RequestError> {
        if let Some(image) = worker.main_container().image() {
            self.set("image", image)?;
        }
        if let Some(pvc) = model_pvc(graph, worker) {
            self.set("cache.claim", pvc)?;
        }
        if let Some((name, key)) = token_secret(worker) {
            self.set("hfTokenSecret", &format!("{name}/{key}"))?;
        }
        for (scope, names) in [("graph", graph.env_names()), ("workers", worker.env_names())] {
            if !names.is_empty() {
                self.unmapped.push(format!("environment of the {scope}: {}", names.join(" ")));
            }
        }
        let inits = worker.init_containers();
        if !inits.is_empty() {
            self.unmapped.push(format!("init containers: {}", inits.join(" ")));
        }
        Ok(())
    }
}

fn model_pvc<'a>(graph: GraphView<'a>, worker: &ComponentView<'a>) -> Option<&'a str> {
    let listed = graph.listed_pvcs().next().map(|pvc| pvc.name);
    listed.or_else(|| worker.pvc_mounts().first().map(|(pvc, _)| *pvc))
}

fn token_secret<'a>(worker: &ComponentView<'a>) -> Option<(&'a str, &'a str)> {
    let key = TokenSecret::DEFAULT_KEY;
    worker.env_var_secret(key).or_else(|| Some((worker.env_from_secret()?, key)))
}

/// Returns the model ID: the given path if it is a hub ID, otherwise its part below the PVC's mount path.
fn model_id(path: &str, worker: &ComponentView) -> String {
    let relative_path = worker.pvc_mounts().into_iter().find_map(|(_, mount)| path.strip_prefix(mount));
    let relative_path = relative_path.map(|rest| rest.trim_matches('/'));
    match relative_path {
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

    fn import(graph: &Value) -> (Vec<String>, Vec<String>) {
        let imported = import_graph(graph).expect("the graph can be imported");
        let settings = imported.layer.settings.iter();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), Into::into);
        (settings.map(|leaf| format!("{}={}", leaf.path(), text(&leaf.value))).collect(), imported.unmapped)
    }

    #[test]
    fn imports_starter_kit_graph_from_shell_commands() {
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
        let (settings, unmapped) = import(&graph);
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
            assert!(settings.iter().any(|one| one == fact), "{fact} is not in {settings:?}");
        }
        for fact in [
            "VllmDecodeWorker: --block-size 128",
            "Planner: component type planner",
            "environment of the graph: DYN_LOG",
        ] {
            assert!(unmapped.iter().any(|one| one == fact), "{fact} is not in {unmapped:?}");
        }
    }

    #[test]
    fn imports_v1beta1_recipe_from_argument_list() {
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
        let (settings, unmapped) = import(&graph);
        for fact in [
            "mode=agg",
            "model=Qwen/Q",
            "worker.nodes=2",
            "frontend.replicas=2",
            "cache.claim=models",
            "hfTokenSecret=s/k",
        ] {
            assert!(settings.iter().any(|one| one == fact), "{fact} is not in {settings:?}");
        }
        assert_eq!(unmapped, ["W: --seed 1", "Frontend: router mode least-loaded", "init containers: wait"]);
    }

    #[test]
    fn rejects_graphs_without_worker_model_or_known_engine() {
        let graph = |command: Value| {
            json!({ "spec": { "components": [{ "name": "W", "type": "worker", "podTemplate": { "spec": {
                "containers": [{ "name": "main", "command": command }] } } }] } })
        };
        let unsupported = import_graph(&graph(json!(["python3", "-m", "dynamo.sglang"])));
        assert_eq!(
            unsupported,
            Err(ImportError::UnsupportedEngine { component: "W".into(), engine: "sglang".into() })
        );
        let without_model = import_graph(&graph(json!(["python3", "-m", "dynamo.vllm"])));
        assert_eq!(without_model, Err(ImportError::NoModel { component: "W".into() }));
        assert_eq!(import_graph(&json!({ "spec": {} })), Err(ImportError::NoWorker));
    }
}
