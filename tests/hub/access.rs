//! Tokens, gated and private repositories, and missing names.

use kubectl_dynamo_tests::hub::{Fault, FaultKind, HubHost, Repository, RepositoryAccess};

use crate::support::{HubFixture, MODEL};

const TOKEN: &str = "hf_test_secret";

async fn fixture_with_access(access: RepositoryAccess) -> HubFixture {
    let fixture = HubFixture::new().await;
    fixture
        .hub
        .publish(Repository::from_folder(MODEL, fixture.served_folder.path()).unwrap().with_access(access));
    fixture
}

fn with_token(mut fixture: HubFixture) -> HubFixture {
    fixture.variables.push(("HF_TOKEN", TOKEN.to_owned()));
    fixture
}

#[tokio::test(flavor = "multi_thread")]
async fn gated_model_without_token_links_to_license_page() {
    let fixture = fixture_with_access(RepositoryAccess::Gated { token: TOKEN.into() }).await;
    let (error, hint) = fixture.fetch(&[]).await.assert_exit_code(10).error_and_hint();
    assert!(error.contains("is gated"), "{error}");
    assert!(hint.contains(&format!("accept the license at {}/{MODEL}", fixture.hub.url)), "{hint}");
    assert_eq!(fixture.hub.bytes_sent(), 0, "no file content is sent before access is checked");
}

#[tokio::test(flavor = "multi_thread")]
async fn token_grants_gated_access_and_is_sent_to_hub_only() {
    let fixture = with_token(fixture_with_access(RepositoryAccess::Gated { token: TOKEN.into() }).await);
    let output = fixture.fetch(&[]).await;
    output.assert_exit_code(0);
    fixture.assert_complete();
    assert!(!output.stderr.contains(TOKEN));
    for request in fixture.hub.requests() {
        let has_token = request.authorization.is_some();
        assert_eq!(has_token, request.host == HubHost::Hub, "{request:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_token_exits_10_and_is_redacted() {
    let mut fixture = fixture_with_access(RepositoryAccess::Gated { token: "another".into() }).await;
    fixture.variables.push(("HF_TOKEN", TOKEN.to_owned()));
    let output = fixture.fetch(&[]).await;
    let (_, hint) = output.assert_exit_code(10).error_and_hint();
    assert!(hint.contains("the token in HF_TOKEN"), "{hint}");
    assert!(!output.stderr.contains(TOKEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn private_model_requires_token() {
    let fixture = fixture_with_access(RepositoryAccess::Private { token: TOKEN.into() }).await;
    let (_, hint) = fixture.fetch(&[]).await.assert_exit_code(10).error_and_hint();
    assert!(hint.contains("set HF_TOKEN"), "{hint}");
    let fixture = with_token(fixture);
    fixture.fetch(&[]).await.assert_exit_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_token_from_hf_token_path() {
    let mut fixture = fixture_with_access(RepositoryAccess::Private { token: TOKEN.into() }).await;
    let token_path = fixture.volume.path().join("token");
    std::fs::write(&token_path, format!("{TOKEN}\n")).unwrap();
    fixture.variables.push(("HF_TOKEN_PATH", token_path.to_str().unwrap().to_owned()));
    fixture.fetch(&[]).await.assert_exit_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_revision_file_or_repository_exits_11() {
    let fixture = with_token(HubFixture::new().await);
    let (error, _) = fixture.fetch(&["--revision", "nowhere"]).await.assert_exit_code(11).error_and_hint();
    assert!(error.contains("revision \"nowhere\" of repository"), "{error}");
    let (error, _) = fixture.fetch(&["--include", "*.nothing"]).await.assert_exit_code(11).error_and_hint();
    assert!(error.contains("*.nothing"), "{error}");
    let (error, _) = fixture.fetch_model("acme/absent").await.assert_exit_code(11).error_and_hint();
    assert!(error.contains("repository \"acme/absent\" not found"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn repository_name_with_different_case_is_redirected() {
    let fixture = with_token(fixture_with_access(RepositoryAccess::Gated { token: TOKEN.into() }).await);
    fixture.fetch_model("Acme/Tiny-Model").await.assert_exit_code(0);
    assert!(fixture.volume.path().join("Acme/Tiny-Model/config.json").exists());
}

/// The user name and the password in the URL of a mirror are sent to the mirror and stand nowhere else.
#[tokio::test(flavor = "multi_thread")]
async fn password_of_the_endpoint_is_sent_and_never_shown() {
    let mut fixture = HubFixture::new().await;
    let log_path = fixture.volume.path().join("termination-log");
    std::fs::write(&log_path, "").unwrap();
    let endpoint = fixture.hub.url.replacen("http://", "http://us%40er:s3cret@", 1);
    fixture.variables.push(("MODEL_FETCHER_ENDPOINT", endpoint));
    fixture.variables.push(("MODEL_FETCHER_TERMINATION_LOG", log_path.to_str().unwrap().to_owned()));
    fixture.variables.push(("HF_TOKEN", TOKEN.to_owned()));
    let output = fixture.fetch(&[]).await;
    output.assert_exit_code(0);
    assert_eq!(fixture.receipt().endpoint, fixture.hub.url);
    for request in fixture.hub.requests() {
        let expected = (request.host == HubHost::Hub).then_some("Basic dXNAZXI6czNjcmV0");
        assert_eq!(request.authorization.as_deref(), expected, "{request:?}");
    }
    let mut shown = output.stderr;
    let faults = ["/revision/", "/tree/"].map(|path| (path, FaultKind::Status(404, Vec::new())));
    let more = [("/tree/", FaultKind::Status(401, Vec::new())), ("", FaultKind::Status(503, Vec::new()))];
    for (path, kind) in faults.into_iter().chain(more) {
        fixture.hub.inject(Fault::always(HubHost::Hub, path, kind));
        let failed = fixture.fetch(&["--update", "--revision", "x", "--stall-timeout", "1s"]).await;
        assert_ne!(failed.exit_code(), 0);
        shown.push_str(&failed.stderr);
        shown.push_str(&std::fs::read_to_string(&log_path).unwrap());
        fixture.hub.clear_faults();
    }
    let invalid = fixture.fetch(&["--update", "--endpoint", "ftp://us%40er:s3cret@host"]).await;
    invalid.assert_exit_code(2);
    shown.push_str(&invalid.stderr);
    shown.push_str(&std::fs::read_to_string(fixture.folder().join(".model-fetcher.json")).unwrap());
    assert!(!shown.contains("s3cret") && !shown.contains("us%40er"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_requires_a_password_is_explained() {
    let fixture = HubFixture::new().await;
    let basic = vec![("www-authenticate", "Basic realm=\"mirror\"".to_owned())];
    fixture.hub.inject(Fault::always(HubHost::Hub, "", FaultKind::Status(401, basic)));
    let (error, _) = fixture.fetch(&[]).await.assert_exit_code(10).error_and_hint();
    assert!(error.contains("a user name and a password in the URL"), "{error}");
}
