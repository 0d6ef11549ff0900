//! Each kind of question with the keys that a user presses.

use std::sync::Arc;

use rustyline::{KeyCode, KeyEvent, Modifiers};

use super::*;
use crate::prompt::PromptChoice;

const UP: KeyEvent = KeyEvent(KeyCode::Up, Modifiers::NONE);
const DOWN: KeyEvent = KeyEvent(KeyCode::Down, Modifiers::NONE);
const ENTER: KeyEvent = KeyEvent(KeyCode::Enter, Modifiers::NONE);

fn is_positive(answer: &str) -> std::result::Result<(), InvalidAnswer> {
    let number = answer.parse::<u32>().ok().filter(|number| *number > 0);
    number.map(|_| ()).ok_or_else(|| InvalidAnswer::new("at least 1"))
}

fn text_question() -> TextKeys {
    TextKeys::new(TextQuestion {
        text: "Replicas".into(),
        default: "1".into(),
        preview: Arc::new(|answer| format!("total {answer}")),
        check: Arc::new(is_positive),
    })
}

fn modes() -> ChoiceKeys {
    let choice = |value| PromptChoice { value, description: "" };
    let choices = vec![choice("agg"), choice("disagg"), choice("dummy")];
    let check = |answer: &str| if answer == "dummy" { Err(InvalidAnswer::new("not served")) } else { Ok(()) };
    ChoiceKeys::new(ChoiceQuestion { text: "Mode".into(), choices, check: Arc::new(check) })
}

fn type_text(keys: &mut impl KeyHandler, text: &str) -> Vec<KeyEffect> {
    text.chars().map(|letter| keys.press(letter.into(), "")).collect()
}

#[test]
fn arrow_keys_select_and_wrap_around() {
    let mut keys = modes();
    for (key, value) in [(DOWN, "disagg"), (DOWN, "dummy"), (DOWN, "agg"), (UP, "dummy"), (UP, "disagg")] {
        assert_eq!(keys.press(key, ""), KeyEffect::ReplaceLine(value.into()));
    }
    assert_eq!(keys.press(ENTER, ""), KeyEffect::Accept);
    assert_eq!(keys.selected(), 1);
}

#[test]
fn first_letters_select_and_a_wrong_letter_does_not_stay() {
    let mut keys = modes();
    for (text, value) in [("d", "disagg"), ("du", "dummy"), ("a", "agg"), ("Dis", "disagg")] {
        type_text(&mut keys, text);
        assert_eq!(keys.value(), value, "{text}");
    }
    assert_eq!(type_text(&mut keys, "x"), [KeyEffect::Redraw]);
    assert_eq!(keys.value(), "disagg");
    let reason = keys.lines_below("").pop().expect("a line");
    assert_eq!(reason, "  invalid answer: \"x\" does not start any of agg, disagg, dummy");
    assert_eq!(type_text(&mut keys, "a"), [KeyEffect::ReplaceLine("agg".into())]);
    assert!(!keys.lines_below("").concat().contains("invalid"));
}

#[test]
fn a_choice_that_contradicts_an_earlier_answer_is_rejected_at_the_question() {
    let mut keys = modes();
    type_text(&mut keys, "dum");
    assert_eq!(keys.press(ENTER, "dummy"), KeyEffect::Redraw);
    assert!(keys.lines_below("dummy").concat().contains("not served"));
}

#[test]
fn a_rejected_text_is_cleared_and_its_reason_is_shown_until_the_next_one_is_typed() {
    let mut keys = text_question();
    assert_eq!(keys.press(ENTER, "0"), KeyEffect::ReplaceLine(String::new()));
    assert_eq!(keys.lines_below(""), ["  invalid answer: at least 1", "  total 1"]);
    assert_eq!(keys.press('2'.into(), ""), KeyEffect::Edit);
    assert_eq!(keys.lines_below("2"), ["  total 2"]);
    assert_eq!(keys.press(ENTER, "2"), KeyEffect::Accept);
    assert_eq!(keys.final_text(), None);
    assert_eq!(keys.press(ENTER, ""), KeyEffect::Accept, "the default is valid");
    assert_eq!(keys.final_text(), Some("1"));
}

#[test]
fn a_preview_is_shown_only_for_a_valid_text() {
    let keys = text_question();
    for (line, preview) in [("", "  total 1"), ("12", "  total 12"), ("12x", ""), ("0", "")] {
        assert_eq!(keys.lines_below(line).concat(), preview, "{line:?}");
    }
}

#[test]
fn one_key_answers_yes_or_no() {
    for (key, answer) in [('y', true), ('Y', true), ('n', false), ('N', false), ('\r', false)] {
        let mut keys = YesNoKeys::new(OtherKeys::Ignored);
        assert_eq!(keys.press(key.into(), ""), KeyEffect::Accept, "{key:?}");
        assert_eq!(keys.answer(), Some(answer), "{key:?}");
        assert_eq!(keys.final_text(), Some(if answer { "yes" } else { "no" }));
    }
}

#[test]
fn other_keys_are_ignored_or_mean_no_but_never_yes() {
    let mut keys = YesNoKeys::new(OtherKeys::Ignored);
    assert_eq!(keys.press('k'.into(), ""), KeyEffect::Redraw);
    assert_eq!(keys.lines_below(""), ["  Press y for yes, or n or Enter for no."]);
    let paste = KeyEvent(KeyCode::BracketedPasteStart, Modifiers::NONE);
    for key in ['k'.into(), ' '.into(), paste] {
        let mut keys = YesNoKeys::new(OtherKeys::MeanNo);
        assert_eq!(keys.press(key, ""), KeyEffect::Accept, "{key:?}");
        assert_eq!(keys.answer(), Some(false), "{key:?}");
    }
    let mut keys = YesNoKeys::new(OtherKeys::MeanNo);
    assert_eq!(keys.press(DOWN, ""), KeyEffect::Ignore);
}

#[test]
fn each_question_is_canceled_with_ctrl_c_ctrl_d_and_esc() {
    let questions: [Box<dyn KeyHandler>; 4] = [
        Box::new(text_question()),
        Box::new(modes()),
        Box::new(YesNoKeys::new(OtherKeys::MeanNo)),
        Box::new(SecretKeys::new(Arc::new(|_| Ok(())))),
    ];
    for mut question in questions {
        for key in [KeyEvent::ctrl('C'), KeyEvent::ctrl('D'), KeyEvent(KeyCode::Esc, Modifiers::NONE)] {
            assert_eq!(question.press(key, ""), KeyEffect::Cancel, "{key:?}");
        }
    }
}

#[test]
fn a_secret_shows_only_its_length() {
    let mut keys = SecretKeys::new(Arc::new(|secret| {
        if secret.contains(' ') { Err(InvalidAnswer::new("a space")) } else { Ok(()) }
    }));
    type_text(&mut keys, "hf abc");
    assert_eq!(keys.lines_below(""), ["  6 characters"]);
    assert_eq!(keys.press(ENTER, ""), KeyEffect::Redraw);
    assert_eq!(keys.lines_below(""), ["  invalid answer: a space"]);
    type_text(&mut keys, "hf_abd");
    keys.press(KeyEvent(KeyCode::Backspace, Modifiers::NONE), "");
    type_text(&mut keys, "c");
    assert_eq!(keys.press(ENTER, ""), KeyEffect::Accept);
    assert_eq!(keys.into_secret(), "hf_abc");
}
