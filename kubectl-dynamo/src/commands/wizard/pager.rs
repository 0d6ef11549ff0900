//! Showing a long text in the person's pager.

use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};

use crate::error::Result;

/// Shows it in `$PAGER`, else in less; where neither starts, it is printed.
pub(super) fn show(text: &str) -> Result<()> {
    let pager = std::env::var("PAGER").ok().filter(|pager| !pager.trim().is_empty());
    let pager = pager.unwrap_or_else(|| "less -FRX".into());
    let mut words = pager.split_whitespace();
    // Where stdout is a file for the objects, only stderr is the terminal.
    let screen =
        if std::io::stdout().is_terminal() { Stdio::inherit() } else { Stdio::from(std::io::stderr()) };
    let started = words
        .next()
        .map(|program| Command::new(program).args(words).stdin(Stdio::piped()).stdout(screen).spawn());
    match started {
        Some(Ok(mut child)) => {
            if let Some(mut stdin) = child.stdin.take() {
                // A person may leave the pager before the end.
                let _ = stdin.write_all(text.as_bytes());
            }
            child.wait()?;
        }
        Some(Err(_)) | None => anstream::stderr().lock().write_all(text.as_bytes())?,
    }
    Ok(())
}
