//! The documentation: every command that it shows is valid, and its pictures match the recordings.
//!
//! A page is run as a reader would paste it, with a kubeconfig whose API server refuses connections. A command passes
//! if it succeeds or gets as far as contacting that server. Commands that would start processes, install something, or
//! contact the hub are only parsed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kubectl_dynamo_tests::{cache, programs};

use crate::UNREACHABLE_KUBECONFIG;

/// Replaces `kubectl` and `model-fetcher` on PATH and records each call: how, exit code, arguments, stderr.
const SHIM: &str = r#"#!/bin/sh
parse_only() {
    help=
    left=$#
    while [ "$left" -gt 0 ]; do
        word=$1
        shift
        left=$((left - 1))
        if [ "$word" = -- ] && [ -z "$help" ]; then
            help=yes
            set -- "$@" --help
        fi
        set -- "$@" "$word"
    done
    [ -n "$help" ] || set -- "$@" --help
    call parsed "$@"
}
call() {
    how=$1
    shift
    "$program" "$@" 2> "$SHIM_LOG.stderr"
    code=$?
    { printf '%s\t%s\t%s\t' "$how" "$code" "${0##*/} $*" | tr '\n' ' '; tr '\n\t' '  ' < "$SHIM_LOG.stderr"; echo; } >> "$SHIM_LOG"
    exit "$code"
}
program=$MODEL_FETCHER
case ${0##*/} in model-fetcher) parse_only "$@" ;; esac
program=$KUBECTL_DYNAMO
[ "$1" = dynamo ] || exit 0
shift
case "$* " in
"recommend "*)
    cat "$HOME/predicted.json"
    parse_only "$@" > /dev/null
    ;;
"fit "* | "up " | "render " | "completion --install "*) parse_only "$@" ;;
"up "*" --local "* | "up --local "*) parse_only "$@" ;;
esac
call ran "$@"
"#;

/// Codes of a command that was understood: it asks for confirmation, or the test has no API server, no local deployment,
/// no endpoint or gateway, no benchmark run, or no folder with a tokenizer.
const UNDERSTOOD: [&str; 7] = ["KD0002", "KD0103", "KD0520", "KD0802", "KD0901", "KD0921", "KD0929"];

/// Placeholders in code spans, and a value for each.
const PLACEHOLDERS: &[(&str, &str)] = &[
    ("CODE", "KD0604"),
    ("CONTEXT", "only"),
    ("FLAGS", ""),
    ("KEY", "key"),
    ("MODEL", "acme/tiny"),
    ("NAME", "tiny"),
    ("NAMESPACE", "serving"),
    ("OTHER", "other"),
    ("POD", "tiny-worker-0"),
    ("PVC", "models"),
    ("RUN", "tiny-check-1"),
    ("URL", "http://127.0.0.1:1/v1"),
    ("VALUE", "value"),
    ("VERSION", "1.6.1"),
];

/// A call of one of the programs, as the shim recorded it.
struct Call {
    parsed_only: bool,
    exit: i32,
    arguments: String,
    stderr: String,
}

impl Call {
    fn is_valid(&self) -> bool {
        // A setting that is not set has no value.
        let unset = self.exit == 1 && self.arguments.starts_with("kubectl config get ");
        self.exit == 0 || unset || UNDERSTOOD.iter().any(|code| self.stderr.contains(code))
    }
}

/// A home folder with the files that the documentation mentions.
struct Home(tempfile::TempDir);

impl Home {
    fn new(request: &str) -> Self {
        let home = Self(tempfile::tempdir().expect("a temporary folder"));
        let kit = r#"{"platform": {"k8s": {"dynamoPlatform": {"releaseVersion": "1.6.1"}}}}"#;
        let recommendation = r#"{"kind": "Recommendation", "model": "acme/tiny", "hardware": "h200:1",
            "predictor": {"name": "aiconfigurator", "version": "0.12.0"}, "target": {"inputTokens": 8, "outputTokens": 4},
            "predictions": [{"isRecommended": true, "mode": "agg", "gpus": 1, "concurrency": 4, "requestsPerSecond": 1,
            "tokensPerSecondPerGpu": 1, "tokensPerSecondPerUser": 1, "ttftMilliseconds": 1, "itlMilliseconds": 1}]}"#;
        let files = [
            ("kubeconfig", UNREACHABLE_KUBECONFIG),
            ("predicted.json", recommendation),
            ("request.yaml", request),
            ("deployment.yaml", request),
            ("token.txt", "hf_token\n"),
            ("key.txt", "key\n"),
            ("config.json", kit),
        ];
        for (name, text) in files {
            home.write(name, text);
        }
        fs::create_dir(home.0.path().join("bin")).expect("a folder for programs");
        for name in ["kubectl", "model-fetcher"] {
            let path = home.write(&format!("bin/{name}"), SHIM);
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the program is executable");
        }
        home
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("the file can be written");
        path
    }

    /// Runs lines of a shell and returns the calls of the programs.
    fn run(&self, lines: &str) -> Vec<Call> {
        let folder = self.0.path();
        let log = folder.join("calls");
        fs::write(&log, "").expect("the log can be written");
        let status = Command::new("sh")
            .args(["-c", lines])
            .env_clear()
            .env("HOME", folder)
            .env("PATH", format!("{}:/usr/bin:/bin", folder.join("bin").display()))
            .env("KUBECONFIG", folder.join("kubeconfig"))
            .env("KUBECTL_DYNAMO", programs::kubectl_dynamo())
            .env("MODEL_FETCHER", programs::model_fetcher())
            .env("OPENAI_API_KEY", "key")
            .env("LITELLM_MASTER_KEY", "key")
            .env("SHIM_LOG", &log)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.expect("a shell runs");
        let calls = fs::read_to_string(log).expect("the log can be read");
        calls.lines().map(call).collect()
    }
}

fn call(line: &str) -> Call {
    let [how, exit, arguments, stderr] =
        line.splitn(4, '\t').collect::<Vec<_>>().try_into().expect("the shim records four fields");
    Call {
        parsed_only: how == "parsed",
        exit: exit.parse().expect("an exit code"),
        arguments: arguments.trim_end().to_owned(),
        stderr: stderr.to_owned(),
    }
}

/// README, CONTRIBUTING, and every page of `docs`, by path.
fn pages() -> BTreeMap<PathBuf, String> {
    let root = cache::repository();
    let mut pages = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    let read = |page: PathBuf| {
        let text = fs::read_to_string(&page).expect("pages are text");
        (page.strip_prefix(root).unwrap_or(&page).to_owned(), text)
    };
    pages.into_iter().map(read).collect()
}

/// The fenced blocks of a page: language and text.
fn blocks(page: &str) -> impl Iterator<Item = (&str, &str)> {
    page.split("\n```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'))
}

/// The lines of a block that call `kubectl` or `model-fetcher`, or set a variable for them.
fn lines(language: &str, block: &str) -> Vec<String> {
    let joined = block.replace("\\\n", " ");
    let typed = joined.lines().filter_map(|line| match language {
        "sh" => Some(line),
        "console" => line.strip_prefix("$ "),
        _ => None,
    });
    let ours =
        |line: &&str| ["kubectl ", "model-fetcher ", "export "].iter().any(|word| line.starts_with(word));
    typed.filter(ours).map(str::to_owned).collect()
}

/// The commands in the code spans of a page, with values for placeholders.
fn spans(page: &str) -> Vec<String> {
    let fences = page.split("\n```").step_by(2);
    let spans = fences.flat_map(|text| text.split('`').skip(1).step_by(2));
    let commands = spans.filter(|span| {
        let begins =
            ["kubectl dynamo ", "KUBECTL_DYNAMO_", "echo "].iter().any(|word| span.starts_with(word));
        // What is left out, or a choice, cannot be pasted.
        begins
            && span.contains("kubectl dynamo ")
            && !["…", "VERB", "|deployer", "\\|"].iter().any(|part| span.contains(part))
    });
    commands.map(with_values).collect()
}

fn with_values(span: &str) -> String {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    let mut text = String::new();
    let mut rest = span;
    while let Some(letter) = rest.chars().next() {
        let end = rest.find(|letter: char| !is_part(letter)).unwrap_or(rest.len()).max(letter.len_utf8());
        let (word, after) = rest.split_at(end);
        let value = PLACEHOLDERS.iter().find(|(placeholder, _)| *placeholder == word);
        text += value.map_or(word, |(_, value)| value);
        rest = after;
    }
    text
}

/// How many calls the lines make.
fn expected(lines: &str) -> usize {
    lines.matches("kubectl dynamo ").count()
        + lines.lines().filter(|line| line.starts_with("model-fetcher ")).count()
}

#[test]
fn commands_in_the_docs_are_valid() {
    let pages = pages();
    let reference = &pages[Path::new("docs/reference/configuration.md")];
    let request = blocks(reference).find_map(|(language, text)| (language == "yaml").then_some(text));
    let request = request.expect("the reference shows a request");
    let mut wrong = String::new();
    // A code span has a home of its own, so one run is enough.
    let mut seen = BTreeSet::new();
    let (mut ran, mut parsed) = (0, Vec::new());
    for (page, text) in &pages {
        let home = Home::new(request);
        let fenced = blocks(text).map(|(language, block)| (&home, lines(language, block).join("\n")));
        let new: Vec<String> = spans(text).into_iter().filter(|span| seen.insert(span.clone())).collect();
        let homes: Vec<(Home, String)> = new.into_iter().map(|span| (Home::new(request), span)).collect();
        let spans = homes.iter().map(|(home, span)| (home, span.clone()));
        for (home, lines) in fenced.chain(spans).filter(|(_, lines)| expected(lines) > 0) {
            let calls = home.run(&lines);
            if calls.len() != expected(&lines) {
                wrong += &format!(
                    "{}: {} calls instead of {}: {lines}\n",
                    page.display(),
                    calls.len(),
                    expected(&lines)
                );
            }
            for call in calls {
                if !call.is_valid() {
                    wrong += &format!(
                        "{}: {}: exit {}: {}\n",
                        page.display(),
                        call.arguments,
                        call.exit,
                        call.stderr
                    );
                }
                if call.parsed_only { parsed.push(call.arguments) } else { ran += 1 }
            }
        }
    }
    parsed.sort();
    parsed.dedup();
    #[allow(clippy::print_stdout)]
    {
        println!("{ran} commands ran; these were only parsed:\n  {}", parsed.join("\n  "));
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(ran > 100, "only {ran} commands were found");
}

#[test]
fn pictures_match_the_recordings() {
    let script = cache::repository().join("docs/recordings/svg.py");
    let output = Command::new("python3").arg(script).arg("--check").output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The targets of the links of a page, except addresses.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    targets.filter(|target| !target.contains("://"))
}

/// Returns whether a page has a heading with this anchor, as GitHub derives it.
fn has_anchor(page: &str, anchor: &str) -> bool {
    let of_heading = |heading: &str| -> String {
        let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        kept.map(|letter| if letter == ' ' { '-' } else { letter.to_ascii_lowercase() }).collect()
    };
    let headings = page.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| line.trim_start_matches('#').trim()).any(|heading| of_heading(heading) == anchor)
}

#[test]
fn links_lead_to_a_file_and_a_heading() {
    let root = cache::repository();
    let mut broken = Vec::new();
    let changelog = fs::read_to_string(root.join("CHANGELOG.md")).expect("the changelog can be read");
    for (page, text) in pages().into_iter().chain([("CHANGELOG.md".into(), changelog)]) {
        let path = root.join(&page);
        for link in links(&text) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.parent().map(|folder| folder.join(file)).unwrap_or_default(),
            };
            let is_valid = match anchor {
                "" => target.exists(),
                anchor => fs::read_to_string(target).is_ok_and(|text| has_anchor(&text, anchor)),
            };
            if !is_valid {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert_eq!(broken, [""; 0]);
}

#[test]
fn anchors_are_those_of_github() {
    let page = "# A page\n\n## Build and push the image\n\n### When `up` asks: why?\n";
    for (anchor, found) in [("build-and-push-the-image", true), ("when-up-asks-why", true), ("other", false)]
    {
        assert_eq!(has_anchor(page, anchor), found, "{anchor}");
    }
}

#[test]
fn every_page_is_linked_from_the_lists_of_pages() {
    let pages = pages();
    let listed = |list: &str| -> BTreeSet<PathBuf> {
        let folder = Path::new(list).parent().expect("the page is in the repository");
        links(&pages[Path::new(list)])
            .map(|link| folder.join(link.split('#').next().unwrap_or_default()))
            .collect()
    };
    let in_docs = |page: &&PathBuf| page.starts_with("docs") && !page.ends_with("README.md");
    for list in ["README.md", "docs/README.md"] {
        let listed = listed(list);
        let missing: Vec<&PathBuf> =
            pages.keys().filter(in_docs).filter(|page| !listed.contains(*page)).collect();
        assert!(missing.is_empty(), "{list} does not link {missing:?}");
    }
}
