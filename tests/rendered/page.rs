//! The table of docs/releases.md is the catalogue.

use kubectl_dynamo::release::{CATALOG, Release};
use kubectl_dynamo_tests::cache::repository;

const BEGIN: &str = "<!-- catalogue -->\n";
const END: &str = "<!-- /catalogue -->";

/// One line of the table: what it tells, and how a release tells it.
type Line = (&'static str, fn(&Release) -> String);

const LINES: &[Line] = &[
    ("vLLM", |release| release.vllm_packages[0].rsplit('=').next().unwrap_or_default().to_owned()),
    ("CUDA of the images", |release| release.cuda_images.to_string()),
    ("a worker's role", |release| release.role_spelling.to_string()),
    ("KV connector", |release| release.connector_spelling.to_string()),
    ("KV events of workers", |release| release.kv_events.to_string()),
    ("KV events off", |release| format!("`{}=false`", release.kv_events_switch.variable())),
    ("overlap weight", |release| format!("`{}`", release.overlap_setting.variable())),
    ("router TTL", |release| format!("`{}`", release.router_ttl.variable())),
    ("migration limit", |release| release.migration_limit.to_string()),
    ("model card", |release| release.model_card.to_string()),
    ("KV offload by KVBM", |release| release.kvbm.to_string()),
    ("several nodes", |release| release.executor.to_string()),
];

/// Neighbouring releases that tell the same share a line.
fn table() -> String {
    let mut text = String::from("| | release | |\n|---|---|---|\n");
    for (what, tell) in LINES {
        for (nth, alike) in CATALOG.chunk_by(|one, next| tell(one) == tell(next)).enumerate() {
            let range = match alike {
                [first, .., last] => format!("{} to {}", minor(first), minor(last)),
                [only] => minor(only).to_owned(),
                [] => String::new(),
            };
            let what = if nth == 0 { what } else { "" };
            text.push_str(&format!("| {what} | {range} | {} |\n", tell(&alike[0])));
        }
    }
    text
}

fn minor(release: &Release) -> &'static str {
    release.version.rsplit_once('.').map_or(release.version, |(minor, _)| minor)
}

#[test]
fn the_page_holds_the_catalogue() {
    let page = std::fs::read_to_string(repository().join("docs/releases.md")).expect("the page is there");
    let held = page.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).map(|(table, _)| table);
    assert_eq!(held, Some(table().as_str()), "put this between the marks:\n{}", table());
}
