//! Derives the parsers of the model's output for `auto`, from the model's chat template. An existing deployment keeps
//! its parsers, so that no pod restarts, and a parser that its template suggests is only reported.

use serde_json::Value;

use super::intent::ResolvedIntent;
use super::{ResolvedDeployment, adopted};
use crate::report::Report;
use crate::workflow::{model_config, summary};
use kubectl_dynamo_core::chat_template::{DetectedParser, DetectedParsers, detect};
use kubectl_dynamo_core::intent::engine_flags::has_flag;
use kubectl_dynamo_core::intent::output_parsers::{AUTO_PARSER, NO_PARSER};
use kubectl_dynamo_core::intent::request::{MergedSettings, SettingSource};
use kubectl_dynamo_core::intent::{Backend, ParserKind, ServingIntent};
use kubectl_dynamo_core::plan::PlanWarning;
use kubectl_dynamo_core::preflight::{Fact, ModelLookup};
use kubectl_dynamo_core::release::Release;

/// Why a template is not available.
const OFFLINE_REASON: &str = "without a cluster, the chat template of the model is not read";

const NO_TEMPLATE_REASON: &str = "the model does not have a chat template";

/// The engine flags that replace the chat template of the model by a file in the image.
const TEMPLATE_FLAGS: [&str; 2] = ["--custom-jinja-template", "--chat-template"];

/// The parsers that were derived, and everything that must be reported about them.
#[derive(Default)]
pub(crate) struct ParserDetection {
    /// The paths of the derived values, with their reasons.
    pub reasons: Vec<(&'static str, String)>,
    /// Parsers that the template suggests and that the deployment does not use.
    suggestions: Vec<String>,
    warnings: Vec<PlanWarning>,
    /// The hub's response, so that the preflight checks do not ask again.
    model: Fact<ModelLookup>,
}

/// What happens to a parser that the request does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AutoParser {
    Derive,
    /// Only reported.
    Suggest,
    Keep,
}

/// The live deployment of a request.
#[derive(Clone, Copy)]
struct LiveDeployment<'a> {
    exists: bool,
    /// Its stored intent.
    intent: Option<&'a ServingIntent>,
}

impl ParserDetection {
    /// Derives the parsers of a deployment on a cluster. It asks the hub for the template only if it needs it.
    pub(super) async fn on_cluster(
        resolved: &mut ResolvedIntent,
        settings: &MergedSettings,
        live: Option<&Value>,
        report: &Report,
    ) -> Self {
        // The command of a foreign graph is not part of the intent, so its parsers are not known.
        if live.is_some_and(adopted::is_adopted) {
            return Self::default();
        }
        let stored = live.and_then(summary::stored_intent);
        let live = LiveDeployment { exists: live.is_some(), intent: stored.as_ref() };
        let kinds = auto_parsers(&resolved.intent, settings, live);
        if kinds.iter().all(|(_, auto)| *auto == AutoParser::Keep) {
            return Self::default();
        }
        // Boxed: its future takes several KB.
        let model = Box::pin(model_config::from_hub(&resolved.intent, report)).await;
        let mut detection = Self::default();
        match template_of(&resolved.intent, &model, resolved.version.release) {
            Ok(detected) => detection.apply(&mut resolved.intent, &kinds, &detected),
            Err(UnreadableTemplate(reason)) => detection.warn_unreadable(&kinds, reason),
        }
        Self { model, ..detection }
    }

    /// Without a cluster, the objects must not depend on files of this machine, so nothing is derived.
    pub(super) fn offline(intent: &ServingIntent, settings: &MergedSettings) -> Self {
        let mut detection = Self::default();
        let new = LiveDeployment { exists: false, intent: None };
        detection.warn_unreadable(&auto_parsers(intent, settings, new), OFFLINE_REASON.into());
        detection
    }

    /// Derives the parsers for a local deployment, from the files in its model folder.
    pub(crate) fn local(
        intent: &mut ServingIntent,
        settings: &MergedSettings,
        release: &Release,
        folder: &std::path::Path,
    ) -> Self {
        let kinds = auto_parsers(intent, settings, LiveDeployment { exists: false, intent: None });
        let mut detection = Self::default();
        match (replaced_template(intent), model_config::read_template(folder)) {
            (Some(reason), _) => detection.warn_unreadable(&kinds, reason),
            (None, Some(template)) => {
                let config = model_config::read_config(folder).ok();
                detection.apply(intent, &kinds, &detect(&template, config.as_ref(), release));
            }
            (None, None) => detection.warn_unreadable(&kinds, NO_TEMPLATE_REASON.into()),
        }
        detection
    }

    fn apply(
        &mut self,
        intent: &mut ServingIntent,
        kinds: &[(ParserKind, AutoParser)],
        all: &DetectedParsers,
    ) {
        for (kind, auto) in kinds {
            let detected = if *kind == ParserKind::ToolCall { &all.tool_call } else { &all.reasoning };
            match (auto, detected) {
                (AutoParser::Derive, DetectedParser::Found { name, reason }) => {
                    intent.parsers.set(*kind, name);
                    self.reasons.push((kind.path(), reason.clone()));
                }
                (AutoParser::Derive, DetectedParser::NotNeeded { reason }) => {
                    intent.parsers.set(*kind, NO_PARSER);
                    self.reasons.push((kind.path(), reason.clone()));
                }
                (AutoParser::Derive, DetectedParser::NotAvailable { reason, hint }) => {
                    intent.parsers.set(*kind, NO_PARSER);
                    let (reason, hint) = (reason.clone(), hint.clone());
                    self.warnings.push(PlanWarning::NoParser { kinds: vec![*kind], reason, hint });
                }
                (AutoParser::Suggest, DetectedParser::Found { name, reason }) => {
                    let current = intent.parsers.name(*kind).unwrap_or(NO_PARSER);
                    if current != *name {
                        let (path, flag) = (kind.path(), kind.plugin_flag());
                        self.suggestions.push(format!(
                            "{path} {current} ({reason}; to use its parser, add {flag} {name}, which restarts the workers)"
                        ));
                    }
                }
                (AutoParser::Suggest | AutoParser::Keep, _) => {}
            }
        }
        let derives_reasoning = kinds.contains(&(ParserKind::Reasoning, AutoParser::Derive));
        if let Some(name) = all.engine_reasoning.filter(|_| derives_reasoning)
            && !has_worker_flag(intent, ParserKind::EngineReasoning)
        {
            let flag = ParserKind::EngineReasoning.worker_flag();
            intent.engine_args.extend([flag.to_owned(), name.to_owned()]);
            self.reasons.push((
                "engineArgs[--reasoning-parser]",
                "structured answers start after the reasoning".into(),
            ));
        }
    }

    fn warn_unreadable(&mut self, kinds: &[(ParserKind, AutoParser)], reason: String) {
        let derived = kinds.iter().filter(|(_, auto)| *auto == AutoParser::Derive);
        let kinds: Vec<ParserKind> = derived.map(|(kind, _)| *kind).collect();
        if !kinds.is_empty() {
            let flags: Vec<String> =
                kinds.iter().map(|kind| format!("{} NAME", kind.plugin_flag())).collect();
            let hint = Some(format!("if the model uses tools or reasons, add {}", flags.join(" ")));
            self.warnings.push(PlanWarning::NoParser { kinds, reason, hint });
        }
    }

    /// Adds the derived values and everything that must be reported to a deployment.
    pub(super) fn report_in(self, deployment: &mut ResolvedDeployment) {
        for (path, _, source) in &mut deployment.values {
            if self.reasons.iter().any(|(derived, _)| derived == path) {
                *source = SettingSource::Detected;
            }
        }
        if let Some(plan) = &mut deployment.plan {
            plan.warnings.extend(self.warnings);
        }
        deployment.preserved.extend(self.suggestions);
        deployment.reasons = self.reasons;
        deployment.model = self.model;
    }

    /// Why a value was derived.
    pub(crate) fn reason(&self, path: &str) -> Option<&str> {
        self.reasons.iter().find(|(derived, _)| *derived == path).map(|(_, reason)| reason.as_str())
    }

    /// The warnings about parsers that are missing.
    pub(crate) fn into_warnings(self) -> Vec<PlanWarning> {
        self.warnings
    }
}

impl ResolvedDeployment {
    /// Returns why a value was derived from the model.
    pub(crate) fn reason(&self, path: &str) -> Option<&str> {
        self.reasons.iter().find(|(derived, _)| *derived == path).map(|(_, reason)| reason.as_str())
    }

    /// Returns the derived parsers that the deployment uses, with the reasons.
    pub(crate) fn parser_lines(&self) -> Vec<String> {
        let Some(plan) = &self.plan else { return Vec::new() };
        let used = plan.intent.parsers.names();
        used.filter_map(|(kind, name)| Some(format!("{name}  {kind}: {}", self.reason(kind.path())?)))
            .collect()
    }
}

/// Why the chat template of a model cannot be read.
struct UnreadableTemplate(String);

/// The parsers of the model, or why its template cannot be read.
fn template_of(
    intent: &ServingIntent,
    model: &Fact<ModelLookup>,
    release: &Release,
) -> Result<DetectedParsers, UnreadableTemplate> {
    if let Some(reason) = replaced_template(intent) {
        return Err(UnreadableTemplate(reason));
    }
    match model {
        Fact::Known(ModelLookup::Found(model)) => match &model.chat_template {
            Some(template) => Ok(detect(template, model.config.as_ref(), release)),
            None => Err(UnreadableTemplate(NO_TEMPLATE_REASON.into())),
        },
        Fact::Known(ModelLookup::Denied(_)) => {
            Err(UnreadableTemplate("the hub denies access to the model".into()))
        }
        Fact::Unavailable(reason) => Err(UnreadableTemplate(reason.clone())),
        Fact::NotQueried => {
            Err(UnreadableTemplate("the hub is not queried for the chat template of the model".into()))
        }
    }
}

/// What happens to each parser.
fn auto_parsers(
    intent: &ServingIntent,
    settings: &MergedSettings,
    live: LiveDeployment<'_>,
) -> [(ParserKind, AutoParser); 2] {
    [ParserKind::ToolCall, ParserKind::Reasoning]
        .map(|kind| (kind, auto_parser(kind, intent, settings, live)))
}

fn auto_parser(
    kind: ParserKind,
    intent: &ServingIntent,
    settings: &MergedSettings,
    live: LiveDeployment<'_>,
) -> AutoParser {
    if intent.backend != Backend::Vllm || has_worker_flag(intent, kind) {
        return AutoParser::Keep;
    }
    let model_changes =
        live.intent.is_some_and(|stored| stored.model.repository() != intent.model.repository());
    match settings.get(kind.path()) {
        Some(found) if live.exists && !found.source.is_deployment_specific() => AutoParser::Suggest,
        Some(found) if found.text() == AUTO_PARSER => AutoParser::Derive,
        Some(found) if found.source.is_live() && model_changes => AutoParser::Suggest,
        Some(_) => AutoParser::Keep,
        None if live.exists => AutoParser::Suggest,
        None => AutoParser::Derive,
    }
}

/// Whether the engine flags of the request select the parser.
fn has_worker_flag(intent: &ServingIntent, kind: ParserKind) -> bool {
    has_engine_flag(intent, kind.worker_flag())
}

fn has_engine_flag(intent: &ServingIntent, flag: &str) -> bool {
    let groups = intent.topology.groups();
    let mut args =
        std::iter::once(&intent.engine_args).chain(groups.iter().map(|(_, group)| &group.engine_args));
    args.any(|args| has_flag(args, flag))
}

/// Why the template of the model is not the one that is used, if an engine flag replaces it.
fn replaced_template(intent: &ServingIntent) -> Option<String> {
    let flag = TEMPLATE_FLAGS.into_iter().find(|flag| has_engine_flag(intent, flag))?;
    Some(format!("{flag} replaces the chat template of the model"))
}
