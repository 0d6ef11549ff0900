//! Which flags the vLLM worker of a Dynamo release knows, from a committed table of names that `tests/engine-flags`
//! reads out of the wheels. A flag that the engine does not know ends it, an hour of GPU time later.

use std::sync::LazyLock;

/// One row a flag, one letter a release: `v` known by vLLM, `d` by Dynamo, `-` by neither.
const TABLE: &str = include_str!("names.txt");

/// The rows in order of name, and the releases that their letters stand for.
struct Names {
    releases: Vec<&'static str>,
    rows: Vec<(&'static str, &'static [u8])>,
}

static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let words = |prefix: &str| TABLE.lines().find_map(|line| line.strip_prefix(prefix));
    Names {
        releases: words("releases ").map(|list| list.split(' ').collect()).unwrap_or_default(),
        rows: TABLE
            .lines()
            .filter(|line| line.starts_with('-'))
            .filter_map(|line| line.split_once(' '))
            .map(|(name, letters)| (name, letters.trim_start().as_bytes()))
            .collect(),
    }
});

/// A flag that the engine would end at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownFlag {
    /// As it was given, without a value.
    pub flag: String,
    /// The known flag that is spelled most like it, if any is.
    pub nearest: Option<&'static str>,
    /// Whether another release knows it.
    pub known_elsewhere: bool,
}

/// The releases that the table tells of, oldest first.
pub fn releases() -> &'static [&'static str] {
    &NAMES.releases
}

/// Whether the worker of `release` (a version of [`releases`]) knows a flag, spelled in full and with hyphens.
pub fn knows(release: &str, flag: &str) -> bool {
    NAMES.column(release).is_some_and(|column| NAMES.knows(column, flag))
}

/// The flags among engine arguments that the worker of `release` does not know; none for a release that the table
/// does not tell of.
pub fn unknown(release: &str, args: &[String]) -> Vec<UnknownFlag> {
    let Some(column) = NAMES.column(release) else { return Vec::new() };
    let flags = args.iter().filter_map(|arg| flag_of(arg));
    flags.filter(|flag| !NAMES.knows(column, flag)).map(|flag| NAMES.describe(column, flag)).collect()
}

impl Names {
    fn column(&self, release: &str) -> Option<usize> {
        self.releases.iter().position(|known| *known == release)
    }

    fn letters(&self, flag: &str) -> Option<&'static [u8]> {
        self.rows.iter().find(|(name, _)| *name == flag).map(|(_, letters)| *letters)
    }

    fn knows(&self, column: usize, flag: &str) -> bool {
        // `-O3` is a level behind its flag, and so may be the value of any flag of one letter.
        let one_letter = flag.get(..2).filter(|_| !flag.starts_with("--"));
        [Some(flag), one_letter]
            .into_iter()
            .flatten()
            .any(|name| self.letters(name).is_some_and(|letters| letters[column] != b'-'))
    }

    fn describe(&self, column: usize, flag: String) -> UnknownFlag {
        let known = self.rows.iter().filter(|(_, letters)| letters[column] != b'-');
        let nearest = known
            .map(|(name, _)| (strsim::damerau_levenshtein(name, &flag), *name))
            .min()
            // A third of the letters may differ; beyond that a suggestion is noise.
            .filter(|(distance, name)| distance * 3 <= name.len())
            .map(|(_, name)| name);
        UnknownFlag { known_elsewhere: self.letters(&flag).is_some(), flag, nearest }
    }
}

/// The flag that an argument is, as the table spells it; nothing for a value.
fn flag_of(arg: &str) -> Option<String> {
    let is_number = arg.parse::<f64>().is_ok();
    if !arg.starts_with('-') || is_number || arg == "-" || arg == "--" {
        return None;
    }
    // A key of a JSON flag may follow behind a dot; vLLM takes `_` for `-` before it.
    let name = arg.split(['=', '.']).next().unwrap_or(arg);
    Some(if name.starts_with("--") { name.replace('_', "-") } else { name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::CATALOG;

    fn newest() -> &'static str {
        releases().last().expect("the table has releases")
    }

    fn unknown_in(release: &str, args: &[&str]) -> Vec<UnknownFlag> {
        unknown(release, &args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_table_tells_of_every_release_of_the_catalogue() {
        let catalogue: Vec<&str> = CATALOG.iter().map(|release| release.version).collect();
        assert_eq!(releases(), catalogue);
        let engines = TABLE.lines().find_map(|line| line.strip_prefix("engines ")).unwrap_or_default();
        for (release, engine) in CATALOG.iter().zip(engines.split(' ')) {
            assert!(release.vllm_packages[0].ends_with(&format!("=={engine}")), "{}", release.version);
        }
        assert!(NAMES.rows.iter().all(|(_, letters)| letters.len() == CATALOG.len()));
    }

    #[test]
    fn lets_through_what_every_engine_knows_in_every_spelling() {
        let args = [
            "--max-model-len=8192",
            "--gpu_memory_utilization",
            "0.9",
            "--no-enable-prefix-caching",
            "--compilation-config.mode",
            "3",
            "-O3",
            "--hf-overrides",
            "{\"a-b\":-1}",
            "--seed",
            "-1",
            "--dyn-tool-call-parser",
            "hermes",
        ];
        for release in releases() {
            assert_eq!(unknown_in(release, &args), [], "{release}");
        }
    }

    #[test]
    fn names_the_flag_that_was_meant() {
        let found = unknown_in(newest(), &["--max-model-length", "8192", "--gpu-memory-utilisation=0.9"]);
        assert_eq!(
            found.iter().map(|unknown| (unknown.flag.as_str(), unknown.nearest)).collect::<Vec<_>>(),
            [
                ("--max-model-length", Some("--max-model-len")),
                ("--gpu-memory-utilisation", Some("--gpu-memory-utilization")),
            ]
        );
        let nonsense = unknown_in(newest(), &["--completely-unlike-anything-there-is"]);
        assert_eq!((nonsense[0].nearest, nonsense[0].known_elsewhere), (None, false));
    }

    #[test]
    fn a_flag_that_went_away_or_came_later_is_known_elsewhere() {
        let only_old =
            NAMES.rows.iter().find(|(_, l)| l[0] == b'v' && l[l.len() - 1] == b'-').expect("some went");
        assert!(unknown_in(newest(), &[only_old.0])[0].known_elsewhere);
        assert!(knows(releases()[0], only_old.0));
        assert!(unknown_in(releases()[0], &["--disaggregation-mode"])[0].known_elsewhere);
    }

    #[test]
    fn says_nothing_of_a_release_it_does_not_know() {
        assert_eq!(unknown_in("unheard-of", &["--no-such-flag"]), []);
    }
}
