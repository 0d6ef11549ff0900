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
        let flag = name(arg);
        if let Some((_, ours)) = TAKEN.iter().find(|(spellings, _)| spellings.contains(&flag.as_str())) {
            return Err(IntentError::EngineFlagTaken { flag: arg.clone(), ours });
        }
    }
    Ok(())
}

/// The value of a flag; of one that is given twice the last counts, as in the engine. Empty where none follows.
pub fn value(args: &[String], flag: &str) -> Option<String> {
    values(args, flag).map(|values| values.into_iter().next().unwrap_or_default())
}

/// The values of a flag that takes several.
pub fn values(args: &[String], flag: &str) -> Option<Vec<String>> {
    let place = args.iter().rposition(|arg| name(arg) == flag)?;
    match args[place].split_once('=') {
        Some((_, value)) => Some(vec![value.into()]),
        None => {
            let behind = args[place + 1..].iter();
            Some(behind.take_while(|arg| !arg.starts_with("--")).cloned().collect())
        }
    }
}

/// Whether a flag is among the arguments.
pub fn has(args: &[String], flag: &str) -> bool {
    args.iter().any(|arg| name(arg) == flag)
}

/// The flag's name as vLLM reads it: `_` is `-`, and `=` ends it.
fn name(arg: &str) -> String {
    arg.split('=').next().unwrap_or(arg).replace('_', "-")
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

    #[test]
    fn the_last_of_a_flags_values_counts() {
        let args: Vec<String> =
            ["--block-size", "16", "--connector", "kvbm", "nixl", "--block_size=32", "--last"]
                .map(ToOwned::to_owned)
                .to_vec();
        assert_eq!(value(&args, "--block-size").as_deref(), Some("32"));
        assert_eq!(values(&args, "--connector"), Some(vec!["kvbm".into(), "nixl".into()]));
        assert_eq!(value(&args, "--last").as_deref(), Some(""));
        assert_eq!((value(&args, "--seed"), has(&args, "--block-size")), (None, true));
    }
}
