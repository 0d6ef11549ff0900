//! What goes wrong on the way. After each fault: no wrong byte under a final name, and the fetch gets through or says
//! why it cannot.

use std::time::Duration;

use kubectl_dynamo_tests::hub::repository::HubFile;
use kubectl_dynamo_tests::hub::{Fault, FaultKind, Host, Repository, Settings};

use crate::support::{IN_SOCKETS, MODEL, Scene, noise, tls};

const MIB: u64 = 1 << 20;
const SHARD: &str = "model-00001-of-00002.safetensors";

/// The faults that pass, as each is seen by the first requests of a shard.
fn passing_faults() -> Vec<(&'static str, FaultKind)> {
    let long = Duration::from_secs(300);
    vec![
        ("reset", FaultKind::Reset { after: MIB }),
        ("reset at once", FaultKind::Reset { after: 0 }),
        ("early close", FaultKind::CloseEarly { after: MIB + 1 }),
        ("stall", FaultKind::Stall { after: MIB, pause: long }),
        ("flipped byte", FaultKind::FlipByte { at: 2 * MIB }),
        ("unavailable", FaultKind::Status(503, Vec::new())),
        ("unavailable with a time", FaultKind::Status(503, vec![("retry-after", "1".into())])),
        ("bad gateway", FaultKind::Status(502, Vec::new())),
        ("forbidden", FaultKind::Status(403, Vec::new())),
        ("other range", FaultKind::OtherRange),
        ("longer body", FaultKind::LongerBody { by: 4096 }),
        ("shorter body", FaultKind::ShorterBody { by: 4096 }),
    ]
}

async fn survives(settings: Settings, name: &str, kind: FaultKind) {
    let mut scene = Scene::with(settings, 9 * MIB as usize).await;
    scene.variables.push(("HF_HUB_DOWNLOAD_TIMEOUT", "1".into()));
    scene.hub.inject(Fault::once(Host::Cdn, SHARD, kind));
    let ended = scene.fetch(&[]).await;
    assert_eq!(ended.code(), 0, "{name}: {}", ended.stderr);
    scene.assert_complete();
    // A wrong file comes again whole; all else only from where it broke, give or take what sockets hold.
    scene.assert_sent_again_at_most(if name == "flipped byte" { 12 * MIB } else { 9 * MIB });
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_that_pass_are_survived() {
    for (name, kind) in passing_faults() {
        survives(Settings::default(), name, kind).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_that_pass_are_survived_over_tls() {
    for (name, kind) in passing_faults() {
        survives(tls(), name, kind).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_flipped_twice_is_refused_with_both_hashes() {
    refuses_a_byte_flipped_twice(Scene::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_flipped_twice_is_refused_over_tls() {
    refuses_a_byte_flipped_twice(Scene::over_tls().await).await;
}

async fn refuses_a_byte_flipped_twice(scene: Scene) {
    scene.hub.inject(Fault::always(Host::Cdn, SHARD, FaultKind::FlipByte { at: 1000 }));
    let (error, _) = scene.fetch(&[]).await.assert_code(14).failure();
    assert!(error.starts_with(SHARD) && error.contains("expected") && error.contains("got"), "{error}");
    assert!(!scene.folder().join(SHARD).exists());
    scene.run("check", &[]).await.assert_code(1);
    // The wrong shard came twice in vain; of the rest, only what was in sockets when the run ended comes again.
    scene.assert_recovers(2 * scene.files[SHARD].len() as u64 + IN_SOCKETS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_of_a_small_file_is_refused_too() {
    let scene = Scene::new().await;
    scene.hub.inject(Fault::always(Host::Hub, "vocab.json", FaultKind::FlipByte { at: 7 }));
    let (error, _) = scene.fetch(&[]).await.assert_code(14).failure();
    assert!(error.starts_with("tokenizer/vocab.json"), "{error}");
    assert!(!scene.folder().join("tokenizer/vocab.json").exists());
    // It came twice in vain, while the shards were on their way.
    scene.assert_recovers(IN_SOCKETS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_stays_down_ends_with_code_13_and_the_next_run_completes() {
    gives_up_on_a_hub_that_stays_down(Scene::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_stays_down_ends_with_code_13_over_tls() {
    gives_up_on_a_hub_that_stays_down(Scene::over_tls().await).await;
}

async fn gives_up_on_a_hub_that_stays_down(scene: Scene) {
    scene.hub.inject(Fault::always(Host::Cdn, "", FaultKind::Status(503, Vec::new())));
    let (error, hint) = scene.fetch(&["--stall-timeout", "2s"]).await.assert_code(13).failure();
    assert!(error.contains("503") && hint.contains("continues"), "{error} {hint}");
    // Small files that were on their way to the disk when it ended.
    scene.assert_recovers(10_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listening_is_code_13() {
    let mut scene = Scene::new().await;
    scene.variables.push(("MODEL_FETCHER_ENDPOINT", "http://127.0.0.1:9".into()));
    let (error, _) = scene.fetch(&["--stall-timeout", "1s"]).await.assert_code(13).failure();
    assert!(error.contains("127.0.0.1:9") && error.contains("no connection"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_is_waited_for_as_told() {
    waits_as_told(Scene::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_is_waited_for_over_tls() {
    waits_as_told(Scene::over_tls().await).await;
}

async fn waits_as_told(scene: Scene) {
    let limit = vec![("ratelimit", "\"api\";r=0;t=1".to_owned())];
    scene.hub.inject(Fault::once(Host::Hub, "/tree/", FaultKind::Status(429, limit)));
    let retry_after = vec![("retry-after", "1".to_owned())];
    scene.hub.inject(Fault::once(Host::Hub, "/revision/", FaultKind::Status(429, retry_after)));
    let ended = scene.fetch(&[]).await;
    ended.assert_code(0);
    assert_eq!(ended.stderr.matches("rate_limit").count(), 2, "{}", ended.stderr);
    let tree = scene.hub.requests().into_iter().filter(|request| request.path.contains("/tree/")).count();
    assert_eq!(tree, 2, "one refused, one answered");
    scene.assert_sent_again_at_most(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_address_is_renewed() {
    renews_an_expired_address(Settings::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_address_is_renewed_over_tls() {
    renews_an_expired_address(tls()).await;
}

async fn renews_an_expired_address(settings: Settings) {
    let settings = Settings { connection_rate: Some(8 * MIB), ..settings };
    let scene = Scene::with(settings, 20 * MIB as usize).await;
    let child = scene.command("fetch", &["--connections", "2"]).spawn().unwrap();
    while scene.hub.bytes_sent() < 4 * MIB {
        tokio::task::yield_now().await;
    }
    scene.hub.expire_addresses();
    crate::support::Ended::of(child).await.assert_code(0);
    scene.assert_complete();
    assert!(scene.hub.requests().iter().any(|request| request.status == 403), "an address had expired");
    scene.assert_sent_again_at_most(MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_ranges_works_too() {
    let scene = Scene::with(Settings::default(), 20 * MIB as usize).await;
    scene.hub.inject(Fault::always(Host::Cdn, "", FaultKind::IgnoreRange));
    scene.fetch(&[]).await.assert_code(0);
    scene.assert_complete();
    // What was on the way, and in sockets, until it was seen that ranges are ignored.
    scene.assert_sent_again_at_most(scene.total_bytes() * 3 / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_in_circles_end() {
    let scene = Scene::new().await;
    let circle = format!("{}/{MODEL}/resolve/main/config.json", scene.hub.url);
    scene.hub.inject(Fault::always(Host::Hub, "config.json", FaultKind::Redirect(circle)));
    let (error, _) = scene.fetch(&[]).await.assert_code(13).failure();
    assert!(error.contains("circles"), "{error}");
    scene.assert_recovers(IN_SOCKETS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_follows_no_redirect_to_another_host_or_scheme() {
    let mut scene = Scene::new().await;
    scene.variables.push(("HF_TOKEN", "hf_secret".into()));
    let stranger = Scene::new().await;
    let target = format!("{}/api/resolve-cache/models/{MODEL}/x/config.json", stranger.hub.url);
    scene.hub.inject(Fault::always(Host::Hub, "config.json", FaultKind::Redirect(target)));
    scene.fetch(&["--stall-timeout", "1s"]).await;
    let seen = stranger.hub.requests();
    assert!(!seen.is_empty() && seen.iter().all(|request| request.authorization.is_none()), "{seen:?}");
    scene.hub.heal();
    let file = Fault::always(Host::Hub, "config.json", FaultKind::Redirect("file:///etc/passwd".into()));
    scene.hub.inject(file);
    scene.fetch(&["--stall-timeout", "1s"]).await.assert_code(13);
    scene.assert_recovers(IN_SOCKETS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_in_pages_is_read_to_its_end() {
    let scene = Scene::with(Settings { page_entries: 2, ..Settings::default() }, MIB as usize).await;
    scene.fetch(&[]).await.assert_code(0);
    scene.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_repeats_is_refused() {
    let scene = Scene::with(Settings { page_entries: 2, ..Settings::default() }, MIB as usize).await;
    scene.hub.inject(Fault::always(Host::Hub, "/tree/", FaultKind::RepeatPage));
    let (error, _) = scene.fetch(&[]).await.assert_code(14).failure();
    assert!(error.contains("repeat"), "{error}");
    scene.assert_recovers(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_never_ends_is_refused() {
    let scene = Scene::with(Settings { page_entries: 2, ..Settings::default() }, MIB as usize).await;
    scene.hub.inject(Fault::always(Host::Hub, "/tree/", FaultKind::EndlessPages));
    let (error, _) = scene.fetch(&[]).await.assert_code(14).failure();
    assert!(error.contains("never end"), "{error}");
    assert_eq!(scene.hub.bytes_sent(), 0);
    scene.assert_recovers(0).await;
}

/// Two names that differ in case only: fine on this volume, refused where they would be one file.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_differ_in_case_only_are_refused_on_request() {
    let mut scene = Scene::new().await;
    scene.files.insert("CONFIG.json".into(), b"{}".to_vec());
    crate::support::write_files(scene.served.path(), &scene.files);
    scene.hub.publish(Repository::from_folder(MODEL, scene.served.path()).unwrap());
    let (error, _) = scene.fetch(&["--names", "portable"]).await.assert_code(14).failure();
    assert!(error.contains("CONFIG.json") && error.contains("differ in case only"), "{error}");
    scene.assert_recovers(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_leaves_the_folder_is_refused() {
    for path in [
        "../escaped",
        "/tmp/escaped",
        "a/../../escaped",
        "a\\b",
        "C:/x",
        "nul.txt",
        "a\0b",
        ".model-fetcher.json",
    ] {
        let scene = Scene::new().await;
        let place = scene.served.path().join("config.json");
        let size = std::fs::metadata(&place).unwrap().len();
        let file =
            HubFile { path: path.into(), place, size, blob_id: "0".repeat(40), sha256: None, xet_hash: None };
        let mut repository = Repository::from_folder(MODEL, scene.served.path()).unwrap();
        repository.add_files("main", vec![file]);
        scene.hub.publish(repository);
        let (error, _) = scene.fetch(&[]).await.assert_code(14).failure();
        assert!(error.contains("the listing of"), "{path}: {error}");
        assert!(!scene.volume.path().join("escaped").exists());
        scene.hub.publish(Repository::from_folder(MODEL, scene.served.path()).unwrap());
        scene.assert_recovers(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_symbolic_link_in_the_folder_is_refused() {
    let scene = Scene::new().await;
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(scene.folder()).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), scene.folder().join("tokenizer")).unwrap();
    let (error, hint) = scene.fetch(&[]).await.assert_code(12).failure();
    assert!(error.contains("symbolic link") && hint.starts_with("remove it"), "{error} {hint}");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    std::fs::remove_file(scene.folder().join("tokenizer")).unwrap();
    scene.assert_recovers(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_changes_between_two_runs_is_followed() {
    let mut scene = Scene::new().await;
    scene.hub.inject(Fault::always(Host::Cdn, SHARD, FaultKind::Status(503, Vec::new())));
    scene.fetch(&["--stall-timeout", "1s"]).await.assert_code(13);
    scene.hub.heal();
    scene.files.insert("config.json".into(), noise(9, 300));
    scene.files.insert("added.json".into(), noise(10, 40));
    crate::support::write_files(scene.served.path(), &scene.files);
    scene.hub.publish(Repository::from_folder(MODEL, scene.served.path()).unwrap());
    scene.fetch(&[]).await.assert_code(0);
    scene.assert_complete();
    // config.json came in both versions.
    scene.assert_sent_again_at_most(300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_used_except_where_it_is_not_to_be() {
    let mut scene = Scene::new().await;
    let hub = scene.hub.url.clone();
    scene.variables.extend([
        ("HTTP_PROXY", hub),
        ("NO_PROXY", "127.0.0.1".to_owned()),
        ("MODEL_FETCHER_ENDPOINT", "http://hub.invalid".to_owned()),
    ]);
    scene.fetch(&["--stall-timeout", "2s"]).await.assert_code(0);
    scene.assert_complete();
}
