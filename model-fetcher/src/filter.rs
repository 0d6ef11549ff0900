//! Selects files of a listing: `--include`, `--exclude`, and without files that only repeat the weights.
//!
//! Patterns have the meaning of Python's `fnmatch`, as in huggingface_hub: `*` matches `/`, an unclosed `[`
//! is literal, a trailing `/` means everything below. The glob crate differs in some of these, so patterns
//! are translated to its syntax first.

use glob::{MatchOptions, Pattern};

use crate::error::FetcherError;
use crate::options::FetchOptions;
use crate::source::tree;
use model_fetcher_contract::weights::{FileUse, LoadFormat, classify_files};
use model_fetcher_contract::{Listing, RemoteFile};

/// `*` and `?` match `/` and a leading dot, as in Python.
const PYTHON_FNMATCH_OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: false,
    require_literal_leading_dot: false,
};

/// Include and exclude patterns that select files of a listing.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    include: Vec<Glob>,
    exclude: Vec<Glob>,
    load_format: LoadFormat,
    description: String,
}

impl Filter {
    pub(crate) fn new(options: &FetchOptions) -> Result<Self, FetcherError> {
        let FetchOptions { include, exclude, load_format, .. } = options;
        let globs = |patterns: &[String]| -> Result<Vec<Glob>, FetcherError> {
            patterns.iter().map(|pattern| Glob::new(pattern)).collect()
        };
        let flags = include.iter().map(|pattern| format!("--include {pattern}"));
        let flags = flags.chain(exclude.iter().map(|pattern| format!("--exclude {pattern}")));
        Ok(Self {
            description: flags.collect::<Vec<_>>().join(" "),
            include: globs(include)?,
            exclude: globs(exclude)?,
            load_format: *load_format,
        })
    }

    /// Returns the selected paths. Files that repeat the selected weights and states of training runs are left out
    /// unless an `--include` names them.
    pub(crate) fn select<'a>(&self, paths: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        let any = |globs: &[Glob], path: &str| globs.iter().any(|glob| glob.matches(path));
        let allowed: Vec<&str> =
            paths.filter(|path| !tree::is_hub_record(path) && !any(&self.exclude, path)).collect();
        if !self.include.is_empty() {
            return allowed.into_iter().filter(|path| any(&self.include, path)).collect();
        }
        // Weights that are excluded do not replace others.
        let uses = classify_files(&allowed, &[], self.load_format);
        let is_needed = |file_use: &FileUse| matches!(file_use, FileUse::Loaded | FileUse::Other);
        allowed
            .into_iter()
            .zip(uses)
            .filter(|(_, file_use)| is_needed(file_use))
            .map(|(path, _)| path)
            .collect()
    }

    /// Returns the selected files, or an error with the patterns if none is selected.
    ///
    /// # Errors
    /// A selected file cannot be written or verified. What is not selected never decides.
    pub(crate) fn apply(&self, repository: &str, listing: &Listing) -> Result<Vec<RemoteFile>, FetcherError> {
        let selected: std::collections::HashSet<&str> = self.select(listing.paths()).into_iter().collect();
        if selected.is_empty() {
            let patterns =
                if self.description.is_empty() { "anything".into() } else { self.description.clone() };
            return Err(FetcherError::NothingSelected { repository: repository.to_owned(), patterns });
        }
        let bad_listing = |reason| FetcherError::BadListing { repository: repository.to_owned(), reason };
        if let Some(unusable) = listing.unusable.iter().find(|file| selected.contains(file.path.as_str())) {
            return Err(bad_listing(unusable.reason.clone()));
        }
        let files = listing.files.iter().filter(|file| selected.contains(file.path.as_str()));
        let files: Vec<RemoteFile> = files.cloned().collect();
        tree::validate_paths(&files)
            .and_then(|()| tree::validate_sizes(&files))
            .map_err(|error| bad_listing(error.to_string()))?;
        Ok(files)
    }
}

/// One `fnmatch` pattern.
#[derive(Debug, Clone)]
enum Glob {
    Pattern(Pattern),
    /// A class that matches nothing, such as `[b-a]`.
    Never,
}

impl Glob {
    fn new(pattern: &str) -> Result<Self, FetcherError> {
        let pattern = if pattern.ends_with('/') { format!("{pattern}*") } else { pattern.to_owned() };
        let Some(translated) = translate(&pattern) else {
            return Ok(Glob::Never);
        };
        Pattern::new(&translated).map(Glob::Pattern).map_err(|error| FetcherError::Usage {
            what: format!("invalid pattern {pattern:?}: {}", error.msg),
            hint: "write it as for `hf download --include`".into(),
        })
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Glob::Pattern(pattern) => pattern.matches_with(path, PYTHON_FNMATCH_OPTIONS),
            Glob::Never => false,
        }
    }
}

/// Translates `fnmatch` syntax to the glob crate's syntax. Returns `None` if the pattern cannot match.
fn translate(pattern: &str) -> Option<String> {
    let characters: Vec<char> = pattern.chars().collect();
    let mut translated = String::new();
    let mut position = 0;
    while position < characters.len() {
        match characters[position] {
            // `**` has its own meaning in the glob crate.
            '*' if translated.ends_with('*') => {}
            '[' => match class_end(&characters, position) {
                Some(end) => {
                    translated.push_str(&translate_class(&characters[position + 1..end])?);
                    position = end;
                }
                None => translated.push_str("[[]"),
            },
            character => translated.push(character),
        }
        position += 1;
    }
    Some(translated)
}

/// Returns where the class that opens at `open` closes: the first `]` that is not its first member.
fn class_end(characters: &[char], open: usize) -> Option<usize> {
    let mut start = open + 1;
    if characters.get(start) == Some(&'!') {
        start += 1;
    }
    start += 1;
    (start..characters.len()).find(|position| characters[*position] == ']')
}

/// Which characters a class matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClassKind {
    /// Its members.
    Only,
    /// All except its members (`[!…]`).
    AllExcept,
}

fn translate_class(members: &[char]) -> Option<String> {
    let (kind, members) = match members.split_first() {
        Some(('!', rest)) => (ClassKind::AllExcept, rest),
        _ => (ClassKind::Only, members),
    };
    let ranges = class_ranges(members);
    match (ranges.is_empty(), kind) {
        (true, ClassKind::AllExcept) => Some("?".into()),
        (true, ClassKind::Only) => None,
        (false, _) => Some(write_class(&ranges, kind)),
    }
}

/// Parses members as ranges of characters, as Python does: a hyphen makes a range except at an end or right
/// after another range, and a reversed range is empty.
fn class_ranges(members: &[char]) -> Vec<(char, char)> {
    let mut ranges = Vec::new();
    let mut position = 0;
    while position < members.len() {
        let first = members[position];
        match (members.get(position + 1), members.get(position + 2)) {
            (Some('-'), Some(last)) => {
                if first <= *last {
                    ranges.push((first, *last));
                }
                position += 3;
            }
            _ => {
                ranges.push((first, first));
                position += 1;
            }
        }
    }
    ranges
}

/// Writes a class for the glob crate: `]` first, `-` last, `!` not first, none of them in a range.
fn write_class(ranges: &[(char, char)], kind: ClassKind) -> String {
    let contains = |character: char| ranges.iter().any(|(first, last)| (*first..=*last).contains(&character));
    let mut class = String::new();
    if contains(']') {
        class.push(']');
    }
    for (first, last) in ranges.iter().flat_map(|range| without_special(*range)) {
        class.push(first);
        if first != last {
            class.extend(['-', last]);
        }
    }
    if contains('!') && contains('-') && class.is_empty() && kind == ClassKind::Only {
        return "[-!]".into();
    }
    if contains('!') {
        class.push('!');
    }
    if contains('-') {
        class.push('-');
    }
    match (class.as_str(), kind) {
        ("!", ClassKind::Only) => "!".into(),
        (_, ClassKind::Only) => format!("[{class}]"),
        (_, ClassKind::AllExcept) => format!("[!{class}]"),
    }
}

/// Splits `range` into pieces that avoid `]`, `!`, and `-`.
fn without_special((first, last): (char, char)) -> Vec<(char, char)> {
    let mut pieces = Vec::new();
    let mut start = first;
    for special in ['!', '-', ']'] {
        if (start..=last).contains(&special) {
            if start < special {
                pieces.push((start, previous_char(special)));
            }
            start = next_char(special);
        }
    }
    if start <= last {
        pieces.push((start, last));
    }
    pieces
}

fn previous_char(special: char) -> char {
    char::from_u32(special as u32 - 1).unwrap_or(special)
}

fn next_char(special: char) -> char {
    char::from_u32(special as u32 + 1).unwrap_or(special)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Paths and the patterns that match them according to Python 3.11's `fnmatch.fnmatchcase`; generated by
    /// `vectors.py`.
    const VECTORS: &str = include_str!("filter/vectors.json");

    #[derive(serde::Deserialize)]
    struct Vectors {
        paths: Vec<String>,
        matches: std::collections::BTreeMap<String, Vec<usize>>,
    }

    #[test]
    fn patterns_match_python_fnmatch() {
        let vectors: Vectors = serde_json::from_str(VECTORS).unwrap();
        assert!(vectors.matches.len() > 100 && vectors.paths.len() > 20);
        for (pattern, matches) in vectors.matches {
            let glob = Glob::new(&pattern).unwrap();
            for (index, path) in vectors.paths.iter().enumerate() {
                assert_eq!(
                    glob.matches(path),
                    matches.contains(&index),
                    "{pattern:?} against {path:?}: {glob:?}"
                );
            }
        }
    }

    #[test]
    fn trailing_slash_matches_all_descendants() {
        let glob = Glob::new("original/").unwrap();
        assert!(glob.matches("original/a/b.pth"));
        assert!(!glob.matches("originals"));
    }

    fn filter(include: &[&str], exclude: &[&str]) -> Filter {
        let owned =
            |patterns: &[&str]| patterns.iter().map(|pattern| pattern.to_string()).collect::<Vec<_>>();
        let mut options = FetchOptions::new("org/model", "/models");
        (options.include, options.exclude) = (owned(include), owned(exclude));
        Filter::new(&options).unwrap()
    }

    fn selected(include: &[&str], exclude: &[&str], paths: &[&'static str]) -> Vec<&'static str> {
        filter(include, exclude).select(paths.iter().copied())
    }

    #[test]
    fn excludes_repeated_weights_unless_included() {
        let paths =
            ["config.json", "model.safetensors", "pytorch_model.bin", "original/params.json", "x.gguf"];
        assert_eq!(selected(&[], &[], &paths), ["config.json", "model.safetensors"]);
        assert_eq!(selected(&["*.bin"], &[], &paths), ["pytorch_model.bin"]);
        assert_eq!(selected(&[], &["*.json"], &paths), ["model.safetensors"]);
        assert_eq!(selected(&[], &[], &["config.json", "model.bin"]), ["config.json", "model.bin"]);
    }

    #[test]
    fn excluded_weights_do_not_replace_others() {
        let paths = ["model.safetensors", "pytorch_model.bin"];
        assert_eq!(selected(&[], &["*.safetensors"], &paths), ["pytorch_model.bin"]);
    }

    #[test]
    fn records_of_the_hub_are_never_selected() {
        let paths = [".cache/huggingface/.gitignore", ".cache/other", "a"];
        assert_eq!(selected(&[], &[], &paths), [".cache/other", "a"]);
        assert_eq!(selected(&["*"], &[], &paths), [".cache/other", "a"]);
    }

    #[test]
    fn only_a_selected_entry_decides() {
        let file = |path: &str| RemoteFile {
            path: path.into(),
            size: 1,
            checksum: model_fetcher_contract::Checksum::GitSha1("0".repeat(40)),
            blob_id: String::new(),
            xet_hash: None,
        };
        let unusable = model_fetcher_contract::UnusableFile { path: "../x".into(), reason: "leaves".into() };
        let listing = Listing {
            commit: String::new(),
            files: vec![file("a"), file("logs"), file("logs/x")],
            unusable: vec![unusable],
        };
        let apply = |exclude: &[&str]| filter(&[], exclude).apply("org/model", &listing);
        assert!(apply(&["logs/*"]).unwrap_err().to_string().contains("leaves"));
        assert!(apply(&["../*"]).unwrap_err().to_string().contains("both a file and a folder"));
        assert_eq!(apply(&["../*", "logs/*"]).unwrap().len(), 2);
    }

    #[test]
    fn empty_selection_error_lists_patterns() {
        let error = filter(&["*.xyz"], &[]).apply("org/model", &Listing::default()).unwrap_err();
        assert_eq!(error.exit_code(), 11);
        assert!(error.to_string().contains("--include *.xyz"), "{error}");
    }
}
