//! Builds the components of a plan: the frontend and one component per worker role, with command,
//! environment, and resource requests. It must not depend on the API version of the objects.

use super::context::PlanContext;
use super::environment::{self, EnvironmentVariable, merge_variables};
use super::kv_offload::{self, KvOffloadPlan, OffloadDisk};
use super::resource_requests::ResourceRequests;
use super::{PlanError, engine_args, model_cache};
use crate::intent::{Backend, WorkerGroup, WorkerRole};
use crate::release::ModelCard;

/// One component of a deployment: the same process with `replicas` replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanComponent {
    pub role: WorkerRole,
    pub replicas: u32,
    /// Program and leading arguments. `python3` is the interpreter of the runtime image.
    pub command: Vec<String>,
    pub args: Vec<String>,
    pub environment: Vec<EnvironmentVariable>,
    /// GPUs of one replica, summed over its nodes.
    pub gpus: u32,
    /// Nodes per replica. Each node provides an equal share of the GPUs.
    pub nodes: u32,
    /// CPU and memory of each pod.
    pub requests: ResourceRequests,
    /// The disk tier of KV offload, if enabled.
    pub offload_disk: Option<OffloadDisk>,
    /// Whether the component reads the model files. If so, it mounts the cache and waits for the fetch step.
    pub needs_model: bool,
    /// Working directory, if the release resolves names relative to it.
    pub working_directory: Option<String>,
}

impl PlanComponent {
    /// Name in objects, logs, and messages.
    pub fn name(&self) -> &'static str {
        self.role.component_name()
    }

    /// GPUs of one pod.
    pub fn gpus_per_pod(&self) -> u32 {
        self.gpus / self.nodes.max(1)
    }
}

impl PlanContext<'_> {
    /// Builds all components, the frontend first.
    pub(super) fn build_components(&self) -> Result<Vec<PlanComponent>, PlanError> {
        let groups = self.intent.topology.groups();
        let workers = groups.into_iter().map(|(role, group)| self.build_worker(role, group));
        std::iter::once(Ok(self.build_frontend())).chain(workers).collect()
    }

    fn build_frontend(&self) -> PlanComponent {
        let Self { intent, release, .. } = self;
        let environment = merge_variables(
            environment::router_variables(&intent.router, release)
                .into_iter()
                .chain(environment::frontend_migration_limit(intent, release))
                .chain(environment::common_variables(intent, self.logging)),
        );
        PlanComponent {
            role: WorkerRole::Frontend,
            replicas: intent.frontend_replicas,
            // Split in the same way as the operator's default. The operator replaces command and arguments
            // separately, so a complete command without arguments would run with the default arguments
            // appended.
            command: vec!["python3".into()],
            args: vec!["-m".into(), "dynamo.frontend".into()],
            environment,
            gpus: 0,
            nodes: 1,
            requests: ResourceRequests::for_frontend(intent.backend),
            offload_disk: None,
            needs_model: release.frontend_needs_model(),
            working_directory: self.working_directory(),
        }
    }

    fn build_worker(&self, role: WorkerRole, group: &WorkerGroup) -> Result<PlanComponent, PlanError> {
        let Self { intent, .. } = self;
        let (module, gpus) = match intent.backend {
            Backend::Vllm => ("dynamo.vllm", group.parallelism.gpus()),
            Backend::Mocker => ("dynamo.mocker", 0),
        };
        let nodes = group.nodes.max(1);
        let offload = self.offload.as_ref().filter(|_| kv_offload::can_offload(role));
        let environment = merge_variables(
            intent
                .token_secret
                .iter()
                .map(model_cache::token_variable)
                .chain(offload.map(KvOffloadPlan::environment).unwrap_or_default())
                .chain(environment::common_variables(intent, self.logging)),
        );
        Ok(PlanComponent {
            role,
            replicas: group.replicas,
            command: ["python3", "-m", module].map(ToOwned::to_owned).to_vec(),
            args: engine_args::engine_args(self, role, group),
            environment,
            gpus,
            nodes,
            requests: ResourceRequests::for_worker(intent, gpus / nodes, offload)?,
            offload_disk: offload.and_then(|offload| offload.disk.clone()),
            needs_model: true,
            working_directory: self.working_directory(),
        })
    }

    fn working_directory(&self) -> Option<String> {
        match self.release.model_card {
            ModelCard::FrontendResolvesName => {
                super::served_name_root(self.model_folder, &self.intent.served_model_name)
                    .map(ToOwned::to_owned)
            }
            ModelCard::FrontendReadsPath | ModelCard::WorkersServe => None,
        }
    }
}
