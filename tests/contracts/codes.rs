//! Exit codes of both programs, and message codes with their meaning.

use kubectl_dynamo_core::error::Exit;
use model_fetcher_contract::exit;

use crate::{Home, frozen};

#[test]
fn exit_codes() {
    let plugin = [
        ("ok", Exit::Ok),
        ("failed", Exit::Failed),
        ("usage", Exit::Usage),
        ("not ready in time", Exit::NotReadyInTime),
        ("access", Exit::Access),
        ("does not fit", Exit::DoesNotFit),
        ("platform", Exit::Platform),
        ("model", Exit::Model),
        ("changes", Exit::Changes),
        ("smoke test", Exit::SmokeTest),
        ("interrupted", Exit::Interrupted),
    ];
    let fetcher = [
        ("complete", exit::COMPLETE),
        ("not complete", exit::NOT_COMPLETE),
        ("usage", exit::USAGE),
        ("access", exit::ACCESS),
        ("not found", exit::NOT_FOUND),
        ("disk", exit::DISK),
        ("network", exit::NETWORK),
        ("content", exit::CONTENT),
        ("locked", exit::LOCKED),
        ("interrupted", exit::INTERRUPTED),
        ("terminated", exit::TERMINATED),
    ];
    let mut text = String::from("kubectl-dynamo\n");
    plugin.into_iter().for_each(|(name, code)| text += &format!("{:>5} {name}\n", code as u8));
    text += "model-fetcher\n";
    fetcher.into_iter().for_each(|(name, code)| text += &format!("{code:>5} {name}\n"));
    text += &format!("final, never tried again: {:?}\n", exit::PERMANENT);
    frozen!("exit-codes", text);
}

#[test]
fn message_codes() {
    frozen!("message-codes", Home::new().stdout(&["explain"], 0));
}
