//! How both programs identify themselves to servers.

/// Returns the User-Agent of a program, such as `model-fetcher/0.1.0 (linux/amd64)`. The names of the platform are those
/// of Go, as in kubectl.
pub fn user_agent(program: &str, version: &str) -> String {
    format!("{program}/{version} ({OS}/{ARCH})")
}

const OS: &str = if cfg!(target_os = "macos") {
    "darwin"
} else if cfg!(target_os = "windows") {
    "windows"
} else {
    "linux"
};

const ARCH: &str = if cfg!(target_arch = "x86_64") {
    "amd64"
} else if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "unknown"
};

#[cfg(test)]
mod tests {
    #[test]
    fn names_program_version_and_platform() {
        let agent = super::user_agent("model-fetcher", "0.1.0");
        let platform =
            agent.strip_prefix("model-fetcher/0.1.0 (linux/").and_then(|rest| rest.strip_suffix(')'));
        assert!(platform.is_some_and(|arch| !arch.is_empty() && arch != "x86_64"), "{agent}");
    }
}
