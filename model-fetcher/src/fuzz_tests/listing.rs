//! Fuzzes what decides which files a fetch selects and requests: links to pages, URLs, and names of weights.

use proptest::prelude::*;

use super::{INDEX, mutations_of, run_cases};
use crate::source::link_header;
use model_fetcher_contract::redact_userinfo;
use model_fetcher_contract::weights::{FileUse, LoadFormat, WeightIndex, classify_files, find_missing_shard};

const LINK: &str =
    "</style.css>; rel=\"preload\"; as=style, <https://hub/x?cursor=3>; rel=\"next last\"; title='a'";

#[test]
fn next_page_is_a_target_of_the_header() {
    let text = mutations_of(LINK).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    run_cases("Link", prop_oneof![text, "[<>;,=\"' a-n?/\\\\]{0,40}"], |text| {
        if let Some(target) = link_header::next_target([text.as_str()]) {
            prop_assert!(text.contains(target), "{text:?}");
            prop_assert!(text.replace('\\', "").to_lowercase().contains("next"), "{text:?}");
        }
        Ok(())
    });
}

/// However a server writes a link, its target is found.
#[test]
fn next_page_is_found_in_every_spelling() {
    let spelling = (
        prop::collection::vec(
            "(</style.css>; rel=preload; as=style, |<a>; title=\"x, y; rel=prev\", ){0,1}",
            0..3,
        ),
        "[a-z?=&0-9/]{1,20}",
        "[ \t]{0,2};[ \t]{0,2}",
        prop::sample::select(vec!["rel", "Rel", "REL"]),
        "[ \t]{0,1}=[ \t]{0,1}",
        prop::sample::select(vec!["next", "\"next\"", "\"last next\"", "'next'", "\"NEXT first\""]),
        "(; title=\"b\"|; type=c|, <z>; rel=last){0,2}",
    );
    run_cases("Link spelling", spelling, |(before, target, semicolon, rel, equals, value, after)| {
        let header = format!("{}<{target}>{semicolon}{rel}{equals}{value}{after}", before.concat());
        prop_assert_eq!(link_header::next_target([header.as_str()]), Some(target.as_str()), "{}", header);
        Ok(())
    });
}

/// No password survives, whatever characters it has.
#[test]
fn passwords_are_redacted() {
    let case =
        ("(https?://|//|)", "[!-~ä]{0,12}", "[!-~ä]{1,24}", "[a-z.]{1,12}(:[0-9]{1,5})?(/[a-z]{0,8})?");
    run_cases("userinfo", case, |(scheme, user, password, host)| {
        let is_url_character = |character: char| !"\"'`<>".contains(character);
        let keep =
            |text: String| text.chars().filter(|character| is_url_character(*character)).collect::<String>();
        let (user, password) = (keep(user), keep(password));
        prop_assume!(!user.starts_with('/') && !format!("{user}{password}").contains("//"));
        let redacted = redact_userinfo(&format!("{scheme}{user}:{password}@{host}"));
        prop_assert_eq!(redacted, format!("{}{}", scheme, host));
        Ok(())
    });
}

#[test]
fn shards_of_any_index_are_found_or_missing() {
    let paths = prop::collection::vec(
        "(a/)?(model|pytorch_model|consolidated|optimizer)(-0000[0-3]-of-0000[0-3])?\\.(safetensors|bin|pt|gguf|onnx)(\\.index\\.json)?",
        0..12,
    );
    run_cases("weights", (paths, mutations_of(INDEX)), |(paths, json)| {
        let paths: std::collections::BTreeSet<&str> = paths.iter().map(String::as_str).collect();
        let paths: Vec<&str> = paths.into_iter().collect();
        let indexes: Vec<WeightIndex> =
            WeightIndex::parse("model.safetensors.index.json", &json).into_iter().collect();
        let uses = classify_files(&paths, &indexes, LoadFormat::Auto);
        prop_assert_eq!(uses.len(), paths.len());
        // Something is repeated only if another file of its folder is not.
        for (path, _) in paths.iter().zip(&uses).filter(|(_, file_use)| **file_use == FileUse::Duplicate) {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let is_kept = |(other, other_use): (&&str, &FileUse)| {
                other.rsplit_once('/').map_or("", |(folder, _)| folder) == folder
                    && matches!(other_use, FileUse::Loaded | FileUse::Other)
            };
            prop_assert!(paths.iter().zip(&uses).any(is_kept), "{path} of {paths:?}");
        }
        if let Some(missing) = find_missing_shard(&paths, &indexes, LoadFormat::Auto) {
            prop_assert!(!paths.contains(&missing.as_str()));
        }
        Ok(())
    });
}
