//! Showing a long text in the person's pager.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::error::Result;

/// Shows it in `$PAGER`, else in less; where neither starts, it is printed.
pub(super) fn show(text: &str) -> Result<()> {
    let pager = std::env::var("PAGER").ok().filter(|pager| !pager.trim().is_empty());
    let pager = pager.unwrap_or_else(|| "less -FRX".into());
    let mut words = pager.split_whitespace();
    let started = words.next().map(|program| Command::new(program).args(words).stdin(Stdio::piped()).spawn());
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
