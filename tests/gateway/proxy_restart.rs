//! A proxy reads its file only when it starts. `list` reports the entries that it still has.

use std::sync::Arc;

use kubectl_dynamo_tests::{Outcome, ensure};

use crate::Shared;
use crate::litellm::Proxy;
use crate::routing::{config, expect, list, test_document};
use kubectl_dynamo_tests::test_machine::TestMachine;

pub(crate) async fn proxy_that_was_not_restarted_is_stale(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let port = ["--name", "one", "--port", "18000", "--served-model-name"];
    machine.up_detached(&[&port[..], &["first"]].concat())?;
    let proxy = Proxy::start(&machine, &shared, &config(&machine, &["one"])?)?;
    let row = |name: &str, status: &str| (name.to_owned(), "one".to_owned(), status.to_owned());
    ensure!(list(&machine)? == [row("first", "ok")], "the entry is new");
    machine.run(&["down", "one", "--local"])?.expect(0, &[])?;
    machine.up_detached(&[&port[..], &["second"]].concat())?;
    let entries = config(&machine, &["one"])?;
    // The file has the new entries, and the proxy has not read it.
    std::fs::write(machine.home().join("litellm.yaml"), &entries)?;
    let statuses = list(&machine)?;
    ensure!(statuses == [row("first", "stale"), row("-", "missing")], "{statuses:?}");
    let document = test_document(&machine, 9, &["one"])?;
    expect(
        &document,
        "entry",
        Some("KD0906"),
        "requests hosted_vllm/first, but the deployment serves second",
    )?;
    proxy.stop()?;
    let _proxy = Proxy::start(&machine, &shared, &entries)?;
    ensure!(list(&machine)? == [row("second", "ok")], "the entry is read");
    test_document(&machine, 0, &["one"])?;
    Ok(())
}
