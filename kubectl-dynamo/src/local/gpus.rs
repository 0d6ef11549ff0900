//! Counts the NVIDIA GPUs of this machine with nvidia-smi.
//! It does not check memory or the driver version.

use std::process::Stdio;

use super::LocalError;

/// The number of GPUs.
///
/// # Errors
/// nvidia-smi is missing, fails, or does not list a GPU.
pub async fn count() -> Result<u32, LocalError> {
    let no_gpu = |reason: String| LocalError::NoGpu { reason };
    let tool = which::which("nvidia-smi")
        .map_err(|_| no_gpu("nvidia-smi was not found in PATH (is the NVIDIA driver installed?)".into()))?;
    let output = tokio::process::Command::new(tool)
        .arg("--list-gpus")
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|error| no_gpu(format!("nvidia-smi failed to start: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().filter(|line| line.starts_with("GPU ")).count() {
        0 => Err(no_gpu(format!(
            "nvidia-smi does not list a GPU ({})",
            text.lines().next().unwrap_or("no output")
        ))),
        listed => Ok(u32::try_from(listed).unwrap_or(u32::MAX)),
    }
}
