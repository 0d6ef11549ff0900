//! The file that is given to somebody who helps: everything there is to see of a deployment, without secrets.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use flate2::read::GzDecoder;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::Value;

use crate::Shared;
use crate::faults::waiting;
use crate::plugin::{UP, wait_until_settled};

pub(crate) async fn a_report_has_all_that_is_seen_and_no_secret(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (place, plugin) = shared.user(generation, "report").await?;
        plugin.run(&[&UP[..], &["--env=API_TOKEN=for-nobody-else"]].concat()).await?.expect(0)?;
        let graphs = dynamo::graphs(place.client(), generation, place.name());
        wait_until_settled(&graphs, generation, 2).await?;
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("report.tar.gz");
        let file = path.display().to_string();
        let said = plugin.run(&["report", "tiny", "-f", &file]).await?.expect(0)?;
        ensure!(said.out == format!("{file}\n"), "{}", said.out);
        let files = unpacked(&path)?;
        let about: Value = serde_json::from_str(&files["report.json"])?;
        ensure!(about["name"] == "tiny" && about["namespace"] == place.name(), "{about:#}");
        ensure!(about["kubernetes"].as_str().is_some_and(|version| version.starts_with("1.")), "{about:#}");
        ensure!(about["unseen"].as_array().is_some_and(Vec::is_empty), "{about:#}");
        for (name, fact) in [
            ("graph.json", "\"tiny\""),
            ("components.json", "DynamoComponentDeployment"),
            ("workloads.json", "Deployment"),
            ("jobs.json", "fetch-tiny"),
            ("events.txt", "tiny"),
            ("diagnosis.txt", "DynamoGraphDeployment tiny"),
        ] {
            let text = files.get(name).ok_or_else(|| format!("{name} is missing: {:?}", files.keys()))?;
            ensure!(text.contains(fact), "{name} has no {fact}: {text}");
        }
        ensure!(files["graph.json"].contains("API_TOKEN"), "{}", files["graph.json"]);
        for (name, text) in &files {
            ensure!(!text.contains("for-nobody-else"), "{name} tells a secret: {text}");
        }
        place.delete().await?;
    }
    Ok(())
}

pub(crate) async fn a_report_is_there_before_the_graph_and_says_where_it_cannot_be_written(
    shared: Arc<Shared>,
) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "report-fetch").await?;
    let said = plugin.run(&["report", "tiny"]).await?.expect(1)?;
    ensure!(said.err.contains("KD0106") && said.out.is_empty(), "{}{}", said.out, said.err);
    let mut up = plugin.start(&waiting())?;
    up.until("model fetch: waiting").await?;
    let folder = tempfile::tempdir()?;
    let mut report = plugin.command(&["report", "tiny"]);
    let output = report.current_dir(folder.path()).output().await?;
    let name = String::from_utf8(output.stdout)?;
    let files = unpacked(&folder.path().join(name.trim()))?;
    ensure!(files["jobs.json"].contains("fetch-tiny") && files["graph.json"] == "[]\n", "{files:?}");

    let said = plugin.run(&["report", "tiny", "--file=/absent/report.tar.gz"]).await?.expect(1)?;
    for fact in ["error [KD0011]", "/absent/report.tar.gz cannot be written", "hint: "] {
        ensure!(said.err.contains(fact), "{fact} is not in {}", said.err);
    }
    drop(up);
    place.delete().await
}

/// The files of an archive by their names without the folder.
fn unpacked(path: &Path) -> Outcome<BTreeMap<String, String>> {
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
