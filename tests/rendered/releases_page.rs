//! Checks that the table in docs/reference/releases.md matches the catalog.

use kubectl_dynamo_core::intent::ParserKind;
use kubectl_dynamo_core::release::{CATALOG, Release};
use kubectl_dynamo_tests::pages::check_generated;

/// A row of the table: a property, and its value for a release.
type TableRow = (&'static str, fn(&Release) -> String);

const TABLE_ROWS: &[TableRow] = &[
    ("vLLM", |release| release.vllm_packages[0].rsplit('=').next().unwrap_or_default().to_owned()),
    ("CUDA of the images", |release| release.cuda_images.to_string()),
    ("a worker's role", |release| release.role_spelling.to_string()),
    ("KV connector", |release| release.connector_spelling.to_string()),
    ("KV events of workers", |release| release.kv_events.to_string()),
    ("KV events off", |release| format!("`{}=false`", release.kv_events_switch.variable())),
    ("overlap weight", |release| format!("`{}`", release.overlap_setting.variable())),
    ("router TTL", |release| format!("`{}`", release.router_ttl.variable())),
    ("migration limit", |release| release.migration_limit.to_string()),
    ("parsers of tool calls, and of reasoning", |release| {
        let count = |kind| release.parser_names(kind).count();
        format!("{}, {}", count(ParserKind::ToolCall), count(ParserKind::Reasoning))
    }),
    ("session affinity", |release| release.session_affinity.to_string()),
    ("model card", |release| release.model_card.to_string()),
    ("KV offload by KVBM", |release| release.kvbm.to_string()),
    ("several nodes", |release| release.executor.to_string()),
    ("vLLM's share of GPU memory", |release| format!("{} %", release.memory.gpu_memory_percent)),
    ("length with YaRN", |release| release.memory.yarn_length.to_string()),
    ("tokens kept besides a sliding window", |release| release.memory.in_flight_steps.to_string()),
    ("KV cache blocks that stay empty", |release| release.memory.reserved_blocks.to_string()),
];

/// Adjacent releases with the same value share a row.
fn releases_table() -> String {
    let mut text = String::from("| Setting | Releases | Value |\n|---|---|---|\n");
    for (heading, describe) in TABLE_ROWS {
        for (nth, releases) in CATALOG.chunk_by(|one, next| describe(one) == describe(next)).enumerate() {
            let range = match releases {
                [first, .., last] => format!("{} to {}", minor_version(first), minor_version(last)),
                [only] => minor_version(only).to_owned(),
                [] => String::new(),
            };
            let heading = if nth == 0 { heading } else { "" };
            text.push_str(&format!("| {heading} | {range} | {} |\n", describe(&releases[0])));
        }
    }
    text
}

fn minor_version(release: &Release) -> &'static str {
    release.version.rsplit_once('.').map_or(release.version, |(minor, _)| minor)
}

#[test]
fn releases_page_matches_the_catalog() {
    check_generated("docs/reference/releases.md", "catalog", &releases_table());
}
