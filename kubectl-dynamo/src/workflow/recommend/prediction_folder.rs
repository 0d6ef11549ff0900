//! The folder of one recommendation, with the predictor's files. It is removed when the command ends, also after an error.

use tempfile::TempDir;

use crate::local::LocalError;

/// The beginning of the name, followed by the number of the process.
const PREFIX: &str = "kubectl-dynamo-prediction-";

/// Creates an empty folder that lives as long as the returned value. It is a temporary folder, because aiconfigurator only
/// writes below the home, the current, and the temporary folder. Elsewhere it exits with 0 and writes nothing.
///
/// # Errors
/// The folder for temporary files cannot be written.
pub(super) fn create() -> Result<TempDir, LocalError> {
    let prefix = format!("{PREFIX}{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir().map_err(|source| LocalError::File {
        action: "create a folder in",
        path: std::env::temp_dir(),
        source,
    })
}
