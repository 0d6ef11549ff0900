//! What the verbs that need a cluster print with `-o json` and `-o junit`, as keys and types; values of closed sets are
//! kept. The contracts tier has those of the other verbs.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use flate2::read::GzDecoder;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DynamicObject, ListParams};
use kube::runtime::wait::await_condition;
use kubectl_dynamo_core::readiness::JOB_LABEL;
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::V1Beta1;
use kubectl_dynamo_tests::kubernetes::fake_kubelet::FakeKubelet;
use kubectl_dynamo_tests::kubernetes::pod_reports::{PodActivity, report_pods};
use kubectl_dynamo_tests::outline::outline;
use kubectl_dynamo_tests::plugin::Plugin;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::{Value, json};

use crate::Shared;
use crate::cache::COMPLETE;
use crate::faults::waiting_up_args;
use crate::plugin::{UP, wait_until_settled};

/// Keys whose values are closed sets, in every document.
const CLOSED: [&str; 10] = [
    "apiVersion",
    "kind",
    "verdict",
    "state",
    "outcome",
    "category",
    "mode",
    "router",
    "backend",
    "graphApi",
];

/// Compares with the snapshot file of this name, whatever module the case is in.
macro_rules! frozen {
    ($name:expr, $value:expr) => {
        let (name, value) = ($name, $value);
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name, value);
        });
    };
}

/// Documents by the verb that prints them.
#[derive(Default)]
struct Documents {
    by_verb: BTreeMap<&'static str, Vec<Value>>,
}

impl Documents {
    /// Runs a verb with `-o json`; it must end with this exit code.
    async fn add(&mut self, plugin: &Plugin, verb: &'static str, args: &[&str], exit: i32) -> Outcome<Value> {
        let output = plugin.run(&[args, &["-o", "json"]].concat()).await?.expect(exit)?;
        let document: Value =
            serde_json::from_str(&output.out).map_err(|error| format!("{args:?}: {error}"))?;
        self.by_verb.entry(verb).or_default().push(document.clone());
        Ok(document)
    }

    /// Compares the documents of each verb with its snapshot.
    fn freeze(self) {
        for (verb, documents) in self.by_verb {
            frozen!(format!("json-{verb}"), outline(&documents, &closed(verb)));
        }
    }
}

fn closed(verb: &str) -> Vec<&'static str> {
    let own: &[&str] = match verb {
        "check" => &["name", "code"],
        "diff" => &["pods"],
        "list" | "rollout-status" => &["status"],
        "plan" => &["source"],
        "history" => &["cause"],
        _ => &[],
    };
    [&CLOSED[..], own].concat()
}

/// The plugin for a user of a persona.
async fn persona(plugin: &Plugin, namespace: &CaseNamespace, persona: &str) -> Outcome<String> {
    let user = format!("{}-{persona}", namespace.name());
    let printed =
        plugin.run(&["rbac", "generate", "--persona", persona, "--user", &user]).await?.expect(0)?;
    let applied = plugin.run_kubectl(&["apply", "-f", "-"], &printed.out).await?;
    ensure!(applied.code == Some(0), "{}", applied.err);
    Ok(user)
}

/// Of one that becomes ready and of some that fail, so that every value is seen that may be absent.
pub(crate) async fn json_of_deployments(shared: Arc<Shared>) -> Outcome {
    let mut documents = Documents::default();
    becomes_ready(&shared, &mut documents).await?;
    download_fails(&shared, &mut documents).await?;
    pods_fail(&shared, &mut documents).await?;
    documents.freeze();
    Ok(())
}

/// Waits until the Job controller has counted the fetch Job's pod.
async fn job_runs(namespace: &CaseNamespace) -> Outcome {
    let jobs: Api<Job> = Api::namespaced(namespace.client(), namespace.name());
    let name = jobs.list(&ListParams::default()).await?.items.pop().and_then(|job| job.metadata.name);
    let runs = |job: Option<&Job>| {
        job.is_some_and(|job| job.status.as_ref().is_some_and(|one| one.active == Some(1)))
    };
    await_condition(jobs, &name.ok_or("no fetch Job")?, runs).await?;
    Ok(())
}

/// A deployment from before it is there until it has been changed.
async fn becomes_ready(shared: &Shared, documents: &mut Documents) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "documents").await?;
    let request: Vec<&str> = UP[1..].iter().copied().filter(|word| *word != "--detach").collect();
    let with_request = |verb: &'static str| [&[verb][..], &request].concat();
    documents.add(&plugin, "list", &["list"], 0).await?;
    documents.add(&plugin, "diff", &with_request("diff"), 1).await?;
    documents.add(&plugin, "plan", &[&with_request("up")[..], &["--plan"]].concat(), 0).await?;

    let up: Vec<&str> = waiting_up_args()
        .into_iter()
        .map(|word| if word == "--progress=plain" { "--progress=json" } else { word })
        .collect();
    let mut up = plugin.start(&up)?;
    up.wait_for_line(r#""event":"waiting","stage":"model-fetch""#).await?;
    job_runs(&namespace).await?;
    let fetching = documents.add(&plugin, "status-fetch", &["status", "tiny"], 3).await?;
    ensure!(fetching["fetch"]["state"] == "running", "{fetching:#}");
    documents.add(&plugin, "diagnose", &["diagnose", "tiny"], 3).await?;
    documents.add(&plugin, "cache-list", &["cache", "list"], 0).await?;
    report_pods(namespace.client(), namespace.name(), JOB_LABEL, 1, PodActivity::Ended(0, COMPLETE)).await?;
    up.wait_for_line(r#""event":"waiting","stage":"ready""#).await?;
    let kubelet = FakeKubelet::new(&namespace);
    kubelet.set_ready("frontend").await?;
    kubelet.set_starting("worker").await?;
    documents.add(&plugin, "status", &["status", "tiny"], 3).await?;
    documents.add(&plugin, "list", &["list"], 0).await?;
    documents.add(&plugin, "diagnose", &["diagnose", "tiny"], 3).await?;
    let rollout = ["rollout", "status", "tiny", "--watch=false"];
    documents.add(&plugin, "rollout-status", &rollout, 3).await?;
    kubelet.set_ready("worker").await?;
    let ended = up.finish().await?.expect(0)?;
    frozen!("progress-of-an-up-that-becomes-ready", course(&ended.err)?);

    let user = persona(&plugin, &namespace, "viewer").await?;
    dynamo::wait_until_ready(&dynamo::graphs(namespace.client(), V1Beta1, namespace.name()), "tiny").await?;
    // The authorizer hears of a new binding a moment later.
    while plugin.run(&["--as", &user, "status", "tiny"]).await?.code == Some(4) {}
    let status = documents.add(&plugin, "status", &["--as", &user, "status", "tiny"], 0).await?;
    ensure!(status["verdict"] == "UP", "{status:#}");
    documents.add(&plugin, "endpoint", &["--as", &user, "endpoint", "tiny"], 0).await?;
    documents.add(&plugin, "diagnose", &["--as", &user, "diagnose", "tiny"], 0).await?;
    documents.add(&plugin, "cache-list", &["cache", "list"], 0).await?;
    documents.add(&plugin, "list", &["list"], 0).await?;
    templates_and_yaml(&plugin, &user).await?;
    frozen!("report", report(&plugin).await?);
    let rollout = documents.add(&plugin, "rollout-status", &["rollout", "status", "tiny"], 0).await?;
    ensure!(rollout["status"] == "complete" && rollout["revision"] == 1, "{rollout:#}");

    documents.add(&plugin, "diff", &["diff", "tiny"], 0).await?;
    documents.add(&plugin, "diff", &["diff", "tiny", "--replicas=2"], 1).await?;
    documents.add(&plugin, "diff", &["diff", "tiny", "--env=A=b"], 1).await?;
    plugin.run(&["up", "tiny", "--env=A=b", "--detach"]).await?.expect(0)?;
    plugin.run(&["scale", "tiny", "--replicas=2", "--detach"]).await?.expect(0)?;
    documents.add(&plugin, "history", &["rollout", "history", "tiny"], 0).await?;
    documents.add(&plugin, "plan", &["up", "tiny", "--replicas=3", "--plan"], 0).await?;
    documents.add(&plugin, "render", &["render", "tiny", "--plan"], 0).await?;
    // Events are Kubernetes' own objects.
    let events = plugin.run(&["events", "tiny", "-o", "json"]).await?.expect(0)?;
    let events: Value = serde_json::from_str(&events.out)?;
    ensure!(
        events["kind"] == "List" && events["items"][0]["involvedObject"]["kind"].is_string(),
        "{events:#}"
    );
    namespace.delete().await
}

/// Templates and YAML of verbs that read a cluster, for a viewer: without a tunnel, the operator's report counts.
async fn templates_and_yaml(plugin: &Plugin, user: &str) -> Outcome<()> {
    let models = "{range .models[*]}{@}{end} at {.url}";
    for (args, template, expected) in [
        (&["list"][..], r#"{.items[?(@.status=="ready")].name}"#, "tiny"),
        (&["status"], "{range .items[*]}{.name}={.ready}{end}", "tiny=2"),
        (&["status", "tiny"], "{.verdict} {.components[*].name}", "UP frontend worker"),
        (&["diagnose", "tiny"], "{.verdict}{.cause}{.chain[0].kind}", "UPnullDynamoGraphDeployment"),
        (&["endpoint", "tiny"], models, "acme/tiny at http://tiny-frontend."),
        (&["cache", "list"], "{.items[*].model} on {.pvcs[*].name}", "acme/tiny on model-cache"),
        (&["events", "tiny"], "{.kind}", "List"),
    ] {
        let args = [&["--as", user], args].concat();
        let print = async |format: &str| -> Outcome<String> {
            Ok(plugin.run(&[&args[..], &["-o", format]].concat()).await?.expect(0)?.out)
        };
        let output = print(&format!("jsonpath={template}")).await?;
        ensure!(output.starts_with(expected), "{args:?} {template}: {output}");
        let json: Value = serde_json::from_str(&print("json").await?)?;
        let yaml: Value = serde_saphyr::from_str(&print("yaml").await?)?;
        ensure!(yaml["kind"] == json["kind"], "{args:?}: {yaml:#} instead of {json:#}");
    }
    Ok(())
}

/// The order in which stages end, and the last events.
fn course(stderr: &str) -> Outcome<String> {
    let mut text = String::new();
    for line in stderr.lines() {
        let event: Value = serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))?;
        if ["plan", "done", "summary", "failed"].iter().any(|kind| event["event"] == *kind) {
            let word = |key: &str| event[key].as_str().unwrap_or("-").to_owned();
            text += &format!("{} {} {} {}\n", word("event"), word("stage"), word("code"), event["exit"]);
        }
    }
    Ok(text)
}

/// The names of the files of a report, and the keys of its description.
async fn report(plugin: &Plugin) -> Outcome<String> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("report.tar.gz");
    plugin.run(&["report", "tiny", "-f", &path.display().to_string()]).await?.expect(0)?;
    let mut archive = tar::Archive::new(GzDecoder::new(std::fs::File::open(path)?));
    let (mut names, mut about) = (Vec::new(), String::new());
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name == "report.json" {
            entry.read_to_string(&mut about)?;
        }
        // Logs are named by pods.
        if !name.ends_with(".log") {
            names.push(name);
        }
    }
    names.sort();
    Ok(format!("{}\n\n{}", names.join("\n"), outline([&serde_json::from_str::<Value>(&about)?], &CLOSED)))
}

async fn download_fails(shared: &Shared, documents: &mut Documents) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "documents-fetch").await?;
    let args = waiting_up_args();
    let args = args.iter().map(|word| if *word == "--progress=plain" { "--progress=json" } else { word });
    let mut up = plugin.start(&args.collect::<Vec<_>>())?;
    up.wait_for_line(r#""event":"waiting","stage":"model-fetch""#).await?;
    FakeKubelet::new(&namespace).fail_fetch(10, "the hub does not accept the token").await?;
    let ended = up.finish().await?.expect(4)?;
    frozen!("progress-of-an-up-that-fails", course(&ended.err)?);
    documents.add(&plugin, "status-fetch", &["status", "tiny"], 1).await?;
    documents.add(&plugin, "diagnose", &["diagnose", "tiny"], 1).await?;
    documents.add(&plugin, "cache-list", &["cache", "list"], 0).await?;
    namespace.delete().await
}

/// One with a pod that cannot start, and one that the operator refuses.
async fn pods_fail(shared: &Shared, documents: &mut Documents) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "documents-pods").await?;
    plugin.run(&UP).await?.expect(0)?;
    let graphs = dynamo::graphs(namespace.client(), V1Beta1, namespace.name());
    wait_until_settled(&graphs, V1Beta1, 2).await?;
    let waits = ("ImagePullBackOff", "failed to resolve reference \"r.test/x:9\": r.test/x:9: not found");
    FakeKubelet::new(&namespace).set_waiting("worker", waits, 0, Value::Null).await?;
    documents.add(&plugin, "status", &["status", "tiny"], 1).await?;
    documents.add(&plugin, "diagnose", &["diagnose", "tiny"], 1).await?;
    let mut graph = dynamo::aggregated_graph("nodes", "model-cache", "tiny");
    graph["spec"]["components"][1]["multinode"] = json!({ "nodeCount": 2 });
    dynamo::apply(&graphs, &graph).await?;
    let has_failed =
        |graph: Option<&DynamicObject>| graph.is_some_and(|graph| graph.data["status"]["state"] == "failed");
    await_condition(graphs, "nodes", has_failed).await?;
    documents.add(&plugin, "status", &["status", "nodes"], 1).await?;
    let list = documents.add(&plugin, "list", &["list"], 0).await?;
    ensure!(
        list["items"].as_array().is_some_and(|all| all.iter().any(|one| one["status"] == "failed")),
        "{list:#}"
    );
    namespace.delete().await
}

/// `check` of the cluster alone and of a plan, in both formats. What nodes there are depends on other cases.
pub(crate) async fn json_of_checks(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "documents-check").await?;
    let plan =
        ["check", "acme/tiny", "--backend=mocker", "--storage-class=absent", "--hf-token-secret=absent"];
    let mut documents = Vec::new();
    for (args, exit) in [(&["check"][..], 0), (&plan, 1)] {
        let output = plugin.run(&[args, &["-o", "json"]].concat()).await?.expect(exit)?;
        let mut document: Value = serde_json::from_str(&output.out)?;
        if let Some(findings) = document["findings"].as_array_mut() {
            findings.retain(|one| one["category"] != "gpu" && one["category"] != "network");
        }
        documents.push(document);
    }
    frozen!("json-check", outline(&documents, &closed("check")));
    let output = plugin.run(&[&plan[..], &["-o", "junit"]].concat()).await?.expect(1)?;
    let filters = vec![
        (r#"(?s)( name="gpus")(/>|>.*?</testcase>)"#, "$1>[depends on nodes]</testcase>"),
        (r#"message="[^"]*""#, r#"message="[text]""#),
        (r">[^<>]*[^<>\s][^<>]*<", ">[text]<"),
    ];
    insta::with_settings!({ filters => filters }, {
        frozen!("junit", output.out);
    });
    namespace.delete().await
}
