//! Finds the known name that is most similar to a mistyped one, for hints.

/// The most similar of the known names, if at most a third of its letters differ. A suggestion that differs more
/// would not help.
pub fn nearest_name(given: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    known
        .map(|name| (strsim::damerau_levenshtein(name, given), name))
        .min()
        .filter(|(distance, name)| distance * 3 <= name.len())
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name_differs_in_at_most_a_third_of_its_letters() {
        let known = ["hermes", "glm45", "qwen3_coder"];
        for (given, nearest) in [
            ("hermess", Some("hermes")),
            ("qwen3coder", Some("qwen3_coder")),
            ("qwen3_codre", Some("qwen3_coder")),
            ("llama", None),
        ] {
            assert_eq!(nearest_name(given, known.into_iter()), nearest, "{given}");
        }
    }
}
