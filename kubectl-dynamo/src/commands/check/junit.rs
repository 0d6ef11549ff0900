//! The findings as a JUnit file: a suite for each category and a case for each check, so that a pipeline shows them
//! beside its tests. What waits counts as failed there, as it does by its exit code.

use std::io;

use quick_xml::Writer;
use quick_xml::events::BytesText;

use super::Checked;
use crate::preflight::{Category, Finding, Outcome, Problem, Tally};

type Xml = Writer<Vec<u8>>;

/// The file's text.
///
/// # Errors
/// None in practice: it is written to memory.
pub(super) fn document(checked: &Checked) -> io::Result<String> {
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    let counts = counts(&checked.findings.iter().collect::<Vec<_>>());
    let element = xml.create_element("testsuites").with_attribute(("name", "kubectl dynamo check"));
    element.with_attributes(attributes(&counts)).write_inner_content(|xml| {
        for category in Category::ALL {
            let findings: Vec<&Finding> =
                checked.findings.iter().filter(|finding| finding.category == *category).collect();
            if !findings.is_empty() {
                suite(xml, *category, &findings)?;
            }
        }
        Ok(())
    })?;
    let text = String::from_utf8(xml.into_inner()).map_err(io::Error::other)?;
    Ok(text + "\n")
}

fn counts(findings: &[&Finding]) -> [(&'static str, String); 3] {
    let tally = Tally::of(findings.iter().copied());
    [
        ("tests", findings.len().to_string()),
        ("failures", (tally.failed + tally.waits).to_string()),
        ("skipped", tally.skipped.to_string()),
    ]
}

fn attributes<'a>(counts: &'a [(&'static str, String)]) -> impl Iterator<Item = (&'a str, &'a str)> {
    counts.iter().map(|(name, count)| (*name, count.as_str()))
}

fn suite(xml: &mut Xml, category: Category, findings: &[&Finding]) -> io::Result<()> {
    let counts = counts(findings);
    let element = xml.create_element("testsuite").with_attribute(("name", category.title()));
    element
        .with_attributes(attributes(&counts))
        .write_inner_content(|xml| findings.iter().try_for_each(|finding| case(xml, finding)))?;
    Ok(())
}

fn case(xml: &mut Xml, finding: &Finding) -> io::Result<()> {
    let class = format!("kubectl-dynamo.check.{}", finding.category.title());
    let element = xml.create_element("testcase");
    let element =
        element.with_attribute(("classname", class.as_str())).with_attribute(("name", finding.name));
    match &finding.outcome {
        Outcome::Passed(_) => element.write_empty().map(drop),
        Outcome::Skipped(why) => element
            .write_inner_content(|xml| {
                xml.create_element("skipped")
                    .with_attribute(("message", why.as_str()))
                    .write_empty()
                    .map(drop)
            })
            .map(drop),
        Outcome::Warning(problem) => element
            .write_inner_content(|xml| {
                let text = format!("warning {}: {problem}\n{}", problem.code, problem.hint);
                xml.create_element("system-out").write_text_content(BytesText::new(&text)).map(drop)
            })
            .map(drop),
        Outcome::Waits(problem) | Outcome::Failed(problem) => {
            element.write_inner_content(|xml| failure(xml, problem)).map(drop)
        }
    }
}

fn failure(xml: &mut Xml, problem: &Problem) -> io::Result<()> {
    let Problem { code, text, hint, .. } = problem;
    xml.create_element("failure")
        .with_attribute(("type", *code))
        .with_attribute(("message", text.as_str()))
        .write_text_content(BytesText::new(&format!("{hint}\nkubectl dynamo explain {code}")))
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    #[test]
    fn every_outcome_is_a_case() {
        let problem = || Problem {
            code: "KD0303",
            text: "4 GPUs < \"needed\" & more".into(),
            hint: "wait".into(),
            exit: Exit::DoesNotFit,
        };
        let finding = |category, name, outcome| Finding { category, name, outcome };
        let checked = Checked {
            namespace: "n".into(),
            server: "https://s".into(),
            name: None,
            findings: vec![
                finding(Category::Access, "rights", Outcome::Passed("all".into())),
                finding(Category::Gpu, "gpus", Outcome::Skipped("no right to list nodes".into())),
                finding(Category::Gpu, "gpu-placement", Outcome::Waits(problem())),
                finding(Category::Storage, "storage-class", Outcome::Warning(problem())),
                finding(Category::Storage, "claim", Outcome::Failed(problem())),
            ],
        };
        insta::assert_snapshot!(document(&checked).expect("it is written to memory"));
    }
}
