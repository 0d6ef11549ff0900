//! A list of engine arguments as groups: a flag with the values behind it. So a stronger layer can change one
//! flag and keep the others.

/// The arguments by the name of their flag, in the order the names come first; all of one name stay together.
pub(super) fn groups(args: &[String]) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    let mut current = None;
    for arg in args {
        let at = match flag_name(arg) {
            Some(name) => place(&mut groups, name),
            None => current.unwrap_or_else(|| place(&mut groups, String::new())),
        };
        groups[at].1.push(arg.clone());
        current = Some(at);
    }
    groups
}

fn place(groups: &mut Vec<(String, Vec<String>)>, name: String) -> usize {
    groups.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
        groups.push((name, Vec::new()));
        groups.len() - 1
    })
}

/// The flag that an argument names, as vLLM reads it: `_` is `-`, and `=` ends it. A negative number is a value.
fn flag_name(arg: &str) -> Option<String> {
    let name = arg.split('=').next().unwrap_or(arg);
    let is_flag =
        name.starts_with('-') && name.trim_start_matches('-').starts_with(|c: char| c.is_alphabetic());
    is_flag.then(|| name.replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_with_their_flag() {
        let args =
            ["--max-model-len", "8192", "--seed=-1", "-O3", "--lora", "a", "b", "--max_model_len=4", "-1"];
        let args: Vec<String> = args.map(Into::into).to_vec();
        let groups = groups(&args);
        let names: Vec<&str> = groups.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["--max-model-len", "--seed", "-O3", "--lora"]);
        assert_eq!(groups[0].1, ["--max-model-len", "8192", "--max_model_len=4", "-1"]);
        assert_eq!(groups[3].1, ["--lora", "a", "b"]);
    }
}
