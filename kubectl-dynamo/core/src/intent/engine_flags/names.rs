//! The flags that the vLLM worker of each Dynamo release accepts. `tests/engine-flags` extracts the committed
//! table from the wheels. An unknown flag would otherwise stop the engine only after the model is loaded onto
//! GPUs.

use std::sync::LazyLock;

use crate::nearest_name::nearest_name;

/// One row per flag, one letter per release: `v` known to vLLM, `d` known to Dynamo, `-` unknown.
const TABLE: &str = include_str!("names.txt");

/// The parsed table: rows sorted by flag name, and the release of each column.
struct FlagTable {
    releases: Vec<&'static str>,
    rows: Vec<(&'static str, &'static [u8])>,
}

static FLAG_TABLE: LazyLock<FlagTable> = LazyLock::new(|| {
    let header = |prefix: &str| TABLE.lines().find_map(|line| line.strip_prefix(prefix));
    FlagTable {
        releases: header("releases ").map(|list| list.split(' ').collect()).unwrap_or_default(),
        rows: TABLE
            .lines()
            .filter(|line| line.starts_with('-'))
            .filter_map(|line| line.split_once(' '))
            .map(|(name, letters)| (name, letters.trim_start().as_bytes()))
            .collect(),
    }
});

/// A flag that the engine would reject at startup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownFlag {
    /// The flag as the user wrote it, without its value.
    pub flag: String,
    /// The most similar known flag, if one is similar enough.
    pub nearest: Option<&'static str>,
    /// Whether another release accepts it.
    pub known_in_other_release: bool,
}

/// The releases in the table, oldest first.
pub fn releases() -> &'static [&'static str] {
    &FLAG_TABLE.releases
}

/// Whether the worker of `release` (a version in [`releases`]) accepts a flag, written in full with hyphens.
pub fn is_known(release: &str, flag: &str) -> bool {
    FLAG_TABLE.column(release).is_some_and(|column| FLAG_TABLE.is_known(column, flag))
}

/// The engine arguments that the worker of `release` does not accept. Empty if the table does not contain the
/// release.
pub fn unknown_flags(release: &str, args: &[String]) -> Vec<UnknownFlag> {
    let Some(column) = FLAG_TABLE.column(release) else { return Vec::new() };
    let flags = args.iter().filter_map(|arg| parse_flag_name(arg));
    flags
        .filter(|flag| !FLAG_TABLE.is_known(column, flag))
        .map(|flag| FLAG_TABLE.describe(column, flag))
        .collect()
}

impl FlagTable {
    fn column(&self, release: &str) -> Option<usize> {
        self.releases.iter().position(|known| *known == release)
    }

    fn letters(&self, flag: &str) -> Option<&'static [u8]> {
        self.rows.iter().find(|(name, _)| *name == flag).map(|(_, letters)| *letters)
    }

    fn is_known(&self, column: usize, flag: &str) -> bool {
        // The value may follow a one-letter flag directly, as in `-O3`.
        let one_letter = flag.get(..2).filter(|_| !flag.starts_with("--"));
        [Some(flag), one_letter]
            .into_iter()
            .flatten()
            .any(|name| self.letters(name).is_some_and(|letters| letters[column] != b'-'))
    }

    fn describe(&self, column: usize, flag: String) -> UnknownFlag {
        let known = self.rows.iter().filter(|(_, letters)| letters[column] != b'-');
        let nearest = nearest_name(&flag, known.map(|(name, _)| *name));
        UnknownFlag { known_in_other_release: self.letters(&flag).is_some(), flag, nearest }
    }
}

/// The flag of an argument as the table spells it, or `None` if the argument is a value.
fn parse_flag_name(arg: &str) -> Option<String> {
    let is_number = arg.parse::<f64>().is_ok();
    if !arg.starts_with('-') || is_number || arg == "-" || arg == "--" {
        return None;
    }
    // A dot may be followed by a key of a JSON flag. vLLM reads `_` as `-` before it.
    let name = arg.split(['=', '.']).next().unwrap_or(arg);
    // A script can build a flag from a variable.
    if name.contains(['$', '`']) {
        return None;
    }
    Some(if name.starts_with("--") { name.replace('_', "-") } else { name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::CATALOG;

    fn newest() -> &'static str {
        releases().last().expect("the table has releases")
    }

    fn unknown_flags_in(release: &str, args: &[&str]) -> Vec<UnknownFlag> {
        unknown_flags(release, &args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn table_has_a_column_for_every_catalog_release() {
        let catalog_versions: Vec<&str> = CATALOG.iter().map(|release| release.version).collect();
        assert_eq!(releases(), catalog_versions);
        let engines = TABLE.lines().find_map(|line| line.strip_prefix("engines ")).unwrap_or_default();
        for (release, engine) in CATALOG.iter().zip(engines.split(' ')) {
            assert!(release.vllm_packages[0].ends_with(&format!("=={engine}")), "{}", release.version);
        }
        assert!(FLAG_TABLE.rows.iter().all(|(_, letters)| letters.len() == CATALOG.len()));
    }

    #[test]
    fn accepts_known_flags_in_every_spelling() {
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
            "--${NAME}",
            "$EXTRA_ARGS",
        ];
        for release in releases() {
            assert_eq!(unknown_flags_in(release, &args), [], "{release}");
        }
    }

    #[test]
    fn suggests_the_nearest_known_flag() {
        let found =
            unknown_flags_in(newest(), &["--max-model-length", "8192", "--gpu-memory-utilisation=0.9"]);
        assert_eq!(
            found.iter().map(|unknown| (unknown.flag.as_str(), unknown.nearest)).collect::<Vec<_>>(),
            [
                ("--max-model-length", Some("--max-model-len")),
                ("--gpu-memory-utilisation", Some("--gpu-memory-utilization")),
            ]
        );
        let nonsense = unknown_flags_in(newest(), &["--completely-unlike-anything-there-is"]);
        assert_eq!((nonsense[0].nearest, nonsense[0].known_in_other_release), (None, false));
    }

    #[test]
    fn flag_of_another_release_is_known_in_other_release() {
        let only_old = FLAG_TABLE
            .rows
            .iter()
            .find(|(_, l)| l[0] == b'v' && l[l.len() - 1] == b'-')
            .expect("a removed flag");
        assert!(unknown_flags_in(newest(), &[only_old.0])[0].known_in_other_release);
        assert!(is_known(releases()[0], only_old.0));
        assert!(unknown_flags_in(releases()[0], &["--disaggregation-mode"])[0].known_in_other_release);
    }

    #[test]
    fn unknown_release_reports_no_unknown_flags() {
        assert_eq!(unknown_flags_in("unheard-of", &["--no-such-flag"]), []);
    }
}
