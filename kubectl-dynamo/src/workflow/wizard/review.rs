//! The last step of the wizard: shows the plan and asks whether to deploy, print, review, save, or quit. It
//! writes only the request file that the user saves.

use std::sync::Arc;

use serde_json::Value;

use super::answer_error::AnswerError;
use super::pager;
use crate::prompt::{ChoiceQuestion, Prompt, PromptChoice, TextQuestion};
use crate::render::objects;
use crate::render::value::setting_text;
use crate::report::Report;
use crate::workflow::resolve::ResolvedDeployment;
use crate::workflow::summary;
use kubectl_dynamo_core::command::SuggestedCommand;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::intent::request::{Setting, intent_settings, to_document};

/// The choices for a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReviewChoice {
    Deploy,
    Print,
    Review,
    Save,
    Quit,
}

impl ReviewChoice {
    fn to_choice(self) -> PromptChoice {
        let (value, description) = match self {
            Self::Deploy => ("deploy", "apply the objects and wait until the deployment answers"),
            Self::Print => ("print", "print the objects"),
            Self::Review => ("review", "show the changes and the YAML"),
            Self::Save => ("save", "write the request to a file"),
            Self::Quit => ("quit", "change nothing"),
        };
        PromptChoice { value, description }
    }
}

/// A plan to decide on.
pub(super) struct ReviewPlan<'a> {
    pub lines: Vec<String>,
    pub deployment: &'a ResolvedDeployment,
    pub live: Option<&'a Value>,
    /// The first is the default.
    pub choices: &'static [ReviewChoice],
    /// The one-line command that repeats the request.
    pub command: String,
    pub settings: Vec<Setting>,
    pub verb: &'static str,
}

impl ReviewPlan<'_> {
    /// Returns the name of the choice that the user did not make yet.
    fn first_choice(&self) -> &'static str {
        self.choices.first().map_or("", |choice| choice.to_choice().value)
    }
}

/// The decision of the user.
pub(super) enum ReviewStep {
    Proceed,
    /// The request was saved or the user quit, and how to continue is printed.
    Done,
    Cancelled,
}

/// Shows the plan and asks until the user makes a final choice.
pub(super) fn decide(plan: &ReviewPlan<'_>, prompt: Prompt, report: &Report) -> Result<ReviewStep> {
    report.summary(plan.lines.clone());
    for warning in plan.deployment.plan_warnings() {
        report.warn(Some(warning.code()), warning.to_string(), None);
    }
    let menu = menu_question(plan.choices);
    loop {
        let Some(index) = prompt.choice(&menu)? else { return Ok(ReviewStep::Cancelled) };
        match plan.choices[index] {
            ReviewChoice::Deploy | ReviewChoice::Print => return Ok(ReviewStep::Proceed),
            ReviewChoice::Review => pager::show(&review(plan)?)?,
            ReviewChoice::Save => {
                let Some(path) = prompt.text(&file_question(&plan.deployment.name))? else {
                    return Ok(ReviewStep::Cancelled);
                };
                std::fs::write(&path, request_file(plan)?)?;
                let next = format!("  {:<9} {}", plan.first_choice(), file_command(plan, &path));
                report.summary(vec![format!("  saved     {path}"), next]);
                return Ok(ReviewStep::Done);
            }
            ReviewChoice::Quit => {
                report.summary(vec![format!("  {:<9} {}", plan.first_choice(), plan.command)]);
                return Ok(ReviewStep::Done);
            }
        }
    }
}

/// Returns the command with `-f FILE` in place of its settings.
fn file_command(plan: &ReviewPlan<'_>, path: &str) -> String {
    let args = kubectl_dynamo_core::intent::request::to_args(&plan.settings);
    let flags = kubectl_dynamo_core::intent::request::shell_quote(&args);
    let file = kubectl_dynamo_core::intent::request::shell_quote(&["-f".into(), path.into()]);
    plan.command.replacen(&flags, &file, 1)
}

fn menu_question(choices: &[ReviewChoice]) -> ChoiceQuestion {
    ChoiceQuestion {
        text: "What now".into(),
        choices: choices.iter().map(|choice| choice.to_choice()).collect(),
        check: Arc::new(|_| Ok(())),
    }
}

fn file_question(name: &str) -> TextQuestion {
    TextQuestion {
        text: "File".into(),
        default: format!("{name}.yaml"),
        preview: Arc::new(|_| String::new()),
        check: Arc::new(|path| {
            let path = std::path::Path::new(path);
            if path.exists() {
                return Err(AnswerError::FileExists.into());
            }
            match path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
                Some(folder) => Err(AnswerError::NoFolder(folder.to_owned()).into()),
                None => Ok(()),
            }
        }),
    }
}

/// Returns the content of a request file that repeats the request.
fn request_file(plan: &ReviewPlan<'_>) -> Result<String> {
    let text = serde_saphyr::to_string(&to_document(&plan.settings)).map_err(std::io::Error::other)?;
    Ok(format!("# {} -f FILE\n{text}", SuggestedCommand::plugin(plan.verb)))
}

/// Returns the changes and the objects.
fn review(plan: &ReviewPlan<'_>) -> Result<String> {
    let objects = objects::yaml(&plan.deployment.resources)?;
    Ok(format!("{}\n{objects}", value_diff(plan.live, plan.deployment)))
}

/// Returns the values that differ from the live deployment, as a diff.
fn value_diff(live: Option<&Value>, deployment: &ResolvedDeployment) -> String {
    let Some(before) = live.and_then(summary::stored_intent) else {
        return format!("# deployment \"{}\" will be created\n", deployment.name);
    };
    let Some(plan) = &deployment.plan else { return String::new() };
    let lines = |leaves: Vec<Setting>| -> Vec<String> {
        leaves.iter().map(|leaf| format!("{}: {}", leaf.path(), setting_text(&leaf.value))).collect()
    };
    let (before, after) = (lines(intent_settings(&before)), lines(intent_settings(&plan.intent)));
    let removed = before.iter().filter(|line| !after.contains(line)).map(|line| format!("- {line}\n"));
    let added = after.iter().filter(|line| !before.contains(line)).map(|line| format!("+ {line}\n"));
    let changed: String = removed.chain(added).collect();
    if changed.is_empty() { format!("# deployment \"{}\" unchanged\n", deployment.name) } else { changed }
}
