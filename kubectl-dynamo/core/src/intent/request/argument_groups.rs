//! Groups engine arguments by flag: a flag and the values that follow it. A layer with higher precedence can
//! then change one flag and keep the others. Argument values are not interpreted, and nothing is reordered.

/// Groups each flag with its values, without changing the order of the arguments. A flag that occurs several
/// times has several groups. `--no-FLAG` has the name of the flag that it negates, so it replaces it and is replaced.
pub(crate) fn group_by_flag(args: &[String]) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for arg in args {
        match (flag_name(arg), groups.last_mut()) {
            (None, Some((_, group))) => group.push(arg.clone()),
            (name, _) => groups.push((name.unwrap_or_default(), vec![arg.clone()])),
        }
    }
    groups
}

/// The flag name of an argument as vLLM reads it: `_` means `-`, and the name ends at `=`. `None` for values,
/// including negative numbers.
fn flag_name(arg: &str) -> Option<String> {
    let name = arg.split('=').next().unwrap_or(arg);
    let is_flag =
        name.starts_with('-') && name.trim_start_matches('-').starts_with(|c: char| c.is_alphabetic());
    let name = is_flag.then(|| name.replace('_', "-"))?;
    Some(name.strip_prefix("--no-").map_or_else(|| name.clone(), |negated| format!("--{negated}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_grouped_with_their_flag() {
        let args =
            ["--max-model-len", "8192", "--seed=-1", "-O3", "--lora", "a", "b", "--max_model_len=4", "-1"];
        let args: Vec<String> = args.map(Into::into).to_vec();
        let groups = group_by_flag(&args);
        let names: Vec<&str> = groups.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["--max-model-len", "--seed", "-O3", "--lora", "--max-model-len"]);
        assert_eq!(groups[0].1, ["--max-model-len", "8192"]);
        assert_eq!(groups[3].1, ["--lora", "a", "b"]);
        assert_eq!(groups[4].1, ["--max_model_len=4", "-1"]);
        assert_eq!(groups.into_iter().flat_map(|(_, group)| group).collect::<Vec<_>>(), args);
    }

    #[test]
    fn negated_flag_has_the_name_of_the_flag() {
        let args = ["--no-enable-prefix-caching", "--enable_prefix_caching", "--node-rank", "0"];
        let groups = group_by_flag(&args.map(Into::into));
        let names: Vec<&str> = groups.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["--enable-prefix-caching", "--enable-prefix-caching", "--node-rank"]);
    }
}
