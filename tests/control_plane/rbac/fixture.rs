//! A namespace in which verbs run as users with few permissions. It is brought into a known state before each
//! run.

mod state;

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kubectl_dynamo_core::intent::StringEnum;
use kubectl_dynamo_core::rbac::{
    CommandPermissions, Permission, Persona, RbacSubject, RuleScope, needs_cluster_role, to_rules,
};
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::control_plane::ControlPlane;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration;
use kubectl_dynamo_tests::kubernetes::pod_reports::{PodActivity, run_jobs};
use kubectl_dynamo_tests::plugin::{Plugin, PluginOutput};
use kubectl_dynamo_tests::{Outcome, ensure, programs};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::Shared;
use crate::cache::COMPLETE;
pub(super) use state::{BENCH_RUN, ClusterCondition, recipe};

/// One run of a verb.
#[derive(Debug, Clone)]
pub(super) struct VerbRun {
    pub(super) state: ClusterCondition,
    pub(super) args: Vec<&'static str>,
    /// Text on stdin.
    pub(super) input: Option<&'static str>,
    /// It runs forever, and is interrupted once it has sent this request.
    pub(super) until_request: Option<&'static str>,
    /// Its Jobs run and succeed.
    pub(super) completes_jobs: bool,
}

impl VerbRun {
    pub(super) fn until_request(self, verb: &'static str) -> Self {
        Self { until_request: Some(verb), ..self }
    }

    pub(super) fn completing_jobs(self) -> Self {
        Self { completes_jobs: true, ..self }
    }

    /// The same run with longer timeouts, for a machine that was too slow for the short ones.
    pub(super) fn with_longer_timeout(&self) -> Self {
        let longer = |argument: &&'static str| match *argument {
            "--timeout=4s" => "--timeout=30s",
            "--timeout=8s" => "--timeout=1m",
            "--timeout=20s" => "--timeout=2m",
            other => other,
        };
        Self { args: self.args.iter().map(longer).collect(), ..self.clone() }
    }
}

/// Whether a request, in the format of `kubectl auth can-i`, may change what the next run finds. A port-forward and a
/// review of permissions are created and change nothing.
fn may_change_state(request: &str) -> bool {
    let is_write = ["create", "patch", "delete"].iter().any(|verb| request.starts_with(verb));
    is_write && !request.ends_with("/portforward") && !request.contains(" selfsubject")
}

impl Display for VerbRun {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({:?})", self.args.join(" "), self.state)
    }
}

pub(super) struct RbacFixture<'a> {
    namespace: CaseNamespace,
    plane: &'a ControlPlane,
    shared: &'a Shared,
    generation: GraphGeneration,
    plugin: Plugin,
    /// `None` if a run may have changed it.
    state: Option<ClusterCondition>,
}

/// A cluster-scoped permission, which a namespaced role cannot grant.
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

impl<'a> RbacFixture<'a> {
    pub(super) async fn new(shared: &'a Shared, generation: GraphGeneration, name: &str) -> Outcome<Self> {
        let plane = shared.cluster.control_plane(generation)?;
        let namespace = shared.namespace(generation, name).await?;
        let plugin = Plugin::new(plane.audited_kubeconfig(), namespace.name());
        Ok(Self { namespace, plane, shared, generation, plugin, state: None })
    }

    pub(super) fn name(&self) -> &str {
        self.namespace.name()
    }

    pub(super) async fn delete(self) -> Outcome {
        self.namespace.delete().await
    }

    /// Applies the output of `rbac generate` for a persona, and returns the user who has it.
    pub(super) async fn grant_persona(&self, persona: Persona) -> Outcome<String> {
        let user = format!("{}-{}", self.name(), persona.as_str());
        let args = ["rbac", "generate", "--persona", persona.as_str(), "--user", &user];
        let printed = self.plugin.run(&args).await?.expect(0)?.out;
        let objects: Vec<Value> = serde_saphyr::from_multiple(&printed)?;
        for object in &objects {
            self.apply(object).await?;
        }
        self.wait_for_permission(&user, "list", "pods").await?;
        Ok(user)
    }

    /// Creates a user for each of these permissions, who has all permissions of the row except that one.
    pub(super) async fn grant_all_but_one<'r>(
        &self,
        row: &CommandPermissions,
        permissions: impl Iterator<Item = &'r Permission>,
    ) -> Outcome<Vec<(Permission, String)>> {
        let mut users = Vec::new();
        for (index, missing) in permissions.enumerate() {
            let name = format!("{}-{}-{index}", self.name(), row.command.replace(' ', "-"));
            let remaining: Vec<Permission> =
                row.permissions().into_keys().filter(|permission| permission != missing).collect();
            let metadata = json!({ "name": name, "namespace": self.name() });
            let api_version = "rbac.authorization.k8s.io/v1";
            self.apply(&json!({
                "apiVersion": api_version, "kind": "Role", "metadata": metadata,
                "rules": to_rules(remaining.iter().copied(), RuleScope::Namespace(self.name())),
            }))
            .await?;
            self.apply(&json!({
                "apiVersion": api_version, "kind": "RoleBinding", "metadata": metadata,
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
                "subjects": [RbacSubject::User(name.clone()).object()],
            }))
            .await?;
            if let Some(one) = remaining.iter().find(|one| !needs_cluster_role(one.resource)) {
                self.wait_for_permission(&name, one.verb, one.resource).await?;
            }
            users.push((*missing, name));
        }
        Ok(users)
    }

    /// Grants a user the permission to list a cluster-scoped kind.
    pub(super) async fn grant_cluster_list(&self, user: &str, resource: &str) -> Outcome<ClusterGrant> {
        let (api_version, metadata) = ("rbac.authorization.k8s.io/v1", json!({ "name": user }));
        self.apply(&json!({
            "apiVersion": api_version, "kind": "ClusterRole", "metadata": metadata,
            "rules": [{ "apiGroups": [""], "resources": [resource], "verbs": ["list"] }],
        }))
        .await?;
        self.apply(&json!({
            "apiVersion": api_version, "kind": "ClusterRoleBinding", "metadata": metadata,
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user },
            "subjects": [RbacSubject::User(user.into()).object()],
        }))
        .await?;
        self.wait_for_permission(user, "list", resource).await?;
        Ok(ClusterGrant { client: self.namespace.client(), name: user.into() })
    }

    async fn apply(&self, object: &Value) -> Outcome {
        let kind = GroupVersionKind::gvk(
            "rbac.authorization.k8s.io",
            "v1",
            object["kind"].as_str().unwrap_or_default(),
        );
        let resource = ApiResource::from_gvk(&kind);
        let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.namespace.client(), namespace, &resource),
            None => Api::all_with(self.namespace.client(), &resource),
        };
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        api.patch(name, &PatchParams::apply("tests").force(), &Patch::Apply(object)).await?;
        Ok(())
    }

    /// Waits until the authorizer, which watches bindings, knows the new permission.
    async fn wait_for_permission(&self, user: &str, verb: &str, resource: &str) -> Outcome {
        let reviews: Api<SubjectAccessReview> = Api::all(self.namespace.client());
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
            // There is no event for that.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        Err(format!("{user} did not get the permission to {verb} {resource}").into())
    }

    /// Runs the plugin as a user. Returns its output and its requests to the API server, in the format of
    /// `kubectl auth can-i`.
    pub(super) async fn run(
        &mut self,
        run: &VerbRun,
        user: &str,
    ) -> Outcome<(PluginOutput, BTreeSet<String>)> {
        self.prepare(run.state).await?;
        self.state = None;
        let position = self.plane.audit_log().position()?;
        let mut args = vec!["--as", user];
        args.extend(&run.args);
        let run_future = async {
            match (run.until_request, run.input) {
                (Some(verb), _) => self.interrupt_at_request(&args, verb, position, user).await,
                (None, Some(input)) => self.plugin.run_with_input(&args, input).await,
                (None, None) => self.plugin.run(&args).await,
            }
        };
        let output = match run.completes_jobs {
            false => run_future.await?,
            true => {
                let log_requested = || self.wait_for_log_request(position, user);
                let jobs = run_jobs(
                    self.namespace.client(),
                    self.name(),
                    PodActivity::Ended(0, COMPLETE),
                    log_requested,
                );
                tokio::select! {
                    output = run_future => output?,
                    watch_result = jobs => return Err(format!("the watch of pods ended: {watch_result:?}").into()),
                }
            }
        };
        let requested = self.requested_permissions(position, user)?;
        // A completed Job is a change that the user's requests do not show.
        if !run.completes_jobs && !requested.iter().any(|one| may_change_state(one)) {
            self.state = Some(run.state);
        }
        Ok((output, requested))
    }

    /// Waits for a limited time: a user without permission for pods does not request the log.
    async fn wait_for_log_request(&self, position: u64, user: &str) {
        for _ in 0..20 {
            if self
                .requested_permissions(position, user)
                .is_ok_and(|requested| requested.contains("get pods/log"))
            {
                return;
            }
            // The audit log sends no event.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    async fn interrupt_at_request(
        &self,
        args: &[&str],
        verb: &str,
        position: u64,
        user: &str,
    ) -> Outcome<PluginOutput> {
        let child = self.plugin.command(args).spawn()?;
        let id =
            child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).ok_or("the process has exited")?;
        let output = tokio::spawn(child.wait_with_output());
        while !output.is_finished() {
            if self.requested_permissions(position, user)?.iter().any(|one| one.starts_with(verb)) {
                kill_process(id, Signal::INT)?;
                break;
            }
            // The audit log sends no event.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let output = output.await??;
        Ok(PluginOutput {
            code: output.status.code(),
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        })
    }

    fn requested_permissions(&self, position: u64, user: &str) -> Outcome<BTreeSet<String>> {
        let mut requested = BTreeSet::new();
        let requests = self.plane.audit_log().requests_for(position, user)?;
        for request in requests.into_iter().filter(|request| !request.resource.is_empty()) {
            let group = if request.group.is_empty() { String::new() } else { format!(".{}", request.group) };
            let sub = if request.subresource.is_empty() {
                String::new()
            } else {
                format!("/{}", request.subresource)
            };
            let resource = format!("{}{group}{sub}", request.resource);
            requested.insert(format!("{} {resource}", request.verb));
            // An apply that creates an object also needs the permission to create it.
            if request.verb == "patch" && request.code == 201 {
                requested.insert(format!("create {resource}"));
            }
        }
        Ok(requested)
    }

    /// Returns the requests of completion for these words.
    pub(super) fn completion_permissions(&self, user: &str, args: &[&str]) -> Outcome<BTreeSet<String>> {
        let position = self.plane.audit_log().position()?;
        let (last, before) = args.split_last().ok_or("no words")?;
        let mut command = self.shared.cluster.command_in_namespace(programs::kubectl_dynamo());
        let output = command
            .env("KUBECONFIG", self.plane.audited_kubeconfig())
            .arg("__complete")
            .args(["--as", user])
            .args(before)
            .arg(last)
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.requested_permissions(position, user)
    }
}
