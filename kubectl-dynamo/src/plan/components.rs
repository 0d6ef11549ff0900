//! The components of a plan: the frontend and one for each role of worker, with command, variables and needs.

use super::environment::{self, EnvironmentVariable, Logging, merged};
use super::kv_offload::{self, Offload, OffloadDisk};
use super::needs::Needs;
use super::{PlanError, engine_args, model_cache};
use crate::intent::{Backend, ServingIntent, WorkerGroup, WorkerRole};
use crate::release::{ModelCard, Release};

/// One component of a deployment: the same process, `replicas` times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    pub role: WorkerRole,
    pub replicas: u32,
    /// Program and leading arguments; `python3` stands for the runtime's interpreter.
    pub command: Vec<String>,
    pub args: Vec<String>,
    pub environment: Vec<EnvironmentVariable>,
    /// GPUs of one replica, on all its nodes together.
    pub gpus: u32,
    /// Nodes that one replica spans, each with an equal share.
    pub nodes: u32,
    /// CPU and memory of each of its pods.
    pub needs: Needs,
    /// The disk tier of KV offload, where it has one.
    pub offload_disk: Option<OffloadDisk>,
    /// Whether it reads the model's files, so that the cache is mounted and the fetch step runs before it.
    pub needs_model: bool,
    /// The folder it starts in, where the release resolves names against it.
    pub working_directory: Option<String>,
}

impl Component {
    /// Its name in objects, logs and messages.
    pub fn name(&self) -> &'static str {
        self.role.component_name()
    }

    /// GPUs of one pod.
    pub fn gpus_per_pod(&self) -> u32 {
        self.gpus / self.nodes.max(1)
    }
}

/// What every component of a plan is made from.
pub(super) struct Draft<'a> {
    pub(super) intent: &'a ServingIntent,
    pub(super) release: &'static Release,
    pub(super) logging: Logging,
    pub(super) model_folder: &'a str,
    pub(super) offload: Option<Offload>,
}

impl Draft<'_> {
    /// Frontend first, then workers.
    pub(super) fn components(&self) -> Result<Vec<Component>, PlanError> {
        let groups = self.intent.topology.groups();
        let workers = groups.into_iter().map(|(role, group)| self.worker(role, group));
        std::iter::once(Ok(self.frontend())).chain(workers).collect()
    }

    fn frontend(&self) -> Component {
        let Self { intent, release, .. } = self;
        let environment = merged(
            environment::of_the_router(&intent.router, release)
                .into_iter()
                .chain(environment::moved_to_the_frontend(intent, release))
                .chain(environment::of_every_component(intent, self.logging)),
        );
        Component {
            role: WorkerRole::Frontend,
            replicas: intent.frontend_replicas,
            // Split as the operator's own default is: it replaces command and arguments one by one, so a whole command
            // alone would run with the default arguments behind it.
            command: vec!["python3".into()],
            args: vec!["-m".into(), "dynamo.frontend".into()],
            environment,
            gpus: 0,
            nodes: 1,
            needs: Needs::of_frontend(intent.backend),
            offload_disk: None,
            needs_model: release.frontend_needs_model(),
            working_directory: self.working_directory(),
        }
    }

    fn worker(&self, role: WorkerRole, group: &WorkerGroup) -> Result<Component, PlanError> {
        let Self { intent, .. } = self;
        let (module, gpus) = match intent.backend {
            Backend::Vllm => ("dynamo.vllm", group.parallelism.gpus()),
            Backend::Mocker => ("dynamo.mocker", 0),
        };
        let nodes = group.nodes.max(1);
        let offload = self.offload.as_ref().filter(|_| kv_offload::offloads(role));
        let environment = merged(
            intent
                .token_secret
                .iter()
                .map(model_cache::token_variable)
                .chain(offload.map(Offload::environment).unwrap_or_default())
                .chain(environment::of_every_component(intent, self.logging)),
        );
        Ok(Component {
            role,
            replicas: group.replicas,
            command: ["python3", "-m", module].map(ToOwned::to_owned).to_vec(),
            args: engine_args::engine_args(self, role, group),
            environment,
            gpus,
            nodes,
            needs: Needs::of_worker(intent, gpus / nodes, offload)?,
            offload_disk: offload.and_then(|offload| offload.disk.clone()),
            needs_model: true,
            working_directory: self.working_directory(),
        })
    }

    fn working_directory(&self) -> Option<String> {
        match self.release.model_card {
            ModelCard::FrontendResolvesName => {
                super::resolving_root(self.model_folder, &self.intent.served_model_name)
                    .map(ToOwned::to_owned)
            }
            ModelCard::FrontendReadsPath | ModelCard::WorkersServe => None,
        }
    }
}
