//! The engine flags that this program writes by itself. They are refused after `--`: said twice, the engine would
//! follow one and GPUs, names and the router the other. Every other flag passes as it is.

pub mod names;

use super::IntentError;

/// Spellings of the engines, and the flag of ours that says the same.
const TAKEN: &[(&[&str], &str)] = &[
    (&["--model", "--model-path"], "MODEL"),
    (&["--served-model-name", "--model-name"], "--served-model-name"),
    (&["--tensor-parallel-size", "-tp"], "--tensor-parallel-size"),
    (&["--pipeline-parallel-size", "-pp"], "--pipeline-parallel-size"),
    (&["--data-parallel-size", "-dp"], "--data-parallel-size"),
    (&["--enable-expert-parallel", "--no-enable-expert-parallel", "-ep"], "--enable-expert-parallel"),
    (&["--trust-remote-code", "--no-trust-remote-code"], "--trust-remote-code"),
    (&["--nnodes", "-n", "--node-rank", "-r", "--master-addr", "--master-port", "--headless"], "--nodes"),
    (&["--disaggregation-mode", "--is-prefill-worker", "--is-decode-worker"], "--mode"),
];

/// Checks a list of engine arguments.
///
/// # Errors
/// [`IntentError::EngineFlagTaken`] for the first flag that is ours to say.
pub fn check(args: &[String]) -> Result<(), IntentError> {
    for arg in args {
        // vLLM takes `_` for `-`.
        let flag = arg.split('=').next().unwrap_or(arg).replace('_', "-");
        if let Some((_, ours)) = TAKEN.iter().find(|(spellings, _)| spellings.contains(&flag.as_str())) {
            return Err(IntentError::EngineFlagTaken { flag: arg.clone(), ours });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(args: &[&str]) -> Option<&'static str> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).into()).collect();
        match check(&args) {
            Err(IntentError::EngineFlagTaken { ours, .. }) => Some(ours),
            _ => None,
        }
    }

    #[test]
    fn refuses_in_every_spelling_what_our_flags_say() {
        for (args, ours) in [
            (["--model", "x"].as_slice(), "MODEL"),
            (&["--max-model-len", "8192", "--tensor-parallel-size=4"], "--tensor-parallel-size"),
            (&["--tensor_parallel_size", "4"], "--tensor-parallel-size"),
            (&["-pp", "2"], "--pipeline-parallel-size"),
            (&["--is-decode-worker"], "--mode"),
        ] {
            assert_eq!(taken(args), Some(ours), "{args:?}");
        }
    }

    #[test]
    fn lets_everything_else_through() {
        for args in
            [&["--max-model-len", "8192"], &["--kv-cache-dtype", "fp8"], &["--model-loader-extra", "{}"]]
        {
            assert_eq!(taken(args), None, "{args:?}");
        }
    }
}
