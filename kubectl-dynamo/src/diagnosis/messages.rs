//! What each message code means and what to do about it: the pages of `docs/messages.md`, so that there is one
//! text for readers and for `explain`.

/// One code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    pub code: &'static str,
    pub meaning: &'static str,
    /// More on how it comes about and what mends it; empty where the meaning says it all.
    pub advice: &'static str,
}

const PAGE: &str = include_str!("../../../docs/messages.md");

/// All codes in their order.
pub fn explanations() -> Vec<Explanation> {
    rows().map(|(code, meaning)| Explanation { code, meaning, advice: advice(code) }).collect()
}

/// One code, however it is written: `KD0604`, `kd0604` or `0604`.
pub fn explanation(code: &str) -> Option<Explanation> {
    let digits = code.trim().trim_start_matches(['K', 'k']).trim_start_matches(['D', 'd']);
    explanations().into_iter().find(|one| one.code.strip_prefix("KD") == Some(digits))
}

fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    PAGE.lines().filter_map(|line| {
        let (code, meaning) = line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")?;
        code.starts_with("KD").then_some((code, meaning))
    })
}

/// The section of a code, without its heading.
fn advice(code: &str) -> &'static str {
    PAGE.split_once(&format!("\n### {code}\n"))
        .map(|(_, rest)| {
            rest.split("\n### ").next().unwrap_or_default().split("\n## ").next().unwrap_or_default()
        })
        .map_or("", str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_section_whose_commands_can_be_pasted() {
        for one in explanations() {
            assert!(!one.advice.is_empty(), "{} has no section", one.code);
            let broken = one.advice.lines().find(|line| line.matches('`').count() % 2 == 1);
            assert_eq!(broken, None, "{}: a command goes on in the next line", one.code);
        }
    }

    #[test]
    fn every_cause_that_a_diagnosis_ends_in_is_explained() {
        for code in super::super::known_codes() {
            assert!(explanation(code).is_some(), "{code} has no row");
        }
    }

    #[test]
    fn sections_stand_in_the_order_of_their_codes() {
        let codes: Vec<&str> = PAGE.lines().filter_map(|line| line.strip_prefix("### ")).collect();
        assert!(codes.is_sorted_by(|one, next| one < next), "{codes:?}");
    }

    #[test]
    fn a_code_may_be_written_in_any_way() {
        let one = explanation("KD0001").expect("the first code");
        assert!(!one.meaning.contains('|'));
        assert_eq!(explanation("kd0001"), Some(one.clone()));
        assert_eq!(explanation("0001"), Some(one));
        assert_eq!(explanation("KD9999"), None);
    }
}
