//! Tokens, gates and names that are not there.

use kubectl_dynamo_tests::hub::{Access, Host, Repository};

use crate::support::{MODEL, Scene};

const TOKEN: &str = "hf_test_secret";

async fn with_access(access: Access) -> Scene {
    let scene = Scene::new().await;
    scene.hub.publish(Repository::from_folder(MODEL, scene.served.path()).unwrap().with_access(access));
    scene
}

fn with_token(mut scene: Scene) -> Scene {
    scene.variables.push(("HF_TOKEN", TOKEN.to_owned()));
    scene
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gated_model_without_a_token_names_the_page_of_its_licence() {
    let scene = with_access(Access::Gated { token: TOKEN.into() }).await;
    let (error, hint) = scene.fetch(&[]).await.assert_code(10).failure();
    assert!(error.contains("is gated"), "{error}");
    assert!(hint.contains(&format!("accept the licence at {}/{MODEL}", scene.hub.url)), "{hint}");
    assert_eq!(scene.hub.bytes_sent(), 0, "no byte before the gate was tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_the_gate_and_goes_to_the_hub_alone() {
    let scene = with_token(with_access(Access::Gated { token: TOKEN.into() }).await);
    let ended = scene.fetch(&[]).await;
    ended.assert_code(0);
    scene.assert_complete();
    assert!(!ended.stderr.contains(TOKEN));
    for request in scene.hub.requests() {
        let sent = request.authorization.is_some();
        assert_eq!(sent, request.host == Host::Hub, "{request:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_code_10_and_is_not_shown() {
    let mut scene = with_access(Access::Gated { token: "another".into() }).await;
    scene.variables.push(("HF_TOKEN", TOKEN.to_owned()));
    let ended = scene.fetch(&[]).await;
    let (_, hint) = ended.assert_code(10).failure();
    assert!(hint.contains("the token in HF_TOKEN"), "{hint}");
    assert!(!ended.stderr.contains(TOKEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_model_is_unknown_to_strangers() {
    let scene = with_access(Access::Private { token: TOKEN.into() }).await;
    let (_, hint) = scene.fetch(&[]).await.assert_code(10).failure();
    assert!(hint.contains("set HF_TOKEN"), "{hint}");
    let scene = with_token(scene);
    scene.fetch(&[]).await.assert_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_read_from_the_file_that_is_named() {
    let mut scene = with_access(Access::Private { token: TOKEN.into() }).await;
    let place = scene.volume.path().join("token");
    std::fs::write(&place, format!("{TOKEN}\n")).unwrap();
    scene.variables.push(("HF_TOKEN_PATH", place.to_str().unwrap().to_owned()));
    scene.fetch(&[]).await.assert_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_code_11() {
    let scene = with_token(Scene::new().await);
    let (error, _) = scene.fetch(&["--revision", "nowhere"]).await.assert_code(11).failure();
    assert!(error.contains("no revision nowhere"), "{error}");
    let (error, _) = scene.fetch(&["--include", "*.nothing"]).await.assert_code(11).failure();
    assert!(error.contains("*.nothing"), "{error}");
    let (error, _) = scene.fetch_model("acme/absent").await.assert_code(11).failure();
    assert!(error.contains("acme/absent does not exist"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_in_other_letters_leads_to_the_model() {
    let scene = with_token(with_access(Access::Gated { token: TOKEN.into() }).await);
    scene.fetch_model("Acme/Tiny-Model").await.assert_code(0);
    assert!(scene.volume.path().join("Acme/Tiny-Model/config.json").exists());
}
