//! Completion queries the real API server for the names that are possible at the cursor.

use std::path::Path;
use std::sync::Arc;

use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure, programs};

use crate::Shared;

/// Returns the completion of these words: one candidate per line, then cobra's directive.
fn complete(shared: &Shared, kubeconfig: &Path, args: &[&str]) -> Outcome<String> {
    let mut command = shared.cluster.command_in_namespace(programs::kubectl_dynamo());
    let output = command.env("KUBECONFIG", kubeconfig).arg("__complete").args(args).output()?;
    ensure!(output.stderr.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

pub(crate) async fn completes_names_of_existing_objects(shared: Arc<Shared>) -> Outcome {
    let generation = GraphGeneration::V1Beta1;
    let namespace = shared.namespace(generation, "completion").await?;
    let graphs = dynamo::graphs(namespace.client(), generation, namespace.name());
    for name in ["one", "other"] {
        dynamo::apply(&graphs, &dynamo::aggregated_graph(name, "model-cache", "tiny")).await?;
    }
    let plane = shared.cluster.control_plane(generation)?;
    let kubeconfig = plane.admin_kubeconfig();
    for (args, expected) in [
        (["status", "-n", "completion", ""].as_slice(), "one\nother\n:4\n"),
        (&["endpoint", "-n", "completion", "ot"], "other\n:4\n"),
        (&["chat", "-n", "completion", "on"], "one\n:4\n"),
        (&["chat", "-n", "completion", "one", ""], ":4\n"),
        (&["chat", "-n", "completion", "--url", "http://127.0.0.1/v1", ""], ":4\n"),
        (&["down", "-n", "completion", "one", "ot"], "other\n:4\n"),
        (&["logs", "--namespace=completion", "on"], "one\n:4\n"),
        (&["rollout", "undo", "-n", "completion", "on"], "one\n:4\n"),
        (&["up", "-n", "completion", "ot"], "other\n:4\n"),
        (&["diff", "-n", "completion", "on"], "one\n:4\n"),
        (&["status", ""], ":4\n"),
        (&["list", "-n", "complet"], "completion\n:4\n"),
    ] {
        let candidates = complete(&shared, &kubeconfig, args)?;
        ensure!(candidates == expected, "{args:?}: {candidates:?} instead of {expected:?}");
    }
    let unprivileged = plane.write_user_kubeconfig(shared.cluster.authority(), "completion-stranger")?;
    let candidates = complete(&shared, &unprivileged, &["status", "-n", "completion", ""])?;
    ensure!(candidates == ":4\n", "without the permission to list: {candidates:?}");
    namespace.delete().await
}
