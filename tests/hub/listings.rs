//! The list of files: its end, its proof, names that not every system stores, and mirrors that lack a part of it.

use kubectl_dynamo_tests::hub::repository::HubFile;
use kubectl_dynamo_tests::hub::{Fault, FaultKind, HubHost, HubSettings, Repository};
use serde_json::{Value, json};

use crate::support::{HubFixture, MODEL, write_files};

/// A model whose listing has several pages.
async fn paged_fixture() -> HubFixture {
    HubFixture::with_settings(HubSettings { page_entries: 2, ..HubSettings::default() }, 1 << 16).await
}

fn inject_link(fixture: &HubFixture, link: &'static str) {
    fixture.hub.inject(Fault::always(HubHost::Hub, "/tree/", FaultKind::Link(link)));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_legal_spelling_of_the_next_page_is_followed() {
    for link in [
        "<{next}>; rel=next",
        "<{next}>; Rel=\"next\"",
        "<{next}>; rel=\"next last\"",
        "<{next}>; rel = \"next\"",
        "<{next}>; rel='next'",
        "</style.css>; rel=\"preload\"; as=style, <{next}>; rel=\"next\"",
        "<{next}>; title=\"a, b\"; rel=\"next\"",
    ] {
        let fixture = paged_fixture().await;
        inject_link(&fixture, link);
        fixture.fetch(&[]).await.assert_exit_code(0);
        fixture.assert_complete();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_ends_early_is_never_complete() {
    let fixture = paged_fixture().await;
    let commit = commit_of(&fixture);
    for revision in ["main", &commit] {
        inject_link(&fixture, "");
        let output = fixture.fetch(&["--revision", revision]).await;
        let (error, hint) = output.assert_exit_code(14).error_and_hint();
        assert!(error.contains("is not complete") && error.contains("lacks 5 files"), "{error}");
        assert!(hint.contains(&fixture.hub.url), "{hint}");
        fixture.run("check", &["--revision", revision]).await.assert_exit_code(1);
        fixture.hub.clear_faults();
    }
    fixture.fetch(&[]).await.assert_exit_code(0);
    inject_link(&fixture, "");
    fixture.run("verify", &["--online"]).await.assert_exit_code(14);
}

/// A receipt of a fetcher that accepted a listing without a shard.
#[tokio::test(flavor = "multi_thread")]
async fn check_and_fetch_reject_a_receipt_without_a_shard() {
    let fixture = HubFixture::new().await;
    fixture.fetch(&[]).await.assert_exit_code(0);
    let mut receipt = fixture.receipt();
    receipt.files.retain(|file| file.path != "model-00002-of-00002.safetensors");
    let path = fixture.folder().join(model_fetcher_contract::RECEIPT_FILE);
    std::fs::write(path, serde_json::to_vec(&receipt).unwrap()).unwrap();
    std::fs::remove_file(fixture.folder().join("model-00002-of-00002.safetensors")).unwrap();
    let (error, _) = fixture.run("check", &[]).await.assert_exit_code(1).error_and_hint();
    assert!(error.contains("names \"model-00002-of-00002.safetensors\""), "{error}");
    fixture.run("verify", &[]).await.assert_exit_code(1);
    fixture.run("verify", &["--online"]).await.assert_exit_code(1);
    fixture.fetch(&[]).await.assert_exit_code(0);
    fixture.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_names_an_absent_shard_is_never_complete() {
    // Numbered shards are missed before a byte is sent, other names once the index is verified.
    for (absent, other) in [
        ("model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors"),
        ("part-b.safetensors", "part-a.safetensors"),
    ] {
        let mut fixture = HubFixture::new().await;
        let index = json!({ "weight_map": { "a": other, "b": absent } });
        fixture.files.retain(|path, _| !path.ends_with(".safetensors"));
        fixture.files.insert("model.safetensors.index.json".into(), index.to_string().into_bytes());
        fixture.files.insert(other.into(), vec![1; 1000]);
        fixture.republish();
        let (error, _) = fixture.fetch(&[]).await.assert_exit_code(14).error_and_hint();
        assert!(error.contains(absent) && error.contains("does not contain"), "{error}");
        fixture.run("check", &[]).await.assert_exit_code(1);
        // An index that is not selected does not decide.
        fixture.fetch(&["--exclude", "*.index.json"]).await.assert_exit_code(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_this_file_system_stores_are_fetched() {
    let mut fixture = HubFixture::new().await;
    let names =
        ["logs/events.2024-05-04T12:34:56.txt", "onnx\\model.txt", "Icon\r", "aux.json", "a\u{1b}[2Jb", "b."];
    for name in names {
        fixture.files.insert(name.into(), name.as_bytes().to_vec());
    }
    fixture.republish();
    let output = fixture.fetch(&["--progress", "plain"]).await;
    output.assert_exit_code(0);
    assert!(!output.stderr.contains('\u{1b}') && !output.stderr.contains('\r'), "{:?}", output.stderr);
    fixture.assert_complete();
    fixture.run("check", &[]).await.assert_exit_code(0);
    std::fs::remove_dir_all(fixture.folder()).unwrap();
    let (error, _) = fixture.fetch(&["--names", "portable"]).await.assert_exit_code(14).error_and_hint();
    assert!(error.contains("Windows") || error.contains("control character"), "{error}");
    let portable = ["--names", "portable", "--exclude", "logs/*,onnx*,Icon*,aux*,a\u{1b}*,b."];
    fixture.fetch(&portable).await.assert_exit_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_were_uploaded_by_mistake_are_skipped() {
    let fixture = HubFixture::new().await;
    let files = [(".cache/huggingface/.gitignore".to_owned(), b"*".to_vec())].into();
    write_files(fixture.served_folder.path(), &files);
    fixture.hub.publish(Repository::from_folder(MODEL, fixture.served_folder.path()).unwrap());
    fixture.fetch(&[]).await.assert_exit_code(0);
    fixture.assert_complete();
    fixture.run("check", &[]).await.assert_exit_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_excluded_never_decides() {
    for path in ["../escaped", "a\0b", "no-hash.txt"] {
        let fixture = HubFixture::new().await;
        let mut repository = Repository::from_folder(MODEL, fixture.served_folder.path()).unwrap();
        let commit = repository.references["main"].clone();
        let mut files = repository.commits[&commit].clone();
        let blob_id = if path == "no-hash.txt" { "short".to_owned() } else { "0".repeat(40) };
        files.push(HubFile { path: path.into(), blob_id, ..files[0].clone() });
        repository.add_files("main", files);
        fixture.hub.publish(repository);
        fixture.fetch(&[]).await.assert_exit_code(14);
        assert_eq!(fixture.hub.bytes_sent(), 0, "{path:?}");
        fixture.fetch(&["--exclude", "../*,a?b,no-hash*"]).await.assert_exit_code(0);
        fixture.assert_no_corrupt_files();
    }
}

/// An index may name a shard without a hash that the user excluded. The receipt knows it, so `check` accepts it.
#[tokio::test(flavor = "multi_thread")]
async fn an_excluded_shard_without_a_hash_does_not_end_in_a_loop() {
    const SHARD: &str = "model-00002-of-00002.safetensors";
    let fixture = HubFixture::new().await;
    let mut repository = Repository::from_folder(MODEL, fixture.served_folder.path()).unwrap();
    let commit = repository.references["main"].clone();
    let mut files = repository.commits[&commit].clone();
    for file in files.iter_mut().filter(|file| file.path == SHARD) {
        (file.blob_id, file.sha256) = ("short".into(), None);
    }
    repository.add_files("main", files);
    fixture.hub.publish(repository);
    let excluded = ["--exclude", SHARD];
    fixture.fetch(&excluded).await.assert_exit_code(0);
    fixture.run("check", &excluded).await.assert_exit_code(0);
    fixture.hub.reset_statistics();
    fixture.fetch(&excluded).await.assert_exit_code(0);
    assert_eq!(fixture.hub.requests(), []);
    let (error, _) = fixture.run("check", &[]).await.assert_exit_code(1).error_and_hint();
    assert!(error.contains("was excluded"), "{error}");
}

/// Returns the hub's description of `main`, with the sizes and hashes of `?blobs=true` if `blobs` is set.
fn description(fixture: &HubFixture, blobs: bool) -> Value {
    let repository = Repository::from_folder(MODEL, fixture.served_folder.path()).unwrap();
    let commit = repository.references["main"].clone();
    let siblings: Vec<Value> = repository.commits[&commit].iter().map(|file| file.sibling(blobs)).collect();
    json!({ "id": MODEL, "sha": commit, "siblings": siblings })
}

fn commit_of(fixture: &HubFixture) -> String {
    description(fixture, false)["sha"].as_str().unwrap().to_owned()
}

fn inject_answer(fixture: &HubFixture, path: &str, answer: &Value) {
    let kind = FaultKind::Answer(200, Vec::new(), answer.to_string().into_bytes());
    fixture.hub.inject(Fault::always(HubHost::Hub, path, kind));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_without_trees_is_used_if_it_lists_hashes() {
    let fixture = HubFixture::new().await;
    fixture.hub.inject(Fault::always(HubHost::Hub, "/tree/", FaultKind::Status(404, Vec::new())));
    let output = fixture.fetch(&[]).await;
    output.assert_exit_code(0);
    assert!(!output.stderr.contains("not proven"), "the description names all files: {}", output.stderr);
    fixture.assert_complete();
    std::fs::remove_dir_all(fixture.folder()).unwrap();
    // The second description lacks a file that the first one names.
    let mut shorter = description(&fixture, true);
    shorter["siblings"].as_array_mut().unwrap().retain(|file| file["rfilename"] != "config.json");
    let shorter = FaultKind::Answer(200, Vec::new(), shorter.to_string().into_bytes());
    fixture.hub.inject(Fault::always(HubHost::Hub, "/revision/", shorter).after(1));
    let (error, _) = fixture.fetch(&[]).await.assert_exit_code(14).error_and_hint();
    assert!(error.contains("config.json"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_mirror_lacks_is_named() {
    let named = |fixture: HubFixture, expected: &'static str| async move {
        let (error, hint) = fixture.fetch(&[]).await.assert_exit_code(14).error_and_hint();
        assert!(error.contains(expected) && error.contains(&fixture.hub.url), "{error}");
        assert!(!error.contains("not found") && !hint.contains("--exclude"), "{error} {hint}");
        assert_eq!(fixture.hub.bytes_sent(), 0);
    };
    let fixture = HubFixture::new().await;
    fixture.hub.inject(Fault::always(HubHost::Hub, "/tree/", FaultKind::Status(404, Vec::new())));
    inject_answer(&fixture, "/revision/", &description(&fixture, false));
    named(fixture, "neither the tree of a commit nor the hashes").await;
    let fixture = HubFixture::new().await;
    let mut without_commit = description(&fixture, true);
    without_commit["sha"].take();
    inject_answer(&fixture, "/revision/", &without_commit);
    named(fixture, "does not report the commit").await;
    let fixture = HubFixture::new().await;
    let mut with_name = description(&fixture, true);
    with_name["sha"] = json!("main");
    inject_answer(&fixture, "/revision/", &with_name);
    named(fixture, "\"main\" as the commit").await;
    let fixture = HubFixture::new().await;
    fixture.hub.inject(Fault::always(
        HubHost::Hub,
        "/revision/",
        FaultKind::Answer(200, vec![], b"7".to_vec()),
    ));
    named(fixture, "not the JSON of a revision").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_forms_of_commits_and_hashes_are_accepted() {
    // The keys of `?blobs=true` in a tree, and a commit in uppercase.
    let fixture = HubFixture::new().await;
    let description = description(&fixture, true);
    let mut with_uppercase = description.clone();
    with_uppercase["sha"] = json!(commit_of(&fixture).to_uppercase());
    inject_answer(&fixture, "/revision/", &with_uppercase);
    let siblings = description["siblings"].as_array().unwrap().iter();
    let tree: Vec<Value> = siblings
        .map(|file| {
            json!({ "type": "file", "path": file["rfilename"], "size": file["size"], "oid": file["blobId"],
                "lfs": file["lfs"] })
        })
        .collect();
    inject_answer(&fixture, "/tree/", &json!(tree));
    fixture.fetch(&[]).await.assert_exit_code(0);
    fixture.assert_complete();
}

/// A mirror whose trees have no hashes of files in git.
#[tokio::test(flavor = "multi_thread")]
async fn hashes_that_a_tree_lacks_are_taken_from_the_description() {
    let fixture = HubFixture::new().await;
    let siblings = description(&fixture, true)["siblings"].as_array().unwrap().clone();
    let entry = |file: &Value| {
        let mut entry = json!({ "type": "file", "path": file["rfilename"], "size": file["size"] });
        if let Some(lfs) = file.get("lfs") {
            entry["lfs"] = lfs.clone();
        }
        entry
    };
    inject_answer(&fixture, "/tree/", &siblings.iter().map(entry).collect());
    fixture.fetch(&[]).await.assert_exit_code(0);
    fixture.assert_complete();
    std::fs::remove_dir_all(fixture.folder()).unwrap();
    inject_answer(&fixture, "/revision/", &description(&fixture, false));
    let (error, _) = fixture.fetch(&[]).await.assert_exit_code(14).error_and_hint();
    assert!(error.contains("is listed without a hash"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_reports_a_commit_without_its_tree_is_named() {
    let fixture = HubFixture::new().await;
    let code = vec![("x-error-code", "RevisionNotFound".to_owned())];
    fixture.hub.inject(Fault::always(HubHost::Hub, "/tree/", FaultKind::Status(404, code)));
    let (error, _) = fixture.fetch(&[]).await.assert_exit_code(14).error_and_hint();
    assert!(error.contains(&commit_of(&fixture)) && error.contains("does not serve its files"), "{error}");
}

/// A mirror that serves trees but no descriptions: a pinned commit needs only its tree.
#[tokio::test(flavor = "multi_thread")]
async fn pinned_commit_is_fetched_from_a_mirror_without_descriptions() {
    let fixture = HubFixture::new().await;
    let commit = commit_of(&fixture);
    fixture.hub.inject(Fault::always(HubHost::Hub, "/revision/", FaultKind::Status(404, Vec::new())));
    let output = fixture.fetch(&["--revision", &commit]).await;
    output.assert_exit_code(0);
    assert!(output.stderr.contains("not proven"), "{}", output.stderr);
    fixture.assert_complete();
    let (_, hint) = fixture.fetch(&["--update"]).await.assert_exit_code(11).error_and_hint();
    assert!(hint.contains("If this is a mirror"), "{hint}");
}
