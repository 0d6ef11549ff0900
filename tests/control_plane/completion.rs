//! Completion asks the real API server for the names that can stand at the cursor.

use std::path::Path;
use std::sync::Arc;

use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure, programs};

use crate::Shared;

/// What completion answers to these words: a candidate a line, then cobra's directive.
fn answer(shared: &Shared, kubeconfig: &Path, words: &[&str]) -> Outcome<String> {
    let mut command = shared.cluster.command_in_namespace(programs::kubectl_dynamo());
    let asked = command.env("KUBECONFIG", kubeconfig).arg("__complete").args(words).output()?;
    ensure!(asked.stderr.is_empty(), "{words:?}: {}", String::from_utf8_lossy(&asked.stderr));
    Ok(String::from_utf8(asked.stdout)?)
}

pub(crate) async fn offers_the_names_of_what_is_there(shared: Arc<Shared>) -> Outcome {
    let generation = GraphGeneration::V1Beta1;
    let place = shared.place(generation, "completion").await?;
    let graphs = dynamo::graphs(place.client(), generation, place.name());
    for name in ["one", "other"] {
        dynamo::apply(&graphs, &dynamo::aggregated(name, "model-cache", "tiny")).await?;
    }
    let plane = shared.cluster.control_plane(generation)?;
    let kubeconfig = plane.admin_kubeconfig();
    for (words, expected) in [
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
        let offered = answer(&shared, &kubeconfig, words)?;
        ensure!(offered == expected, "{words:?}: {offered:?} instead of {expected:?}");
    }
    let stranger = plane.kubeconfig_of(shared.cluster.authority(), "completion-stranger")?;
    let offered = answer(&shared, &stranger, &["status", "-n", "completion", ""])?;
    ensure!(offered == ":4\n", "without the right to list: {offered:?}");
    place.delete().await
}
