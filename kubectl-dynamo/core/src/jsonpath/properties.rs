//! Properties of the parser and of the evaluation: any text and any document give a result or an error.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::JsonPathTemplate;

/// Parts of templates, so that random templates are often valid.
const FRAGMENTS: &[&str] = &[
    "{",
    "}",
    "{range ",
    "{end}",
    "{range .a[*]}",
    "{.a}",
    ".",
    "..",
    "*",
    "[",
    "]",
    "[*]",
    "[0]",
    "[-1]",
    "[1:]",
    "[::2]",
    "['a']",
    "['a','b']",
    "[?(",
    "@.a",
    "==",
    "!=",
    "<",
    ">=",
    ")]",
    "\"x\"",
    "'y'",
    "\\",
    "\\n",
    "\"",
    "'",
    "a",
    "b",
    "1",
    "-",
    "+",
    "2.5",
    "true",
    "false",
    "$",
    " ",
    ",",
    ":",
    "\n",
    "é",
    "text",
];

fn template() -> impl Strategy<Value = String> {
    let fragment =
        prop_oneof![4 => proptest::sample::select(FRAGMENTS).prop_map(str::to_owned), 1 => ".{0,3}"];
    proptest::collection::vec(fragment, 0..16).prop_map(|fragments| fragments.concat())
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // A whole number would be printed without its fraction, and a very small one would not be parsed exactly.
        any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0 + 0.0625)),
        "[a-c<é]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[ab]", inner, 0..3).prop_map(|fields| json!(fields)),
        ]
    })
}

proptest! {
    #[test]
    fn every_text_is_a_template_or_an_error_with_a_position(text in template()) {
        if let Err(error) = JsonPathTemplate::parse(&text) {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.position), "{}", error);
        }
    }

    #[test]
    fn every_template_prints_text_or_fails_at_a_position(text in template(), document in document()) {
        if let Ok(template) = JsonPathTemplate::parse(&text)
            && let Err(error) = template.render(&document)
        {
            prop_assert!((1..=text.chars().count()).contains(&error.position), "{}", error);
        }
    }

    #[test]
    fn text_without_braces_is_printed(text in "[^{]{0,20}") {
        let template = JsonPathTemplate::parse(&text).unwrap();
        prop_assert_eq!(template.render(&Value::Null).unwrap(), text);
    }

    #[test]
    fn whole_document_is_equivalent_json(document in document()) {
        let text = JsonPathTemplate::parse("{@}").unwrap().render(&json!([document])).unwrap();
        prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!([document]));
    }
}

#[test]
fn deeply_nested_ranges_are_an_error() {
    let nested = |depth: usize| JsonPathTemplate::parse(&"{range .a[*]}".repeat(depth));
    assert!(nested(super::MAX_NESTED_RANGES).is_ok());
    let error = nested(super::MAX_NESTED_RANGES + 1).unwrap_err();
    assert_eq!((error.position, error.to_string().contains("nested ranges")), (16 * 13 + 1, true));
    assert!(nested(100_000).is_err());
}
