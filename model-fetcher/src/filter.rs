//! Which files of a listing are wanted: `--include`, `--exclude`, and duplicates of safetensors left out.
//!
//! Patterns mean what they mean to huggingface_hub, which is Python's `fnmatch`: `*` crosses `/`, an unclosed `[` is
//! itself, a trailing `/` means everything below. The glob crate reads some of these otherwise, so a pattern is
//! translated into its words first.

use glob::{MatchOptions, Pattern};

use crate::contract::RemoteFile;
use crate::error::Error;

/// Formats that repeat the weights of a repository that has safetensors.
const DUPLICATES: [&str; 8] =
    ["*.bin", "*.pth", "*.pt", "original/*", "*.gguf", "*.onnx", "*.msgpack", "*.h5"];

/// `*` and `?` match `/` and a leading dot, as in Python.
const LIKE_PYTHON: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: false,
    require_literal_leading_dot: false,
};

/// The wanted part of a listing.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    include: Vec<Glob>,
    exclude: Vec<Glob>,
    duplicates: Vec<Glob>,
    words: String,
}

impl Filter {
    pub(crate) fn new(include: &[String], exclude: &[String]) -> Result<Self, Error> {
        let globs = |patterns: &[String]| -> Result<Vec<Glob>, Error> {
            patterns.iter().map(|pattern| Glob::new(pattern)).collect()
        };
        let words = include.iter().map(|pattern| format!("--include {pattern}"));
        let words = words.chain(exclude.iter().map(|pattern| format!("--exclude {pattern}")));
        Ok(Self {
            words: words.collect::<Vec<_>>().join(" "),
            include: globs(include)?,
            exclude: globs(exclude)?,
            duplicates: DUPLICATES.iter().map(|pattern| Glob::new(pattern)).collect::<Result<_, _>>()?,
        })
    }

    /// The paths of `paths` that are wanted. Duplicates of safetensors stay out unless an `--include` names them.
    pub(crate) fn select<'a>(&self, paths: impl Iterator<Item = &'a str> + Clone) -> Vec<&'a str> {
        let has_safetensors = paths.clone().any(|path| path.ends_with(".safetensors"));
        paths.filter(|path| self.wants(path, has_safetensors)).collect()
    }

    fn wants(&self, path: &str, has_safetensors: bool) -> bool {
        let any = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(path));
        if any(&self.exclude) {
            return false;
        }
        if !self.include.is_empty() {
            return any(&self.include);
        }
        !(has_safetensors && any(&self.duplicates))
    }

    /// The wanted files of `files`, or an error that repeats the patterns when none is left.
    pub(crate) fn apply(&self, repository: &str, files: &[RemoteFile]) -> Result<Vec<RemoteFile>, Error> {
        let selected = self.select(files.iter().map(|file| file.path.as_str()));
        if selected.is_empty() {
            let patterns = if self.words.is_empty() { "anything".into() } else { self.words.clone() };
            return Err(Error::NothingSelected { repository: repository.to_owned(), patterns });
        }
        let selected: std::collections::HashSet<&str> = selected.into_iter().collect();
        Ok(files.iter().filter(|file| selected.contains(file.path.as_str())).cloned().collect())
    }
}

/// One `fnmatch` pattern.
#[derive(Debug, Clone)]
enum Glob {
    Pattern(Pattern),
    /// A class that holds nothing, such as `[b-a]`.
    Never,
}

impl Glob {
    fn new(pattern: &str) -> Result<Self, Error> {
        let pattern = if pattern.ends_with('/') { format!("{pattern}*") } else { pattern.to_owned() };
        let Some(translated) = translate(&pattern) else {
            return Ok(Glob::Never);
        };
        Pattern::new(&translated).map(Glob::Pattern).map_err(|error| Error::Usage {
            what: format!("the pattern {pattern:?} cannot be read: {}", error.msg),
            hint: "write it as for `hf download --include`".into(),
        })
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Glob::Pattern(pattern) => pattern.matches_with(path, LIKE_PYTHON),
            Glob::Never => false,
        }
    }
}

/// `fnmatch` to the glob crate's words; `None` when nothing can match.
fn translate(pattern: &str) -> Option<String> {
    let characters: Vec<char> = pattern.chars().collect();
    let mut translated = String::new();
    let mut position = 0;
    while position < characters.len() {
        match characters[position] {
            // `**` is a word of its own to the glob crate.
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

/// Where the class that opens at `open` closes: the first `]` that is not its first member.
fn class_end(characters: &[char], open: usize) -> Option<usize> {
    let mut from = open + 1;
    if characters.get(from) == Some(&'!') {
        from += 1;
    }
    from += 1;
    (from..characters.len()).find(|position| characters[*position] == ']')
}

fn translate_class(members: &[char]) -> Option<String> {
    let (negated, members) = match members.split_first() {
        Some(('!', rest)) => (true, rest),
        _ => (false, members),
    };
    let ranges = class_ranges(members);
    match (ranges.is_empty(), negated) {
        (true, true) => Some("?".into()),
        (true, false) => None,
        (false, _) => Some(write_class(&ranges, negated)),
    }
}

/// Members as ranges of characters, read as Python reads them: a hyphen makes a range except at an end or right
/// after another range, and a range that runs backwards holds nothing.
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

/// Writes a class so that the glob crate reads it back: `]` first, `-` last, `!` not first, none of them in a range.
fn write_class(ranges: &[(char, char)], negated: bool) -> String {
    let holds = |wanted: char| ranges.iter().any(|(first, last)| (*first..=*last).contains(&wanted));
    let mut class = String::new();
    if holds(']') {
        class.push(']');
    }
    for (first, last) in ranges.iter().flat_map(|range| without_special(*range)) {
        class.push(first);
        if first != last {
            class.extend(['-', last]);
        }
    }
    if holds('!') && holds('-') && class.is_empty() && !negated {
        return "[-!]".into();
    }
    if holds('!') {
        class.push('!');
    }
    if holds('-') {
        class.push('-');
    }
    match (class.as_str(), negated) {
        ("!", false) => "!".into(),
        _ => format!("[{}{class}]", if negated { "!" } else { "" }),
    }
}

/// `range` in pieces that avoid `]`, `!` and `-`.
fn without_special((first, last): (char, char)) -> Vec<(char, char)> {
    let mut pieces = Vec::new();
    let mut start = first;
    for special in ['!', '-', ']'] {
        if (start..=last).contains(&special) {
            if start < special {
                pieces.push((start, before(special)));
            }
            start = after(special);
        }
    }
    if start <= last {
        pieces.push((start, last));
    }
    pieces
}

fn before(special: char) -> char {
    char::from_u32(special as u32 - 1).unwrap_or(special)
}

fn after(special: char) -> char {
    char::from_u32(special as u32 + 1).unwrap_or(special)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Paths, and which of them each pattern matches, by Python 3.11's `fnmatch.fnmatchcase`; made by `vectors.py`.
    const VECTORS: &str = include_str!("filter/vectors.json");

    #[derive(serde::Deserialize)]
    struct Vectors {
        paths: Vec<String>,
        matches: std::collections::BTreeMap<String, Vec<usize>>,
    }

    #[test]
    fn patterns_mean_what_they_mean_to_python() {
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
    fn a_trailing_slash_means_everything_below() {
        let glob = Glob::new("original/").unwrap();
        assert!(glob.matches("original/a/b.pth"));
        assert!(!glob.matches("originals"));
    }

    fn selected(include: &[&str], exclude: &[&str], paths: &[&'static str]) -> Vec<&'static str> {
        let owned =
            |patterns: &[&str]| patterns.iter().map(|pattern| pattern.to_string()).collect::<Vec<_>>();
        Filter::new(&owned(include), &owned(exclude)).unwrap().select(paths.iter().copied())
    }

    #[test]
    fn duplicates_of_safetensors_stay_out_unless_asked_for() {
        let paths =
            ["config.json", "model.safetensors", "pytorch_model.bin", "original/params.json", "x.gguf"];
        assert_eq!(selected(&[], &[], &paths), ["config.json", "model.safetensors"]);
        assert_eq!(selected(&["*.bin"], &[], &paths), ["pytorch_model.bin"]);
        assert_eq!(selected(&[], &["*.json"], &paths), ["model.safetensors"]);
        assert_eq!(selected(&[], &[], &["config.json", "model.bin"]), ["config.json", "model.bin"]);
    }

    #[test]
    fn a_filter_that_leaves_nothing_says_so() {
        let filter = Filter::new(&["*.xyz".into()], &[]).unwrap();
        let error = filter.apply("org/model", &[]).unwrap_err();
        assert_eq!(error.exit_code(), 11);
        assert!(error.to_string().contains("--include *.xyz"), "{error}");
    }
}
