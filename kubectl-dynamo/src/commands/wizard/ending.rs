//! After the last question: the plan, and what to do with it.

use std::rc::Rc;

use serde_json::Value;

use super::pager;
use super::prompt::{Prompt, Question};
use crate::commands::deployment::Deployment;
use crate::commands::plan_view::shown;
use crate::commands::summary;
use crate::error::Result;
use crate::intent::request::{Leaf, document, intent_leaves};
use crate::report::Report;

/// What a person can do with a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Deploy,
    Print,
    Review,
    Save,
    Quit,
}

impl Choice {
    fn word(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Print => "print",
            Self::Review => "review",
            Self::Save => "save",
            Self::Quit => "quit",
        }
    }
}

/// A plan to decide on.
pub(super) struct Plan<'a> {
    pub lines: Vec<String>,
    pub deployment: &'a Deployment,
    pub live: Option<&'a Value>,
    /// The first is the default.
    pub choices: &'static [Choice],
    /// The one-line command that says the same.
    pub command: String,
    pub leaves: Vec<Leaf>,
    pub verb: &'static str,
}

impl Plan<'_> {
    /// What says the same again: a command, and a file.
    pub(super) fn again(&self) -> Vec<String> {
        let mut lines = vec![
            format!("  again     {}", self.command),
            format!("  or        {}, with this in it:", from_file(self, "FILE")),
        ];
        // Leaves of the table are text, numbers and lists, which YAML always holds.
        let text = serde_saphyr::to_string(&document(&self.leaves)).unwrap_or_default();
        lines.extend(text.lines().map(|line| format!("    {line}")));
        lines
    }
}

/// What was decided.
pub(super) enum Ending {
    GoOn,
    /// It was saved, or nothing is to be done, and how to come back is said.
    Done,
    Left,
}

/// Shows the plan and asks until something final is chosen.
pub(super) fn decide(plan: &Plan<'_>, prompt: &mut Prompt, report: &Report) -> Result<Ending> {
    report.closing(plan.lines.clone());
    for warning in plan.deployment.plan_warnings() {
        report.warn(Some(warning.code()), warning.to_string(), None);
    }
    loop {
        let Some(answer) = prompt.ask(menu(plan.choices))? else { return Ok(Ending::Left) };
        let choice = plan.choices.iter().find(|choice| choice.word().starts_with(&answer));
        match choice.copied().unwrap_or(Choice::Quit) {
            Choice::Deploy | Choice::Print => return Ok(Ending::GoOn),
            Choice::Review => pager::show(&review(plan)?)?,
            Choice::Save => {
                let Some(path) = prompt.ask(file(&plan.deployment.name))? else { return Ok(Ending::Left) };
                std::fs::write(&path, request(plan)?)?;
                report.closing(vec![
                    format!("  saved     {path}"),
                    format!("  again     {}", plan.command),
                    format!("  or        {}", from_file(plan, &path)),
                ]);
                return Ok(Ending::Done);
            }
            Choice::Quit => {
                report.closing(plan.again());
                return Ok(Ending::Done);
            }
        }
    }
}

/// The command with the file in place of what it says.
fn from_file(plan: &Plan<'_>, path: &str) -> String {
    let words = crate::intent::request::command_words(&plan.leaves);
    let said = crate::intent::request::quoted(&words);
    let file = crate::intent::request::quoted(&["-f".into(), path.into()]);
    plan.command.replacen(&said, &file, 1)
}

fn menu(choices: &'static [Choice]) -> Question {
    let words: Vec<&'static str> = choices.iter().map(|choice| choice.word()).collect();
    let listed = words.join(", ");
    Question {
        text: format!("What now: {listed}"),
        default: words.first().copied().unwrap_or_default().into(),
        words,
        meaning: Rc::new(|_| String::new()),
        check: Rc::new(move |answer| {
            let fits = choices.iter().any(|choice| choice.word().starts_with(answer));
            if fits { Ok(()) } else { Err(format!("`{answer}` is none of {listed}")) }
        }),
    }
}

fn file(name: &str) -> Question {
    Question {
        text: "File".into(),
        default: format!("{name}.yaml"),
        words: Vec::new(),
        meaning: Rc::new(|_| String::new()),
        check: Rc::new(|path| {
            let path = std::path::Path::new(path);
            if path.exists() {
                return Err("it is there already".into());
            }
            match path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
                Some(folder) => Err(format!("there is no folder {}", folder.display())),
                None => Ok(()),
            }
        }),
    }
}

/// The request as a file that repeats it.
fn request(plan: &Plan<'_>) -> Result<String> {
    let text = serde_saphyr::to_string(&document(&plan.leaves)).map_err(std::io::Error::other)?;
    Ok(format!("# kubectl dynamo {} -f FILE\n{text}", plan.verb))
}

/// What changes, and the objects.
fn review(plan: &Plan<'_>) -> Result<String> {
    let objects = super::objects(plan.deployment)?;
    Ok(format!("{}\n{objects}", changes(plan.live, plan.deployment)))
}

/// The values that differ from the live deployment's, as a diff.
fn changes(live: Option<&Value>, deployment: &Deployment) -> String {
    let Some(before) = live.and_then(summary::intent) else {
        return format!("# {} is new\n", deployment.name);
    };
    let Some(plan) = &deployment.plan else { return String::new() };
    let lines = |leaves: Vec<Leaf>| -> Vec<String> {
        leaves.iter().map(|leaf| format!("{}: {}", leaf.path(), shown(&leaf.value))).collect()
    };
    let (before, after) = (lines(intent_leaves(&before)), lines(intent_leaves(&plan.intent)));
    let gone = before.iter().filter(|line| !after.contains(line)).map(|line| format!("- {line}\n"));
    let new = after.iter().filter(|line| !before.contains(line)).map(|line| format!("+ {line}\n"));
    let changed: String = gone.chain(new).collect();
    if changed.is_empty() { format!("# {} stays as it is\n", deployment.name) } else { changed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_may_be_cut_short() {
        let question = menu(&[Choice::Deploy, Choice::Review, Choice::Save, Choice::Quit]);
        for answer in ["d", "deploy", "rev", "s", "q"] {
            assert!((question.check)(answer).is_ok(), "{answer}");
        }
        assert!((question.check)("x").is_err_and(|said| said.contains("deploy, review, save, quit")));
    }
}
