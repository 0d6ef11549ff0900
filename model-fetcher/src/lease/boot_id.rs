//! The ID of this boot of the machine. Without it, the lease only relies on heartbeats, and a fetch resumes only from what
//! was synced.

use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Returns the ID that the kernel chose when it booted, or an empty string if the operating system does not have one.
pub(crate) fn boot_id() -> &'static str {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    BOOT_ID.get_or_init(|| {
        let id = match std::env::consts::OS {
            "linux" => std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok(),
            "macos" => boot_session(),
            _ => None,
        };
        id.unwrap_or_default().trim().to_owned()
    })
}

/// Asks macOS with its program, because only unsafe code can ask the kernel.
fn boot_session() -> Option<String> {
    let mut sysctl = Command::new("/usr/sbin/sysctl");
    let output = sysctl.args(["-n", "kern.bootsessionuuid"]).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_and_macos_have_a_boot_id() {
        assert!(!boot_id().is_empty());
        assert!(!boot_id().contains(char::is_whitespace));
    }
}
