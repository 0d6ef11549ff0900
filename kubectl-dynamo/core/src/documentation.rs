//! The embedded documentation, which `docs` prints without access to a network. The pages are the files of `docs/`.

use crate::command::SuggestedCommand;
use crate::diagnosis;

/// A page of the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentationPage {
    /// The heading of [`INDEX`] that it belongs to, such as `How-to guides`.
    pub section: &'static str,
    /// What a reader gets from it, in one line.
    pub topic: &'static str,
    /// Its name: the name of its file without the extension, in lower case.
    pub name: &'static str,
    /// Its text as Markdown.
    pub text: &'static str,
}

/// The page with the tables of all other pages.
const INDEX: &str = include_str!("../../../docs/README.md");

/// The page with a section for each verb.
const COMMANDS: &str = include_str!("../../../docs/reference/commands.md");

macro_rules! embedded {
    ($($path:literal)*) => {
        &[$(($path, include_str!(concat!("../../../docs/", $path)))),*]
    };
}

/// The pages by their path in `docs/`. A test compares them with [`INDEX`].
const FILES: &[(&str, &str)] = embedded![
    "architecture.md"
    "explanation/fetcher-guarantees.md"
    "explanation/fit.md"
    "explanation/readiness.md"
    "getting-started.md"
    "glossary.md"
    "how-to/adopt.md"
    "how-to/air-gap.md"
    "how-to/benchmark.md"
    "how-to/change-and-roll-back.md"
    "how-to/choose-sizes.md"
    "how-to/ci.md"
    "how-to/corporate-network.md"
    "how-to/gated-model.md"
    "how-to/larger-model.md"
    "how-to/litellm.md"
    "how-to/private-registry.md"
    "how-to/restricted-namespaces.md"
    "how-to/serve-locally.md"
    "how-to/tool-calls.md"
    "how-to/verify-release.md"
    "how-to/verify.md"
    "how-to/volumes.md"
    "model-fetcher.md"
    "reference/checks.md"
    "reference/compatibility.md"
    "reference/configuration.md"
    "reference/exit-codes.md"
    "reference/json.md"
    "reference/performance.md"
    "reference/rbac.md"
    "reference/releases.md"
    "skills/kubectl-dynamo/SKILL.md"
];

/// The pages that the introduction of [`INDEX`] links, with their topics.
const START: &[(&str, &str)] = &[
    ("From nothing to a first answer", "getting-started.md"),
    ("Terms of Dynamo and of this project in one line each", "glossary.md"),
];

/// Returns the pages in the order of `docs/README.md`.
pub fn documentation_pages() -> Vec<DocumentationPage> {
    let start = START.iter().map(|(topic, path)| ("Start here", *topic, *path));
    let all = start.chain(index_rows());
    all.filter_map(|(section, topic, path)| page_of_file(section, topic, path)).collect()
}

/// Returns the text about a name: the sections of a verb, or of the verbs below it, and then the page with that name.
/// Hyphens and spaces are the same, and case does not matter. Returns `None` if nothing has the name.
pub fn documentation_of(name: &str) -> Option<String> {
    let name = normalized(name);
    let pages = documentation_pages();
    let page = pages.iter().find(|page| normalized(page.name) == name).map(|page| page.text.to_owned());
    let texts: Vec<String> = verb_sections(&name).into_iter().chain(page).collect();
    if texts.is_empty() { None } else { Some(texts.join("\n\n")) }
}

/// Returns the names that [`documentation_of`] accepts: verbs, and pages.
pub fn documentation_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = verbs().map(|(name, _)| name).collect();
    names.extend(documentation_pages().iter().map(|page| page.name));
    names.sort_unstable();
    names.dedup();
    names
}

/// Returns the heading, the first cell, and the target of the link of each row in the tables of the index.
fn index_rows() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    INDEX.split("\n## ").skip(1).flat_map(|section| {
        let (title, rows) = section.split_once('\n').unwrap_or((section, ""));
        rows.lines().filter_map(move |row| {
            let (topic, link) = row.strip_prefix("| ")?.split_once(" | [")?;
            Some((title, topic, link.split_once("](")?.1.split_once(')')?.0))
        })
    })
}

fn page_of_file(section: &'static str, topic: &'static str, path: &'static str) -> Option<DocumentationPage> {
    let (file, text) = match path {
        "messages.md" => (path, diagnosis::MESSAGES_PAGE),
        "reference/commands.md" => (path, COMMANDS),
        _ => FILES.iter().find(|(file, _)| *file == path).copied()?,
    };
    // The file name of a skill is fixed; its folder has the name.
    let name = file.strip_suffix("/SKILL.md").or_else(|| file.strip_suffix(".md"))?;
    let name = if name.starts_with("skills/") { "skill" } else { name.rsplit('/').next()? };
    Some(DocumentationPage { section, topic, name, text })
}

/// Returns the verbs with the text of their sections, without the heading.
fn verbs() -> impl Iterator<Item = (&'static str, &'static str)> {
    let generated = COMMANDS.split_once("<!-- verbs -->").map_or("", |(_, rest)| rest);
    let generated = generated.split_once("<!-- /verbs -->").map_or(generated, |(before, _)| before);
    let sections = generated.split("\n## ").skip(1).filter_map(|section| section.split_once('\n'));
    sections.filter(|(verb, _)| verb.starts_with(|letter: char| letter.is_ascii_lowercase()))
}

fn verb_sections(name: &str) -> Vec<String> {
    let below = format!("{name} ");
    let is_wanted = |verb: &str| verb == name || verb.starts_with(&below);
    let wanted = verbs().filter(|(verb, _)| is_wanted(&normalized(verb)));
    wanted.map(|(verb, text)| format!("# {}\n\n{}", SuggestedCommand::plugin(verb), text.trim())).collect()
}

fn normalized(name: &str) -> String {
    name.replace(['-', '_'], " ").trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_linked_page_is_embedded_and_every_embedded_page_is_linked() {
        let targets: Vec<&str> =
            START.iter().map(|(_, path)| *path).chain(index_rows().map(|(_, _, path)| path)).collect();
        assert!(
            START.iter().all(|(_, path)| INDEX.contains(&format!("]({path})"))),
            "the introduction links them"
        );
        let unlinked: Vec<&str> =
            FILES.iter().map(|(path, _)| *path).filter(|path| !targets.contains(path)).collect();
        assert_eq!(unlinked, [""; 0], "embedded, but not linked in docs/README.md");
        let missing: Vec<&&str> =
            targets.iter().filter(|target| page_of_file("", "", target).is_none()).collect();
        assert!(missing.is_empty(), "linked in docs/README.md, but not embedded: {missing:?}");
    }

    #[test]
    fn names_of_pages_are_unique() {
        let mut names: Vec<&str> = documentation_pages().iter().map(|page| page.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{names:?}");
    }

    #[test]
    fn finds_verbs_groups_of_verbs_and_pages() {
        for (name, parts) in [
            ("up", &["# kubectl dynamo up\n"][..]),
            ("port-forward", &["# kubectl dynamo port-forward\n"]),
            ("bench-run", &["# kubectl dynamo bench run\n"]),
            ("bench", &["# kubectl dynamo bench run\n", "# kubectl dynamo bench show\n"]),
            ("Volumes", &["# "]),
            ("fit", &["# kubectl dynamo fit\n", "# How fit computes\n"]),
        ] {
            let text = documentation_of(name).unwrap_or_default();
            for part in parts {
                assert!(text.contains(part), "{name} does not contain {part:?}:\n{text}");
            }
        }
        assert!(!documentation_of("up").expect("a verb").contains("# kubectl dynamo render"));
        assert_eq!(documentation_of("volume"), None);
        assert_eq!(documentation_of(""), None);
    }
}
