//! Which model is served: one of the hub, a folder, or none of both.

use std::sync::Arc;

use kubectl_dynamo_tests::hub::{Access, Repository, Settings};
use kubectl_dynamo_tests::{Outcome, ensure, model, programs};

use crate::Shared;
use crate::machine::{Machine, finish};

const ID: &str = "acme/small";

pub(crate) async fn a_model_of_the_hub_is_fetched_and_served(shared: Arc<Shared>) -> Outcome {
    let folder = tempfile::tempdir()?;
    model::write_with_weights(folder.path(), 3 << 20)?;
    let repository = Repository::from_folder(ID, folder.path())?;
    let machine = Machine::new(&shared)?;
    let (url, _hub) = machine.hub(Settings { repositories: vec![repository], ..Settings::default() })?;
    let cache = machine.home().join("cache");
    std::fs::create_dir(&cache)?;
    std::os::unix::fs::symlink(shared.cache.join("runtimes"), cache.join("runtimes"))?;
    let mut up = machine.command(&["up", "--local", "--detach", ID]);
    finish(up.env("HF_ENDPOINT", url).env("KUBECTL_DYNAMO_CACHE", &cache))?
        .expect(0, &["model fetch: done: acme/small at ", "smoke test: done: 200"])?;
    let fetched = cache.join("models").join(ID);
    for file in ["model.safetensors", "tokenizer.json"] {
        let (here, there) = (std::fs::read(fetched.join(file))?, std::fs::read(folder.path().join(file))?);
        ensure!(here == there, "{file} differs");
    }
    let answer = machine.run(&["chat", "small", "--local", "hello", "-o", "json"])?.json()?;
    ensure!(answer["model"] == ID && answer["usage"]["completionTokens"] == 32, "{answer}");
    Ok(())
}

/// Where a model of the hub fits is told without its weights.
pub(crate) async fn what_fits_is_told_from_the_listing_alone(shared: Arc<Shared>) -> Outcome {
    let folder = tempfile::tempdir()?;
    model::write_with_weights(folder.path(), 3 << 20)?;
    let repository = Repository::from_folder(ID, folder.path())?;
    let machine = Machine::new(&shared)?;
    let (url, hub) = machine.hub(Settings { repositories: vec![repository], ..Settings::default() })?;
    let mut fit = machine.command(&["fit", ID, "--gpu", "l4", "-o", "json"]);
    let said = finish(fit.env("HF_ENDPOINT", url).env("KUBECTL_DYNAMO_CACHE", machine.home().join("cache")))?;
    let document = said.json()?;
    let weights = std::fs::metadata(folder.path().join("model.safetensors"))?.len();
    ensure!(document["weightBytes"] == weights && document["shapes"][0]["fits"] == true, "{document}");
    drop(hub);
    let weights = machine.home().join("cache/configurations").join(ID).join("model.safetensors");
    ensure!(!weights.exists(), "the weights were fetched");
    Ok(())
}

pub(crate) async fn a_gated_model_is_refused_to_a_wrong_token(shared: Arc<Shared>) -> Outcome {
    let folder = tempfile::tempdir()?;
    model::write(folder.path())?;
    let access = Access::Gated { token: "hf_of_somebody".into() };
    let repository = Repository::from_folder(ID, folder.path())?.with_access(access);
    let machine = Machine::new(&shared)?;
    let (url, _hub) = machine.hub(Settings { repositories: vec![repository], ..Settings::default() })?;
    let mut up = machine.command(&["up", "--local", ID]);
    let said = finish(up.env("HF_ENDPOINT", url).env("HF_TOKEN", "hf_wrong_secret"))?;
    said.expect(4, &["KD0406", "acme/small", "exit code 10"])?;
    ensure!(!said.stderr.contains("hf_wrong_secret"), "the token is shown");
    ensure!(machine.processes()?.is_empty(), "processes are left");
    Ok(())
}

pub(crate) async fn a_full_disk_is_named_and_the_same_command_goes_on_with_room(
    shared: Arc<Shared>,
) -> Outcome {
    let folder = tempfile::tempdir()?;
    model::write_with_weights(folder.path(), 3 << 20)?;
    let repository = Repository::from_folder(ID, folder.path())?;
    let machine = Machine::new(&shared)?;
    let (url, _hub) = machine.hub(Settings { repositories: vec![repository], ..Settings::default() })?;
    let cache = machine.home().join("cache");
    std::fs::create_dir_all(cache.join("models"))?;
    std::os::unix::fs::symlink(shared.cache.join("runtimes"), cache.join("runtimes"))?;
    let up = |script: &str| {
        let mut command = machine.other("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(programs::kubectl_dynamo());
        command.args(["up", "--local", "--detach", ID]);
        command.env("HF_ENDPOINT", &url).env("KUBECTL_DYNAMO_CACHE", &cache);
        finish(&mut command)
    };
    let small = format!("mount -t tmpfs -o size=2m none {}/models && exec \"$0\" \"$@\"", cache.display());
    up(&small)?.expect(7, &["KD0406", "acme/small", "exit code 12", "free"])?;
    ensure!(machine.processes()?.is_empty(), "processes are left");
    up("exec \"$0\" \"$@\"")?.expect(0, &["smoke test: done: 200"])?;
    Ok(())
}

pub(crate) async fn a_folder_is_served_as_it_is(shared: Arc<Shared>) -> Outcome {
    let machine = Machine::new(&shared)?;
    let folder = machine.home().join("My_Model");
    model::write(&folder)?;
    let path = folder.to_str().ok_or("a temporary folder's name is text")?;
    let status = machine.up(&[path])?;
    ensure!(status["name"] == "my-model" && status["servedModelName"] == "My_Model", "{status}");
    machine.run(&["chat", "my-model", "--local", "hello"])?.expect(0, &["TTFT"])?;
    Ok(())
}

pub(crate) async fn what_is_no_model_is_refused(shared: Arc<Shared>) -> Outcome {
    let machine = Machine::new(&shared)?;
    std::fs::create_dir(machine.home().join("empty"))?;
    let empty = machine.home().join("empty");
    let empty = empty.to_str().ok_or("a temporary folder's name is text")?;
    for (given, code, message) in
        [("./nowhere", 7, "KD0404"), (empty, 7, "KD0405"), ("a/b/c", 2, "KD0401"), ("word", 2, "KD0401")]
    {
        machine.run(&["up", "--local", given])?.expect(code, &[message, given, "hint: "])?;
    }
    ensure!(!machine.state().join("local").exists(), "something was left half done");
    Ok(())
}
