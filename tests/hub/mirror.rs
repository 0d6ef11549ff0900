//! Models from a folder instead of a hub, and mirrors below a path.

use kubectl_dynamo_tests::hub::{Host, Settings};
use model_fetcher::contract::RECEIPT_FILE;

use crate::support::{MODEL, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_fetched_is_a_source_without_a_network() {
    let first = Scene::new().await;
    first.fetch(&[]).await.assert_code(0);
    let second = Scene::new().await;
    let mirror = format!("file://{}", first.volume.path().display());
    let ended = second.fetch(&["--endpoint", &mirror]).await;
    assert_eq!(ended.assert_code(0).bytes_fetched(), second.total_bytes());
    second.assert_complete();
    assert_eq!(second.receipt().commit, first.receipt().commit);
    assert_eq!(second.hub.requests(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_mirror_is_refused_by_hash() {
    let first = Scene::new().await;
    first.fetch(&[]).await.assert_code(0);
    let shard = first.folder().join("model-00002-of-00002.safetensors");
    let mut content = std::fs::read(&shard).unwrap();
    content[70_000] ^= 4;
    std::fs::write(&shard, content).unwrap();
    let second = Scene::new().await;
    let mirror = format!("file://{}", first.volume.path().display());
    let (error, _) = second.fetch(&["--endpoint", &mirror]).await.assert_code(14).failure();
    assert!(error.starts_with("model-00002-of-00002.safetensors"), "{error}");
    second.assert_nothing_wrong();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_without_the_model_or_with_a_hostile_receipt_is_refused() {
    let first = Scene::new().await;
    first.fetch(&[]).await.assert_code(0);
    let mirror = format!("file://{}", first.volume.path().display());
    let second = Scene::new().await;
    let (error, _) = second.fetch(&["--endpoint", "file:///nowhere"]).await.assert_code(11).failure();
    assert!(error.contains(MODEL) && error.contains("file:///nowhere"), "{error}");
    let (error, _) =
        second.fetch(&["--endpoint", &mirror, "--revision", "v9"]).await.assert_code(11).failure();
    assert!(error.contains("v9"), "{error}");
    let mut receipt = first.receipt();
    receipt.files[0].path = "../escaped".into();
    std::fs::write(first.folder().join(RECEIPT_FILE), serde_json::to_vec(&receipt).unwrap()).unwrap();
    let (error, _) = second.fetch(&["--endpoint", &mirror]).await.assert_code(14).failure();
    assert!(error.contains("escaped"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_below_a_path_is_asked_below_it_alone() {
    let settings = Settings { path_prefix: "/mirrors/hub".into(), page_entries: 2, ..Settings::default() };
    let mut scene = Scene::with(settings, 3 << 20).await;
    scene.variables.push(("HF_TOKEN", "hf_secret".into()));
    assert!(scene.hub.url.ends_with("/mirrors/hub"));
    scene.fetch(&[]).await.assert_code(0);
    scene.assert_complete();
    let requests = scene.hub.requests();
    let mut hub = requests.iter().filter(|request| request.host == Host::Hub);
    assert!(
        hub.all(|request| request.path.starts_with("/mirrors/hub/") && request.status < 400),
        "{requests:?}"
    );
    scene.run("verify", &["--online"]).await.assert_code(0);
    scene.assert_sent_again_at_most(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_asks_nothing_and_says_what_is_missing() {
    let mut scene = Scene::new().await;
    scene.variables.push(("HF_HUB_OFFLINE", "1".into()));
    let (error, hint) = scene.fetch(&[]).await.assert_code(1).failure();
    assert!(error.contains("network is not to be used") && hint.contains("--offline"), "{error} {hint}");
    assert_eq!(scene.hub.requests(), []);
    scene.variables.pop();
    scene.fetch(&[]).await.assert_code(0);
    scene.hub.forget_requests();
    scene.fetch(&["--offline"]).await.assert_code(0);
    assert_eq!(scene.hub.requests(), []);
}
