//! The GPUs of this machine, as NVIDIA's own tool lists them.

use std::process::Stdio;

use super::LocalError;

/// How many GPUs there are.
///
/// # Errors
/// Why none can be used.
pub async fn count() -> Result<u32, LocalError> {
    let no_gpu = |reason: String| LocalError::NoGpu { reason };
    let tool = which::which("nvidia-smi")
        .map_err(|_| no_gpu("nvidia-smi is not on the PATH, so no NVIDIA driver is installed".into()))?;
    let output = tokio::process::Command::new(tool)
        .arg("--list-gpus")
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|error| no_gpu(format!("nvidia-smi does not run: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().filter(|line| line.starts_with("GPU ")).count() {
        0 => Err(no_gpu(format!(
            "nvidia-smi lists none ({})",
            text.lines().next().unwrap_or("it says nothing")
        ))),
        listed => Ok(u32::try_from(listed).unwrap_or(u32::MAX)),
    }
}
