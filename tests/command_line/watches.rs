//! Commands that follow changes (`list -w`, `status -w`, `status --wait`, `events -w`) while objects never stop
//! changing, watches fail, or requests fail once.

use std::process::Stdio;
use std::time::Duration;

use kubectl_dynamo_tests::plugin::{Plugin, PluginOutput};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::ChildStdout;
use tokio::time::timeout;

use crate::scripted_server::{COMPONENTS, GRAPHS, KindScript, ScriptedServer, graph};

/// Longer than every run takes, even on a busy machine.
const LONGEST_RUN: Duration = Duration::from_secs(60);

/// A graph that changes more often than the pause that ends a burst.
fn changing_graph() -> KindScript {
    KindScript {
        objects: vec![graph()],
        changes_every: Some(Duration::from_millis(50)),
        ..KindScript::default()
    }
}

fn still_graph() -> KindScript {
    KindScript { objects: vec![graph()], ..KindScript::default() }
}

async fn run(plugin: &Plugin, arguments: &[&str]) -> PluginOutput {
    timeout(LONGEST_RUN, plugin.run(arguments)).await.expect("the command ends").expect("the plugin runs")
}

/// Reads lines until one contains `text` for the given number of times.
async fn wait_for_lines(stdout: ChildStdout, text: &str, times: usize) {
    let mut lines = BufReader::new(stdout).lines();
    let mut found = 0;
    while found < times {
        let line = timeout(LONGEST_RUN, lines.next_line()).await.expect("the command prints");
        let line = line.expect("stdout is text").expect("the command does not end");
        found += usize::from(line.contains(text));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn list_watch_prints_while_objects_change_all_the_time() {
    let (_server, plugin, _home) = ScriptedServer::start(&[(GRAPHS, changing_graph())]).await;
    let mut child = plugin.command(&["list", "--watch"]).stderr(Stdio::null()).spawn().expect("it starts");
    wait_for_lines(child.stdout.take().expect("stdout is piped"), "tiny", 2).await;
    child.kill().await.expect("it can be ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_watch_ends_at_its_timeout_while_objects_change_all_the_time() {
    let (_server, plugin, _home) = ScriptedServer::start(&[(GRAPHS, changing_graph())]).await;
    for flag in ["--watch", "--wait"] {
        let output = run(&plugin, &["status", "tiny", flag, "--timeout", "2s"]).await;
        assert_eq!(output.code, Some(3), "{flag}: {output:?}");
        assert!(output.out.contains("STARTING"), "{flag}: {output:?}");
    }
}

/// Each status needs the events, which are not watched. The graph and the pods come from the watches.
#[tokio::test(flavor = "multi_thread")]
async fn status_watch_does_not_read_watched_objects_again() {
    let (server, plugin, _home) = ScriptedServer::start(&[(GRAPHS, changing_graph())]).await;
    let mut child = plugin.command(&["status", "tiny", "--watch"]).spawn().expect("it starts");
    let several_statuses = async {
        while server.count("list events") < 3 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LONGEST_RUN, several_statuses).await.expect("the status is read again after changes");
    child.kill().await.expect("it can be ended");
    let statuses = server.count("list events");
    for request in [format!("get {GRAPHS}"), "list pods".into(), "list jobs".into()] {
        assert!(server.count(&request) < statuses, "{request}: {} of {statuses}", server.count(&request));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_watch_ends_if_the_deployment_cannot_be_watched() {
    let forbidden = KindScript { is_watch_forbidden: true, ..still_graph() };
    let (_server, plugin, _home) = ScriptedServer::start(&[(GRAPHS, forbidden)]).await;
    for arguments in [&["list", "--watch"][..], &["status", "tiny", "--watch", "--timeout", "50s"]] {
        let output = run(&plugin, arguments).await;
        assert_eq!(output.code, Some(4), "{output:?}");
        assert!(output.err.contains("watch dynamographdeployments"), "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_watch_warns_about_objects_that_cannot_be_watched() {
    let pods = KindScript { is_watch_forbidden: true, ..KindScript::default() };
    let (_server, plugin, _home) = ScriptedServer::start(&[(GRAPHS, still_graph()), ("pods", pods)]).await;
    let output = run(&plugin, &["status", "tiny", "--watch", "--timeout", "3s"]).await;
    assert_eq!(output.code, Some(3), "{output:?}");
    assert!(output.err.contains("changes of Pod objects are not shown"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_continues_after_a_failed_request() {
    // The status of a v1alpha1 graph depends on its components, which the list reads after each change of a graph.
    let overloaded = KindScript { failing_lists: 1, ..KindScript::default() };
    let (server, plugin, _home) =
        ScriptedServer::start(&[(GRAPHS, still_graph()), (COMPONENTS, overloaded)]).await;
    let mut child = plugin.command(&["list", "--watch"]).stderr(Stdio::null()).spawn().expect("it starts");
    wait_for_lines(child.stdout.take().expect("stdout is piped"), "tiny", 1).await;
    child.kill().await.expect("it can be ended");
    assert!(server.count(&format!("list {COMPONENTS}")) >= 2, "a failed list is not repeated");
    assert_eq!(server.count(&format!("list {GRAPHS}")), 1, "the watch knows the graphs");

    // Without a graph, `status` lists the fetch Jobs.
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "status": { "active": 1 },
        "metadata": {
            "name": "fetch-tiny", "namespace": "serving", "uid": "2", "resourceVersion": "1",
            "labels": { "app.kubernetes.io/name": "tiny" },
        },
    });
    let jobs = KindScript { objects: vec![job], failing_lists: 1, ..KindScript::default() };
    let (_server, plugin, _home) = ScriptedServer::start(&[("jobs", jobs)]).await;
    let output = run(&plugin, &["status", "tiny", "--wait", "--timeout", "5s"]).await;
    assert_eq!(output.code, Some(3), "{output:?}");
    assert!(output.out.contains("job/fetch-tiny is running"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_watch_does_not_list_objects_for_each_event() {
    let event = |name: &str, pod: &str| {
        json!({
            "apiVersion": "v1", "kind": "Event", "type": "Normal", "reason": "Pulled", "message": "pulled",
            "metadata": { "name": name, "namespace": "serving", "uid": name, "resourceVersion": "1" },
            "involvedObject": { "kind": "Pod", "name": pod, "uid": pod },
            "lastTimestamp": "2026-11-25T10:00:00Z",
        })
    };
    let pod =
        json!({ "metadata": { "name": "tiny-worker-0", "namespace": "serving", "uid": "tiny-worker-0" } });
    let events = KindScript {
        objects: vec![event("own", "tiny-worker-0"), event("other", "tiny-worker-two-0")],
        changes_every: Some(Duration::from_millis(20)),
        ..KindScript::default()
    };
    let pods = KindScript { objects: vec![pod], ..KindScript::default() };
    let (server, plugin, _home) =
        ScriptedServer::start(&[(GRAPHS, still_graph()), ("events", events), ("pods", pods)]).await;
    let output = run(&plugin, &["events", "tiny"]).await;
    assert!(output.out.contains("pod/tiny-worker-0") && !output.out.contains("two"), "{output:?}");
    let mut child =
        plugin.command(&["events", "tiny", "-w"]).stderr(Stdio::null()).spawn().expect("it starts");
    wait_for_lines(child.stdout.take().expect("stdout is piped"), "pod/tiny-worker-0", 50).await;
    child.kill().await.expect("it can be ended");
    // One list of each run, and one for the object of the other deployment.
    assert!(server.count("list pods") <= 3, "{}", server.count("list pods"));
}
