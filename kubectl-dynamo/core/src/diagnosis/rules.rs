//! Diagnosis rules as data: the source of a message, its pattern, the message code, the text, and the fix.
//!
//! A message that no rule matches keeps its own text and gets the general code of its source.

mod cluster;
mod engine;
#[cfg(test)]
pub(super) mod fixtures;

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::RootCause;
use super::context::DiagnosisContext;
use super::fix_template::{self, FixPart};
use crate::code::MessageCode;
use crate::command::Fix;

/// The source of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageSource {
    /// The message of a pod's `PodScheduled` condition.
    Scheduling,
    /// The message of a container that waits for its image.
    Image,
    /// The message of a container that cannot be created.
    Container,
    /// The reason, exit code, and message of a terminated container.
    Exit,
    /// The message of a workload that cannot create its pods.
    Replicas,
    /// An event of a pod that waits for its volumes or sandbox.
    Mount,
    /// A condition that the operator sets on the graph or a component.
    Operator,
    /// A line of a container's log.
    Log,
}

/// A rule that maps a message to a root cause.
#[derive(Debug)]
struct DiagnosisRule {
    code: MessageCode,
    source: MessageSource,
    /// A regular expression. The first matching rule is used.
    pattern: &'static str,
    /// The message text, with the groups of the pattern as `$1`.
    message: &'static str,
    /// The fix, with groups.
    fix: &'static [FixPart],
}

static TABLE: LazyLock<Vec<(Regex, &'static DiagnosisRule)>> = LazyLock::new(|| {
    let compile = |rule: &'static DiagnosisRule| {
        (Regex::new(rule.pattern).expect("the patterns are constants, and a test compiles them"), rule)
    };
    cluster::RULES.iter().chain(engine::RULES).map(compile).collect()
});

/// Returns the message codes of all rules, sorted.
pub fn rule_codes() -> Vec<MessageCode> {
    let mut codes: Vec<MessageCode> = TABLE.iter().map(|(_, rule)| rule.code).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// Returns the fixes of all rules for a context, with `group` for every group of a pattern.
pub(super) fn rule_fixes(context: &DiagnosisContext, group: &str) -> Vec<(MessageCode, Fix)> {
    let groups = Regex::new(r"\$\d").expect("the pattern is a constant");
    let expand = |template: &str| groups.replace_all(template, group).into_owned();
    TABLE.iter().map(|(_, rule)| (rule.code, fix_template::render(rule.fix, context, &expand))).collect()
}

/// Returns the root cause for a message, if a rule of its source matches.
pub(super) fn find_cause(
    source: MessageSource,
    message: &str,
    context: &DiagnosisContext,
) -> Option<RootCause> {
    let mut rows = TABLE.iter().filter(|(_, rule)| rule.source == source);
    rows.find_map(|(pattern, rule)| Some(build_cause(rule, &pattern.captures(message)?, context)))
}

/// Returns the root cause for a log. If several lines match, the line of the earliest rule is used, because
/// rules for causes precede rules for their consequences.
pub(super) fn find_cause_in_log(lines: &[String], context: &DiagnosisContext) -> Option<RootCause> {
    find_cause(MessageSource::Log, matching_line(lines)?, context)
}

/// Returns the line that [`find_cause_in_log`] uses.
pub(super) fn matching_line(lines: &[String]) -> Option<&str> {
    let mut rows = TABLE.iter().filter(|(_, rule)| rule.source == MessageSource::Log);
    rows.find_map(|(pattern, _)| lines.iter().rev().find(|line| pattern.is_match(line))).map(String::as_str)
}

fn build_cause(rule: &DiagnosisRule, captures: &Captures, context: &DiagnosisContext) -> RootCause {
    let expand = |template: &str| {
        let mut text = String::new();
        captures.expand(template, &mut text);
        text
    };
    RootCause {
        code: rule.code,
        text: expand(rule.message).trim_end_matches([' ', ':']).to_owned(),
        fix: fix_template::render(rule.fix, context, &expand),
        exit: rule.code.exit(),
        location: context.location(),
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::samples;
    use super::*;
    use crate::diagnosis::FixTarget;

    fn context() -> DiagnosisContext {
        DiagnosisContext {
            target: FixTarget::Deployment { name: "tiny".into() },
            namespace: "serving".into(),
            pod: Some("tiny-decode-0".into()),
            container: None,
            role: "decode".into(),
            tensor_parallel: 4,
            has_restarted: false,
            is_foreign: false,
        }
    }

    #[test]
    fn deployment_of_another_tool_is_adopted_before_it_is_changed() {
        let context = DiagnosisContext { is_foreign: true, ..context() };
        let lines = ["No available memory for the cache blocks".to_owned()];
        let fix = find_cause_in_log(&lines, &context).expect("a cause").fix.to_string();
        let adopt = fix.find("kubectl dynamo adopt tiny -n serving, then ").expect("the adoption");
        assert!(adopt < fix.find("--decode-tp 8").expect("the change"), "{fix}");
        let lines = ["Engine core initialization failed".to_owned()];
        let fix = find_cause_in_log(&lines, &context).expect("a cause").fix.to_string();
        assert!(!fix.contains("adopt"), "a log can be read without it: {fix}");
    }

    #[test]
    fn previous_log_is_suggested_only_after_a_restart() {
        let fix = |has_restarted| {
            let context = DiagnosisContext { has_restarted, ..context() };
            let lines = ["Engine core initialization failed".to_owned()];
            find_cause_in_log(&lines, &context).expect("a cause").fix.to_string()
        };
        assert!(fix(false).ends_with("kubectl logs tiny-decode-0 -n serving"), "{}", fix(false));
        assert!(fix(true).ends_with("kubectl logs tiny-decode-0 -n serving --previous"), "{}", fix(true));
    }

    #[test]
    fn fixes_depend_on_the_values_in_the_log_and_of_the_pod() {
        for (line, fix) in [
            ("No available memory for the cache blocks", "--decode-tp 8"),
            (
                "Total number of attention heads (40) must be divisible by tensor parallel size (16).",
                "--decode-tp 8",
            ),
            (
                "Total number of attention heads (9) must be divisible by tensor parallel size (4).",
                "--decode-tp 1",
            ),
            (
                "Free memory on device cuda:0 (59.99/79.65 GiB) on startup is less than desired GPU memory utilization",
                "--gpu-memory-utilization=0.75",
            ),
        ] {
            let cause = find_cause_in_log(&[line.to_owned()], &context()).expect("a cause");
            assert!(cause.fix.to_string().contains(fix), "{line}: {}", cause.fix);
        }
    }

    #[test]
    fn every_sample_yields_its_cause() {
        for (code, source, message, expected) in samples() {
            let lines = [String::from("an unknown line before"), (*message).to_owned()];
            let cause = match source {
                MessageSource::Log => find_cause_in_log(&lines, &context()),
                source => find_cause(*source, message, &context()),
            };
            let Some(cause) = cause else { panic!("no rule matches the sample of {code}: {message}") };
            assert_eq!(cause.code, *code, "{message}");
            assert!(cause.text.contains(expected), "{code}: {}", cause.text);
            let fix = cause.fix.to_string();
            assert!(!fix.is_empty() && !fix.contains(['{', '$']), "{code}: {fix}");
        }
    }

    #[test]
    fn fix_uses_value_suggested_by_engine() {
        let line = samples()
            .find(|(code, ..)| *code == MessageCode::KvCacheTooSmall)
            .map(|(_, _, line, _)| (*line).to_owned());
        let cause =
            find_cause_in_log(&[line.unwrap_or_default()], &context()).expect("the rule has a sample");
        assert_eq!(
            cause.fix.to_string(),
            "kubectl dynamo up tiny -n serving --decode-arg=--max-model-len=968000"
        );
    }

    #[test]
    fn fix_of_a_denied_pod_depends_on_the_reason() {
        let fixes = samples().filter(|(code, ..)| *code == MessageCode::PodSecurityViolation).map(
            |(_, source, denial, _)| {
                find_cause(*source, denial, &context()).expect("a cause").fix.to_string()
            },
        );
        let expected = [
            "kubectl label namespace serving pod-security.kubernetes.io/enforce=baseline --overwrite",
            "kubectl dynamo up tiny -n serving --pod-security restricted",
            "kubectl dynamo up tiny -n serving --kv-offload-disk-volume ephemeral",
            "kubectl dynamo up tiny -n serving --pod-security restricted --kv-offload-disk-volume ephemeral",
        ];
        let fixes: Vec<String> = fixes.collect();
        assert_eq!(fixes.len(), expected.len());
        for (fix, expected) in fixes.iter().zip(expected) {
            assert!(fix.contains(expected), "{fix}");
        }
    }

    #[test]
    fn every_rule_has_a_sample() {
        for (pattern, rule) in TABLE.iter() {
            let has_sample = samples().any(|(code, source, message, _)| {
                *code == rule.code && *source == rule.source && pattern.is_match(message)
            });
            assert!(has_sample, "no sample matches rule {} {}", rule.code, rule.pattern);
        }
    }

    #[test]
    fn unknown_line_yields_no_cause() {
        assert!(find_cause_in_log(&["INFO all is well".to_owned()], &context()).is_none());
        assert!(find_cause(MessageSource::Scheduling, "something new", &context()).is_none());
    }
}
