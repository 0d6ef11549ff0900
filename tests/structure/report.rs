//! Measures the code base: names, module cycles, function signatures, raw JSON access, and sizes.
//! `tests/code-report` prints the report, and the tests below keep its limits.

// Its output is the report.
#![allow(clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::signatures::{Signatures, is_test};
use crate::source::ParsedSource;

/// Words of the language that this project had before, and that no standard text about Kubernetes uses.
const BANNED_WORDS: &[&str] = &[
    "anew", "brood", "ear", "mend", "mended", "mends", "nobody", "said", "somebody", "stands", "stories",
    "story", "thereof", "told", "whoever", "whom", "wish", "wished", "wishes",
];

/// Expressions such as `object["metadata"]` in all crates. Lower it after a change that removes some.
const MAX_JSON_INDEXES: usize = 60;

/// Where these expressions are: what builds Kubernetes objects and JSON schemas.
const JSON_INDEX_PLACES: &[&str] =
    &["kubectl-dynamo/core/src/resources/", "kubectl-dynamo/core/src/intent/request/schema.rs"];

/// A Rust file of a crate, with its place in the repository.
struct SourceFile {
    package: &'static str,
    module_path: PathBuf,
    place: String,
    text: String,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn product_files() -> Vec<SourceFile> {
    let read = |package: &'static str| {
        crate::package_files(package).into_iter().map(move |(module_path, text)| SourceFile {
            package,
            place: format!("{package}/src/{}", module_path.display()),
            module_path,
            text,
        })
    };
    crate::PACKAGES.into_iter().flat_map(read).collect()
}

/// The product files that tests do not have for themselves (`#[cfg(test)] mod name;`).
fn product_files_without_tests() -> Vec<SourceFile> {
    let files = product_files();
    let in_folder_of = |file: &SourceFile| match file.module_path.file_stem() {
        Some(name) if name != "lib" && name != "main" => file.module_path.with_extension(""),
        _ => file.module_path.with_file_name(""),
    };
    let test_files = |file: &SourceFile| {
        let (package, folder) = (file.package, in_folder_of(file));
        let modules = Signatures::parse(&file.text).test_modules.into_iter();
        modules.map(move |module| (package, folder.join(module))).collect::<Vec<_>>()
    };
    let test_files: Vec<(&str, PathBuf)> = files.iter().flat_map(test_files).collect();
    let is_test_file = |file: &SourceFile| {
        test_files.iter().any(|(package, path)| {
            file.package == *package && file.module_path.with_extension("").starts_with(path)
        })
    };
    files.into_iter().filter(|file| !is_test_file(file)).collect()
}

/// Files below `folder` with one of the extensions, as (place, text).
fn text_files(folder: &str, extensions: &[&str]) -> Vec<(String, String)> {
    let root = repository();
    let mut folders = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder exists").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| extensions.iter().any(|known| ext == *known))
                && let Ok(text) = std::fs::read_to_string(&path)
            {
                let place = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
                found.push((place, text));
            }
        }
    }
    found.sort();
    found
}

/// The words of a line: identifiers are split at `_` and before capitals.
fn words_of(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut previous = ' ';
    for letter in line.chars().chain([' ']) {
        let begins = letter.is_uppercase() && previous.is_lowercase();
        if (!letter.is_alphanumeric() || begins) && !word.is_empty() {
            words.push(std::mem::take(&mut word).to_lowercase());
        }
        if letter.is_alphanumeric() {
            word.push(letter);
        }
        previous = letter;
    }
    words
}

/// `place:line: word` for each banned word in code, help, messages, and docs. This file lists the words and is skipped.
fn banned_words() -> Vec<String> {
    let mut texts: Vec<(String, String)> =
        product_files().into_iter().map(|file| (file.place, file.text)).collect();
    texts.extend(text_files("tests", &["rs"]));
    texts.extend(text_files("docs", &["md"]));
    for page in ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "model-fetcher/src/arguments/manual.txt"] {
        texts.push((page.into(), std::fs::read_to_string(repository().join(page)).unwrap_or_default()));
    }
    let mut found = Vec::new();
    for (place, text) in texts.iter().filter(|(place, _)| !place.ends_with("structure/report.rs")) {
        for (number, line) in text.lines().enumerate() {
            let banned = words_of(line).into_iter().filter(|word| BANNED_WORDS.contains(&word.as_str()));
            found.extend(banned.map(|word| format!("{place}:{}: {word}", number + 1)));
        }
    }
    found
}

/// Expressions such as `object["metadata"]` in product code, macros included.
fn json_indexes(tokens: TokenStream) -> usize {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut count = 0;
    for (at, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else { continue };
        let content: Vec<TokenTree> = group.stream().into_iter().collect();
        let is_string = matches!(content.as_slice(), [TokenTree::Literal(literal)] if literal.to_string().starts_with('"'));
        let follows_value = match at.checked_sub(1).and_then(|before| tokens.get(before)) {
            Some(TokenTree::Ident(_)) => true,
            Some(TokenTree::Group(before)) => before.delimiter() != Delimiter::Brace,
            Some(TokenTree::Punct(punct)) => punct.as_char() == '?',
            _ => false,
        };
        let is_index = group.delimiter() == Delimiter::Bracket && is_string && follows_value;
        count += usize::from(is_index) + json_indexes(group.stream());
    }
    count
}

/// The text of a file without its `#[cfg(test)]` modules.
fn without_tests(text: &str) -> TokenStream {
    let file = syn::parse_file(text).expect("the sources compile");
    let is_product = |item: &&syn::Item| !matches!(item, syn::Item::Mod(item) if is_test(&item.attrs));
    file.items.iter().filter(is_product).map(quote::ToTokens::to_token_stream).collect()
}

/// Module → modules that it uses, for one crate; a module and its own descendants may use each other.
fn module_graph(files: &[&SourceFile]) -> BTreeMap<String, BTreeSet<String>> {
    let sources: Vec<ParsedSource> =
        files.iter().map(|file| ParsedSource::parse(&file.module_path, &file.text)).collect();
    let modules: BTreeSet<&str> = sources.iter().map(|source| source.module.as_str()).collect();
    let is_ancestor =
        |of: &str, module: &str| module.strip_prefix(of).is_some_and(|rest| rest.starts_with("::"));
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in &sources {
        let uses = graph.entry(source.module.clone()).or_default();
        for path in &source.paths {
            let mut target = path.text.as_str();
            while !modules.contains(target) {
                match target.rsplit_once("::") {
                    Some((parent, _)) => target = parent,
                    None => break,
                }
            }
            let related = is_ancestor(target, &source.module) || is_ancestor(&source.module, target);
            if modules.contains(target) && target != source.module && !related {
                uses.insert(target.to_owned());
            }
        }
    }
    graph
}

/// The strongly connected components with more than one module.
fn cycles(graph: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let reachable = |from: &String| {
        let mut seen: BTreeSet<&String> = BTreeSet::new();
        let mut next: Vec<&String> = graph.get(from).into_iter().flatten().collect();
        while let Some(module) = next.pop() {
            if seen.insert(module) {
                next.extend(graph.get(module).into_iter().flatten());
            }
        }
        seen
    };
    let reach: BTreeMap<&String, BTreeSet<&String>> =
        graph.keys().map(|module| (module, reachable(module))).collect();
    let mut found: BTreeSet<Vec<String>> = BTreeSet::new();
    for (module, targets) in &reach {
        let mutual = |other: &&&String| reach.get(**other).is_some_and(|back| back.contains(module));
        let cycle: BTreeSet<String> = targets.iter().filter(mutual).map(|other| (*other).clone()).collect();
        if cycle.len() > 1 {
            found.insert(cycle.into_iter().collect());
        }
    }
    found.into_iter().collect()
}

/// Cycles of every crate, one text each.
fn all_cycles() -> Vec<String> {
    let files = product_files();
    let mut found = Vec::new();
    for package in crate::PACKAGES {
        let of_package: Vec<&SourceFile> = files.iter().filter(|file| file.package == package).collect();
        found.extend(cycles(&module_graph(&of_package)).into_iter().map(|cycle| cycle.join(" ↔ ")));
    }
    found
}

/// Names of public types that several places define.
fn duplicate_types() -> Vec<String> {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let tests = text_files("tests/src", &["rs"]);
    let product = product_files().into_iter().map(|file| (file.place, file.text));
    for (place, text) in product.chain(tests) {
        for name in Signatures::parse(&text).types {
            places.entry(name).or_default().push(place.clone());
        }
    }
    places.retain(|_, places| places.len() > 1);
    places.into_iter().map(|(name, places)| format!("{name}: {}", places.join(", "))).collect()
}

/// `place: function` for the functions that `select` takes from the signatures of each file.
fn functions(select: impl Fn(Signatures) -> Vec<String>) -> Vec<String> {
    let in_file = |file: SourceFile| {
        let place = file.place;
        select(Signatures::parse(&file.text)).into_iter().map(move |name| format!("{place}: {name}"))
    };
    product_files_without_tests().into_iter().flat_map(in_file).collect()
}

fn long_signatures() -> Vec<String> {
    functions(|found| found.too_many_parameters)
}

fn boolean_parameters() -> Vec<String> {
    functions(|found| found.boolean_parameters)
}

fn string_errors() -> Vec<String> {
    functions(|found| found.string_errors)
}

/// Index expressions of each file that has any, most first.
fn index_expressions() -> Vec<(usize, String)> {
    let count = |file: SourceFile| (json_indexes(without_tests(&file.text)), file.place);
    let files = product_files_without_tests().into_iter();
    let mut found: Vec<(usize, String)> = files.map(count).filter(|(count, _)| *count > 0).collect();
    found.sort_by(|one, other| other.cmp(one));
    found
}

fn print_list(title: &str, items: &[String]) {
    println!("{title}: {}", items.len());
    for item in items.iter().take(60) {
        println!("    {item}");
    }
}

#[test]
fn no_banned_word_is_used() {
    assert_eq!(banned_words(), [""; 0], "use the standard term; CONTRIBUTING.md lists the rules");
}

#[test]
fn public_type_names_are_unique() {
    assert_eq!(duplicate_types(), [""; 0]);
}

#[test]
fn modules_do_not_form_cycles() {
    assert_eq!(all_cycles(), [""; 0]);
}

#[test]
fn functions_have_few_parameters() {
    assert_eq!(long_signatures(), [""; 0], "use an option struct");
}

#[test]
fn parameters_are_not_boolean() {
    assert_eq!(boolean_parameters(), [""; 0], "use an enum, an option struct, or two functions");
}

#[test]
fn errors_are_types() {
    assert_eq!(string_errors(), [""; 0], "return an enum or a struct that implements Error");
}

#[test]
fn raw_json_is_read_through_views_and_types() {
    let found = index_expressions();
    let count: usize = found.iter().map(|(count, _)| count).sum();
    assert!(count <= MAX_JSON_INDEXES, "{count} index expressions, use a view or a type: {found:?}");
    let is_allowed = |place: &str| JSON_INDEX_PLACES.iter().any(|allowed| place.starts_with(allowed));
    let elsewhere: Vec<_> = found.iter().filter(|(_, place)| !is_allowed(place)).collect();
    assert!(elsewhere.is_empty(), "index expressions outside of {JSON_INDEX_PLACES:?}: {elsewhere:?}");
}

/// Prints the report for `tests/code-report`; asserts nothing.
#[test]
#[ignore = "prints the report; run by tests/code-report"]
fn print_report() {
    print_list("banned words", &banned_words());
    print_list("duplicate type names", &duplicate_types());
    print_list("cycles between modules", &all_cycles());
    print_list("functions over 5 parameters", &long_signatures());
    let files = product_files();
    print_list("functions with a boolean parameter", &boolean_parameters());
    print_list("functions that return Result<_, String>", &string_errors());
    let indexes = index_expressions();
    println!("raw JSON index expressions: {}", indexes.iter().map(|(count, _)| count).sum::<usize>());
    for (count, place) in &indexes {
        println!("    {count:4} {place}");
    }
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    for file in &files {
        *lines.entry(file.package).or_default() += file.text.lines().count();
    }
    println!("lines of each crate:");
    for (package, count) in &lines {
        println!("    {count:6} {package}");
    }
    let in_commands = files.iter().filter(|file| file.place.starts_with("kubectl-dynamo/src/commands"));
    let longest = in_commands.map(|file| (file.text.lines().count(), &file.place)).max();
    if let Some((count, place)) = longest {
        println!("largest file in commands/: {place}, {count} lines");
    }
    let product: usize = lines.values().sum();
    let inline =
        |text: &str| text.split_once("\n#[cfg(test)]\n").map_or(0, |(_, tests)| tests.lines().count());
    let inline: usize = files.iter().map(|file| inline(&file.text)).sum();
    let tests: usize = text_files("tests", &["rs"]).iter().map(|(_, text)| text.lines().count()).sum();
    let ratio = (tests + inline) as f64 / (product - inline) as f64;
    println!("test lines over product lines: {} / {} = {ratio:.2}", tests + inline, product - inline);
}

#[test]
fn splits_identifiers_into_words() {
    assert_eq!(words_of("fn is_told(WishList) // it's"), ["fn", "is", "told", "wish", "list", "it", "s"]);
}

#[test]
fn finds_a_cycle_but_not_a_parent_that_uses_its_child() {
    let file = |path: &str, text: &str| SourceFile {
        package: "p",
        module_path: path.into(),
        place: path.into(),
        text: text.into(),
    };
    let files = [
        file("a.rs", "use crate::b::x; use crate::a::child;"),
        file("a/child.rs", "use super::y;"),
        file("b.rs", "use crate::c;"),
        file("c.rs", "fn f() { crate::a::g() }"),
        file("d.rs", "use crate::a;"),
    ];
    let graph = module_graph(&files.iter().collect::<Vec<_>>());
    assert_eq!(cycles(&graph), [["crate::a", "crate::b", "crate::c"]]);
}

#[test]
fn counts_index_expressions_in_code_and_macros() {
    let text = "fn f() { let x = &pod[\"a\"][\"b\"]; json!({ \"k\": g(pod)[\"c\"], \"l\": [\"d\"] }); }";
    assert_eq!(json_indexes(text.parse().unwrap()), 3);
}
