//! Shows a long text in the user's pager. It never writes to stdout if stdout is not a terminal, because
//! the objects go there.

use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};

use crate::output::printable;
use crate::settings;
use kubectl_dynamo_core::error::Result;

/// Shows a text in `$PAGER` or `less`. If neither starts, prints it to stderr.
pub(super) fn show(text: &str) -> Result<()> {
    let text = printable(text);
    let pager = settings::pager().unwrap_or_else(|| "less -FRX".into());
    let mut parts = pager.split_whitespace();
    // If stdout is redirected for the objects, stderr is the terminal.
    let screen =
        if std::io::stdout().is_terminal() { Stdio::inherit() } else { Stdio::from(std::io::stderr()) };
    let spawn_result = parts
        .next()
        .map(|program| Command::new(program).args(parts).stdin(Stdio::piped()).stdout(screen).spawn());
    match spawn_result {
        Some(Ok(mut child)) => {
            if let Some(mut stdin) = child.stdin.take() {
                // The user may quit the pager before the end.
                let _ = stdin.write_all(text.as_bytes());
            }
            child.wait()?;
        }
        Some(Err(_)) | None => anstream::stderr().lock().write_all(text.as_bytes())?,
    }
    Ok(())
}
