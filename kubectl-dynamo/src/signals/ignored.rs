//! Which signals were ignored when this process started: the parent decides so, for example `nohup` or a shell for its
//! background jobs. Only unsafe code can ask the kernel for the action of a signal, so this reads what the operating
//! system reports about the process.

use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tokio::signal::unix::SignalKind;

/// Whether a signal was not ignored at startup.
pub(super) fn is_handled(kind: SignalKind) -> bool {
    static IGNORED: OnceLock<u64> = OnceLock::new();
    let ignored = IGNORED.get_or_init(|| {
        let mask = match std::env::consts::OS {
            "linux" => mask_from_proc(),
            _ => mask_from_ps(),
        };
        // A process whose mask is unknown handles all signals.
        mask.unwrap_or_default()
    });
    ignored & (1 << (kind.as_raw_value() - 1)) == 0
}

/// Returns the ignored signals as a bit mask, from Linux.
fn mask_from_proc() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    parse_mask(status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?)
}

/// Returns the ignored signals as a bit mask, from `ps` of macOS and the BSDs.
fn mask_from_ps() -> Option<u64> {
    let mut ps = Command::new("/bin/ps");
    ps.args(["-o", "sigignore=", "-p", &std::process::id().to_string()]);
    let output = ps.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    parse_mask(&String::from_utf8_lossy(&output.stdout))
}

fn parse_mask(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_the_mask_of_each_system() {
        for (text, mask) in [
            ("\t0000000000001002", Some(0x1002)),
            ("    1001\n", Some(0x1001)),
            ("0\n", Some(0)),
            ("-\n", None),
        ] {
            assert_eq!(parse_mask(text), mask, "{text:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn proc_and_ps_report_the_same_mask() {
        let from_proc = mask_from_proc().expect("the tests run on Linux");
        // A container may not have `ps`. The one of procps has the same keyword.
        if std::path::Path::new("/bin/ps").exists() {
            assert_eq!(mask_from_ps(), Some(from_proc));
        }
    }
}
