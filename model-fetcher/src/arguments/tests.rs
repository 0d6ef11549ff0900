//! Tests of the command line.

use super::*;

fn fetch_options(arguments: &[&str], variables: &[(&str, &str)]) -> FetchOptions {
    let argv = ["model-fetcher", "fetch", "org/name"].iter().chain(arguments);
    let FetcherVerb::Fetch(fetch) = FetcherCli::try_parse_from(argv).unwrap().verb else {
        panic!("expected the fetch verb");
    };
    fetch.to_options(|name| {
        variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn clap_definition_is_valid() {
    FetcherCli::command().debug_assert();
}

#[test]
fn every_flag_has_an_environment_variable() {
    for verb in FetcherCli::command().get_subcommands() {
        let is_own_option = |argument: &&clap::Arg| !matches!(argument.get_id().as_str(), "help" | "version");
        for argument in verb.get_arguments().filter(is_own_option) {
            let variable = argument.get_env().and_then(|name| name.to_str()).unwrap_or_default();
            assert!(variable.starts_with("MODEL_FETCHER_"), "{}", argument.get_id());
        }
    }
}

#[test]
fn applies_hugging_face_environment_variables() {
    let options = fetch_options(
        &["--endpoint", "http://flag/"],
        &[
            ("HF_ENDPOINT", "http://variable"),
            ("HF_HUB_OFFLINE", "1"),
            ("HF_HUB_DISABLE_XET", "1"),
            ("HF_HUB_DOWNLOAD_TIMEOUT", "7"),
        ],
    );
    assert_eq!(options.hub.endpoint, "http://flag".into());
    assert!(options.offline);
    assert_eq!(options.xet, Xet::Never);
    assert_eq!(options.read_timeout, Duration::from_secs(7));
    assert!(!fetch_options(&[], &[("HF_HUB_OFFLINE", "0")]).offline);
    assert_eq!(fetch_options(&["--load-format", "mistral"], &[]).load_format, LoadFormat::Mistral);
}

#[test]
fn lease_timeout_is_not_zero() {
    for verb in ["fetch", "remove"] {
        let parse =
            |value| FetcherCli::try_parse_from(["model-fetcher", verb, "org/name", "--lease-timeout", value]);
        assert!(parse("500ms").is_ok(), "{verb}");
        assert!(parse("0s").unwrap_err().to_string().contains("more than 0s"), "{verb}");
    }
}

#[test]
fn rejects_token_flag() {
    let argv = ["model-fetcher", "fetch", "org/name", "--token", "hf_x"];
    assert!(FetcherCli::try_parse_from(argv).is_err());
}
