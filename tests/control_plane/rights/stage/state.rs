//! The states a namespace is brought into before a verb is run there, by a user of every right.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::wait::{await_condition, conditions};
use kubectl_dynamo::readiness::{COMPONENT_TYPE_LABEL, GRAPH_LABEL, JOB_LABEL};
use kubectl_dynamo_tests::kubernetes::pods::{Doing, pretend};
use kubectl_dynamo_tests::{Outcome, dynamo};
use serde_json::json;

use super::Stage;
use crate::cache::COMPLETE;
use crate::plugin::wait_until_settled;
use crate::rights::WISH;

/// What holds a graph that is deleted.
const HOLD: &str = "example.com/holds";

/// What is in the namespace when a verb is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rights) enum State {
    Nothing,
    /// The claim and the fetch Job; no graph yet.
    Fetching,
    /// A graph whose frontend is ready and whose worker is not.
    HalfReady,
    Ready,
    /// A graph whose fetch Job has failed since.
    FailedFetch,
    /// The claim, and a fetch Job that is complete; no graph.
    Fetched,
    /// As half ready, and something holds the graph when it is deleted.
    Held,
    /// As half ready, and changed since: there is a revision to go back to.
    Changed,
    /// A graph with as many revisions as are kept.
    ManyRevisions,
    /// A graph whose worker is scaled by its adapter.
    Adapter,
    /// A graph that somebody else wrote.
    HandMade,
}

impl Stage<'_> {
    /// Brings the namespace into a state, by a user of every right.
    pub(in crate::rights) async fn reach(&mut self, state: State) -> Outcome {
        if self.state == Some(state) {
            return Ok(());
        }
        self.clear().await?;
        let token = serde_json::from_value(
            json!({ "metadata": { "name": "hub" }, "stringData": { "TOKEN": "hf_x" } }),
        )?;
        let secrets: Api<Secret> = Api::namespaced(self.place.client(), self.name());
        secrets.create(&PostParams::default(), &token).await?;
        let up = |more: &'static [&'static str]| [&["up"], &WISH[..], more].concat();
        match state {
            State::Nothing => {}
            State::Fetching | State::Fetched => {
                let [model, _, class, image] = WISH;
                self.plugin.run(&["cache", "pull", model, class, image, "--detach"]).await?.expect(0)?;
            }
            State::HandMade => {
                let mut graph = dynamo::aggregated("tiny", "models", "acme/tiny");
                graph["spec"]["backendFramework"] = "vllm".into();
                dynamo::apply(&self.graphs(), &graph).await?;
            }
            _ => {
                self.plugin.run(&up(&["--detach"])).await?.expect(0)?;
            }
        }
        match state {
            State::Nothing | State::Fetching => {}
            State::HandMade => wait_until_settled(&self.graphs(), self.generation, 2).await?,
            State::ManyRevisions => self.revisions().await?,
            State::Adapter => self.scaling_adapter().await?,
            State::HalfReady | State::Held | State::Changed => self.pods(Doing::Starting).await?,
            State::Ready => {
                self.pods(Doing::Ready).await?;
                dynamo::wait_until_ready(&self.graphs(), "tiny").await?;
            }
            State::FailedFetch => self.end_fetch(10, "the hub wants a token", "Failed").await?,
            State::Fetched => self.end_fetch(0, COMPLETE, "Complete").await?,
        }
        match state {
            State::Held => self.hold(true).await?,
            State::Changed => {
                self.plugin.run(&["up", "tiny", "--env=A=b", "--detach"]).await?.expect(0)?;
            }
            _ => {}
        }
        self.state = Some(state);
        Ok(())
    }

    async fn pods(&self, worker: Doing) -> Outcome {
        for (kind, doing) in [("frontend", Doing::Ready), ("worker", worker)] {
            let labels = format!("{GRAPH_LABEL}=tiny,{COMPONENT_TYPE_LABEL}={kind}");
            pretend(self.place.client(), self.name(), &labels, 1, doing).await?;
        }
        Ok(())
    }

    /// Ten more revisions than the one that `up` has kept, each of a graph of its own.
    async fn revisions(&self) -> Outcome {
        let kept: Api<ControllerRevision> = Api::namespaced(self.place.client(), self.name());
        let first = kept.list(&ListParams::default()).await?.items.pop().ok_or("nothing is kept")?;
        for number in 2..12 {
            let mut one = first.clone();
            one.metadata = ObjectMeta {
                name: Some(format!("tiny-{number}")),
                labels: first.metadata.labels.clone(),
                owner_references: first.metadata.owner_references.clone(),
                ..ObjectMeta::default()
            };
            one.revision = number;
            if let Some(data) = &mut one.data {
                data.0["metadata"]["annotations"]["example.com/number"] = number.to_string().into();
            }
            kept.create(&PostParams::default(), &one).await?;
        }
        Ok(())
    }

    /// Turns the worker's on, and waits for it.
    async fn scaling_adapter(&self) -> Outcome {
        let version = self.generation.version();
        let on = json!({
            "apiVersion": format!("nvidia.com/{version}"), "kind": "DynamoGraphDeployment",
            "spec": { "components": [{ "name": "worker", "scalingAdapter": {} }] },
        });
        self.graphs().patch("tiny", &PatchParams::apply("platform-team"), &Patch::Apply(on)).await?;
        let kind = GroupVersionKind::gvk("nvidia.com", version, "DynamoGraphDeploymentScalingAdapter");
        let kind = ApiResource::from_gvk(&kind);
        let adapters: Api<DynamicObject> = Api::namespaced_with(self.place.client(), self.name(), &kind);
        let is_there = |adapter: Option<&DynamicObject>| adapter.is_some();
        await_condition(adapters, "tiny-worker", is_there).await?;
        Ok(())
    }

    async fn end_fetch(&self, code: i32, words: &'static str, condition: &'static str) -> Outcome {
        let jobs: Api<Job> = Api::namespaced(self.place.client(), self.name());
        let job = jobs.list(&ListParams::default()).await?.items.pop().ok_or("no fetch Job")?.name_any();
        let labels = format!("{JOB_LABEL}={job}");
        pretend(self.place.client(), self.name(), &labels, 1, Doing::Ended(code, words)).await?;
        let has_ended = move |job: Option<&Job>| {
            let conditions = job.and_then(|job| job.status.as_ref()?.conditions.as_ref());
            conditions.is_some_and(|all| all.iter().any(|one| one.type_ == condition && one.status == "True"))
        };
        await_condition(jobs, &job, has_ended).await?;
        Ok(())
    }

    fn graphs(&self) -> Api<DynamicObject> {
        dynamo::graphs(self.place.client(), self.generation, self.name())
    }

    /// Puts a finalizer on the graph beside the operator's, or takes it off again.
    async fn hold(&self, holds: bool) -> Outcome {
        let graphs = self.graphs();
        while let Some(graph) = graphs.get_opt("tiny").await? {
            let others = graph.finalizers().iter().filter(|one| *one != HOLD).map(String::as_str);
            let all: Vec<&str> = others.chain(holds.then_some(HOLD)).collect();
            let metadata = json!({ "resourceVersion": graph.metadata.resource_version, "finalizers": all });
            let patch = Patch::Merge(json!({ "metadata": metadata }));
            match graphs.patch("tiny", &PatchParams::default(), &patch).await {
                // The operator wrote in between, or was the last to let it go.
                Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => {}
                patched => return Ok(patched.map(drop)?),
            }
        }
        Ok(())
    }

    async fn clear(&self) -> Outcome {
        self.hold(false).await?;
        let dynamo = self.generation.version();
        // What the garbage collector is late with could fall on what the next `up` makes under the same name.
        for (group, version, kind) in [
            ("nvidia.com", dynamo, "DynamoGraphDeployment"),
            ("nvidia.com", dynamo, "DynamoComponentDeployment"),
            ("nvidia.com", dynamo, "DynamoGraphDeploymentScalingAdapter"),
            ("apps", "v1", "ControllerRevision"),
            ("batch", "v1", "Job"),
            ("apps", "v1", "Deployment"),
            ("apps", "v1", "ReplicaSet"),
            ("", "v1", "Pod"),
            ("", "v1", "Secret"),
            ("", "v1", "PersistentVolumeClaim"),
        ] {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
            self.delete_all(Api::namespaced_with(self.place.client(), self.name(), &resource)).await?;
        }
        Ok(())
    }

    async fn delete_all(&self, api: Api<DynamicObject>) -> Outcome {
        for object in api.list(&ListParams::default()).await? {
            let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
            match api.delete(&name, &DeleteParams::background()).await {
                Ok(_) => await_condition(api.clone(), &name, conditions::is_deleted(&uid)).await.map(drop)?,
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
