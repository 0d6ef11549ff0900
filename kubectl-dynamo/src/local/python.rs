//! Finds a Python interpreter that can create the environment of the Dynamo runtime.
//! It does not install Python.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::LocalError;

/// Interpreter names to try, the system default first.
const NAMES: &[&str] =
    &["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10", "python"];
/// The oldest minor version of Python 3 for which Dynamo publishes wheels.
const OLDEST_MINOR: u32 = 10;
/// A script that prints `major.minor` and then the first missing module, if any. Without python3-venv, Debian
/// has `venv` but not the `ensurepip` that it needs.
const PROBE_SCRIPT: &str = "
import importlib.util, sys
print('%d.%d' % sys.version_info[:2])
for module in ('venv', 'ensurepip'):
    if importlib.util.find_spec(module) is None:
        print(module)
        break
";

/// The result of probing an interpreter.
#[derive(Debug, PartialEq, Eq)]
struct PythonProbe {
    version: String,
    minor: Option<u32>,
    missing: Option<&'static str>,
}

/// Finds the first interpreter in PATH that is new enough and has the venv modules.
///
/// # Errors
/// Python not found, only an older Python found, or a venv module missing.
pub(super) async fn find() -> Result<PathBuf, LocalError> {
    let mut error = LocalError::NoPython;
    for name in NAMES {
        let Ok(python) = which::which(name) else { continue };
        let Some(probe_result) = probe(&python).await else { continue };
        match probe_result {
            PythonProbe { minor: Some(minor), missing: None, .. } if minor >= OLDEST_MINOR => {
                return Ok(python);
            }
            PythonProbe { minor: Some(minor), missing: Some(module), version } if minor >= OLDEST_MINOR => {
                error = LocalError::NoVenv { python, version, module };
            }
            PythonProbe { version, .. } if matches!(error, LocalError::NoPython) => {
                error = LocalError::PythonTooOld { python, found: version };
            }
            PythonProbe { .. } => {}
        }
    }
    Err(error)
}

/// Probes an interpreter; `None` if it does not run, for example a placeholder of a version manager.
async fn probe(python: &Path) -> Option<PythonProbe> {
    let output = Command::new(python)
        .args(["-I", "-c", PROBE_SCRIPT])
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .ok()
        .filter(|output| output.status.success())?;
    parse_probe(&String::from_utf8_lossy(&output.stdout))
}

fn parse_probe(text: &str) -> Option<PythonProbe> {
    let mut lines = text.lines();
    let version = lines.next()?.to_owned();
    let minor = version.strip_prefix("3.").and_then(|minor| minor.parse().ok());
    let missing = match lines.next() {
        None => None,
        Some("venv") => Some("venv"),
        Some(_) => Some("ensurepip"),
    };
    Some(PythonProbe { version, minor, missing })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_version_and_missing_module() {
        let expected =
            |version: &str, minor, missing| Some(PythonProbe { version: version.into(), minor, missing });
        assert_eq!(parse_probe("3.11\n"), expected("3.11", Some(11), None));
        assert_eq!(parse_probe("3.12\nensurepip\n"), expected("3.12", Some(12), Some("ensurepip")));
        assert_eq!(parse_probe("2.7\n"), expected("2.7", None, None));
        assert_eq!(parse_probe(""), None);
    }
}
