//! One deployment behind one proxy: the printed entry routes, `test` proves it, and each wrong access is named.

use std::sync::Arc;

use kubectl_dynamo_tests::litellm::{KEY, KEY_VARIABLE};
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::Value;

use crate::Shared;
use crate::litellm::{Proxy, URL};
use kubectl_dynamo_tests::test_machine::{CommandResult, TestMachine, run_to_end};

/// Runs a gateway verb for the local deployments with the right key.
pub(crate) fn gateway(machine: &TestMachine, args: &[&str]) -> Outcome<CommandResult> {
    let access = ["--local", "--url", URL, "--api-key-env", KEY_VARIABLE];
    run_with_key(machine, &[&["gateway"], args, &access].concat(), KEY)
}

fn run_with_key(machine: &TestMachine, args: &[&str], key: &str) -> Outcome<CommandResult> {
    run_to_end(machine.command(args).env(KEY_VARIABLE, key))
}

/// Runs `gateway test` and returns its document. The exit code must be `code`.
pub(crate) fn test_document(machine: &TestMachine, code: i32, args: &[&str]) -> Outcome<Value> {
    gateway(machine, &[&["test", "-o", "json"], args].concat())?.expect(code, &[])?.json()
}

/// Checks the outcome of a check of `gateway test`, its code, and a part of its text.
pub(crate) fn expect(document: &Value, name: &str, code: Option<&str>, text: &str) -> Outcome {
    let findings = document["findings"].as_array().into_iter().flatten();
    let found = findings.into_iter().find(|one| one["name"] == name);
    let found = found.ok_or_else(|| format!("{name} in {document}"))?;
    let outcome = if code.is_some() { "failed" } else { "passed" };
    let has_text = found["text"].as_str().is_some_and(|shown| shown.contains(text));
    ensure!(found["outcome"] == outcome && found["code"].as_str() == code && has_text, "{found}");
    Ok(())
}

/// The statuses of `gateway list`, with the name of the entry and of the deployment.
pub(crate) fn list(machine: &TestMachine) -> Outcome<Vec<(String, String, String)>> {
    let document = gateway(machine, &["list", "-o", "json"])?.expect(0, &[])?.json()?;
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let items = document["items"].as_array().ok_or("the document has items")?;
    let item = |one: &Value| (text(&one["name"]), text(&one["deployment"]), text(&one["status"]));
    Ok(items.iter().map(item).collect())
}

/// Returns the entries of local deployments as the plugin prints them.
pub(crate) fn config(machine: &TestMachine, names: &[&str]) -> Outcome<String> {
    let printed = machine.run(&[&["gateway", "config", "--local"], names].concat())?;
    Ok(printed.expect(0, &[])?.stdout.clone())
}

pub(crate) async fn config_routes_and_test_proves_it(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    machine.up_detached(&[
        "--name",
        "one",
        "--served-model-name",
        "Org/Tiny",
        "--",
        "--max-model-len",
        "4096",
    ])?;
    let entries = config(&machine, &["one"])?;
    ensure!(entries.contains("model: hosted_vllm/Org/Tiny\n"), "{entries}");
    let _proxy = Proxy::start(&machine, &shared, &entries)?;
    let document = test_document(&machine, 0, &["one"])?;
    ensure!(document["kind"] == "GatewayTest" && document["verdict"] == "PASSED", "{document}");
    expect(&document, "access", None, "lists 1 entry")?;
    expect(&document, "entry", None, "\"Org/Tiny\" routes to hosted_vllm/Org/Tiny at http://127.0.0.1:")?;
    for name in ["unary", "stream"] {
        expect(&document, name, None, "; the frontends counted 1")?;
    }
    expect(&document, "version", None, "LiteLLM ")?;
    let screen = gateway(&machine, &["test", "one"])?;
    ensure!(
        screen.expect(0, &[])?.stdout.contains("✔ http://127.0.0.1:4000 routes to one: 5 passed"),
        "{screen:?}"
    );
    ensure!(list(&machine)? == [("Org/Tiny".into(), "one".into(), "ok".into())], "one entry is ok");
    // A second deployment has no entry.
    machine.run(&["up", "--local", "--detach", "--name", "two"])?.expect(0, &[])?;
    ensure!(
        list(&machine)?.contains(&("-".into(), "two".into(), "missing".into())),
        "the other one is missing"
    );
    let document = test_document(&machine, 9, &["two"])?;
    expect(&document, "entry", Some("KD0904"), "no entry of the gateway has the api_base http://127.0.0.1:")
}

pub(crate) async fn key_and_url_errors_have_their_codes(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let status = machine.up_detached(&["--name", "one"])?;
    let _proxy = Proxy::start(&machine, &shared, &config(&machine, &[])?)?;
    let test = ["gateway", "test", "one", "--local", "-o", "json", "--url"];
    let keyed = [&test[..], &[URL, "--api-key-env", KEY_VARIABLE]].concat();
    let wrong = run_with_key(&machine, &keyed, "sk-wrong-9876543210")?;
    let document = wrong.expect(9, &[])?.json()?;
    expect(&document, "access", Some("KD0902"), "rejects the API key: HTTP 400, No connected db")?;
    ensure!(!format!("{wrong:?}").contains("sk-wrong-9876543210"), "the key is printed");
    run_with_key(&machine, &keyed, "")?.expect(2, &["error [KD0005]", "it is empty"])?;
    let without = machine.run(&[&test[..], &[URL]].concat())?;
    expect(&without.expect(9, &[])?.json()?, "access", Some("KD0902"), "requires an API key")?;
    let endpoint = status["endpoint"].as_str().ok_or("the status has an endpoint")?;
    let frontend = machine.run(&[&test[..], &[endpoint]].concat())?;
    expect(
        &frontend.expect(9, &[])?.json()?,
        "access",
        Some("KD0903"),
        "does not answer as a LiteLLM proxy",
    )?;
    let list = ["gateway", "list", "--local", "--url"];
    machine
        .run(&[&list[..], &[URL]].concat())?
        .expect(4, &["error [KD0902]", "--api-key-env LITELLM_MASTER_KEY"])?;
    machine
        .run(&[&list[..], &["http://127.0.0.1:1"]].concat())?
        .expect(1, &["error [KD0901]", "cannot reach"])?;
    machine.run(&[&list[..], &[endpoint]].concat())?.expect(1, &["error [KD0903]"])?;
    Ok(())
}
