//! Requests to registries on loopback, and what `check`, `render`, and `version` report about images.

use base64::Engine;
use kubectl_dynamo::registry::{RegistryClient, RegistryError};
use kubectl_dynamo_core::plan::model_cache::{FETCHER_IMAGE, IS_RELEASED};
use kubectl_dynamo_core::registry::{RegistryCredentials, RegistryImage};
use kubectl_dynamo_tests::cuttable_proxy::ConnectProxy;
use kubectl_dynamo_tests::hub::TlsIdentity;
use kubectl_dynamo_tests::plugin::{IMAGE_CHECK, Plugin, PluginOutput};
use kubectl_dynamo_tests::registry::{LOGIN, TestRegistry};
use serde_json::{Value, json};

use crate::requests::TestFolder;
use crate::scripted_server::{GRAPHS, KindScript, ScriptedServer};

fn login() -> RegistryCredentials {
    RegistryCredentials { username: LOGIN.0.into(), password: LOGIN.1.into() }
}

async fn look_up(
    image: &str,
    credentials: Option<&RegistryCredentials>,
) -> Result<Vec<String>, RegistryError> {
    let image = RegistryImage::parse(image);
    RegistryClient::new(&image)?.architectures(credentials).await
}

#[tokio::test(flavor = "multi_thread")]
async fn registry_shows_an_image_only_with_the_right_login() {
    let registry = TestRegistry::start().await.expect("a registry");
    let wrong = RegistryCredentials { password: "wrong".into(), ..login() };
    let both: Result<&[&str], RegistryError> = Ok(&["amd64", "arm64"]);
    for (repository, anonymous, with_login, with_wrong_login) in [
        ("open", Ok(&["amd64", "arm64"][..]), Ok(&["amd64", "arm64"][..]), Ok(&["amd64", "arm64"][..])),
        ("token", Ok(&["amd64", "arm64"][..]), Ok(&["amd64", "arm64"][..]), Ok(&["amd64", "arm64"][..])),
        ("private", Err(RegistryError::Denied), both, Err(RegistryError::Denied)),
        ("basic", Err(RegistryError::Denied), Ok(&["amd64", "arm64"][..]), Err(RegistryError::Denied)),
        ("forbidden", Err(RegistryError::Denied), Err(RegistryError::Denied), Err(RegistryError::Denied)),
    ] {
        let image = registry.image(repository);
        for (credentials, expected) in
            [(None, anonymous), (Some(login()), with_login), (Some(wrong.clone()), with_wrong_login)]
        {
            let expected = expected.map(|list| list.iter().map(|one| (*one).to_owned()).collect());
            assert_eq!(look_up(&image, credentials.as_ref()).await, expected, "{image} {credentials:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_responses_do_not_count_as_a_missing_image() {
    let registry = TestRegistry::start().await.expect("a registry");
    assert_eq!(look_up(&registry.image("missing"), None).await, Err(RegistryError::NotFound));
    assert_eq!(look_up(&registry.image("moved"), None).await.map(|found| found.len()), Ok(2));
    for (repository, part) in [
        ("busy", "status 429"),
        ("odd", "does not respond with a manifest"),
        ("large", "too large"),
        ("loop", "too many redirects"),
        ("unknown-login", "unknown kind of login"),
    ] {
        let Err(RegistryError::Inconclusive(reason)) = look_up(&registry.image(repository), None).await
        else {
            panic!("{repository} does not show whether the image exists")
        };
        assert!(reason.contains(part), "{repository}: {reason}");
    }
    let address = registry.address();
    drop(registry);
    let gone = look_up(&format!("{address}/open:1"), None).await;
    assert!(matches!(gone, Err(RegistryError::Inconclusive(_))), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_not_sent_to_the_storage_of_a_registry() {
    let registry = TestRegistry::start().await.expect("a registry");
    assert_eq!(look_up(&registry.image("single"), Some(&login())).await, Ok(vec!["amd64".to_owned()]));
    let requests = registry.requests();
    let of = |part: &str| requests.iter().filter(|one| one.url.contains(part)).collect::<Vec<_>>();
    let (blob, storage) = (of("/blobs/"), of("/storage"));
    assert!(
        blob.iter().all(|one| one.authorization.as_deref().is_some_and(|sent| sent.starts_with("Bearer ")))
    );
    assert_eq!(storage.iter().map(|one| one.authorization.as_deref()).collect::<Vec<_>>(), [None]);
    let with_password: Vec<&str> = requests
        .iter()
        .filter(|one| one.authorization.as_deref().is_some_and(|sent| sent.starts_with("Basic ")))
        .map(|one| one.url.as_str())
        .collect();
    assert!(
        with_password.iter().all(|url| url.contains("/token?")) && !with_password.is_empty(),
        "{requests:?}"
    );
}

/// A Secret for pulling images from a registry.
fn pull_secret(name: &str, registry: &str, password: &str) -> Value {
    let auths = json!({ "auths": { registry: { "username": LOGIN.0, "password": password } } });
    let encoded = base64::engine::general_purpose::STANDARD.encode(auths.to_string());
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": { "name": name, "namespace": "serving" }, "data": { ".dockerconfigjson": encoded },
    })
}

/// A cluster with these pull Secrets, of which the ServiceAccount `default` has one.
async fn cluster(secrets: Vec<Value>, of_account: &str) -> (Plugin, tempfile::TempDir) {
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default", "namespace": "serving" },
        "imagePullSecrets": [{ "name": of_account }],
    });
    let objects = |objects| KindScript { objects, ..KindScript::default() };
    let kinds = [
        (GRAPHS, KindScript::default()),
        ("secrets", objects(secrets)),
        ("serviceaccounts", objects(vec![account])),
    ];
    let (_server, plugin, home) = ScriptedServer::start(&kinds).await;
    (plugin, home)
}

/// Runs `check` for a new deployment with these images, which asks registries but not the hub.
async fn check(plugin: &Plugin, image: &str, fetcher: &str, more: &[&str]) -> (PluginOutput, Vec<Value>) {
    let args = ["check", "acme/tiny", "--backend=mocker", "--release=1.6.1", "-o=json", "--image", image];
    let args = [&args[..], &["--fetcher-image", fetcher], more].concat();
    let mut command = plugin.command(&args);
    command.env_remove(IMAGE_CHECK).env("HF_HUB_OFFLINE", "1");
    let output = command.output().await.expect("it runs");
    let (out, err) =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8")).into();
    let document: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    let findings = document["findings"].as_array().cloned().unwrap_or_default();
    let of_images =
        findings.into_iter().filter(|one| one["name"].as_str().is_some_and(|name| name.ends_with("-image")));
    (PluginOutput { code: output.status.code(), out, err }, of_images.collect())
}

/// The code and the outcome of a finding.
fn summary<'a>(findings: &'a [Value], name: &str) -> (Option<&'a str>, Option<&'a str>) {
    let found = findings.iter().find(|one| one["name"] == name);
    let text = |field: &str| found.and_then(|found| found[field].as_str());
    (text("code"), text("outcome"))
}

#[tokio::test(flavor = "multi_thread")]
async fn check_reports_images_that_cannot_be_pulled() {
    let registry = TestRegistry::start().await.expect("a registry");
    let host = registry.address().to_string();
    let secrets = vec![
        pull_secret("right", &host, LOGIN.1),
        pull_secret("wrong", &host, "old-password"),
        pull_secret("other", "other.test", LOGIN.1),
    ];
    let (plugin, _home) = cluster(secrets, "other").await;
    let (open, private) = (registry.image("open"), registry.image("private"));
    for (image, flags, code, outcome) in [
        (&open, &[][..], None, Some("passed")),
        (&registry.image("missing"), &[], Some("KD0503"), Some("warning")),
        (&private, &[], Some("KD0504"), Some("warning")),
        (&private, &["--image-pull-secret=wrong"], Some("KD0504"), Some("warning")),
        (&private, &["--image-pull-secret=absent", "--image-pull-secret=right"], None, Some("passed")),
        (&registry.image("busy"), &[], Some("KD0537"), Some("warning")),
        (&registry.image("slow"), &[], Some("KD0537"), Some("warning")),
    ] {
        let (output, findings) = check(&plugin, &open, image, flags).await;
        assert_eq!(summary(&findings, "fetcher-image"), (code, outcome), "{image} {flags:?} {findings:#?}");
        assert_eq!(summary(&findings, "runtime-image"), (None, Some("passed")), "{findings:#?}");
        for secret in [LOGIN.1, "old-password", "token-for"] {
            assert!(
                !format!("{}{}", output.out, output.err).contains(secret),
                "{}{}",
                output.out,
                output.err
            );
        }
    }
    let (_, findings) = check(&plugin, &registry.image("missing"), &open, &[]).await;
    assert_eq!(summary(&findings, "runtime-image"), (Some("KD0503"), Some("warning")), "{findings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_the_service_account_are_used_only_for_their_registry() {
    let registry = TestRegistry::start().await.expect("a registry");
    let host = registry.address().to_string();
    let (plugin, _home) = cluster(vec![pull_secret("of-account", &host, LOGIN.1)], "of-account").await;
    let (_, findings) = check(&plugin, &registry.image("open"), &registry.image("private"), &[]).await;
    assert_eq!(summary(&findings, "fetcher-image"), (None, Some("passed")), "{findings:#?}");

    let (plugin, _home) = cluster(vec![pull_secret("of-account", "other.test", LOGIN.1)], "of-account").await;
    let before = registry.requests().len();
    let (_, findings) = check(&plugin, &registry.image("open"), &registry.image("private"), &[]).await;
    assert_eq!(summary(&findings, "fetcher-image"), (Some("KD0504"), Some("warning")), "{findings:#?}");
    let sent = &registry.requests()[before..];
    let is_basic = |sent: &Option<String>| sent.as_deref().is_some_and(|sent| sent.starts_with("Basic "));
    assert!(!sent.iter().any(|one| is_basic(&one.authorization)), "{sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn registry_with_a_private_certificate_authority_is_asked_through_the_proxy() {
    let identity = TlsIdentity::generate(&["registry.test"]).expect("an identity");
    let (plugin, home) = cluster(vec![pull_secret("right", "registry.test", LOGIN.1)], "right").await;
    let authority = identity.write_authority(home.path()).expect("the authority");
    for (realm_scheme, image, code) in [
        ("https", "registry.test/private:1", None),
        ("https", "registry.test/missing:1", Some("KD0503")),
        ("https", "registry.test/downgrade:1", Some("KD0537")),
        // The password is not sent to a token service without TLS.
        ("http", "registry.test/private:1", Some("KD0537")),
    ] {
        let registry = TestRegistry::start_with_tls(&identity, realm_scheme).await.expect("a registry");
        let proxy = ConnectProxy::start_to(registry.address()).await.expect("a proxy");
        let args = ["check", "acme/tiny", "--backend=mocker", "--release=1.6.1", "-o=json", "--image", image];
        let mut command = plugin.command(
            &[&args[..], &["--fetcher-image=registry.test/open:1", "--image-pull-secret=right"]].concat(),
        );
        command.env_remove(IMAGE_CHECK).env("HF_HUB_OFFLINE", "1");
        command.env("HTTPS_PROXY", proxy.url()).env("NO_PROXY", "127.0.0.1").env("SSL_CERT_FILE", &authority);
        let output = command.output().await.expect("it runs");
        let document: Value = serde_json::from_slice(&output.stdout).expect("a document");
        let findings = document["findings"].as_array().cloned().unwrap_or_default();
        assert_eq!(summary(&findings, "fetcher-image"), (None, Some("passed")), "{findings:#?}");
        assert_eq!(summary(&findings, "runtime-image").0, code, "{realm_scheme} {image} {findings:#?}");
        assert!(proxy.connections() > 0);
        let is_basic = |sent: &Option<String>| sent.as_deref().is_some_and(|sent| sent.starts_with("Basic "));
        let sends_password = registry.requests().iter().any(|one| is_basic(&one.authorization));
        assert_eq!(sends_password, image.contains("private") && realm_scheme == "https");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_are_not_asked_if_the_check_is_off() {
    let registry = TestRegistry::start().await.expect("a registry");
    let (plugin, _home) = cluster(Vec::new(), "none").await;
    let missing = registry.image("missing");
    let args = ["check", "acme/tiny", "--backend=mocker", "--release=1.6.1", "--image", &missing];
    let output = plugin.command(&args).env("HF_HUB_OFFLINE", "1").output().await.expect("it runs");
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(out.contains("image-tag") && !out.contains("runtime-image"), "{out}");
    assert_eq!(registry.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn unreleased_build_warns_about_its_default_image() {
    let folder = TestFolder::new();
    let render = ["render", "acme/tiny", "--backend=mocker", "--release=1.6.1", "--graph-api=v1beta1"];
    let warnings = |more: &[&str]| {
        let output = folder.run(&[&render[..], more].concat());
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        err.matches("KD0536").count()
    };
    let expected = usize::from(!IS_RELEASED);
    assert_eq!(warnings(&[]), expected);
    assert_eq!(warnings(&["--fetcher-image=registry.test/fetcher:1"]), 0);
    assert_eq!(warnings(&["--registry-mirror=mirror.test"]), 0);
    let text = folder.run_successfully(&["version"]);
    assert!(text.contains(&format!("\nFetcher image {FETCHER_IMAGE}")), "{text}");
    assert_eq!(text.matches("KD0536").count(), expected, "{text}");
    let document: Value =
        serde_json::from_str(&folder.run_successfully(&["version", "-o=json"])).expect("JSON");
    assert_eq!(
        (&document["isReleased"], &document["fetcherImage"]),
        (&IS_RELEASED.into(), &FETCHER_IMAGE.into())
    );

    let (plugin, _home) = cluster(Vec::new(), "none").await;
    let output = plugin.run(&["check", "acme/tiny", "--backend=mocker", "--release=1.6.1", "-o=json"]).await;
    let output = output.expect("it runs");
    assert_eq!(output.out.matches("\"KD0536\"").count(), expected, "{}", output.out);
}
