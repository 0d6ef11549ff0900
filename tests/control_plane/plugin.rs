//! Requests of the plugin to an API server, and its messages when a request is rejected. Pods do not run, so
//! `up` does not wait.

use std::sync::Arc;

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{self, V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::kubernetes::fake_kubelet::FakeKubelet;
use kubectl_dynamo_tests::plugin::Plugin;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::Shared;
use crate::faults::{set_all_ready, waiting_up_args};

pub(crate) const UP: [&str; 6] = [
    "up",
    "acme/tiny",
    "--backend=mocker",
    "--storage-class=manual",
    "--fetcher-image=registry.test/fetcher:1",
    "--detach",
];

pub(crate) async fn up_writes_the_stored_api_version(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "shape").await?;
        plugin.run(&UP).await?.expect(0)?;
        let graph = dynamo::graphs(namespace.client(), generation, namespace.name()).get("tiny").await?;
        let field = if generation == V1Alpha1 { "services" } else { "components" };
        ensure!(!graph.data["spec"][field].is_null(), "{}", graph.data["spec"]);
        let managers = graph.metadata.managed_fields.unwrap_or_default();
        let own = managers.iter().find(|entry| entry.manager.as_deref() == Some("kubectl-dynamo"));
        ensure!(own.is_some_and(|entry| entry.operation.as_deref() == Some("Apply")), "{managers:?}");
        namespace.delete().await?;
    }
    Ok(())
}

pub(crate) async fn second_up_writes_nothing(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "again").await?;
        plugin.run(&UP).await?.expect(0)?;
        let graphs = dynamo::graphs(namespace.client(), generation, namespace.name());
        wait_until_settled(&graphs, generation, 2).await?;

        let plane = shared.cluster.control_plane(generation)?;
        let versions = namespace.resource_versions(generation).await?;
        let position = plane.audit_log().position()?;
        let output = plugin.run(&UP).await?.expect(0)?;
        ensure!(output.err.contains("unchanged: nothing was written"), "{}", output.err);
        for request in plane.audit_log().requests_since(position, namespace.name())? {
            let known = versions.get(&(request.resource.clone(), request.name.clone()));
            let is_unchanged = known.is_some() && known == request.resource_version.as_ref();
            ensure!(!request.is_write() || is_unchanged, "{request:?} changed from {known:?}");
        }
        ensure!(versions == namespace.resource_versions(generation).await?, "a resource version changed");
        namespace.delete().await?;
    }
    Ok(())
}

pub(crate) async fn dry_run_writes_nothing(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "dry-run").await?;
    let plane = shared.cluster.control_plane(V1Beta1)?;
    let position = plane.audit_log().position()?;
    for (mode, mark) in
        [("--dry-run=client", "created (dry run)"), ("--dry-run=server", "created (server dry run)")]
    {
        let output = plugin.run(&[&UP[..], &[mode]].concat()).await?.expect(0)?;
        ensure!(
            output.out.lines().count() == 3 && output.out.lines().all(|line| line.ends_with(mark)),
            "{}",
            output.out
        );
    }
    for mode in ["--dry-run=client", "--dry-run=server"] {
        let print = async |format: &str| -> Outcome<String> {
            Ok(plugin.run(&[&UP[..], &[mode, "-o", format]].concat()).await?.expect(0)?.out)
        };
        let names = print("name").await?;
        ensure!(names.ends_with("\ndynamographdeployment.nvidia.com/tiny\n"), "{mode}: {names}");
        let list: Value = serde_json::from_str(&print("json").await?)?;
        ensure!(list["items"].as_array().is_some_and(|items| items.len() == 3), "{mode}: {list:#}");
        let graph = &list["items"][2];
        ensure!(graph["metadata"]["managedFields"].is_null(), "{mode}: {graph:#}");
        // Only the API server assigns the UID, and only it was asked.
        ensure!(graph["metadata"]["uid"].is_string() == (mode == "--dry-run=server"), "{mode}: {graph:#}");
        let kinds = print("jsonpath={.items[*].kind}").await?;
        ensure!(kinds == "PersistentVolumeClaim Job DynamoGraphDeployment", "{mode}: {kinds}");
        let yaml = print("yaml").await?;
        ensure!(yaml.matches("\nkind: ").count() == 3, "{mode}: {yaml}");
    }
    for request in plane.audit_log().requests_since(position, namespace.name())? {
        ensure!(!request.is_write(), "{request:?}");
    }
    ensure!(namespace.resource_versions(V1Beta1).await?.is_empty(), "a dry run created objects");
    namespace.delete().await
}

pub(crate) async fn status_wait_waits_for_missing_graph(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "status-waits").await?;
    let mut up = plugin.start(&waiting_up_args())?;
    up.wait_for_line("model fetch: waiting").await?;
    let mut watch = plugin.command(&["status", "tiny", "-w"]).spawn()?;
    let mut lines = BufReader::new(watch.stdout.take().ok_or("no stdout")?).lines();
    let mut status_wait = plugin.command(&["status", "tiny", "--wait"]).spawn()?;
    while !lines.next_line().await?.ok_or("the watch exited")?.contains("is not created yet") {}
    let kubelet = FakeKubelet::new(&namespace);
    kubelet.finish_fetch().await?;
    up.wait_for_line("ready: waiting for").await?;
    loop {
        let line = lines.next_line().await?.ok_or("it ended")?;
        ensure!(!line.contains("was deleted"), "{line}");
        if line.contains("STARTING  deployment \"tiny\" is waiting for") {
            break;
        }
    }
    ensure!(status_wait.try_wait()?.is_none(), "it did not wait for the graph");
    let output = plugin.run(&["status"]).await?.expect(3)?;
    ensure!(output.out.starts_with("… 1 of 1 deployments not ready: tiny\nNAME"), "{}", output.out);
    set_all_ready(&kubelet).await?;
    up.finish().await?.expect(0)?;
    let output = plugin.run(&["status"]).await?.expect(0)?;
    ensure!(output.out.starts_with("✔ 1 of 1 deployments ready\n"), "{}", output.out);
    watch.kill().await?;
    status_wait.kill().await?;
    namespace.delete().await
}

pub(crate) async fn fail_on_change_exits_8_for_a_change(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "fail-on-change").await?;
    let dry_run = [&UP[..], &["--dry-run=server", "--fail-on-change"]].concat();
    let output = plugin.run(&dry_run).await?.expect(8)?;
    ensure!(
        output.out.contains("created (server dry run)") && !output.err.contains("error"),
        "{}",
        output.err
    );
    plugin.run(&UP).await?.expect(0)?;
    let output = plugin.run(&dry_run).await?.expect(0)?;
    ensure!(output.out.contains("unchanged (server dry run)"), "{}", output.out);
    plugin.run(&[&dry_run[..], &["--env=A=b"]].concat()).await?.expect(8)?;
    // The token Secret is included as well.
    let token = [&dry_run[..], &["--hf-token-stdin"]].concat();
    let output = plugin.run_with_input(&token, "hf_new\n").await?.expect(8)?;
    ensure!(output.out.contains("secret/hf-token-secret created (server dry run)"), "{}", output.out);
    for mode in [&["--fail-on-change"][..], &["--fail-on-change", "--dry-run=client"]] {
        let output = plugin.run(&[&UP[..], mode].concat()).await?.expect(2)?;
        ensure!(output.err.contains("KD0001"), "{}", output.err);
    }
    namespace.delete().await
}

pub(crate) async fn field_conflict_fails_without_force_conflicts(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "conflict").await?;
    plugin.run(&UP).await?.expect(0)?;
    let graphs = dynamo::graphs(namespace.client(), V1Beta1, namespace.name());
    let change = json!({
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeployment",
        "spec": {"components": [{"name": "worker", "replicas": 3}]},
    });
    graphs.patch("tiny", &PatchParams::apply("autoscaler").force(), &Patch::Apply(change)).await?;
    let output = plugin.run(&UP).await?.expect(1)?;
    for fact in ["KD0205", "autoscaler", ".spec.components[name=\"worker\"].replicas", "--force-conflicts"] {
        ensure!(output.err.contains(fact), "{fact} is not in {}", output.err);
    }
    ensure!(worker_replicas(&graphs).await? == 3, "a refused up changed the object");
    plugin.run(&[&UP[..], &["--force-conflicts"]].concat()).await?.expect(0)?;
    ensure!(worker_replicas(&graphs).await? == 1, "--force-conflicts did not take the field over");
    namespace.delete().await
}

pub(crate) async fn missing_permission_is_named(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace(V1Beta1, "rights").await?;
    let plane = shared.cluster.control_plane(V1Beta1)?;
    let kubeconfig = plane.write_user_kubeconfig(shared.cluster.authority(), "newcomer")?;
    let plugin = Plugin::new(kubeconfig, namespace.name());
    for (args, verb) in [(&UP[..], "get"), (&["list"], "list"), (&["status", "tiny"], "get")] {
        let output = plugin.run(args).await?.expect(4)?;
        let fact =
            format!("missing permission to {verb} dynamographdeployments.nvidia.com in namespace \"rights\"");
        ensure!(output.err.contains("KD0105") && output.err.contains(&fact), "{}", output.err);
    }
    // A user who may read but not create is rejected at the first object, before anything is created.
    grant_read_access(&namespace, "newcomer").await?;
    let output = plugin.run(&UP).await?.expect(4)?;
    ensure!(output.err.contains("KD0105"), "{}", output.err);
    ensure!(
        namespace.resource_versions(V1Beta1).await?.is_empty(),
        "an object was created without all permissions"
    );
    namespace.delete().await
}

pub(crate) async fn cluster_without_dynamo_is_reported(shared: Arc<Shared>) -> Outcome {
    let plane = shared.cluster.control_plane(None)?;
    let plugin = Plugin::new(plane.audited_kubeconfig(), "default");
    for args in [&UP[..], &["list"], &["status", "tiny"]] {
        let output = plugin.run(args).await?.expect(6)?;
        ensure!(output.err.contains("KD0203"), "{}", output.err);
    }
    Ok(())
}

pub(crate) async fn graph_with_waiting_pods_is_progressing(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "waiting").await?;
    plugin.run(&UP).await?.expect(0)?;
    let graphs = dynamo::graphs(namespace.client(), V1Beta1, namespace.name());
    wait_until_settled(&graphs, V1Beta1, 2).await?;
    let output = plugin.run(&["status", "tiny"]).await?.expect(3)?;
    ensure!(output.out.contains("STARTING"), "{}", output.out);
    let wait_args: Vec<&str> =
        UP.into_iter().filter(|arg| *arg != "--detach").chain(["--timeout=1s"]).collect();
    plugin.run(&wait_args).await?.expect(3)?;
    plugin.run(&["down", "tiny", "-y", "--wait"]).await?.expect(0)?;
    let output = plugin.run(&["down", "tiny", "-y"]).await?.expect(1)?;
    ensure!(output.err.contains("KD0106"), "{}", output.err);
    namespace.delete().await
}

/// Returns the number of worker replicas in the graph.
async fn worker_replicas(graphs: &Api<DynamicObject>) -> Outcome<i64> {
    let graph = graphs.get("tiny").await?;
    let components = graph.data["spec"]["components"].as_array().cloned().unwrap_or_default();
    let worker = components.iter().find(|component| component["name"] == "worker");
    worker.and_then(|worker| worker["replicas"].as_i64()).ok_or_else(|| "no worker".into())
}

/// Waits until the operator has counted the pods of all components: it then writes no more until one is
/// ready.
pub(crate) async fn wait_until_settled(
    graphs: &Api<DynamicObject>,
    generation: GraphGeneration,
    components: usize,
) -> Outcome {
    let field = if generation == V1Alpha1 { "services" } else { "components" };
    let is_settled = move |graph: Option<&DynamicObject>| {
        let counted = graph.and_then(|graph| graph.data["status"][field].as_object());
        counted.is_some_and(|counted| {
            counted.len() == components
                && counted.values().all(|component: &Value| component["updatedReplicas"] == 1)
        })
    };
    await_condition(graphs.clone(), "tiny", is_settled).await?;
    Ok(())
}

/// Grants the user read access to the case's namespace.
async fn grant_read_access(namespace: &CaseNamespace, user: &str) -> Outcome {
    use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
    let (roles, bindings): (Api<ClusterRole>, Api<ClusterRoleBinding>) =
        (Api::all(namespace.client()), Api::all(namespace.client()));
    let rules = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]);
    let role = serde_json::from_value(json!({"metadata": {"name": "reader"}, "rules": rules}))?;
    roles.create(&Default::default(), &role).await?;
    let binding = serde_json::from_value(json!({
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
    }))?;
    bindings.create(&Default::default(), &binding).await?;
    Ok(())
}

impl Shared {
    /// Creates a namespace for the case, and the plugin there for the audited user.
    pub(crate) async fn user_in_namespace(
        &self,
        generation: GraphGeneration,
        name: &str,
    ) -> Outcome<(CaseNamespace, Plugin)> {
        let namespace = self.namespace(generation, name).await?;
        let plugin =
            Plugin::new(self.cluster.control_plane(generation)?.audited_kubeconfig(), namespace.name());
        Ok((namespace, plugin))
    }
}
