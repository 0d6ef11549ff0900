//! Which model is served: from the hub, from a folder, or the built-in one.

use std::sync::Arc;

use kubectl_dynamo_tests::hub::{HubSettings, Repository, RepositoryAccess};
use kubectl_dynamo_tests::test_machine::{TestMachine, run_to_end};
use kubectl_dynamo_tests::{Outcome, ensure, model, programs};

use crate::Shared;

const ID: &str = "acme/small";

pub(crate) async fn hub_model_is_fetched_and_served(shared: Arc<Shared>) -> Outcome {
    let folder = tempfile::tempdir()?;
    model::write_model_with_weights(folder.path(), 3 << 20)?;
    let repository = Repository::from_folder(ID, folder.path())?;
    let machine = TestMachine::with_cache(&shared.cache)?;
    let (url, _hub) =
        machine.start_hub(HubSettings { repositories: vec![repository], ..HubSettings::default() })?;
    let cache = machine.home().join("cache");
    std::fs::create_dir(&cache)?;
    std::os::unix::fs::symlink(shared.cache.join("runtimes"), cache.join("runtimes"))?;
    let mut up = machine.command(&["up", "--local", "--detach", ID]);
    run_to_end(up.env("HF_ENDPOINT", url).env("KUBECTL_DYNAMO_CACHE", &cache))?
        .expect(0, &["model fetch: done: acme/small at ", "smoke test: done: 200"])?;
    let fetched = cache.join("models").join(ID);
    for file in ["model.safetensors", "tokenizer.json"] {
        let (fetched_bytes, source_bytes) =
            (std::fs::read(fetched.join(file))?, std::fs::read(folder.path().join(file))?);
        ensure!(fetched_bytes == source_bytes, "{file} differs");
    }
    let answer = machine.run(&["chat", "small", "--local", "hello", "-o", "json"])?.json()?;
    ensure!(answer["model"] == ID && answer["usage"]["completionTokens"] == 32, "{answer}");
    Ok(())
}

/// `fit` needs the listing of a hub model but not its weights.
pub(crate) async fn fit_needs_only_the_file_listing(shared: Arc<Shared>) -> Outcome {
    let folder = tempfile::tempdir()?;
    model::write_model_with_weights(folder.path(), 3 << 20)?;
    let repository = Repository::from_folder(ID, folder.path())?;
    let machine = TestMachine::with_cache(&shared.cache)?;
    let (url, hub) =
        machine.start_hub(HubSettings { repositories: vec![repository], ..HubSettings::default() })?;
    let mut fit = machine.command(&["fit", ID, "--gpu", "l4", "-o", "json"]);
    let output =
        run_to_end(fit.env("HF_ENDPOINT", url).env("KUBECTL_DYNAMO_CACHE", machine.home().join("cache")))?;
    let document = output.json()?;
    let weights = std::fs::metadata(folder.path().join("model.safetensors"))?.len();
    ensure!(document["weightBytes"] == weights && document["shapes"][0]["fits"] == true, "{document}");
    drop(hub);
    let weights = machine.home().join("cache/configurations").join(ID).join("model.safetensors");
    ensure!(!weights.exists(), "the weights were fetched");
    Ok(())
}

pub(crate) async fn gated_model_rejects_wrong_token(shared: Arc<Shared>) -> Outcome {
    let folder = tempfile::tempdir()?;
    model::write_model(folder.path())?;
    let access = RepositoryAccess::Gated { token: "hf_of_another_user".into() };
    let repository = Repository::from_folder(ID, folder.path())?.with_access(access);
    let machine = TestMachine::with_cache(&shared.cache)?;
    let (url, _hub) =
        machine.start_hub(HubSettings { repositories: vec![repository], ..HubSettings::default() })?;
    let mut up = machine.command(&["up", "--local", ID]);
    let output = run_to_end(up.env("HF_ENDPOINT", url).env("HF_TOKEN", "hf_wrong_secret"))?;
    output.expect(4, &["KD0406", "acme/small", "exit code 10"])?;
    ensure!(!output.stderr.contains("hf_wrong_secret"), "the token is printed");
    ensure!(machine.processes()?.is_empty(), "processes are still running");
    Ok(())
}

pub(crate) async fn full_disk_is_reported_and_rerun_resumes(shared: Arc<Shared>) -> Outcome {
    let folder = tempfile::tempdir()?;
    model::write_model_with_weights(folder.path(), 3 << 20)?;
    let repository = Repository::from_folder(ID, folder.path())?;
    let machine = TestMachine::with_cache(&shared.cache)?;
    let (url, _hub) =
        machine.start_hub(HubSettings { repositories: vec![repository], ..HubSettings::default() })?;
    let cache = machine.home().join("cache");
    std::fs::create_dir_all(cache.join("models"))?;
    std::os::unix::fs::symlink(shared.cache.join("runtimes"), cache.join("runtimes"))?;
    let up = |script: &str| {
        let mut command = machine.program_command("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(programs::kubectl_dynamo());
        command.args(["up", "--local", "--detach", ID]);
        command.env("HF_ENDPOINT", &url).env("KUBECTL_DYNAMO_CACHE", &cache);
        run_to_end(&mut command)
    };
    let with_small_disk =
        format!("mount -t tmpfs -o size=2m none {}/models && exec \"$0\" \"$@\"", cache.display());
    up(&with_small_disk)?.expect(7, &["KD0406", "acme/small", "exit code 12", "free"])?;
    ensure!(machine.processes()?.is_empty(), "processes are still running");
    up("exec \"$0\" \"$@\"")?.expect(0, &["smoke test: done: 200"])?;
    Ok(())
}

pub(crate) async fn local_folder_is_served(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let folder = machine.home().join("My_Model");
    model::write_model(&folder)?;
    let path = folder.to_str().ok_or("the path of a temporary folder is UTF-8")?;
    let status = machine.up_detached(&[path])?;
    ensure!(status["name"] == "my-model" && status["servedModelName"] == "My_Model", "{status}");
    machine.run(&["chat", "my-model", "--local", "hello"])?.expect(0, &["TTFT"])?;
    Ok(())
}

pub(crate) async fn rejects_invalid_models(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    std::fs::create_dir(machine.home().join("empty"))?;
    let empty = machine.home().join("empty");
    let empty = empty.to_str().ok_or("the path of a temporary folder is UTF-8")?;
    for (model_arg, code, message) in
        [("./nowhere", 7, "KD0404"), (empty, 7, "KD0405"), ("a/b/c", 2, "KD0401"), ("word", 2, "KD0401")]
    {
        machine.run(&["up", "--local", model_arg])?.expect(code, &[message, model_arg, "hint: "])?;
    }
    ensure!(!machine.state().join("local").exists(), "leftovers of a failed up remain");
    Ok(())
}
