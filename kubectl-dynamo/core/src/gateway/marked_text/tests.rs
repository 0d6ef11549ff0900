//! Tests of the editing with texts as users and charts write them.

use super::*;
use crate::gateway::entry::tests::deployment;

const OTHERS: &str = "\
# our proxy
model_list:
  - model_name: gpt   # keep
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/KEY}

general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
";

fn config(names: &[&str]) -> GatewayConfig {
    let deployments: Vec<_> = names.iter().map(|name| deployment(name, "m")).collect();
    GatewayConfig::new(&deployments, None).expect("one model each")
}

fn edit(text: &str, names: &[&str]) -> EditedText {
    edit_marked_text(text, &config(names)).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn outside(text: &str) -> String {
    MarkedText::parse(text).expect("the markers are in pairs").outside()
}

#[test]
fn entries_are_added_behind_those_of_others() {
    let edited = edit(OTHERS, &["a"]);
    let expected = "\
# our proxy
model_list:
  - model_name: gpt   # keep
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/KEY}
  # kubectl-dynamo: begin of entries, which the next gateway config replaces
  - model_name: m
    litellm_params:
      model: hosted_vllm/m
      api_base: http://a-frontend.serving.svc:8000/v1
    model_info:
      mode: chat
      max_input_tokens: 8192
      max_output_tokens: 8192
      kubectl_dynamo:
        namespace: serving
        name: a
  # kubectl-dynamo: end of entries

general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
";
    assert_eq!(edited.text, expected);
    assert_eq!(edited.missing_settings, [""; 0]);
}

#[test]
fn second_edit_with_the_same_entries_changes_nothing() {
    for text in
        [OTHERS, "", "# only a comment\n", "router_settings: {}\n", "model_list:\n", "model_list: # none\n"]
    {
        for names in [&["a"][..], &["a", "b"]] {
            let first = edit(text, names);
            assert_eq!(edit(&first.text, names), first, "{text}");
        }
    }
}

#[test]
fn text_outside_of_the_markers_is_kept_byte_for_byte() {
    for text in [
        OTHERS.to_owned(),
        OTHERS.replace('\n', "\r\n"),
        OTHERS.replace("  - model", "- model").replace("    litellm", "  litellm"),
        OTHERS.trim_end().to_owned(),
        OTHERS.replace("\ngeneral", "\n# a comment\n\n\ngeneral"),
        "a: &x {b: 1}\nmodel_list:\n  - model_name: x\n    litellm_params: *x\n".to_owned(),
        "model_list:\n  - model_name: x\n    text: |\n      model_list:\n       - no item\n".to_owned(),
    ] {
        let two = edit(&text, &["a", "b"]);
        assert_eq!(outside(&two.text).trim_end(), text.trim_end(), "{text}");
        let one = edit(&two.text, &["a"]);
        assert_eq!(outside(&one.text).trim_end(), text.trim_end(), "{text}");
        assert!(!one.text.contains("b-frontend") && one.text.contains("a-frontend"), "{}", one.text);
    }
}

#[test]
fn settings_of_a_group_are_added_only_where_the_field_is_free() {
    let edited = edit(OTHERS, &["a", "b"]);
    let document: Value = serde_saphyr::from_str(&edited.text).expect("YAML");
    assert_eq!(document["router_settings"]["retry_policy"]["NotFoundErrorRetries"], 2);
    assert_eq!(document["general_settings"].as_object().map(Map::len), Some(1));
    assert_eq!(
        edited.missing_settings,
        [
            "general_settings.background_health_checks: true",
            "general_settings.enable_health_check_routing: true",
            "general_settings.health_check_interval: 15",
        ]
    );
    let own = OTHERS.to_owned()
        + "  background_health_checks: true\n  health_check_interval: 60\n  enable_health_check_routing: true\n";
    assert_eq!(edit(&own, &["a", "b"]).missing_settings, [""; 0]);
    // One entry does not need them.
    assert!(!edit(&edited.text, &["a"]).text.contains("router_settings"));
}

#[test]
fn text_that_cannot_be_edited_is_refused() {
    let begin = "# kubectl-dynamo: begin of entries, which the next gateway config replaces\n";
    let end = "# kubectl-dynamo: end of entries\n";
    for text in [
        format!("model_list:\n{begin}"),
        format!("model_list:\n{end}"),
        format!("model_list:\n{end}{begin}"),
        format!("model_list:\n{begin}{begin}{end}"),
        format!("model_list:\n{begin}{end}{begin}{end}"),
        "# kubectl-dynamo: start\n".to_owned(),
        "model_list: [{model_name: x, litellm_params: {model: x}}]\n".to_owned(),
        "model_list: text\n".to_owned(),
        "model_list:\n  a: 1\n".to_owned(),
        "\"model_list\":\n  - model_name: x\n".to_owned(),
        "- a\n".to_owned(),
        "a: [\n".to_owned(),
        "text".to_owned(),
        "model_list:\n  - a: 1\n---\nmodel_list:\n  - b: 1\n".to_owned(),
        "{a: 1}\n".to_owned(),
    ] {
        let error = edit_marked_text(&text, &config(&["a"])).expect_err(&text);
        assert_eq!(error.code(), Some(MessageCode::GatewayTextNotEditable), "{text}");
    }
}

#[test]
fn section_with_its_own_field_moves_into_a_new_list() {
    let edited = edit("litellm_settings: {}\n", &["a"]).text;
    assert!(
        edited.contains("entries, which the next gateway config replaces\nmodel_list:\n  - model_name: m\n"),
        "{edited}"
    );
    let with_list = format!("{edited}model_list:\n  - model_name: x\n    litellm_params: {{model: x}}\n");
    let moved = edit(&with_list, &["a"]).text;
    let document: Value = serde_saphyr::from_str(&moved).expect("YAML");
    assert_eq!(document["model_list"].as_array().map(Vec::len), Some(2), "{moved}");
}
