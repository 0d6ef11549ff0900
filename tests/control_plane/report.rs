//! The support bundle: everything about a deployment, without secrets.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use flate2::read::GzDecoder;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::Value;

use crate::Shared;
use crate::faults::waiting_up_args;
use crate::plugin::{UP, wait_until_settled};

pub(crate) async fn report_contains_all_objects_and_no_secrets(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "report").await?;
        plugin.run(&[&UP[..], &["--env=API_TOKEN=keep-this-secret"]].concat()).await?.expect(0)?;
        let graphs = dynamo::graphs(namespace.client(), generation, namespace.name());
        wait_until_settled(&graphs, generation, 2).await?;
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("report.tar.gz");
        let file = path.display().to_string();
        let output = plugin.run(&["report", "tiny", "-f", &file]).await?.expect(0)?;
        ensure!(output.out == format!("{file}\n"), "{}", output.out);
        let files = unpack_archive(&path)?;
        let metadata: Value = serde_json::from_str(&files["report.json"])?;
        ensure!(metadata["name"] == "tiny" && metadata["namespace"] == namespace.name(), "{metadata:#}");
        ensure!(
            metadata["kubernetes"].as_str().is_some_and(|version| version.starts_with("1.")),
            "{metadata:#}"
        );
        ensure!(metadata["unseen"].as_array().is_some_and(Vec::is_empty), "{metadata:#}");
        for (name, fact) in [
            ("graph.json", "\"tiny\""),
            ("components.json", "DynamoComponentDeployment"),
            ("workloads.json", "Deployment"),
            ("jobs.json", "fetch-tiny"),
            ("events.txt", "tiny"),
            ("diagnosis.txt", "DynamoGraphDeployment tiny"),
        ] {
            let text = files.get(name).ok_or_else(|| format!("{name} is missing: {:?}", files.keys()))?;
            ensure!(text.contains(fact), "{name} does not contain {fact}: {text}");
        }
        ensure!(files["graph.json"].contains("API_TOKEN"), "{}", files["graph.json"]);
        for (name, text) in &files {
            ensure!(!text.contains("keep-this-secret"), "{name} contains a secret: {text}");
        }
        namespace.delete().await?;
    }
    Ok(())
}

pub(crate) async fn report_works_before_the_graph_exists_and_names_an_unwritable_path(
    shared: Arc<Shared>,
) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "report-fetch").await?;
    let result = plugin.run(&["report", "tiny"]).await?.expect(1)?;
    ensure!(result.err.contains("KD0106") && result.out.is_empty(), "{}{}", result.out, result.err);
    let mut up = plugin.start(&waiting_up_args())?;
    up.wait_for_line("model fetch: waiting").await?;
    let folder = tempfile::tempdir()?;
    let mut report = plugin.command(&["report", "tiny"]);
    let output = report.current_dir(folder.path()).output().await?;
    let name = String::from_utf8(output.stdout)?;
    let files = unpack_archive(&folder.path().join(name.trim()))?;
    ensure!(files["jobs.json"].contains("fetch-tiny") && files["graph.json"] == "[]\n", "{files:?}");

    let result = plugin.run(&["report", "tiny", "--file=/absent/report.tar.gz"]).await?.expect(1)?;
    for fact in ["error [KD0011]", "cannot write /absent/report.tar.gz", "hint: "] {
        ensure!(result.err.contains(fact), "{fact} is not in {}", result.err);
    }
    drop(up);
    namespace.delete().await
}

/// Returns the files of an archive by their names without the folder.
fn unpack_archive(path: &Path) -> Outcome<BTreeMap<String, String>> {
    let mut archive = tar::Archive::new(GzDecoder::new(std::fs::File::open(path)?));
    let mut files = BTreeMap::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut text = String::new();
        entry.read_to_string(&mut text)?;
        files.insert(name, text);
    }
    Ok(files)
}
