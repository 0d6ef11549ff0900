//! The formats of `-o`: every document is the same in JSON and YAML, and a template prints values of it.

use std::process::Stdio;
use std::time::Duration;

use kubectl_dynamo_core::jsonpath::JsonPathTemplate;
use kubectl_dynamo_tests::model;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use crate::assert_fails;
use crate::requests::TestFolder;
use crate::scripted_server::{GRAPHS, KindScript, ScriptedServer, graph};

/// Longer than every run takes, even on a busy machine.
const LONGEST_RUN: Duration = Duration::from_secs(60);

const RENDER: [&str; 7] =
    ["render", "acme/tiny", "--release", "1.6.1", "--graph-api", "v1beta1", "--namespace=serving"];

/// Commands that print a document and need neither a cluster nor a network.
fn documents() -> Vec<Vec<&'static str>> {
    vec![
        vec!["version"],
        vec!["explain"],
        vec!["explain", "KD0604"],
        vec!["config", "list"],
        vec!["config", "get", "cache.size"],
        vec!["config", "schema"],
        vec!["list", "--local"],
        vec!["status", "--local"],
        vec!["fit", "./model", "--gpu=h100-80g:8"],
        vec!["fit", "./model", "--gpu=h100-80g:8", "--mode=disagg"],
        [&RENDER[..], &["--plan"]].concat(),
    ]
}

fn folder() -> TestFolder {
    let folder = TestFolder::new();
    model::write_model_with_weights(&folder.path().join("model"), 1 << 20).expect("the model");
    folder.run_successfully(&["config", "set", "cache.size", "50Gi"]);
    folder
}

fn with_format(arguments: &[&'static str], format: &str) -> Vec<String> {
    arguments.iter().map(|one| (*one).to_owned()).chain([format.to_owned()]).collect()
}

fn printed(folder: &TestFolder, arguments: &[&'static str], format: &str) -> String {
    let arguments = with_format(arguments, format);
    folder.run_successfully(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn every_document_is_equal_in_json_yaml_and_templates() {
    let folder = folder();
    for arguments in documents() {
        let json: Value = serde_json::from_str(&printed(&folder, &arguments, "-o=json")).expect("JSON");
        assert!(json.is_object(), "{arguments:?}: {json}");
        let yaml: Value = serde_saphyr::from_str(&printed(&folder, &arguments, "-o=yaml")).expect("YAML");
        assert_eq!(yaml, json, "{arguments:?}");
        for template in ["{.kind} of {.apiVersion}{\"\\n\"}", "{@}"] {
            let expected = JsonPathTemplate::parse(template).map(|one| one.render(&json));
            let printed = printed(&folder, &arguments, &format!("-o=jsonpath={template}"));
            assert_eq!(expected, Ok(Ok(printed)), "{arguments:?} {template}");
        }
    }
}

#[test]
fn template_is_accepted_in_every_notation_of_kubectl() {
    let folder = TestFolder::new();
    for flags in [
        &["-o", "jsonpath={.kind}"][..],
        &["-o=jsonpath={.kind}"],
        &["-ojsonpath={.kind}"],
        &["--output", "jsonpath={.kind}"],
        &["--output=jsonpath={.kind}"],
    ] {
        assert_eq!(folder.run_successfully(&[&["version"], flags].concat()), "Version", "{flags:?}");
    }
    let file = folder.path().join("kind.jsonpath");
    std::fs::write(&file, "{.kind}\n").expect("a file");
    let printed = folder.run_successfully(&["version", "-o", &format!("jsonpath-file={}", file.display())]);
    assert_eq!(printed, "Version\n");
    let range = "jsonpath={range .dynamoReleases[0:2]}[{@}]{end}, {.missing}default {.defaultRelease}";
    let printed = folder.run_successfully(&["version", "-o", range]);
    assert!(printed.starts_with('[') && printed.contains("], default "), "{printed}");
}

#[test]
fn invalid_templates_and_formats_are_usage_errors() {
    for (format, messages) in [
        ("jsonpath={.kind", &["unclosed action at character 1", "--output"][..]),
        ("jsonpath=kind: {.kind}{.a[x]}", &["invalid index \"x\" at character 18"]),
        ("jsonpath={.items[?(@.a=1)]}", &["invalid operator \"=\" at character 14"]),
        ("jsonpath={end}", &["\"end\" without \"range\" at character 1"]),
        ("jsonpath={kind}", &["unknown keyword \"kind\" at character 2"]),
        ("jsonpath=", &["no template given", "jsonpath='{.items[*].name}'"]),
        ("jsonpath", &["no template given"]),
        ("jsonpath-file=", &["no file given", "jsonpath-file=names.jsonpath"]),
        ("jsonpath-file", &["no file given"]),
        ("jsonpath-file=/missing.jsonpath", &["/missing.jsonpath: No such file"]),
        ("yml", &["[possible values: text, json, yaml, jsonpath=, jsonpath-file=]"]),
        ("table", &["[possible values: text, json, yaml, jsonpath=, jsonpath-file=]"]),
    ] {
        assert_fails(&["version", "-o", format], 2, "KD0001", messages);
    }
    assert_fails(&["list", "-o", "jsonpath={"], 2, "KD0001", &["unclosed action"]);
}

#[test]
fn template_that_does_not_fit_the_document_fails_with_its_position() {
    for (template, message) in [
        ("jsonpath={.dynamoReleases[99]}", "index 99 is out of range for a list of length 8 at character 18"),
        ("jsonpath={.kind[0]}", "a string is not a list at character 8"),
        ("jsonpath={.dynamoReleases[?(@==1)]}", "a comparison of a string with a number"),
    ] {
        assert_fails(&["version", "-o", template], 2, "KD0012", &[message, "-o json"]);
    }
}

#[test]
fn objects_have_names_and_templates() {
    let folder = TestFolder::new();
    let names = printed(&folder, &RENDER, "-o=name");
    let (pvc_and_job, graph) = names.trim_end().rsplit_once('\n').expect("three names");
    assert!(pvc_and_job.starts_with("persistentvolumeclaim/model-cache\njob.batch/fetch-"), "{names}");
    assert_eq!(graph, "dynamographdeployment.nvidia.com/tiny");
    let kinds = printed(&folder, &RENDER, "-o=jsonpath={.items[*].kind}");
    assert_eq!(kinds, "PersistentVolumeClaim Job DynamoGraphDeployment");
    let yaml: Vec<Value> = serde_saphyr::from_multiple(&printed(&folder, &RENDER, "-o=yaml")).expect("YAML");
    let json: Value = serde_json::from_str(&printed(&folder, &RENDER, "-o=json")).expect("JSON");
    assert_eq!(json["items"], Value::from(yaml));

    let rbac = ["rbac", "generate", "--persona=viewer", "--user=jane", "-n=serving"];
    let names = printed(&folder, &rbac, "-o=name");
    assert!(names.starts_with("role.rbac.authorization.k8s.io/"), "{names}");
    let kinds = printed(&folder, &rbac, "-o=jsonpath={.items[*].kind}");
    assert_eq!(kinds, "Role RoleBinding");
    assert_eq!(printed(&folder, &rbac, "-o=yaml"), folder.run_successfully(&rbac));
}

#[test]
fn formats_that_do_not_suit_the_output_are_rejected() {
    let with = |flags: &[&'static str]| [&RENDER[..], flags].concat();
    for (flags, message) in [
        (&["-o=table"][..], "-o table cannot be used without --plan"),
        (&["--plan", "-o=name"], "-o name cannot be used with --plan"),
        (&["--output-dir=out", "-o=name"], "-o name cannot be used with --output-dir"),
        (&["--output-dir=out", "-o=jsonpath={.kind}"], "-o jsonpath cannot be used with --output-dir"),
    ] {
        assert_fails(&with(flags), 2, "KD0001", &[message, "-o json"]);
    }
}

/// Runs a command that watches, and returns its first lines.
async fn first_lines(arguments: &[&str], count: usize) -> Vec<String> {
    let script = KindScript {
        objects: vec![graph()],
        changes_every: Some(Duration::from_millis(50)),
        ..KindScript::default()
    };
    let (_server, plugin, _home) = ScriptedServer::start(&[(GRAPHS, script)]).await;
    let mut child = plugin.command(arguments).stderr(Stdio::null()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let mut printed = Vec::new();
    while printed.len() < count {
        let line = timeout(LONGEST_RUN, lines.next_line()).await.expect("the command prints");
        printed.push(line.expect("stdout is text").expect("the command does not end"));
    }
    child.kill().await.expect("it can be ended");
    printed
}

#[tokio::test(flavor = "multi_thread")]
async fn watched_documents_are_separated() {
    let names = first_lines(&["list", "-w", "-o", "jsonpath={.items[*].name}"], 3).await;
    assert_eq!(names, ["tiny", "tiny", "tiny"]);
    let yaml = first_lines(&["list", "-w", "-o", "yaml"], 60).await;
    let separators = yaml.iter().filter(|line| *line == "---").count();
    assert!(separators > 0 && yaml.first().is_some_and(|line| line != "---"), "{yaml:#?}");
    let after = yaml.iter().skip_while(|line| *line != "---").nth(1);
    assert_eq!(after, yaml.first(), "{yaml:#?}");
}
