//! Parses one Rust file for the rules: the full paths it uses, the methods it calls, and its string literals.
//! Comments and test code are skipped. It reads tokens and no syntax, so it also sees into macros.

use std::collections::HashMap;
use std::path::Path;

use proc_macro2::{Delimiter, Group, Spacing, TokenStream, TokenTree};

/// Something found in a file, and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundToken {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// The uses in one file. Paths start with `crate` or the name of a crate.
#[derive(Debug, Default)]
pub(crate) struct ParsedSource {
    /// The module, such as `crate::plan::engine_args`; `crate` for `lib.rs` and `main.rs`.
    pub(crate) module: String,
    pub(crate) paths: Vec<FoundToken>,
    pub(crate) methods: Vec<FoundToken>,
    /// The content of string literals, except documentation.
    pub(crate) literals: Vec<FoundToken>,
    /// Lines with `async`.
    pub(crate) asyncs: Vec<FoundToken>,
}

impl ParsedSource {
    /// Parses the text of the file at `path` below `src`.
    ///
    /// # Panics
    /// The text is not valid Rust; it would not compile either.
    pub(crate) fn parse(path: &Path, text: &str) -> Self {
        let tokens: TokenStream =
            text.parse().unwrap_or_else(|error| panic!("{} is not valid Rust: {error}", path.display()));
        let module = module_of(path);
        let mut scan =
            SourceScanner { aliases: HashMap::new(), source: ParsedSource { module, ..Self::default() } };
        let module = scan.source.module.clone();
        scan.walk(tokens, &module);
        scan.resolve_aliases();
        scan.source
    }
}

/// Returns the module of a path: `plan/engine_args.rs` is `crate::plan::engine_args`.
fn module_of(path: &Path) -> String {
    let mut module = String::from("crate");
    let path = path.with_extension("");
    for part in path.iter().map(|part| part.to_string_lossy()).filter(|part| part != "lib" && part != "main")
    {
        module.push_str("::");
        module.push_str(&part);
    }
    module
}

struct SourceScanner {
    /// The full path of each name that `use` or `mod` introduces.
    aliases: HashMap<String, String>,
    source: ParsedSource,
}

impl SourceScanner {
    fn walk(&mut self, tokens: TokenStream, module: &str) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at = match &tokens[at] {
                TokenTree::Punct(punct) if punct.as_char() == '#' => self.attribute(&tokens, at, module),
                TokenTree::Ident(ident) if ident == "use" && !is_punct(tokens.get(at + 1), '<') => {
                    let end = tokens[at..].iter().position(|token| is_punct(Some(token), ';'));
                    let end = end.map_or(tokens.len(), |offset| at + offset);
                    self.use_tree(&tokens[at + 1..end], "", module);
                    end
                }
                TokenTree::Ident(ident) if ident == "mod" => self.module(&tokens, at, module),
                TokenTree::Ident(ident) if ident == "async" => {
                    self.source.asyncs.push(FoundToken { line: line_of(&tokens[at]), text: "async".into() });
                    at + 1
                }
                TokenTree::Ident(_) => self.path(&tokens, at, module),
                TokenTree::Group(group) => {
                    self.walk(group.stream(), module);
                    at + 1
                }
                TokenTree::Literal(literal) => {
                    let text = literal.to_string();
                    // The character `'"'` contains one quotation mark and is not a string.
                    if let (Some(start), Some(end)) = (text.find('"'), text.rfind('"'))
                        && start < end
                    {
                        let text = text[start + 1..end].to_owned();
                        self.source.literals.push(FoundToken { line: line_of(&tokens[at]), text });
                    }
                    at + 1
                }
                TokenTree::Punct(_) => at + 1,
            };
        }
    }

    /// Skips an attribute: documentation, and with `cfg(test)` also the item that follows.
    fn attribute(&mut self, tokens: &[TokenTree], at: usize, module: &str) -> usize {
        let inner = is_punct(tokens.get(at + 1), '!');
        let group_at = at + 1 + usize::from(inner);
        let Some(TokenTree::Group(group)) = tokens.get(group_at) else {
            return at + 1;
        };
        let names: Vec<String> = group.stream().into_iter().map(|token| token.to_string()).collect();
        match names.first().map(String::as_str) {
            Some("doc") => group_at + 1,
            Some("cfg") if names.get(1).is_some_and(|condition| condition == "(test)") => {
                if inner {
                    tokens.len()
                } else {
                    end_of_item(tokens, group_at + 1)
                }
            }
            _ => {
                self.walk(group.stream(), module);
                group_at + 1
            }
        }
    }

    /// `mod name;` declares a child; `mod name { … }` is parsed as that child.
    fn module(&mut self, tokens: &[TokenTree], at: usize, module: &str) -> usize {
        let Some(TokenTree::Ident(name)) = tokens.get(at + 1) else {
            return at + 1;
        };
        let child = format!("{module}::{name}");
        self.aliases.insert(name.to_string(), child.clone());
        if let Some(TokenTree::Group(body)) = tokens.get(at + 2) {
            self.walk(body.stream(), &child);
        }
        at + 3
    }

    /// Reads a path in an expression or a type, or the name of a method.
    fn path(&mut self, tokens: &[TokenTree], start: usize, module: &str) -> usize {
        let mut text = tokens[start].to_string();
        let mut at = start + 1;
        while is_path_separator(&tokens[at..])
            && let Some(TokenTree::Ident(next)) = tokens.get(at + 2)
        {
            text.push_str("::");
            text.push_str(&next.to_string());
            at += 3;
        }
        let line = line_of(&tokens[start]);
        if at > start + 1 {
            self.source.paths.push(FoundToken { line, text: absolute(&text, module) });
        } else if start > 0 && is_punct(tokens.get(start - 1), '.') {
            self.source.methods.push(FoundToken { line, text });
        }
        at
    }

    /// Reads one branch of a `use` tree below `prefix`.
    fn use_tree(&mut self, tokens: &[TokenTree], prefix: &str, module: &str) {
        let mut path = prefix.to_owned();
        let mut name = String::new();
        let mut line = 0;
        let mut remaining_tokens = tokens.iter();
        while let Some(token) = remaining_tokens.next() {
            line = line_of(token);
            match token {
                TokenTree::Ident(ident) if ident == "as" => {
                    name = remaining_tokens.next().map(ToString::to_string).unwrap_or_default();
                }
                TokenTree::Ident(ident) if ident == "self" && !path.is_empty() => {}
                TokenTree::Ident(ident) => {
                    name = ident.to_string();
                    if !path.is_empty() {
                        path.push_str("::");
                    }
                    path.push_str(&name);
                }
                TokenTree::Punct(star) if star.as_char() == '*' => path.push_str("::*"),
                TokenTree::Group(branches) => {
                    for branch in comma_separated(branches) {
                        self.use_tree(&branch, &path, module);
                    }
                    return;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
        if !path.is_empty() {
            let path = absolute(&path, module);
            let name =
                if name.is_empty() { path.rsplit("::").next().unwrap_or_default().into() } else { name };
            self.aliases.insert(name, path.clone());
            self.source.paths.push(FoundToken { line, text: path });
        }
    }

    /// Expands aliases: `fs::read` after `use std::fs` is `std::fs::read`.
    fn resolve_aliases(&mut self) {
        for path in &mut self.source.paths {
            let (first, rest) = path.text.split_once("::").unwrap_or((&path.text, ""));
            if let Some(full) = self.aliases.get(first).filter(|full| **full != first && !rest.is_empty()) {
                path.text = format!("{full}::{rest}");
            }
        }
    }
}

/// Replaces a leading `self` or `super` by the module it refers to.
fn absolute(path: &str, module: &str) -> String {
    let mut base = module.to_owned();
    let mut rest = path;
    let mut relative = false;
    loop {
        let (first, after) = rest.split_once("::").unwrap_or((rest, ""));
        match first {
            "super" => base.truncate(base.rfind("::").unwrap_or(base.len())),
            "self" => {}
            _ => break,
        }
        relative = true;
        rest = after;
    }
    match (relative, rest) {
        (false, _) => path.to_owned(),
        (true, "") => base,
        (true, rest) => format!("{base}::{rest}"),
    }
}

/// Returns the index after the item that starts at `at`: after its `;` or its body.
fn end_of_item(tokens: &[TokenTree], at: usize) -> usize {
    let end = tokens[at..].iter().position(|token| match token {
        TokenTree::Punct(punct) => punct.as_char() == ';',
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Ident(_) | TokenTree::Literal(_) => false,
    });
    end.map_or(tokens.len(), |offset| at + offset + 1)
}

fn comma_separated(group: &Group) -> Vec<Vec<TokenTree>> {
    let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
    tokens.split(|token| is_punct(Some(token), ',')).map(<[TokenTree]>::to_vec).collect()
}

fn is_punct(token: Option<&TokenTree>, sign: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == sign)
}

fn is_path_separator(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [TokenTree::Punct(first), TokenTree::Punct(second), ..]
        if first.as_char() == ':' && first.spacing() == Spacing::Joint && second.as_char() == ':')
}

fn line_of(token: &TokenTree) -> usize {
    token.span().start().line
}

#[test]
fn finds_paths_in_use_lines_expressions_and_macros() {
    let source = ParsedSource::parse(
        Path::new("plan/engine_args.rs"),
        "//! Doc with tokio::spawn.\nuse std::{fs, env::{self, var as read}};\nuse super::Plan;\n\
         // kube::Client\nfn f() { fs::read(\"a\"); read('\"'); format!(\"{}\", tokio::spawn(env::args())); }\n\
         #[cfg(test)]\nmod tests { fn g() { kube::Client::new(); } }\nfn h() { self::deep::x() }\n",
    );
    let paths: Vec<(usize, &str)> =
        source.paths.iter().map(|found| (found.line, found.text.as_str())).collect();
    assert_eq!(source.module, "crate::plan::engine_args");
    assert_eq!(
        paths,
        [
            (2, "std::fs"),
            (2, "std::env"),
            (2, "std::env::var"),
            (3, "crate::plan::Plan"),
            (5, "std::fs::read"),
            (5, "tokio::spawn"),
            (5, "std::env::args"),
            (8, "crate::plan::engine_args::deep::x"),
        ]
    );
    assert_eq!(source.literals.iter().map(|found| found.text.as_str()).collect::<Vec<_>>(), ["a", "{}"]);
}
