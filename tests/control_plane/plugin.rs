//! What the plugin asks of an API server, and what it says when that refuses. No pod runs, so `up` does not wait.

use std::sync::Arc;

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{self, V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::kubernetes::puppet::Puppet;
use kubectl_dynamo_tests::plugin::Plugin;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::Shared;
use crate::faults::{all_ready, waiting};

pub(crate) const UP: [&str; 6] = [
    "up",
    "acme/tiny",
    "--backend=mocker",
    "--storage-class=manual",
    "--fetcher-image=registry.test/fetcher:1",
    "--detach",
];

pub(crate) async fn up_writes_the_shape_that_the_cluster_stores(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (place, plugin) = shared.user(generation, "shape").await?;
        plugin.run(&UP).await?.expect(0)?;
        let graph = dynamo::graphs(place.client(), generation, place.name()).get("tiny").await?;
        let field = if generation == V1Alpha1 { "services" } else { "components" };
        ensure!(!graph.data["spec"][field].is_null(), "{}", graph.data["spec"]);
        let managers = graph.metadata.managed_fields.unwrap_or_default();
        let own = managers.iter().find(|entry| entry.manager.as_deref() == Some("kubectl-dynamo"));
        ensure!(own.is_some_and(|entry| entry.operation.as_deref() == Some("Apply")), "{managers:?}");
        place.delete().await?;
    }
    Ok(())
}

pub(crate) async fn the_same_up_again_writes_nothing(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (place, plugin) = shared.user(generation, "again").await?;
        plugin.run(&UP).await?.expect(0)?;
        let graphs = dynamo::graphs(place.client(), generation, place.name());
        wait_until_settled(&graphs, generation, 2).await?;

        let plane = shared.cluster.control_plane(generation)?;
        let versions = place.versions(generation).await?;
        let position = plane.audit().position()?;
        let said = plugin.run(&UP).await?.expect(0)?;
        ensure!(said.err.contains("unchanged: nothing was written"), "{}", said.err);
        for request in plane.audit().requests_since(position, place.name())? {
            let known = versions.get(&(request.resource.clone(), request.name.clone()));
            let same = known.is_some() && known == request.resource_version.as_ref();
            ensure!(!request.writes() || same, "{request:?} moved from {known:?}");
        }
        ensure!(versions == place.versions(generation).await?, "a resource version moved");
        place.delete().await?;
    }
    Ok(())
}

pub(crate) async fn a_dry_run_writes_nothing(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "dry-run").await?;
    let plane = shared.cluster.control_plane(V1Beta1)?;
    let position = plane.audit().position()?;
    for (mode, mark) in
        [("--dry-run=client", "created (dry run)"), ("--dry-run=server", "created (server dry run)")]
    {
        let said = plugin.run(&[&UP[..], &[mode]].concat()).await?.expect(0)?;
        ensure!(
            said.out.lines().count() == 3 && said.out.lines().all(|line| line.ends_with(mark)),
            "{}",
            said.out
        );
    }
    for request in plane.audit().requests_since(position, place.name())? {
        ensure!(!request.writes(), "{request:?}");
    }
    ensure!(place.versions(V1Beta1).await?.is_empty(), "a dry run left objects");
    place.delete().await
}

pub(crate) async fn a_status_waits_for_what_is_not_created_yet(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "status-waits").await?;
    let mut up = plugin.start(&waiting())?;
    up.until("model fetch: waiting").await?;
    let mut watch = plugin.command(&["status", "tiny", "-w"]).spawn()?;
    let mut seen = BufReader::new(watch.stdout.take().ok_or("no stdout")?).lines();
    let mut waits = plugin.command(&["status", "tiny", "--wait"]).spawn()?;
    while !seen.next_line().await?.ok_or("it ended")?.contains("is not created yet") {}
    let puppet = Puppet::of(&place);
    puppet.finish_fetch().await?;
    up.until("ready: waiting for").await?;
    loop {
        let line = seen.next_line().await?.ok_or("it ended")?;
        ensure!(!line.contains("is gone"), "{line}");
        if line.contains("COMING UP  tiny waits for") {
            break;
        }
    }
    ensure!(waits.try_wait()?.is_none(), "it did not wait for the graph");
    let said = plugin.run(&["status"]).await?.expect(3)?;
    ensure!(said.out.starts_with("… 1 of 1 come up: tiny\nNAME"), "{}", said.out);
    all_ready(&puppet).await?;
    up.end().await?.expect(0)?;
    let said = plugin.run(&["status"]).await?.expect(0)?;
    ensure!(said.out.starts_with("✔ 1 of 1 are reported ready\n"), "{}", said.out);
    watch.kill().await?;
    waits.kill().await?;
    place.delete().await
}

pub(crate) async fn a_dry_run_may_fail_on_changes(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "fail-on-change").await?;
    let asked = [&UP[..], &["--dry-run=server", "--fail-on-change"]].concat();
    let said = plugin.run(&asked).await?.expect(8)?;
    ensure!(said.out.contains("created (server dry run)") && !said.err.contains("error"), "{}", said.err);
    plugin.run(&UP).await?.expect(0)?;
    let said = plugin.run(&asked).await?.expect(0)?;
    ensure!(said.out.contains("unchanged (server dry run)"), "{}", said.out);
    plugin.run(&[&asked[..], &["--env=A=b"]].concat()).await?.expect(8)?;
    // A token is written as well.
    let token = [&asked[..], &["--hf-token-stdin"]].concat();
    let said = plugin.run_with_input(&token, "hf_new\n").await?.expect(8)?;
    ensure!(said.out.contains("secret/hf-token-secret created (server dry run)"), "{}", said.out);
    for mode in [&["--fail-on-change"][..], &["--fail-on-change", "--dry-run=client"]] {
        let said = plugin.run(&[&UP[..], mode].concat()).await?.expect(2)?;
        ensure!(said.err.contains("KD0001"), "{}", said.err);
    }
    place.delete().await
}

pub(crate) async fn another_managers_change_is_a_conflict_until_forced(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "conflict").await?;
    plugin.run(&UP).await?.expect(0)?;
    let graphs = dynamo::graphs(place.client(), V1Beta1, place.name());
    let change = json!({
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeployment",
        "spec": {"components": [{"name": "worker", "replicas": 3}]},
    });
    graphs.patch("tiny", &PatchParams::apply("autoscaler").force(), &Patch::Apply(change)).await?;
    let said = plugin.run(&UP).await?.expect(1)?;
    for fact in ["KD0205", "autoscaler", ".spec.components[name=\"worker\"].replicas", "--force-conflicts"] {
        ensure!(said.err.contains(fact), "{fact} is not in {}", said.err);
    }
    ensure!(replicas(&graphs).await? == 3, "a refused up changed the object");
    plugin.run(&[&UP[..], &["--force-conflicts"]].concat()).await?.expect(0)?;
    ensure!(replicas(&graphs).await? == 1, "--force-conflicts did not take the field over");
    place.delete().await
}

pub(crate) async fn a_user_without_rights_is_told_which_one_is_missing(shared: Arc<Shared>) -> Outcome {
    let place = shared.place(V1Beta1, "rights").await?;
    let plane = shared.cluster.control_plane(V1Beta1)?;
    let kubeconfig = plane.kubeconfig_of(shared.cluster.authority(), "newcomer")?;
    let plugin = Plugin::new(kubeconfig, place.name());
    for (words, right) in [(&UP[..], "get"), (&["list"], "list"), (&["status", "tiny"], "get")] {
        let said = plugin.run(words).await?.expect(4)?;
        let fact = format!("no right to {right} dynamographdeployments.nvidia.com in namespace rights");
        ensure!(said.err.contains("KD0105") && said.err.contains(&fact), "{}", said.err);
    }
    // Who may look and not create is told at the first object that is refused, before anything is made.
    grant_reading(&place, "newcomer").await?;
    let said = plugin.run(&UP).await?.expect(4)?;
    ensure!(said.err.contains("KD0105"), "{}", said.err);
    ensure!(place.versions(V1Beta1).await?.is_empty(), "something was made without the right to all of it");
    place.delete().await
}

pub(crate) async fn a_cluster_without_dynamo_is_named_as_one(shared: Arc<Shared>) -> Outcome {
    let plane = shared.cluster.control_plane(None)?;
    let plugin = Plugin::new(plane.kubeconfig(), "default");
    for words in [&UP[..], &["list"], &["status", "tiny"]] {
        let said = plugin.run(words).await?.expect(6)?;
        ensure!(said.err.contains("KD0203"), "{}", said.err);
    }
    Ok(())
}

pub(crate) async fn a_graph_whose_pods_wait_is_coming_up(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "waiting").await?;
    plugin.run(&UP).await?.expect(0)?;
    let graphs = dynamo::graphs(place.client(), V1Beta1, place.name());
    wait_until_settled(&graphs, V1Beta1, 2).await?;
    let said = plugin.run(&["status", "tiny"]).await?.expect(3)?;
    ensure!(said.out.contains("COMING UP"), "{}", said.out);
    let waiting: Vec<&str> =
        UP.into_iter().filter(|word| *word != "--detach").chain(["--timeout=1s"]).collect();
    plugin.run(&waiting).await?.expect(3)?;
    plugin.run(&["down", "tiny", "-y", "--wait"]).await?.expect(0)?;
    let said = plugin.run(&["down", "tiny", "-y"]).await?.expect(1)?;
    ensure!(said.err.contains("KD0106"), "{}", said.err);
    place.delete().await
}

/// How many workers the graph asks for.
async fn replicas(graphs: &Api<DynamicObject>) -> Outcome<i64> {
    let graph = graphs.get("tiny").await?;
    let components = graph.data["spec"]["components"].as_array().cloned().unwrap_or_default();
    let worker = components.iter().find(|component| component["name"] == "worker");
    worker.and_then(|worker| worker["replicas"].as_i64()).ok_or_else(|| "no worker".into())
}

/// Waits until the operator has counted the pods of all components: then it writes no more until one is ready.
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

/// Lets the user read everything in the case's namespace.
async fn grant_reading(place: &CaseNamespace, user: &str) -> Outcome {
    use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
    let (roles, bindings): (Api<ClusterRole>, Api<ClusterRoleBinding>) =
        (Api::all(place.client()), Api::all(place.client()));
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
    /// A namespace for the case, and the plugin there for the user whose requests are audited.
    pub(crate) async fn user(
        &self,
        generation: GraphGeneration,
        name: &str,
    ) -> Outcome<(CaseNamespace, Plugin)> {
        let place = self.place(generation, name).await?;
        let plugin = Plugin::new(self.cluster.control_plane(generation)?.kubeconfig(), place.name());
        Ok((place, plugin))
    }
}
