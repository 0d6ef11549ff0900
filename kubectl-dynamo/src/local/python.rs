//! Finds a Python that can make the runtime's environment.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::LocalError;

/// Names to look for, the machine's own choice first.
const NAMES: &[&str] =
    &["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10", "python"];
/// The oldest minor of Python 3 for which Dynamo's wheels are built.
const OLDEST_MINOR: u32 = 10;
/// Prints `major.minor`, then the first module that is missing, if any. Debian ships `venv` without the
/// `ensurepip` it needs unless python3-venv is installed.
const QUESTION: &str = "
import importlib.util, sys
print('%d.%d' % sys.version_info[:2])
for module in ('venv', 'ensurepip'):
    if importlib.util.find_spec(module) is None:
        print(module)
        break
";

/// An interpreter that was asked about itself.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    version: String,
    minor: Option<u32>,
    missing: Option<&'static str>,
}

/// The first interpreter on the PATH that is new enough and has venv.
///
/// # Errors
/// Which of the three is missing: Python, a new enough one, its venv module.
pub(super) async fn find() -> Result<PathBuf, LocalError> {
    let mut refusal = LocalError::NoPython;
    for name in NAMES {
        let Ok(python) = which::which(name) else { continue };
        let Some(answer) = ask(&python).await else { continue };
        match answer {
            Answer { minor: Some(minor), missing: None, .. } if minor >= OLDEST_MINOR => return Ok(python),
            Answer { minor: Some(minor), missing: Some(module), version } if minor >= OLDEST_MINOR => {
                refusal = LocalError::NoVenv { python, version, module };
            }
            Answer { version, .. } if matches!(refusal, LocalError::NoPython) => {
                refusal = LocalError::PythonTooOld { python, found: version };
            }
            Answer { .. } => {}
        }
    }
    Err(refusal)
}

/// What an interpreter says about itself; none when it does not run, as a version manager's placeholder.
async fn ask(python: &Path) -> Option<Answer> {
    let output = Command::new(python)
        .args(["-I", "-c", QUESTION])
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .ok()
        .filter(|output| output.status.success())?;
    read_answer(&String::from_utf8_lossy(&output.stdout))
}

fn read_answer(text: &str) -> Option<Answer> {
    let mut lines = text.lines();
    let version = lines.next()?.to_owned();
    let minor = version.strip_prefix("3.").and_then(|minor| minor.parse().ok());
    let missing = match lines.next() {
        None => None,
        Some("venv") => Some("venv"),
        Some(_) => Some("ensurepip"),
    };
    Some(Answer { version, minor, missing })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_version_and_the_missing_module() {
        let answer = |version: &str, minor, missing| Some(Answer { version: version.into(), minor, missing });
        assert_eq!(read_answer("3.11\n"), answer("3.11", Some(11), None));
        assert_eq!(read_answer("3.12\nensurepip\n"), answer("3.12", Some(12), Some("ensurepip")));
        assert_eq!(read_answer("2.7\n"), answer("2.7", None, None));
        assert_eq!(read_answer(""), None);
    }
}
