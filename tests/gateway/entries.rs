//! Entries that do not route: each mistake, and each failure behind the proxy, has its own code.

use std::sync::Arc;

use kubectl_dynamo_tests::{Outcome, ensure};

use crate::Shared;
use crate::litellm::Proxy;
use crate::routing::{expect, list, test_document};
use kubectl_dynamo_tests::test_machine::TestMachine;

/// A server that answers chat completions in odd ways, by the name of the requested model.
const ODD_SERVER: &str = include_str!("odd_server.py");
const ODD_PORT: &str = "18100";

fn entry(name: &str, model: &str, base: &str) -> String {
    format!("- model_name: {name}\n  litellm_params: {{model: {model}, api_base: \"{base}\"}}\n")
}

pub(crate) async fn each_wrong_entry_is_named(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let status = machine.up_detached(&["--name", "one"])?;
    let base = status["endpoint"].as_str().ok_or("the status has an endpoint")?;
    let root = base.trim_end_matches("/v1");
    let config = "model_list:\n".to_owned()
        + &entry("no-base", "hosted_vllm/tiny", root)
        + &entry("wrong-name", "hosted_vllm/acme/tiny", base)
        + &entry("closed", "hosted_vllm/tiny", "http://127.0.0.1:1/v1")
        + &entry("other-host", "hosted_vllm/tiny", &base.replace("127.0.0.1", "localhost"))
        + &entry("gpt", "openai/gpt-4o", "https://llm.example.com/v1");
    let _proxy = Proxy::start(&machine, &shared, &config)?;
    for (name, check, code, text) in [
        ("no-base", "entry", "KD0905", "which does not end in /v1"),
        ("wrong-name", "entry", "KD0906", "requests hosted_vllm/acme/tiny, but the deployment serves tiny"),
        ("closed", "unary", "KD0910", "the deployment itself answers"),
        ("nothing", "entry", "KD0904", "does not have an entry \"nothing\""),
    ] {
        let document = test_document(&machine, 9, &["one", "--model-name", name])?;
        expect(&document, check, Some(code), text)?;
    }
    // Another name of the same address.
    let document = test_document(&machine, 0, &["one"])?;
    expect(&document, "entry", None, "\"other-host\" routes to")?;
    let statuses: Vec<(String, String)> =
        list(&machine)?.into_iter().map(|(name, _, status)| (name, status)).collect();
    let expected = [
        ("no-base", "stale"),
        ("wrong-name", "stale"),
        ("closed", "foreign"),
        ("other-host", "ok"),
        ("gpt", "foreign"),
    ];
    let expected: Vec<(String, String)> =
        expected.iter().map(|(name, status)| ((*name).to_owned(), (*status).to_owned())).collect();
    ensure!(statuses == expected, "{statuses:?}");
    Ok(())
}

pub(crate) async fn failure_behind_the_proxy_is_named(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    machine.up_detached(&["--name", "one"])?;
    let script = machine.home().join("odd_server.py");
    std::fs::write(&script, ODD_SERVER)?;
    let mut server = machine.program_command("python3");
    let mut server = server.arg(&script).arg(ODD_PORT).spawn()?;
    let base = format!("http://127.0.0.1:{ODD_PORT}/v1");
    let names = ["answers", "no-workers", "unknown-model", "error-in-stream"];
    let entries: String =
        names.iter().map(|name| entry(name, &format!("hosted_vllm/{name}"), &base)).collect();
    let _proxy = Proxy::start(&machine, &shared, &format!("model_list:\n{entries}"))?;
    let test = |name| test_document(&machine, 9, &["one", "--model-name", name]);
    // Another server answers, so the deployment does not count the request.
    let document = test("answers")?;
    for check in ["unary", "stream"] {
        expect(&document, check, Some("KD0908"), "did not count the request")?;
    }
    expect(&test("no-workers")?, "unary", Some("KD0907"), "HTTP 503")?;
    expect(&test("unknown-model")?, "unary", Some("KD0906"), "HTTP 404")?;
    let document = test("error-in-stream")?;
    expect(&document, "unary", Some("KD0908"), "did not count the request")?;
    expect(&document, "stream", Some("KD0907"), "engine is dead; the deployment itself answers")?;
    server.kill()?;
    server.wait()?;
    Ok(())
}
