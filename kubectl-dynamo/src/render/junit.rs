//! Renders the findings as a JUnit file: one suite for each category and one case for each check, so that a
//! pipeline shows them with its tests. A check that waits counts as a failure, because the exit code is not 0
//! either.

use std::io;

use quick_xml::Writer;
use quick_xml::events::BytesText;

use crate::typed_command::typed;
use kubectl_dynamo_core::command::{PROGRAM, SuggestedCommand};
use kubectl_dynamo_core::finding::{Category, CheckProblem, CheckResult, Finding, FindingCounts};

type Xml = Writer<Vec<u8>>;

/// Returns the text of the JUnit file with the findings of `verb`.
///
/// # Errors
/// Does not fail in practice, because it writes to memory.
pub(crate) fn document(verb: &str, findings: &[Finding]) -> io::Result<String> {
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    let counts = counts(&findings.iter().collect::<Vec<_>>());
    let name = [PROGRAM, " ", verb].concat();
    let element = xml.create_element("testsuites").with_attribute(("name", name.as_str()));
    element.with_attributes(attributes(&counts)).write_inner_content(|xml| {
        for category in Category::ALL {
            let findings: Vec<&Finding> =
                findings.iter().filter(|finding| finding.category == *category).collect();
            if !findings.is_empty() {
                write_suite(xml, verb, *category, &findings)?;
            }
        }
        Ok(())
    })?;
    let text = String::from_utf8(xml.into_inner()).map_err(io::Error::other)?;
    Ok(text + "\n")
}

fn counts(findings: &[&Finding]) -> [(&'static str, String); 3] {
    let tally = FindingCounts::from_findings(findings.iter().copied());
    [
        ("tests", findings.len().to_string()),
        ("failures", (tally.failed + tally.pending).to_string()),
        ("skipped", tally.skipped.to_string()),
    ]
}

fn attributes<'a>(counts: &'a [(&'static str, String)]) -> impl Iterator<Item = (&'a str, &'a str)> {
    counts.iter().map(|(name, count)| (*name, count.as_str()))
}

fn write_suite(xml: &mut Xml, verb: &str, category: Category, findings: &[&Finding]) -> io::Result<()> {
    let counts = counts(findings);
    let element = xml.create_element("testsuite").with_attribute(("name", category.title()));
    element
        .with_attributes(attributes(&counts))
        .write_inner_content(|xml| findings.iter().try_for_each(|finding| write_case(xml, verb, finding)))?;
    Ok(())
}

fn write_case(xml: &mut Xml, verb: &str, finding: &Finding) -> io::Result<()> {
    let class = format!("kubectl-dynamo.{verb}.{}", finding.category.title());
    let element = xml.create_element("testcase");
    let element =
        element.with_attribute(("classname", class.as_str())).with_attribute(("name", finding.name));
    match &finding.outcome {
        CheckResult::Passed(_) => element.write_empty().map(drop),
        CheckResult::Skipped(reason) => element
            .write_inner_content(|xml| {
                xml.create_element("skipped")
                    .with_attribute(("message", reason.as_str()))
                    .write_empty()
                    .map(drop)
            })
            .map(drop),
        CheckResult::Warning(problem) => element
            .write_inner_content(|xml| {
                let text = format!("warning {}: {problem}\n{}", problem.code, typed(problem.hint.clone()));
                xml.create_element("system-out").write_text_content(BytesText::new(&text)).map(drop)
            })
            .map(drop),
        CheckResult::Pending(problem) | CheckResult::Failed(problem) => {
            element.write_inner_content(|xml| write_failure(xml, problem)).map(drop)
        }
    }
}

fn write_failure(xml: &mut Xml, problem: &CheckProblem) -> io::Result<()> {
    let CheckProblem { code, text, hint, .. } = problem;
    xml.create_element("failure")
        .with_attribute(("type", code.as_str()))
        .with_attribute(("message", text.as_str()))
        .write_text_content(BytesText::new(&format!(
            "{}\n{}",
            typed(hint.clone()),
            typed(SuggestedCommand::plugin("explain").operand(code.as_str(), "CODE"))
        )))
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kubectl_dynamo_core::code::MessageCode;
    use kubectl_dynamo_core::error::Exit;

    #[test]
    fn every_outcome_is_a_case() {
        let problem = || CheckProblem {
            code: MessageCode::NotEnoughGpus,
            text: "4 GPUs < \"needed\" & more".into(),
            hint: "wait".into(),
            exit: Exit::DoesNotFit,
        };
        let finding = |category, name, outcome| Finding { category, name, outcome };
        let findings = [
            finding(Category::Access, "permissions", CheckResult::Passed("all".into())),
            finding(Category::Gpu, "gpus", CheckResult::Skipped("missing permission to list nodes".into())),
            finding(Category::Gpu, "gpu-placement", CheckResult::Pending(problem())),
            finding(Category::Storage, "storage-class", CheckResult::Warning(problem())),
            finding(Category::Storage, "pvc", CheckResult::Failed(problem())),
        ];
        insta::assert_snapshot!(document("check", &findings).expect("writing to memory does not fail"));
    }
}
