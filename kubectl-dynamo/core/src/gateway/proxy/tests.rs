//! Tests with answers of a real proxy.

use super::*;

/// The start of `/model/info` of LiteLLM 1.108.7, without the fields that are not read.
const RECORDED: &str = r#"{"data": [
  {"model_name": "tiny",
   "litellm_params": {"api_base": "http://127.0.0.1:18001/v1", "use_litellm_proxy": false, "model": "hosted_vllm/org/tiny", "weight": 2},
   "model_info": {"id": "38f087d7", "db_model": false, "mode": "chat", "max_input_tokens": 4096,
                  "kubectl_dynamo": {"namespace": "serving", "name": "a"}, "max_tokens": null}},
  {"model_name": "gpt", "litellm_params": {"model": "openai/gpt-4o"}, "model_info": {"id": "second"}},
  {"model_name": "any/*", "litellm_params": {"model": "hosted_vllm/*", "api_base": 5}, "model_info": null}
]}"#;

#[test]
fn entries_are_read_with_their_owner() {
    let entries = parse_proxy_entries(RECORDED).expect("an answer of LiteLLM");
    assert_eq!(entries.len(), 3);
    assert_eq!((entries[0].served_name(), entries[0].id.as_str()), (Some("org/tiny"), "38f087d7"));
    assert_eq!(entries[0].owner.as_ref().map(ToString::to_string).as_deref(), Some("serving/a"));
    assert_eq!((entries[1].served_name(), &entries[1].api_base), (Some("gpt-4o"), &None));
    assert_eq!((entries[2].served_name(), &entries[2].owner), (None, &None));
    for other in ["", "[]", "{}", "<html>", r#"{"data": "text"}"#, r#"{"detail": "Not Found"}"#] {
        assert_eq!(parse_proxy_entries(other), None, "{other}");
    }
}

#[test]
fn each_denial_is_explained() {
    use KeyState::{NotSent, Sent};
    for (status, message, key, code) in [
        (400, "No connected db.", Sent, MessageCode::GatewayKeyRejected),
        (401, "Invalid API key provided.", Sent, MessageCode::GatewayKeyRejected),
        (401, "No api key passed in.", NotSent, MessageCode::GatewayKeyRejected),
        (500, "Internal Server Error", NotSent, MessageCode::GatewayKeyRejected),
        (500, "Internal Server Error", Sent, MessageCode::NotALiteLlmGateway),
        (404, "Not Found", Sent, MessageCode::NotALiteLlmGateway),
        (400, "bad request", Sent, MessageCode::NotALiteLlmGateway),
    ] {
        let error = GatewayAccessError::from_status("http://gw:4000", status, message, key);
        assert_eq!(error.code(), Some(code), "{error}");
        assert!(error.hint().is_some() && error.to_string().contains("http://gw:4000"), "{error}");
    }
}

#[test]
fn compromised_versions_are_known() {
    assert!(is_compromised("1.82.7") && is_compromised("1.82.8"));
    for other in ["1.82.6", "1.82.9", "1.82.70", "1.82.7.1", "1.108.7", "", "v1.82.7x"] {
        assert!(!is_compromised(other), "{other}");
    }
    assert_eq!(
        proxy_version(r#"{"status":"healthy","litellm_version":"1.108.7"}"#).as_deref(),
        Some("1.108.7")
    );
    assert_eq!(proxy_version(r#"{"status":"healthy","db":"Not connected"}"#), None);
}
