//! `docs`: the embedded pages, and man pages.

use std::collections::BTreeSet;
use std::fs;

use kubectl_dynamo_tests::help::help_of_all;
use kubectl_dynamo_tests::programs;
use kubectl_dynamo_tests::terminal::TestTerminal;

use crate::{assert_fails, run};

fn stdout(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the page is UTF-8")
}

#[test]
fn lists_every_page_with_its_topic() {
    let list = stdout(&["docs"]);
    for line in ["How-to guides", "  getting-started ", "  volumes ", "  skill "] {
        assert!(list.contains(line), "{line:?} is missing:\n{list}");
    }
    let names = list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    for name in names {
        assert!(stdout(&["docs", name]).contains("# "), "{name} does not have a heading");
    }
}

#[test]
fn prints_markdown_into_a_pipe() {
    let page = stdout(&["docs", "bench", "run"]);
    assert!(page.starts_with("# kubectl dynamo bench run\n"), "{page}");
    assert!(page.contains("| `--detach` |") && !page.contains("bench list"), "{page}");
    assert!(stdout(&["docs", "port-forward"]).starts_with("# kubectl dynamo port-forward\n"));
    let guide = stdout(&["docs", "volumes"]);
    let source = fs::read_to_string(kubectl_dynamo_tests::cache::repository().join("docs/how-to/volumes.md"));
    assert_eq!(guide.trim_end(), source.expect("the page can be read").trim_end());
}

#[test]
fn fits_a_page_into_a_terminal() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let line = format!("{} docs up", programs::kubectl_dynamo().display());
    let terminal =
        TestTerminal::start(&line, home.path(), &[("TERM", "xterm-256color")]).expect("script runs");
    let (status, output) = terminal.finish().expect("the page is printed");
    assert!(status.success(), "{output}");
    assert!(output.contains("kubectl dynamo up") && output.contains("--detach"), "{output}");
    for line in console::strip_ansi_codes(&output).lines() {
        let width = line.trim_end().chars().count();
        assert!(width <= 80, "{width} columns: {line}");
        assert!(!line.contains("](") && !line.contains("|---"), "not rendered: {line}");
    }
}

/// Commands can be copied from a terminal: each line of code is a line of the output.
#[test]
fn code_of_every_page_is_not_wrapped() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let list = stdout(&["docs"]);
    let names: Vec<&str> =
        list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    let program = programs::kubectl_dynamo().display().to_string();
    let loop_over_pages = format!("for page in {}; do {program} docs $page; done", names.join(" "));
    let terminal = TestTerminal::start(&format!("sh -c '{loop_over_pages}'"), home.path(), &[]);
    let (status, output) = terminal.expect("script runs").finish().expect("the pages are printed");
    assert!(status.success(), "{output}");
    let output = console::strip_ansi_codes(&output).replace('\r', "");
    for name in names {
        let page = stdout(&["docs", name]);
        let mut is_code = false;
        for line in page.lines() {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            } else if is_code {
                assert!(output.contains(&format!("\n    {line}\n")), "{name}: {line}");
            }
        }
        assert!(!is_code, "{name} has a block of code without an end");
    }
}

#[test]
fn unknown_page_gets_a_suggestion() {
    assert_fails(
        &["docs", "volume"],
        2,
        "KD0001",
        &["page \"volume\" not found", "kubectl dynamo docs volumes"],
    );
    assert_fails(&["docs", "bench", "rnu"], 2, "KD0001", &["kubectl dynamo docs bench run"]);
    assert_fails(&["docs", "kd0604"], 2, "KD0001", &["kubectl dynamo explain KD0604"]);
    assert_fails(&["docs", "something"], 2, "KD0001", &["list the pages with kubectl dynamo docs"]);
    assert_fails(&["docs", "up", "--man-pages", "man1"], 2, "KD0001", &["--man-pages"]);
}

#[test]
fn completes_verbs_and_pages() {
    let candidates = stdout(&["__complete", "docs", "bench"]);
    for name in ["bench-run\n", "benchmark\n"] {
        assert!(candidates.contains(name), "{name:?} is missing:\n{candidates}");
    }
}

#[test]
fn writes_a_man_page_for_every_verb() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("share/man1");
    let output = run(&["docs", "--man-pages", path.to_str().expect("UTF-8")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut expected = BTreeSet::new();
    for (program, name) in
        [(programs::kubectl_dynamo(), "kubectl-dynamo"), (programs::model_fetcher(), "model-fetcher")]
    {
        let words = help_of_all(&program, &[]).into_iter().map(|one| one.words);
        expected
            .extend(words.map(|words| format!("{}.1", [&[name.to_owned()], &words[..]].concat().join("-"))));
    }
    let written = fs::read_dir(&path).expect("the folder can be read");
    let written: BTreeSet<String> =
        written.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    assert_eq!(written, expected);
    let page = fs::read_to_string(path.join("kubectl-dynamo-scale.1")).expect("the page of scale");
    for part in [".SH NAME", ".SH SYNOPSIS", ".SH OPTIONS", r"\-\-dry\-run"] {
        assert!(page.contains(part), "{part} is missing:\n{page}");
    }
    let unwritable = run(&["docs", "--man-pages", "/proc/man1"]);
    assert_eq!(unwritable.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unwritable.stderr).contains("/proc/man1"));
}
