//! Parses engine flags and rejects those that the plugin sets (after `--`). If such a flag were set twice,
//! the engine would use one value, and the GPU count, names, and router settings would use the other. Every
//! other flag is passed on unchanged.

pub mod names;

use super::IntentError;

/// Spellings of reserved engine flags, and the plugin flag that sets the same value.
const RESERVED: &[(&[&str], &str)] = &[
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

/// Rejects engine arguments that the plugin sets.
///
/// # Errors
/// [`IntentError::ReservedEngineFlag`] for the first reserved flag.
pub fn check_reserved(args: &[String]) -> Result<(), IntentError> {
    for arg in args {
        let flag = flag_name(arg);
        if let Some((_, plugin_flag)) =
            RESERVED.iter().find(|(spellings, _)| spellings.contains(&flag.as_str()))
        {
            return Err(IntentError::ReservedEngineFlag { flag: arg.clone(), plugin_flag });
        }
    }
    Ok(())
}

/// The value of a flag, or an empty string if no value follows. The last occurrence wins, as in the engine.
pub fn value(args: &[String], flag: &str) -> Option<String> {
    values(args, flag).map(|values| values.into_iter().next().unwrap_or_default())
}

/// The values of a flag that accepts several.
pub fn values(args: &[String], flag: &str) -> Option<Vec<String>> {
    let index = args.iter().rposition(|arg| flag_name(arg) == flag)?;
    match args[index].split_once('=') {
        Some((_, value)) => Some(vec![value.into()]),
        None => {
            let following = args[index + 1..].iter();
            Some(following.take_while(|arg| !arg.starts_with("--")).cloned().collect())
        }
    }
}

/// Whether the arguments contain a flag.
pub fn has_flag(args: &[String], flag: &str) -> bool {
    args.iter().any(|arg| flag_name(arg) == flag)
}

/// Whether a flag such as `--enable-prefix-caching` turns something on or, as `--no-enable-prefix-caching`, off. The last
/// occurrence wins, as in the engine. `None` without either.
pub fn is_enabled(args: &[String], flag: &str) -> Option<bool> {
    let negated = format!("--no-{}", flag.trim_start_matches('-'));
    args.iter().rev().find_map(|arg| match flag_name(arg) {
        name if name == flag => Some(arg.split_once('=').is_none_or(|(_, value)| value != "false")),
        name if name == negated => Some(false),
        _ => None,
    })
}

/// Flag name as vLLM reads it: `_` means `-`, and the name ends at `=`.
fn flag_name(arg: &str) -> String {
    arg.split('=').next().unwrap_or(arg).replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserved_by(args: &[&str]) -> Option<&'static str> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).into()).collect();
        match check_reserved(&args) {
            Err(IntentError::ReservedEngineFlag { plugin_flag, .. }) => Some(plugin_flag),
            _ => None,
        }
    }

    #[test]
    fn rejects_every_spelling_of_reserved_flags() {
        for (args, plugin_flag) in [
            (["--model", "x"].as_slice(), "MODEL"),
            (&["--max-model-len", "8192", "--tensor-parallel-size=4"], "--tensor-parallel-size"),
            (&["--tensor_parallel_size", "4"], "--tensor-parallel-size"),
            (&["-pp", "2"], "--pipeline-parallel-size"),
            (&["--is-decode-worker"], "--mode"),
        ] {
            assert_eq!(reserved_by(args), Some(plugin_flag), "{args:?}");
        }
    }

    #[test]
    fn accepts_flags_that_are_not_reserved() {
        for args in
            [&["--max-model-len", "8192"], &["--kv-cache-dtype", "fp8"], &["--model-loader-extra", "{}"]]
        {
            assert_eq!(reserved_by(args), None, "{args:?}");
        }
    }

    #[test]
    fn last_occurrence_of_a_flag_wins() {
        let args: Vec<String> =
            ["--block-size", "16", "--connector", "kvbm", "nixl", "--block_size=32", "--last"]
                .map(ToOwned::to_owned)
                .to_vec();
        assert_eq!(value(&args, "--block-size").as_deref(), Some("32"));
        assert_eq!(values(&args, "--connector"), Some(vec!["kvbm".into(), "nixl".into()]));
        assert_eq!(value(&args, "--last").as_deref(), Some(""));
        assert_eq!((value(&args, "--seed"), has_flag(&args, "--block-size")), (None, true));
    }

    #[test]
    fn last_of_a_flag_and_its_negation_wins() {
        let read = |args: &[&str]| {
            is_enabled(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>(), "--enable-x")
        };
        assert_eq!(read(&["--seed", "1"]), None);
        assert_eq!(read(&["--no-enable-x", "--enable_x"]), Some(true));
        assert_eq!(read(&["--enable-x", "--no_enable_x"]), Some(false));
        assert_eq!(read(&["--enable-x=false"]), Some(false));
    }
}
