//! Which files a fetch selects for each layout of a repository.

use crate::support::HubFixture;

/// Publishes a model of these files, each with its name as content.
async fn fixture_of(paths: &[&str]) -> HubFixture {
    let mut fixture = HubFixture::new().await;
    fixture.files = paths.iter().map(|path| ((*path).to_owned(), path.as_bytes().to_vec())).collect();
    fixture.republish();
    fixture
}

fn fetched(fixture: &HubFixture) -> Vec<String> {
    fixture.receipt().files.into_iter().map(|file| file.path).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_that_nothing_repeats_are_fetched() {
    for paths in [
        &["BlankEN/model.safetensors", "config.json", "flow.pt", "llm.pt"][..],
        &["2_Dense/config.json", "2_Dense/pytorch_model.bin", "model.safetensors", "modules.json"],
        &["config.json", "model-00001-of-00002.safetensors", "pytorch_model.bin"],
        &["adapter_model.bin", "campplus.onnx", "model.safetensors"],
    ] {
        let fixture = fixture_of(paths).await;
        fixture.fetch(&[]).await.assert_exit_code(0);
        assert_eq!(fetched(&fixture), paths);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_weights_are_left_out() {
    let fixture = fixture_of(&[
        "config.json",
        "consolidated.safetensors",
        "model.safetensors",
        "onnx/model.onnx",
        "optimizer.pt",
        "original/consolidated.00.pth",
        "params.json",
        "pytorch_model.bin",
    ])
    .await;
    fixture.fetch(&[]).await.assert_exit_code(0);
    assert_eq!(fetched(&fixture), ["config.json", "model.safetensors", "params.json"]);
    assert_eq!(fixture.receipt().excluded.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn load_format_of_the_engine_selects_the_copy() {
    let fixture =
        fixture_of(&["config.json", "consolidated.safetensors", "model.safetensors", "params.json"]).await;
    let mistral = ["--load-format", "mistral"];
    fixture.fetch(&mistral).await.assert_exit_code(0);
    assert_eq!(fetched(&fixture), ["config.json", "consolidated.safetensors", "params.json"]);
    fixture.run("check", &mistral).await.assert_exit_code(0);
    // Another deployment shares the folder and loads the other copy. Both stay complete.
    fixture.fetch(&[]).await.assert_exit_code(0);
    fixture.assert_complete();
    fixture.hub.reset_statistics();
    fixture.fetch(&mistral).await.assert_exit_code(0);
    fixture.fetch(&[]).await.assert_exit_code(0);
    assert_eq!(fixture.hub.requests(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn load_format_is_read_from_the_environment() {
    let mut fixture = fixture_of(&["consolidated.safetensors", "model.safetensors"]).await;
    fixture.variables.push(("MODEL_FETCHER_LOAD_FORMAT", "mistral".into()));
    fixture.fetch(&[]).await.assert_exit_code(0);
    assert_eq!(fetched(&fixture), ["consolidated.safetensors"]);
}

/// A typing error is fetched as `auto`, because plugins of vLLM have formats of their own.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_load_format_causes_a_warning() {
    let fixture = fixture_of(&["consolidated.safetensors", "model.safetensors"]).await;
    let output = fixture.fetch(&["--load-format", "mistrl"]).await;
    assert!(
        output.assert_exit_code(0).stderr.contains("load format \\\"mistrl\\\" is not known"),
        "{}",
        output.stderr
    );
    assert_eq!(fetched(&fixture), ["model.safetensors"]);
    let output = fixture.fetch(&["--load-format", "runai_streamer"]).await;
    assert!(!output.assert_exit_code(0).stderr.contains("not known"), "{}", output.stderr);
}
