//! A fetch that goes well, the receipt, and what the second one costs.

use kubectl_dynamo_tests::hub::{Host, Identity, Settings};
use model_fetcher::contract::ProgressEvent;

use crate::support::{MODEL, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn a_model_arrives_byte_for_byte() {
    let scene = Scene::new().await;
    let ended = scene.fetch(&[]).await;
    ended.assert_code(0);
    scene.assert_complete();
    assert_eq!(ended.bytes_fetched(), scene.total_bytes());
    let receipt = scene.receipt();
    assert_eq!((receipt.repository.as_str(), receipt.revision.as_str()), (MODEL, "main"));
    assert_eq!(receipt.commit.len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_arrives_over_tls() {
    let identity = Identity::generate(&["127.0.0.1"]).unwrap();
    let scene = Scene::with(Settings { identity: Some(identity), ..Settings::default() }, 1 << 20).await;
    assert!(scene.hub.url.starts_with("https://"));
    scene.fetch(&[]).await.assert_code(0);
    scene.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_nobody_vouches_for_ends_it_at_once() {
    let mut scene = Scene::over_tls().await;
    scene.variables.clear();
    let (error, hint) = scene.fetch(&[]).await.assert_code(13).failure();
    assert!(error.contains("127.0.0.1") && error.contains("not trusted"), "{error}");
    assert!(hint.contains("SSL_CERT_FILE"), "{hint}");
    assert_eq!(scene.hub.requests(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_fetch_asks_nothing() {
    let scene = Scene::new().await;
    scene.fetch(&[]).await.assert_code(0);
    scene.hub.forget_requests();
    let second = scene.fetch(&[]).await;
    assert_eq!(second.assert_code(0).bytes_fetched(), 0);
    scene.run("check", &[]).await.assert_code(0);
    scene.run("verify", &[]).await.assert_code(0);
    assert_eq!(scene.hub.requests(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_costs_two_calls_and_each_file_its_resolve() {
    let scene = Scene::new().await;
    scene.fetch(&["--connections", "4"]).await.assert_code(0);
    let requests = scene.hub.requests();
    let hub = requests.iter().filter(|request| request.host == Host::Hub);
    let api = hub.clone().filter(|request| request.path.starts_with("/api/models/")).count();
    let resolves = hub.clone().filter(|request| request.path.contains("/resolve/")).count();
    // The empty file needs no request at all.
    assert_eq!((api, resolves), (2, scene.files.len() - 1));
    scene.hub.forget_requests();
    std::fs::remove_dir_all(scene.folder()).unwrap();
    let commit = requests.iter().find_map(|request| request.path.split("/tree/").nth(1)).unwrap().to_owned();
    scene.fetch(&["--revision", &commit]).await.assert_code(0);
    let api =
        scene.hub.requests().into_iter().filter(|request| request.path.starts_with("/api/models/")).count();
    assert_eq!(api, 1, "a pinned commit is not resolved");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_what_is_wrong() {
    let scene = Scene::new().await;
    let (error, hint) = scene.run("check", &[]).await.assert_code(1).failure();
    assert!(error.contains("no receipt") && hint.contains("model-fetcher fetch"), "{error} {hint}");
    scene.fetch(&[]).await.assert_code(0);
    let shard = scene.folder().join("model-00001-of-00002.safetensors");
    std::fs::write(&shard, b"short").unwrap();
    let (error, _) = scene.run("check", &[]).await.assert_code(1).failure();
    assert!(error.contains("model-00001-of-00002.safetensors has 5 bytes"), "{error}");
    let ended = scene.fetch(&[]).await;
    let size = scene.files["model-00001-of-00002.safetensors"].len() as u64;
    assert_eq!(ended.assert_code(0).bytes_fetched(), size, "only the damaged file comes again");
    scene.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_a_flipped_bit_that_size_and_time_hide() {
    let scene = Scene::new().await;
    scene.fetch(&[]).await.assert_code(0);
    let place = scene.folder().join("tokenizer/vocab.json");
    let modified = std::fs::metadata(&place).unwrap().modified().unwrap();
    let mut content = std::fs::read(&place).unwrap();
    content[100] ^= 1;
    std::fs::write(&place, content).unwrap();
    std::fs::File::options().write(true).open(&place).unwrap().set_modified(modified).unwrap();
    scene.run("check", &[]).await.assert_code(0);
    let (error, _) = scene.run("verify", &[]).await.assert_code(1).failure();
    assert!(error.contains("tokenizer/vocab.json does not match its hash"), "{error}");
    scene.run("verify", &["--online"]).await.assert_code(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_leave_files_out_and_remember_it() {
    let scene = Scene::new().await;
    scene.fetch(&["--include", "*.json"]).await.assert_code(0);
    assert!(scene.folder().join("tokenizer/vocab.json").exists());
    assert!(!scene.folder().join("model-00001-of-00002.safetensors").exists());
    scene.run("check", &["--include", "*.json"]).await.assert_code(0);
    let (error, _) = scene.run("check", &[]).await.assert_code(1).failure();
    assert!(error.contains("was left out"), "{error}");
    scene.fetch(&[]).await.assert_code(0);
    scene.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_revision_is_left_alone_unless_an_update_is_asked_for() {
    let mut scene = Scene::new().await;
    scene.fetch(&[]).await.assert_code(0);
    let first = scene.receipt().commit;
    let changed = b"{\"model_type\": \"tiny\", \"version\": 2}\n".to_vec();
    scene.files.insert("config.json".into(), changed);
    scene.files.remove("empty.txt");
    std::fs::remove_file(scene.served.path().join("empty.txt")).unwrap();
    crate::support::write_files(scene.served.path(), &scene.files);
    let mut repository =
        kubectl_dynamo_tests::hub::Repository::from_folder(MODEL, scene.served.path()).unwrap();
    let second = repository.add_revision("v2", scene.served.path()).unwrap();
    scene.hub.publish(repository);
    let (error, hint) = scene.fetch(&["--revision", "v2"]).await.assert_code(1).failure();
    assert!(error.contains(&first) && error.contains("v2") && hint.contains("--update"), "{error} {hint}");
    scene.hub.forget_requests();
    let ended = scene.fetch(&["--revision", "v2", "--update"]).await;
    assert_eq!(ended.assert_code(0).bytes_fetched(), scene.files["config.json"].len() as u64);
    assert_eq!(scene.receipt().commit, second);
    assert!(!scene.folder().join("empty.txt").exists(), "a file of the old revision is gone");
    scene.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_the_story_in_order() {
    let scene = Scene::new().await;
    let ended = scene.fetch(&[]).await;
    let events = &ended.assert_code(0).events;
    assert!(matches!(events.first(), Some(ProgressEvent::Started { .. })), "{events:?}");
    assert!(matches!(events.get(1), Some(ProgressEvent::Planned { files: 7, .. })), "{events:?}");
    let verified = events.iter().filter(|event| matches!(event, ProgressEvent::FileVerified { .. })).count();
    assert_eq!(verified, scene.files.len());
    assert!(matches!(events.last(), Some(ProgressEvent::Complete { files: 7, .. })), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_words_are_left_for_kubernetes() {
    let scene = Scene::new().await;
    let place = scene.volume.path().join("termination-log");
    std::fs::write(&place, "").unwrap();
    let log = place.to_str().unwrap();
    scene.run("check", &["--termination-log", log]).await.assert_code(1);
    let text = std::fs::read_to_string(&place).unwrap();
    assert!(text.starts_with("error: ") && text.contains("hint: "), "{text}");
    scene.fetch(&["--termination-log", log, "--progress", "none"]).await.assert_code(0);
    assert!(std::fs::read_to_string(&place).unwrap().starts_with("complete: "));
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_errors_name_the_mistake() {
    let scene = Scene::new().await;
    scene.fetch(&["--conections", "3"]).await.assert_code(2);
    let (error, hint) = scene.fetch(&["--revision", "a..b"]).await.assert_code(2).failure();
    assert!(error.contains("a..b") && hint.contains("--revision main"), "{error} {hint}");
    let (error, _) = scene.fetch(&["--endpoint", "ftp://x"]).await.assert_code(2).failure();
    assert!(error.contains("ftp://x"), "{error}");
}
