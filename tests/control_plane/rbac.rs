//! Permissions: each verb runs with exactly the permissions of its persona, sends only requests that the
//! permission table lists, uses all of them, and reports each permission that is removed.

mod fixture;
mod permission_runs;

use std::collections::BTreeSet;
use std::sync::Arc;

use kubectl_dynamo_core::rbac::{CommandPermissions, Permission, Persona, TABLE, command_permissions};
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{self, V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::{Outcome, ensure};

use crate::Shared;
use fixture::{BENCH_RUN, ClusterCondition, RbacFixture, VerbRun, recipe};
use permission_runs::{run_with_persona, run_without_each_permission};

/// The deployment that these cases serve, as in all other cases.
const INTENT_ARGS: [&str; 4] =
    ["acme/tiny", "--backend=mocker", "--storage-class=manual", "--fetcher-image=registry.test/fetcher:1"];

/// The ConfigMap exists, and the Deployment does not.
const GATEWAY_APPLY: &[&str] =
    &["gateway", "config", "--apply-to", "cm/recipe", "--key", "a", "--restart", "deploy/litellm"];
/// Nothing listens at the URL. The deployments are listed at the same time.
const GATEWAY_LIST: &[&str] =
    &["gateway", "list", "--url", "http://127.0.0.1:1", "--api-key-secret", "hub/TOKEN"];
const GATEWAY_TEST: &[&str] =
    &["gateway", "test", "tiny", "--url", "http://127.0.0.1:1", "--api-key-secret", "hub/TOKEN"];

fn run_in_state(state: ClusterCondition, args: &[&'static str]) -> VerbRun {
    VerbRun { state, args: args.to_vec(), input: None, until_request: None, completes_jobs: false }
}

fn run_with_intent(state: ClusterCondition, verb: &'static str, args: &[&'static str]) -> VerbRun {
    run_in_state(state, &[&[verb], &INTENT_ARGS[..], args].concat())
}

/// Returns the runs of each verb. Together they use all its permissions.
fn runs(verb: &str) -> Vec<VerbRun> {
    use ClusterCondition::{
        Adopted, Benchmarked, BlockedDeletion, Changed, Empty, External, FailedFetch, Fetched, Fetching,
        ManyRevisions, PartlyReady, Ready, WithCompanions, WithScalingAdapter,
    };
    let with_recipe = |args: &[&'static str]| VerbRun { input: Some(recipe()), ..run_in_state(Empty, args) };
    match verb {
        "list" => vec![
            run_in_state(PartlyReady, &["list"]),
            run_in_state(PartlyReady, &["list", "-w"]).until_request("watch"),
        ],
        "status" => vec![
            run_in_state(PartlyReady, &["status", "tiny"]),
            run_in_state(PartlyReady, &["status", "tiny", "--wait", "--timeout=4s"]),
            run_in_state(Ready, &["status", "tiny"]),
            run_in_state(Fetching, &["status", "tiny", "--wait", "--timeout=4s"]),
        ],
        "diagnose" => vec![
            run_in_state(PartlyReady, &["diagnose", "tiny"]),
            run_in_state(Ready, &["diagnose", "tiny"]),
            run_in_state(Fetching, &["diagnose", "tiny"]),
        ],
        "report" => vec![
            run_in_state(PartlyReady, &["report", "tiny", "--file=/dev/null"]),
            run_in_state(Fetching, &["report", "tiny", "--file=/dev/null"]),
        ],
        "events" => {
            vec![
                run_in_state(PartlyReady, &["events", "tiny"]),
                run_in_state(PartlyReady, &["events", "tiny", "-w"]).until_request("watch"),
            ]
        }
        "logs" => {
            vec![
                run_in_state(PartlyReady, &["logs", "tiny"]),
                run_in_state(PartlyReady, &["logs", "tiny", "-f"]).until_request("watch"),
            ]
        }
        "endpoint" => vec![run_in_state(Ready, &["endpoint", "tiny"])],
        "chat" => vec![run_in_state(Ready, &["chat", "tiny", "hello"])],
        "test" => vec![run_in_state(Ready, &["test", "tiny", "--timeout", "5s"])],
        "top" => vec![
            run_in_state(Ready, &["top", "tiny", "--once", "--interval", "200ms"]),
            run_in_state(Ready, &["top", "--once", "--interval", "200ms"]),
        ],
        "gateway config" => vec![
            run_in_state(Ready, &["gateway", "config"]),
            run_in_state(Ready, &["gateway", "config", "tiny"]),
            run_in_state(WithCompanions, GATEWAY_APPLY),
        ],
        "gateway list" => vec![run_in_state(Ready, GATEWAY_LIST)],
        "gateway test" => vec![run_in_state(Ready, GATEWAY_TEST)],
        "bench list" => vec![run_in_state(Benchmarked, &["bench", "list"])],
        "bench show" => vec![run_in_state(Benchmarked, &["bench", "show", BENCH_RUN])],
        // The run does not have results.
        "bench compare" => vec![run_in_state(Benchmarked, &["bench", "compare", BENCH_RUN, BENCH_RUN])],
        // The frontends do not answer here.
        "bench run" => vec![run_in_state(Ready, &["bench", "run", "tiny"])],
        "bench logs" => vec![
            run_in_state(Benchmarked, &["bench", "logs", BENCH_RUN]),
            run_in_state(Benchmarked, &["bench", "logs", "-f", BENCH_RUN]).completing_jobs(),
        ],
        "bench rm" => vec![run_in_state(Benchmarked, &["bench", "rm", BENCH_RUN, "-y"])],
        "port-forward" => vec![run_in_state(Ready, &["port-forward", "tiny", "8000"])],
        "render" => vec![
            run_with_intent(PartlyReady, "render", &["--hf-token-secret=hub/TOKEN"]),
            run_with_intent(Empty, "render", &[]),
            run_in_state(Adopted, &["render", "tiny"]),
            with_recipe(&["render", "-f", "-"]),
        ],
        "diff" => vec![
            run_with_intent(Empty, "diff", &["--hf-token-secret=hub/TOKEN"]),
            run_in_state(Adopted, &["diff", "tiny"]),
            with_recipe(&["diff", "-f", "-"]),
        ],
        "up" => vec![
            run_with_intent(Empty, "up", &["--detach", "--hf-token-secret=hub/TOKEN"]),
            run_with_intent(Empty, "up", &["--timeout=8s"]),
            run_with_intent(PartlyReady, "up", &["--timeout=4s"]),
            run_with_intent(Ready, "up", &["--timeout=20s"]),
            run_in_state(PartlyReady, &["up", "tiny", "--env=A=b", "--detach"]),
            run_in_state(ManyRevisions, &["up", "tiny", "--env=A=b", "--detach"]),
            run_with_intent(FailedFetch, "up", &["--detach"]),
            VerbRun {
                input: Some("hf_new\n"),
                ..run_with_intent(Empty, "up", &["--detach", "--hf-token-stdin"])
            },
            with_recipe(&["up", "-f", "-", "--detach"]),
        ],
        "down" => vec![
            run_in_state(PartlyReady, &["down", "tiny", "-y", "--wait", "--timeout=60s"]),
            run_in_state(PartlyReady, &["down", "tiny", "-y", "--delete-cache=pvc", "--timeout=60s"]),
            run_in_state(PartlyReady, &["down", "tiny", "-y", "--delete-cache=model", "--timeout=60s"])
                .completing_jobs(),
            run_in_state(BlockedDeletion, &["down", "tiny", "-y"]),
            run_in_state(WithCompanions, &["down", "tiny", "-y", "--timeout=60s"]),
        ],
        "scale" => vec![
            run_in_state(PartlyReady, &["scale", "tiny", "--replicas=2", "--timeout=4s"]),
            run_in_state(Ready, &["scale", "tiny", "--replicas=1", "--timeout=20s"]),
            run_in_state(WithScalingAdapter, &["scale", "tiny", "--replicas=2", "--detach"]),
            run_in_state(ManyRevisions, &["scale", "tiny", "--replicas=2", "--detach"]),
        ],
        "rollout status" => vec![run_in_state(PartlyReady, &["rollout", "status", "tiny", "--timeout=4s"])],
        "rollout history" => vec![run_in_state(PartlyReady, &["rollout", "history", "tiny"])],
        "rollout undo" => vec![
            run_in_state(Changed, &["rollout", "undo", "tiny", "--timeout=4s"]),
            run_in_state(Ready, &["rollout", "undo", "tiny", "--to-revision=1", "--timeout=20s"]),
            run_in_state(ManyRevisions, &["rollout", "undo", "tiny", "--to-revision=2", "--detach"]),
        ],
        "rollout restart" => vec![run_in_state(PartlyReady, &["rollout", "restart", "tiny", "--timeout=4s"])],
        "adopt" => vec![run_in_state(External, &["adopt", "tiny", "-y"])],
        "check" => vec![
            run_in_state(Empty, &["check"]),
            run_in_state(
                Empty,
                &["check", "acme/tiny", "--storage-class=manual", "--hf-token-secret=hub/TOKEN"],
            ),
            run_with_intent(PartlyReady, "check", &["--replicas=2"]),
            run_in_state(Adopted, &["check", "tiny"]),
        ],
        "cache list" => vec![run_in_state(PartlyReady, &["cache", "list"])],
        "cache pull" => vec![
            run_pull(Empty, &["--detach", "--hf-token-secret=hub/TOKEN"]),
            run_pull(Empty, &[]).completing_jobs(),
            run_pull(FailedFetch, &["--detach"]),
            run_pull(Fetched, &["--update", "--detach"]),
        ],
        "cache verify" => vec![run_in_state(Fetched, &["cache", "verify", "acme/tiny"]).completing_jobs()],
        "cache rm" => vec![run_in_state(Fetched, &["cache", "rm", "acme/tiny", "-y"]).completing_jobs()],
        "cache prune" => vec![run_in_state(Fetched, &["cache", "prune", "-y"]).completing_jobs()],
        _ => Vec::new(),
    }
}

fn run_pull(state: ClusterCondition, args: &[&'static str]) -> VerbRun {
    let model = ["cache", "pull", INTENT_ARGS[0], INTENT_ARGS[2], INTENT_ARGS[3]];
    run_in_state(state, &[&model[..], args].concat())
}

/// Returns whether this API server, these objects, or this Kubernetes version never make a verb use the
/// permission.
fn is_not_exercised_here(verb: &str, permission: Permission) -> bool {
    match (permission.resource, permission.verb) {
        // The frontends do not answer here, so nothing is measured.
        _ if verb == "bench run" => true,
        // Used behind a proxy that only allows WebSockets.
        ("pods/portforward", "get") => true,
        // The webhooks of these API servers do not have a Service.
        ("endpointslices.discovery.k8s.io", _) => true,
        ("pods/portforward", "create") => is_not_reached(verb, permission),
        // Used if a log breaks off.
        ("pods", "get") => true,
        // Registries are not asked here.
        ("serviceaccounts", "get") => true,
        // The mocker needs no GPU, so it does not list nodes.
        ("nodes", _) => verb != "check",
        ("configmaps", "get") => ["scale", "rollout undo", "rollout restart"].contains(&verb),
        // The probes before the one of metrics wait for frontends that do not answer here.
        ("podmonitors.monitoring.coreos.com", _) => true,
        // Its CRD is not installed here.
        ("computedomains.resource.nvidia.com", _) => true,
        // No pod runs here, so there are no results to store.
        ("configmaps", "patch" | "delete") | ("jobs.batch", "delete") if verb == "bench logs" => true,
        ("dynamographdeployments.nvidia.com", _) if verb == "bench logs" => true,
        // The frontends do not answer here, so there are no entries to write.
        ("configmaps" | "deployments.apps", "patch") => verb == "gateway config",
        // An adopted graph does not have earlier revisions.
        ("controllerrevisions.apps", "delete") => verb == "adopt",
        // Only v1alpha1 needs the list.
        ("dynamocomponentdeployments.nvidia.com", "list") => verb == "list",
        _ => false,
    }
}

/// Returns whether the permission is only used for a completion after a restart. These cases do not make
/// restarted pods ready (the node tier does).
fn is_not_reached(verb: &str, permission: Permission) -> bool {
    verb == "rollout restart" && (permission.resource, permission.verb) == ("pods/portforward", "create")
}

pub(crate) async fn read_verbs_need_viewer_permissions(shared: Arc<Shared>) -> Outcome {
    check_verbs(&shared, &["list", "events", "logs", "endpoint", "report"]).await
}

pub(crate) async fn status_and_diagnose_need_viewer_permissions(shared: Arc<Shared>) -> Outcome {
    check_verbs(&shared, &["status", "diagnose"]).await
}

pub(crate) async fn rollout_status_and_history_need_viewer_permissions(shared: Arc<Shared>) -> Outcome {
    check_verbs(&shared, &["rollout status", "rollout history"]).await
}

pub(crate) async fn chat_test_top_port_forward_render_and_diff_need_deployer_permissions(
    shared: Arc<Shared>,
) -> Outcome {
    check_verbs(&shared, &["chat", "test", "top", "port-forward", "render", "diff"]).await
}

pub(crate) async fn gateway_verbs_need_deployer_permissions(shared: Arc<Shared>) -> Outcome {
    check_verbs(&shared, &["gateway config", "gateway list", "gateway test"]).await
}

pub(crate) async fn bench_verbs_need_viewer_and_deployer_permissions(shared: Arc<Shared>) -> Outcome {
    let verbs = ["bench list", "bench show", "bench compare", "bench run", "bench logs", "bench rm"];
    check_verbs(&shared, &verbs).await
}

pub(crate) async fn up_needs_deployer_permissions(shared: Arc<Shared>) -> Outcome {
    check_verbs(&shared, &["up"]).await
}

pub(crate) async fn scale_needs_deployer_permissions(shared: Arc<Shared>) -> Outcome {
    check_verbs(&shared, &["scale"]).await
}

pub(crate) async fn adopt_needs_deployer_permissions(shared: Arc<Shared>) -> Outcome {
    check_verbs(&shared, &["adopt"]).await
}

pub(crate) async fn rollout_undo_needs_deployer_permissions(shared: Arc<Shared>) -> Outcome {
    check_verbs(&shared, &["rollout undo"]).await
}

pub(crate) async fn rollout_restart_needs_deployer_permissions(shared: Arc<Shared>) -> Outcome {
    check_verbs(&shared, &["rollout restart"]).await
}

pub(crate) async fn down_needs_deployer_permissions(shared: Arc<Shared>) -> Outcome {
    check_verbs(&shared, &["down"]).await
}

pub(crate) async fn check_runs_with_few_permissions(shared: Arc<Shared>) -> Outcome {
    check_verbs(&shared, &["check"]).await
}

pub(crate) async fn cache_list_and_verify_need_deployer_permissions(shared: Arc<Shared>) -> Outcome {
    check_verbs(&shared, &["cache list", "cache verify"]).await
}

pub(crate) async fn cache_pull_needs_deployer_permissions(shared: Arc<Shared>) -> Outcome {
    check_verbs(&shared, &["cache pull"]).await
}

pub(crate) async fn cache_rm_needs_deployer_permissions(shared: Arc<Shared>) -> Outcome {
    check_verbs(&shared, &["cache rm"]).await
}

pub(crate) async fn cache_prune_needs_deployer_permissions(shared: Arc<Shared>) -> Outcome {
    check_verbs(&shared, &["cache prune"]).await
}

/// All verbs of the table are checked, here or separately.
pub(crate) async fn every_verb_in_the_table_is_run(shared: Arc<Shared>) -> Outcome {
    for row in TABLE {
        ensure!(row.command == "completion" || !runs(row.command).is_empty(), "no run for {}", row.command);
    }
    check_completion(&shared).await?;
    check_v1alpha1_objects(&shared).await
}

pub(crate) async fn viewer_gets_a_warning_for_missing_permissions(shared: Arc<Shared>) -> Outcome {
    let mut stage = RbacFixture::new(&shared, V1Beta1, "rights-left-out").await?;
    let user = stage.grant_persona(Persona::Viewer).await?;
    let (output, _) = stage.run(&run_in_state(ClusterCondition::Ready, &["endpoint", "tiny"]), &user).await?;
    let warning =
        "[KD0110]: skipped: missing permission to create pods/portforward in namespace \"rights-left-out\"";
    let output = output.expect(0)?;
    ensure!(output.err.contains(warning), "{}", output.err);
    let command = format!("kubectl dynamo rbac generate --persona deployer --user {user} -n rights-left-out");
    ensure!(output.err.contains(&command), "{}", output.err);
    stage.delete().await
}

/// Completion prints no errors, so only its requests are checked.
async fn check_completion(shared: &Shared) -> Outcome {
    let mut stage = RbacFixture::new(shared, V1Beta1, "rights-completion").await?;
    stage.prepare(ClusterCondition::Fetching).await?;
    let row = verb_row("completion")?;
    let user = stage.grant_persona(row.persona).await?;
    let namespaces = stage.grant_cluster_list(&user, "namespaces").await?;
    let mut requested = BTreeSet::new();
    for args in [&["status", "-n", "rights-completion", ""][..], &["list", "-n", ""]] {
        requested.extend(stage.completion_permissions(&user, args)?);
    }
    namespaces.remove().await?;
    let permissions: BTreeSet<String> = row.permissions().keys().map(ToString::to_string).collect();
    ensure!(requested == permissions, "completion uses {requested:?}, but the table has {permissions:?}");
    stage.delete().await
}

/// `list` of v1alpha1 graphs also needs the component deployments.
async fn check_v1alpha1_objects(shared: &Shared) -> Outcome {
    let mut stage = RbacFixture::new(shared, V1Alpha1, "rights-older").await?;
    let user = stage.grant_persona(Persona::Viewer).await?;
    let (output, requested) =
        stage.run(&run_in_state(ClusterCondition::PartlyReady, &["list"]), &user).await?;
    output.expect(0)?;
    let expected = "list dynamocomponentdeployments.nvidia.com";
    ensure!(requested.contains(expected), "{requested:?}");
    stage.delete().await
}

fn verb_row(verb: &str) -> Outcome<&'static CommandPermissions> {
    command_permissions(verb).ok_or_else(|| format!("no row for {verb} in the table").into())
}

async fn check_verbs(shared: &Shared, verbs: &[&str]) -> Outcome {
    let generation: GraphGeneration = V1Beta1;
    let name = format!("rights-{}", verbs[0].replace(' ', "-"));
    let mut stage = RbacFixture::new(shared, generation, &name).await?;
    let mut failures = String::new();
    for verb in verbs {
        let row = verb_row(verb)?;
        let runs = runs(verb);
        let used = run_with_persona(&mut stage, row, &runs, &mut failures).await?;
        run_without_each_permission(&mut stage, row, &runs, &used, &mut failures).await?;
    }
    ensure!(failures.is_empty(), "{failures}");
    stage.delete().await
}
