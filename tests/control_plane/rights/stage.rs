//! A namespace in which verbs are run by users of few rights: brought into a known state before each run.

mod state;

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kubectl_dynamo::intent::Word;
use kubectl_dynamo::rights::{Persona, Reach, Right, Subject, VerbRights, is_outside, rules};
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::control_plane::ControlPlane;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration;
use kubectl_dynamo_tests::kubernetes::pods::{Doing, run_jobs};
use kubectl_dynamo_tests::plugin::{Plugin, Said};
use kubectl_dynamo_tests::{Outcome, ensure, programs};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::Shared;
use crate::cache::COMPLETE;
pub(super) use state::State;

/// One run of a verb.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) state: State,
    pub(super) words: Vec<&'static str>,
    /// On its standard input.
    pub(super) input: Option<&'static str>,
    /// It goes on for ever, and is interrupted once it has asked for this.
    pub(super) until: Option<&'static str>,
    /// Its Jobs run and end well.
    pub(super) runs_jobs: bool,
}

impl Run {
    pub(super) fn until(self, verb: &'static str) -> Self {
        Self { until: Some(verb), ..self }
    }

    pub(super) fn running_jobs(self) -> Self {
        Self { runs_jobs: true, ..self }
    }
}

impl Display for Run {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({:?})", self.words.join(" "), self.state)
    }
}

pub(super) struct Stage<'a> {
    place: CaseNamespace,
    plane: &'a ControlPlane,
    shared: &'a Shared,
    generation: GraphGeneration,
    plugin: Plugin,
    /// Nothing when a run may have changed it.
    state: Option<State>,
}

/// A right for which there is no role in a namespace.
pub(super) struct ClusterGrant {
    client: Client,
    name: String,
}

impl ClusterGrant {
    pub(super) async fn remove(self) -> Outcome {
        let bindings: Api<ClusterRoleBinding> = Api::all(self.client.clone());
        let roles: Api<ClusterRole> = Api::all(self.client);
        bindings.delete(&self.name, &DeleteParams::default()).await?;
        roles.delete(&self.name, &DeleteParams::default()).await?;
        Ok(())
    }
}

impl<'a> Stage<'a> {
    pub(super) async fn new(shared: &'a Shared, generation: GraphGeneration, name: &str) -> Outcome<Self> {
        let plane = shared.cluster.control_plane(generation)?;
        let place = shared.place(generation, name).await?;
        let plugin = Plugin::new(plane.kubeconfig(), place.name());
        Ok(Self { place, plane, shared, generation, plugin, state: None })
    }

    pub(super) fn name(&self) -> &str {
        self.place.name()
    }

    pub(super) async fn end(self) -> Outcome {
        self.place.delete().await
    }

    /// Applies what `rbac generate` prints for a persona, and answers the user who has it.
    pub(super) async fn grant_persona(&self, persona: Persona) -> Outcome<String> {
        let user = format!("{}-{}", self.name(), persona.as_str());
        let words = ["rbac", "generate", "--persona", persona.as_str(), "--user", &user];
        let printed = self.plugin.run(&words).await?.expect(0)?.out;
        let objects: Vec<Value> = serde_saphyr::from_multiple(&printed)?;
        for object in &objects {
            self.apply(object).await?;
        }
        self.wait_for_right(&user, "list", "pods").await?;
        Ok(user)
    }

    /// A user for each of these rights, who has all of the row's and not that one.
    pub(super) async fn grant_all_but_one<'r>(
        &self,
        row: &VerbRights,
        rights: impl Iterator<Item = &'r Right>,
    ) -> Outcome<Vec<(Right, String)>> {
        let mut users = Vec::new();
        for (index, missing) in rights.enumerate() {
            let name = format!("{}-{}-{index}", self.name(), row.verb.replace(' ', "-"));
            let left: Vec<Right> = row.rights().into_keys().filter(|right| right != missing).collect();
            let metadata = json!({ "name": name, "namespace": self.name() });
            let api_version = "rbac.authorization.k8s.io/v1";
            self.apply(&json!({
                "apiVersion": api_version, "kind": "Role", "metadata": metadata,
                "rules": rules(left.iter().copied(), Reach::Namespace(self.name())),
            }))
            .await?;
            self.apply(&json!({
                "apiVersion": api_version, "kind": "RoleBinding", "metadata": metadata,
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
                "subjects": [Subject::User(name.clone()).object()],
            }))
            .await?;
            if let Some(one) = left.iter().find(|one| !is_outside(one.resource)) {
                self.wait_for_right(&name, one.verb, one.resource).await?;
            }
            users.push((*missing, name));
        }
        Ok(users)
    }

    /// Lets a user list a kind that stands outside of namespaces.
    pub(super) async fn grant_in_cluster(&self, user: &str, resource: &str) -> Outcome<ClusterGrant> {
        let (api_version, metadata) = ("rbac.authorization.k8s.io/v1", json!({ "name": user }));
        self.apply(&json!({
            "apiVersion": api_version, "kind": "ClusterRole", "metadata": metadata,
            "rules": [{ "apiGroups": [""], "resources": [resource], "verbs": ["list"] }],
        }))
        .await?;
        self.apply(&json!({
            "apiVersion": api_version, "kind": "ClusterRoleBinding", "metadata": metadata,
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user },
            "subjects": [Subject::User(user.into()).object()],
        }))
        .await?;
        self.wait_for_right(user, "list", resource).await?;
        Ok(ClusterGrant { client: self.place.client(), name: user.into() })
    }

    async fn apply(&self, object: &Value) -> Outcome {
        let kind = GroupVersionKind::gvk(
            "rbac.authorization.k8s.io",
            "v1",
            object["kind"].as_str().unwrap_or_default(),
        );
        let resource = ApiResource::from_gvk(&kind);
        let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.place.client(), namespace, &resource),
            None => Api::all_with(self.place.client(), &resource),
        };
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        api.patch(name, &PatchParams::apply("tests").force(), &Patch::Apply(object)).await?;
        Ok(())
    }

    /// The authorizer hears of a new binding by a watch of its own.
    async fn wait_for_right(&self, user: &str, verb: &str, resource: &str) -> Outcome {
        let reviews: Api<SubjectAccessReview> = Api::all(self.place.client());
        let (path, group) = resource.split_once('.').unwrap_or((resource, ""));
        let (plural, subresource) = path.split_once('/').unwrap_or((path, ""));
        let review = serde_json::from_value(
            json!({ "metadata": {}, "spec": { "user": user, "resourceAttributes": {
            "namespace": self.name(), "verb": verb, "group": group, "resource": plural, "subresource": subresource,
        } } }),
        )?;
        for _ in 0..600 {
            if reviews
                .create(&PostParams::default(), &review)
                .await?
                .status
                .is_some_and(|status| status.allowed)
            {
                return Ok(());
            }
            // No event tells that the authorizer has heard.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        Err(format!("{user} never got the right to {verb} {resource}").into())
    }

    /// Runs the plugin as a user; answers what it said and what it asked of the API server, as
    /// `kubectl auth can-i` takes it.
    pub(super) async fn run(&mut self, run: &Run, user: &str) -> Outcome<(Said, BTreeSet<String>)> {
        self.reach(run.state).await?;
        self.state = None;
        let position = self.plane.audit().position()?;
        let mut words = vec!["--as", user];
        words.extend(&run.words);
        let running = async {
            match (run.until, run.input) {
                (Some(verb), _) => self.run_until(&words, verb, position, user).await,
                (None, Some(input)) => self.plugin.run_with_input(&words, input).await,
                (None, None) => self.plugin.run(&words).await,
            }
        };
        let said = match run.runs_jobs {
            false => running.await?,
            true => {
                let listened = || self.until_log_is_asked_for(position, user);
                let jobs = run_jobs(self.place.client(), self.name(), Doing::Ended(0, COMPLETE), listened);
                tokio::select! {
                    said = running => said?,
                    ended = jobs => return Err(format!("the watch of pods ended: {ended:?}").into()),
                }
            }
        };
        let asked = self.asked(position, user)?;
        let writes = ["create", "patch", "delete"];
        if !asked.iter().any(|one| writes.iter().any(|verb| one.starts_with(verb))) {
            self.state = Some(run.state);
        }
        Ok((said, asked))
    }

    /// At most for a while: who has no right to pods does not ask.
    async fn until_log_is_asked_for(&self, position: u64, user: &str) {
        for _ in 0..20 {
            if self.asked(position, user).is_ok_and(|asked| asked.contains("get pods/log")) {
                return;
            }
            // The audit log sends no event.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    async fn run_until(&self, words: &[&str], verb: &str, position: u64, user: &str) -> Outcome<Said> {
        let child = self.plugin.command(words).spawn()?;
        let id = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).ok_or("it has ended")?;
        let output = tokio::spawn(child.wait_with_output());
        while !output.is_finished() {
            if self.asked(position, user)?.iter().any(|one| one.starts_with(verb)) {
                kill_process(id, Signal::INT)?;
                break;
            }
            // The audit log sends no event.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let output = output.await??;
        Ok(Said {
            code: output.status.code(),
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        })
    }

    fn asked(&self, position: u64, user: &str) -> Outcome<BTreeSet<String>> {
        let mut asked = BTreeSet::new();
        let requests = self.plane.audit().requests_for(position, user)?;
        for request in requests.into_iter().filter(|request| !request.resource.is_empty()) {
            let group = if request.group.is_empty() { String::new() } else { format!(".{}", request.group) };
            let sub = if request.subresource.is_empty() {
                String::new()
            } else {
                format!("/{}", request.subresource)
            };
            let resource = format!("{}{group}{sub}", request.resource);
            asked.insert(format!("{} {resource}", request.verb));
            // An apply that makes an object needs the right to create it too.
            if request.verb == "patch" && request.code == 201 {
                asked.insert(format!("create {resource}"));
            }
        }
        Ok(asked)
    }

    /// What completion asks for these words.
    pub(super) fn complete(&self, user: &str, words: &[&str]) -> Outcome<BTreeSet<String>> {
        let position = self.plane.audit().position()?;
        let (last, before) = words.split_last().ok_or("no words")?;
        let mut command = self.shared.cluster.command_in_namespace(programs::kubectl_dynamo());
        let asked = command
            .env("KUBECONFIG", self.plane.kubeconfig())
            .arg("__complete")
            .args(["--as", user])
            .args(before)
            .arg(last)
            .output()?;
        ensure!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
        self.asked(position, user)
    }
}
