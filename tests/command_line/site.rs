//! The pages of the website, as docs/site/build passes them to mdBook. mdBook itself runs only in `tests/run site`.

use std::path::Path;
use std::process::Command;

use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_tests::cache::repository;
use kubectl_dynamo_tests::help::help_of_all;
use kubectl_dynamo_tests::programs;

fn build_sources(folder: &Path) {
    let script = repository().join("docs/site/build");
    let output = Command::new("python3").arg(script).arg("--sources").arg(folder).output();
    let output = output.expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The addresses `codes/KD0604.html` never change, because messages and other pages refer to them.
#[test]
fn site_has_a_page_for_every_code_and_verb() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    build_sources(folder.path());
    let sidebar = std::fs::read_to_string(folder.path().join("SUMMARY.md")).expect("the sidebar can be read");
    let codes = MessageCode::ALL.iter().map(|code| format!("codes/{code}.md"));
    let texts = help_of_all(&programs::kubectl_dynamo(), &[]);
    let verbs = texts.iter().filter(|one| !one.words.is_empty() && !one.text.contains("\nCommands:\n"));
    let verbs = verbs.map(|verb| format!("reference/commands/{}.md", verb.words.join("-")));
    let missing: Vec<String> = codes
        .chain(verbs)
        .filter(|page| !folder.path().join(page).exists() || !sidebar.contains(&format!("]({page})")))
        .collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn site_rewrites_links_between_pages() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    build_sources(folder.path());
    let read = |page: &str| std::fs::read_to_string(folder.path().join(page)).expect("the page can be read");
    for (page, link) in [
        // A section that has a page of its own, and one that does not.
        ("index.md", "[KD0503](codes/KD0503.md)"),
        ("reference/commands/scale.md", "(../commands.md#flags-of-every-verb)"),
        // The page moved to another folder than its source.
        ("contributing.md", "(reference/releases.md)"),
        // A file that is not part of the site.
        ("reference/rbac.md", "https://github.com/kubectl-dynamo/kubectl-dynamo/tree/main/manifests/rbac"),
    ] {
        assert!(read(page).contains(link), "{page} does not contain {link}");
    }
}

#[test]
fn link_check_reports_broken_links_and_foreign_files() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write =
        |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("it is written");
    let check = || {
        let script = repository().join("docs/site/links.py");
        let output = Command::new("python3").arg(script).arg(folder.path()).output().expect("Python runs");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).trim().to_owned())
    };
    write(
        "one.html",
        r##"<h1 id="top">1</h1><a href="two.html#part">2</a><a href="#top"></a><a href="https://r.test/">"##,
    );
    write("two.html", r#"<a id="part" href="one.html"></a>"#);
    assert_eq!(check(), (true, String::new()));
    write("two.html", r#"<a href="three.html"></a><script src="https://r.test/a.js"></script>"#);
    write("style.css", "@import url('//r.test/b.css');");
    let (is_valid, problems) = check();
    assert!(!is_valid);
    let expected = [
        "one.html: two.html#part: no such anchor",
        "two.html: loads https://r.test/a.js",
        "two.html: three.html: no such file",
        "style.css: loads //r.test/b.css",
    ];
    assert_eq!(problems.lines().collect::<Vec<_>>(), expected);
}
