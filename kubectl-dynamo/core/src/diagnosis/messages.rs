//! Meaning and advice of each message code, parsed from the embedded `docs/messages.md`.
//!
//! The page is the only source, so that the documentation and `explain` show the same text.

use crate::code::MessageCode;

/// The explanation of one message code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    pub code: MessageCode,
    pub meaning: &'static str,
    /// Causes and fixes. Empty if the meaning is sufficient.
    pub advice: &'static str,
}

/// The text of `docs/messages.md`.
pub const MESSAGES_PAGE: &str = include_str!("../../../../docs/messages.md");

/// Returns the explanations of all codes, in the order of the page.
pub fn explanations() -> Vec<Explanation> {
    let explained =
        |code: &MessageCode| Explanation { code: *code, meaning: code.meaning(), advice: advice(*code) };
    MessageCode::ALL.iter().map(explained).collect()
}

/// Returns the explanation of a code, written as `KD0604`, `kd0604`, or `0604`.
pub fn explanation(code: &str) -> Option<Explanation> {
    let digits = code.trim().trim_start_matches(['K', 'k']).trim_start_matches(['D', 'd']);
    explanations().into_iter().find(|one| one.code.as_str().strip_prefix("KD") == Some(digits))
}

/// Returns the section of a code without its heading.
fn advice(code: MessageCode) -> &'static str {
    MESSAGES_PAGE
        .split_once(&format!("\n### {code}\n"))
        .map(|(_, rest)| {
            rest.split("\n### ").next().unwrap_or_default().split("\n## ").next().unwrap_or_default()
        })
        .map_or("", str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_section_with_single_line_commands() {
        for one in explanations() {
            assert!(!one.advice.is_empty(), "{} does not have a section", one.code);
            let broken = one.advice.lines().find(|line| line.matches('`').count() % 2 == 1);
            assert_eq!(broken, None, "{}: a command spans several lines", one.code);
        }
    }

    #[test]
    fn every_rule_code_is_explained() {
        for code in super::super::known_codes() {
            assert!(explanation(code.as_str()).is_some(), "{code} does not have a row");
        }
    }

    #[test]
    fn sections_are_sorted_by_code() {
        let codes: Vec<&str> = MESSAGES_PAGE.lines().filter_map(|line| line.strip_prefix("### ")).collect();
        assert!(codes.is_sorted_by(|one, next| one < next), "{codes:?}");
    }

    #[test]
    fn accepts_code_with_or_without_prefix() {
        let one = explanation("KD0001").expect("the first code");
        assert!(!one.meaning.contains('|'));
        assert_eq!(explanation("kd0001"), Some(one.clone()));
        assert_eq!(explanation("0001"), Some(one));
        assert_eq!(explanation("KD9999"), None);
    }
}
