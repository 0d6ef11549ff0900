//! The output parsers of each Dynamo release, by name. The frontend uses them to read tool calls and reasoning from
//! the model's text. `tests/parser-names` extracts the committed table from the wheels. A worker with an unknown name
//! would end only after the model is loaded onto GPUs.

use std::sync::LazyLock;

use super::Release;
use crate::intent::ParserKind;
use crate::nearest_name::nearest_name;

/// One row per kind and name, one letter per release: `x` known, `-` unknown.
const TABLE: &str = include_str!("parser_names.txt");

/// The parsed table: the releases of the columns, and the rows with their kind, name, and letters.
struct ParserTable {
    releases: Vec<&'static str>,
    rows: Vec<(&'static str, &'static str, &'static [u8])>,
}

static PARSER_TABLE: LazyLock<ParserTable> = LazyLock::new(|| {
    let releases = TABLE.lines().find_map(|line| line.strip_prefix("releases "));
    let rows = TABLE.lines().filter(|line| line.ends_with(['x', '-'])).filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?, words.next()?, words.next()?.as_bytes()))
    });
    ParserTable {
        releases: releases.map(|list| list.split(' ').collect()).unwrap_or_default(),
        rows: rows.collect(),
    }
});

/// A parser name that a release does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownParser {
    pub kind: ParserKind,
    /// The name as the user wrote it.
    pub name: String,
    /// The most similar name that the release knows, if one is similar enough.
    pub nearest: Option<&'static str>,
    /// Other releases that know the name, oldest first.
    pub known_in: Vec<&'static str>,
}

impl Release {
    /// The parser names of this release, in alphabetical order.
    pub fn parser_names(&self, kind: ParserKind) -> impl Iterator<Item = &'static str> {
        let column = PARSER_TABLE.releases.iter().position(|release| *release == self.version);
        let of_kind = PARSER_TABLE.rows.iter().filter(move |(key, ..)| *key == kind.key());
        of_kind
            .filter(move |(_, _, letters)| column.is_some_and(|column| letters[column] == b'x'))
            .map(|(_, name, _)| *name)
    }

    /// Checks a parser name.
    ///
    /// # Errors
    /// A name that this release does not know, with the most similar one.
    pub fn check_parser(&self, kind: ParserKind, name: &str) -> Result<(), UnknownParser> {
        if self.parser_names(kind).any(|known| known == name) {
            return Ok(());
        }
        let row = PARSER_TABLE.rows.iter().find(|(key, known, _)| *key == kind.key() && *known == name);
        let letters = row.map_or(&[][..], |(_, _, letters)| letters);
        let known_in = PARSER_TABLE.releases.iter().zip(letters).filter(|(_, letter)| **letter == b'x');
        Err(UnknownParser {
            kind,
            name: name.into(),
            nearest: nearest_name(name, self.parser_names(kind)),
            known_in: known_in.map(|(release, _)| *release).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::CATALOG;

    fn release(version: &str) -> &'static Release {
        Release::find(version).expect("a known release")
    }

    #[test]
    fn table_has_a_column_for_every_catalog_release() {
        let versions: Vec<&str> = CATALOG.iter().map(|release| release.version).collect();
        assert_eq!(PARSER_TABLE.releases, versions);
        let engines = TABLE.lines().find_map(|line| line.strip_prefix("engines ")).unwrap_or_default();
        for (release, engine) in CATALOG.iter().zip(engines.split(' ')) {
            assert!(release.vllm_packages[0].ends_with(&format!("=={engine}")), "{}", release.version);
        }
        assert!(PARSER_TABLE.rows.iter().all(|(_, _, letters)| letters.len() == CATALOG.len()));
    }

    #[test]
    fn releases_know_as_many_parsers_as_their_wheels_list() {
        for (version, tool_call, reasoning) in [("0.9.1", 15, 10), ("1.4.2", 30, 29), ("1.6.1", 36, 35)] {
            let count = |kind| release(version).parser_names(kind).count();
            assert_eq!(
                (count(ParserKind::ToolCall), count(ParserKind::Reasoning)),
                (tool_call, reasoning),
                "{version}"
            );
        }
    }

    #[test]
    fn unknown_parser_has_the_nearest_name_and_the_releases_that_know_it() {
        let unknown = |version: &str, kind, name: &str| {
            let unknown = release(version).check_parser(kind, name).expect_err("an unknown name");
            (unknown.nearest, unknown.known_in)
        };
        assert_eq!(release("1.6.1").check_parser(ParserKind::ToolCall, "hermes"), Ok(()));
        assert_eq!(unknown("1.6.1", ParserKind::ToolCall, "hermess"), (Some("hermes"), Vec::new()));
        assert_eq!(unknown("1.5.1", ParserKind::ToolCall, "glm45"), (Some("glm47"), vec!["1.6.1"]));
        let since_1_2 = vec!["1.2.1", "1.3.1", "1.4.2", "1.5.1", "1.6.1"];
        assert_eq!(unknown("1.1.1", ParserKind::ToolCall, "qwen25").1, since_1_2);
        assert_eq!(unknown("1.6.1", ParserKind::ToolCall, "completely-unlike"), (None, Vec::new()));
    }
}
