//! File names that are too long for names derived from them, or that conflict with another file or folder.

use std::path::Path;

use kubectl_dynamo_tests::hub::Repository;
use model_fetcher_contract::ProgressEvent;

use crate::support::{FetcherOutput, HubFixture, MODEL, pseudo_random_bytes, write_files};

const RECORDS: &str = ".cache/huggingface/download";

/// Returns a fixture whose model has these files in addition to its own.
async fn scene_with(paths: &[&str]) -> HubFixture {
    let mut scene = HubFixture::new().await;
    for path in paths {
        scene.files.insert((*path).to_owned(), pseudo_random_bytes(path.len() as u64, 1000));
    }
    scene.republish();
    scene
}

/// Adds the revision `v2`, which has `file` at `path` and no other file at or below `removed`.
fn add_revision(scene: &mut HubFixture, removed: &str, path: &str) {
    let mut repository = Repository::from_folder(MODEL, scene.served_folder.path()).unwrap();
    let place = scene.served_folder.path().join(removed);
    let _ = std::fs::remove_file(&place).or_else(|_| std::fs::remove_dir_all(&place));
    scene.files.retain(|file, _| !Path::new(file).starts_with(removed));
    scene.files.insert(path.to_owned(), pseudo_random_bytes(9, 1000));
    write_files(scene.served_folder.path(), &scene.files);
    repository.add_revision("v2", scene.served_folder.path()).unwrap();
    scene.hub.publish(repository);
}

async fn assert_fetches(scene: &HubFixture, arguments: &[&str]) -> FetcherOutput {
    let ended = scene.fetch(arguments).await;
    ended.assert_exit_code(0);
    scene.assert_complete();
    let revision: Vec<&str> = arguments.iter().copied().filter(|word| *word != "--update").collect();
    scene.run("check", &revision).await.assert_exit_code(0);
    scene.run("verify", &revision).await.assert_exit_code(0);
    ended
}

fn warnings(ended: &FetcherOutput) -> Vec<&str> {
    let text = |event: &'_ ProgressEvent| matches!(event, ProgressEvent::Warning { .. });
    let warnings = ended.events.iter().filter(|event| text(event));
    warnings
        .map(|event| match event {
            ProgressEvent::Warning { text } => text.as_str(),
            _ => "",
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn fetches_names_up_to_the_limit_of_file_systems() {
    let names: Vec<String> = [246, 247, 250, 255].map(|length| "n".repeat(length)).into();
    let nested = format!("{}/{}", "d".repeat(255), "f".repeat(255));
    let mut paths: Vec<&str> = names.iter().map(String::as_str).collect();
    paths.push(&nested);
    let scene = scene_with(&paths).await;
    let ended = assert_fetches(&scene, &[]).await;
    let warnings = warnings(&ended);
    assert!(warnings.len() == 1 && warnings[0].contains("4 files"), "{warnings:?}");
    let records = scene.folder().join(RECORDS);
    assert!(records.join(format!("{}.metadata", names[0])).exists(), "the longest name with a record");
    assert!(records.join("config.json.metadata").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn fetches_a_file_with_the_name_of_the_records_folder() {
    for path in [".cache", ".cache/huggingface"] {
        let scene = scene_with(&[path]).await;
        let ended = assert_fetches(&scene, &[]).await;
        let warnings = warnings(&ended);
        assert!(warnings.len() == 1 && warnings[0].contains("huggingface_hub"), "{path}: {warnings:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fetches_files_whose_records_have_one_name() {
    let scene = scene_with(&["x", "x.metadata/y", "trees"]).await;
    let ended = assert_fetches(&scene, &[]).await;
    assert_eq!(warnings(&ended).len(), 1);
    // Remaining records do not block the next revision.
    let mut scene = scene;
    add_revision(&mut scene, "x.metadata", "x.metadata");
    assert_fetches(&scene, &["--revision", "v2", "--update"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_replaces_a_folder_of_the_revision_before() {
    let mut scene = scene_with(&["part/one.bin2", "part/deep/two.bin2"]).await;
    scene.fetch(&[]).await.assert_exit_code(0);
    add_revision(&mut scene, "part", "part");
    assert_fetches(&scene, &["--revision", "v2", "--update"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_replaces_a_file_of_the_revision_before() {
    let mut scene = scene_with(&["part"]).await;
    scene.fetch(&[]).await.assert_exit_code(0);
    add_revision(&mut scene, "part", "part/deep/one.json");
    assert_fetches(&scene, &["--revision", "v2", "--update"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_replaces_the_records_folder() {
    let mut scene = HubFixture::new().await;
    scene.fetch(&[]).await.assert_exit_code(0);
    assert!(scene.folder().join(RECORDS).is_dir());
    add_revision(&mut scene, ".cache", ".cache");
    assert_fetches(&scene, &["--revision", "v2", "--update"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_others_is_refused_before_the_first_byte() {
    for (path, other) in [("part", "part/notes.txt"), ("part/one.json", "part")] {
        let scene = scene_with(&[path]).await;
        let place = scene.folder().join(other);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(&place, "mine").unwrap();
        let (error, hint) = scene.fetch(&[]).await.assert_exit_code(12).error_and_hint();
        assert!(error.contains("part") && hint.contains("move"), "{error} {hint}");
        assert_eq!(scene.hub.bytes_sent(), 0, "{path}");
        assert_eq!(std::fs::read_to_string(&place).unwrap(), "mine");
    }
}
