//! The questions of the wizard in order, with the questions and the defaults of the starter kit. Each answer
//! is validated together with the earlier ones, so a contradiction is reported where it is typed.

use std::sync::Arc;

use super::TokenState;
use super::answer_error::AnswerError;
use super::taken_names::TakenNames;
use super::validate::{AnswerContext, NONE, field, resolve_trial};
use crate::prompt::{ChoiceQuestion, OtherKeys, Prompt, PromptChoice, TextQuestion, YesNoQuestion};
use crate::workflow::resolve::named_parts;
use crate::workflow::serving_input::ServingInput;
use crate::workflow::sources::{RequestInput, collect_input};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::intent::name::NameBudget;
use kubectl_dynamo_core::intent::request::{SettingSource, SettingsLayer};
use kubectl_dynamo_core::intent::{Backend, Cache, ServingIntent, TokenSecret, Topology, WorkerGroup};

/// Default model of the starter kit.
const DEFAULT_MODEL: &str = "Qwen/Qwen3-30B-A3B-Instruct-2507-FP8";
/// Default engine flags of the starter kit.
const DEFAULT_ENGINE_ARGS: &str = "--gpu-memory-utilization 0.90 --block-size 128";
/// The modes, with the default first.
const MODES: [PromptChoice; 2] = [
    PromptChoice { value: "agg", description: "each worker computes the prompt and the answer" },
    PromptChoice {
        value: "disagg",
        description: "separate workers for the prompt (prefill) and the answer (decode)",
    },
];
/// Node label of the instance family in EKS Auto Mode.
const INSTANCE_FAMILY_LABEL: &str = "eks.amazonaws.com/instance-family";

/// The facts that are known before the first question.
pub(super) struct WizardFacts {
    pub namespace: String,
    pub budget: NameBudget,
    pub token_secret: TokenState,
    /// Whether the default PVC exists, so that no question about it is needed.
    pub has_pvc: bool,
    /// The release, unless a setting provides another one.
    pub release: &'static str,
    /// Whether EKS Auto Mode provisions nodes of any instance family on demand.
    pub eks_auto_mode: bool,
    /// The existing deployments of the namespace.
    pub taken_names: TakenNames,
}

/// One run of the wizard.
pub(super) struct WizardSession<'a> {
    flags: &'a mut ServingInput,
    prompt: Prompt,
    facts: WizardFacts,
    /// The values of flags and settings, for which no question is asked.
    initial_layers: Vec<SettingsLayer>,
}

/// The user canceled the prompt, which is not an error.
struct EndOfInput;

type Reply<T> = std::result::Result<T, StepError>;

enum StepError {
    Cancelled,
    Failed(kubectl_dynamo_core::error::Error),
}

impl From<EndOfInput> for StepError {
    fn from(_: EndOfInput) -> Self {
        Self::Cancelled
    }
}

impl From<kubectl_dynamo_core::error::Error> for StepError {
    fn from(error: kubectl_dynamo_core::error::Error) -> Self {
        Self::Failed(error)
    }
}

impl<'a> WizardSession<'a> {
    pub(super) fn new(flags: &'a mut ServingInput, prompt: Prompt, facts: WizardFacts) -> Result<Self> {
        let initial_layers = match collect_input(flags)? {
            RequestInput::Request(request) => request.layers,
            RequestInput::Manifest(_) => Vec::new(),
        };
        Ok(Self { flags, prompt, facts, initial_layers })
    }

    /// Asks for all missing values. Returns the typed token, if any, or `None` if the user cancels.
    pub(super) fn run(&mut self) -> Result<Option<Option<String>>> {
        match self.run_all() {
            Ok(token) => Ok(Some(token)),
            Err(StepError::Cancelled) => Ok(None),
            Err(StepError::Failed(error)) => Err(error),
        }
    }

    fn run_all(&mut self) -> Reply<Option<String>> {
        self.prompt_field("model", "Model of the Hugging Face Hub", DEFAULT_MODEL, None)?;
        let token = self.prompt_token()?;
        self.prompt_mode()?;
        self.prompt_parallelism()?;
        self.prompt_instance_family()?;
        self.prompt_switch(
            "worker.enableExpertParallel",
            "Expert parallelism, for mixture-of-experts models",
        )?;
        self.prompt_router()?;
        self.prompt_offload()?;
        self.prompt_cache()?;
        self.prompt_replicas()?;
        self.prompt_engine_args()?;
        let name = self.resolve_so_far().map(|intent| intent.name).unwrap_or_default();
        self.prompt_name(&name)?;
        Ok(token)
    }

    /// Asks for the name. If the default is taken, it proposes a free one.
    fn prompt_name(&mut self, default: &str) -> Reply<()> {
        let free = self.facts.taken_names.free_name(default, self.max_name_length());
        let text = match self.facts.taken_names.description(default) {
            Some(taken_by) => format!("Name of the deployment (\"{default}\" is taken by {taken_by})"),
            None => "Name of the deployment".into(),
        };
        self.prompt_field("name", &text, &free, Some(default))
    }

    fn prompt_mode(&mut self) -> Reply<()> {
        if self.is_set("mode") {
            return Ok(());
        }
        let context = self.answer_context("mode")?;
        let question = ChoiceQuestion {
            text: "Mode".into(),
            choices: MODES.to_vec(),
            check: Arc::new(move |answer| Ok(context.check(answer)?)),
        };
        let index = self.prompt.choice(&question)?.ok_or(EndOfInput)?;
        if index != 0 {
            self.set_flag("mode", MODES[index].value)?;
        }
        Ok(())
    }

    fn prompt_parallelism(&mut self) -> Reply<()> {
        for (role, suffix) in self.roles() {
            self.prompt_count(
                &format!("{role}.tensorParallelSize"),
                &format!("Tensor parallelism{suffix}"),
                "1",
            )?;
            self.prompt_count(
                &format!("{role}.pipelineParallelSize"),
                &format!("Pipeline parallelism{suffix}"),
                "1",
            )?;
        }
        Ok(())
    }

    fn prompt_router(&mut self) -> Reply<()> {
        if !self.is_set("router.mode") && self.confirm("KV-aware routing")? {
            self.set_flag("router.mode", "kv")?;
            let text = "Router temperature (Dynamo's default is 0, the starter kit used 0.5)";
            self.prompt_field("router.temperature", text, "0", Some("0"))?;
        }
        Ok(())
    }

    /// Asks for the instance family: without a node label, EKS Auto Mode starts any instance that fits.
    fn prompt_instance_family(&mut self) -> Reply<()> {
        if !self.facts.eks_auto_mode || self.is_set("nodeSelector") {
            return Ok(());
        }
        let question = TextQuestion {
            text: "Instance family of the workers' nodes, such as p5, or any".into(),
            default: "any".into(),
            preview: Arc::new(|_| String::new()),
            check: Arc::new(|answer| {
                let fits = answer.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
                if fits {
                    Ok(())
                } else {
                    Err(AnswerError::not("an instance family such as p5", answer).into())
                }
            }),
        };
        let family = self.prompt.text(&question)?.ok_or(EndOfInput)?;
        if family != "any" {
            self.set_flag("nodeSelector", &format!("{INSTANCE_FAMILY_LABEL}={family}"))?;
        }
        Ok(())
    }

    fn prompt_offload(&mut self) -> Reply<()> {
        if self.is_set("kvOffload.cpu") || !self.confirm("Offload KV cache to CPU memory")? {
            return Ok(());
        }
        let cpu = self.prompt_value("kvOffload.cpu", "CPU memory per worker", "20Gi")?;
        if cpu == NONE {
            return Ok(());
        }
        self.set_flag("kvOffload.cpu", &format!("cpu={cpu}"))?;
        if self.confirm("Add a disk tier")? {
            let disk = self.prompt_value("kvOffload.disk", "Size of the disk tier", "200Gi")?;
            self.set_flag("kvOffload.disk", &disk)?;
            self.prompt_field(
                "kvOffload.diskVolume",
                "Disk volume: ephemeral[=CLASS], hostPath=PATH, or pvc=NAME",
                "ephemeral",
                Some("ephemeral"),
            )?;
        }
        Ok(())
    }

    fn prompt_cache(&mut self) -> Reply<()> {
        if self.facts.has_pvc || self.is_set("cache.claim") || self.is_set("cache.size") {
            return Ok(());
        }
        let default_name = Cache::DEFAULT_PVC;
        let pvc = self.prompt_value(
            "cache.claim",
            "PVC that holds models (the default one is created)",
            default_name,
        )?;
        if pvc != default_name {
            self.set_flag("cache.claim", &pvc)?;
            return Ok(());
        }
        self.prompt_field("cache.size", "Size of the PVC", Cache::DEFAULT_SIZE, Some(Cache::DEFAULT_SIZE))
    }

    fn prompt_replicas(&mut self) -> Reply<()> {
        let has_kv_router = self
            .resolve_so_far()
            .is_some_and(|intent| intent.router.mode == kubectl_dynamo_core::intent::RouterMode::Kv);
        for (role, suffix) in self.roles() {
            // With one worker a KV router has no choice.
            let default = if has_kv_router && role == "worker" { "2" } else { "1" };
            self.prompt_count(&format!("{role}.replicas"), &format!("Replicas{suffix}"), default)?;
        }
        Ok(())
    }

    fn prompt_engine_args(&mut self) -> Reply<()> {
        if self.is_set("engineArgs") {
            return Ok(());
        }
        let is_mocker = self.resolve_so_far().is_some_and(|intent| intent.backend == Backend::Mocker);
        let default = if is_mocker { NONE } else { DEFAULT_ENGINE_ARGS };
        let args = self.prompt_value("engineArgs", "More engine flags, or none", default)?;
        if args != NONE {
            self.flags.add(field("engineArgs"), args.split_whitespace().map(Into::into).collect());
        }
        Ok(())
    }

    fn prompt_token(&mut self) -> Reply<Option<String>> {
        if self.is_set("hfTokenSecret") {
            return Ok(None);
        }
        match self.facts.token_secret {
            TokenState::Present => self.set_flag("hfTokenSecret", TokenSecret::DEFAULT_NAME)?,
            TokenState::Absent => return self.read_token(),
            TokenState::Unknown => {}
        }
        Ok(None)
    }

    /// Reads a token for the missing Secret, without echo.
    fn read_token(&mut self) -> Reply<Option<String>> {
        if !self.confirm("Enter a hub token now, for gated models")? {
            return Ok(None);
        }
        let check = |token: &str| match token {
            "" => Err(AnswerError::EmptyToken.into()),
            token if token.contains(char::is_whitespace) => Err(AnswerError::TokenWithWhitespace.into()),
            _ => Ok(()),
        };
        let text = "Token of the Hugging Face Hub (not shown)";
        let token = self.prompt.secret(text, Arc::new(check))?.ok_or(EndOfInput)?;
        self.set_flag("hfTokenSecret", TokenSecret::DEFAULT_NAME)?;
        Ok(Some(token))
    }

    /// Returns the worker roles with the suffix of their questions.
    fn roles(&self) -> Vec<(&'static str, &'static str)> {
        match self.resolve_so_far().map(|intent| intent.topology) {
            Some(Topology::Disaggregated { .. }) => {
                vec![("prefill", " of prefill workers"), ("decode", " of decode workers")]
            }
            _ => vec![("worker", "")],
        }
    }

    fn is_set(&self, path: &str) -> bool {
        self.initial_layers.iter().flat_map(|layer| &layer.settings).any(|leaf| leaf.field.path == path)
    }

    /// Asks for a field unless it is set. An answer equal to the plugin's default `own` adds no flag.
    fn prompt_field(
        &mut self,
        path: &str,
        text: &str,
        default: &str,
        program_default: Option<&str>,
    ) -> Reply<()> {
        if self.is_set(path) {
            return Ok(());
        }
        let answer = self.prompt_value(path, text, default)?;
        if Some(answer.as_str()) != program_default {
            self.set_flag(path, &answer)?;
        }
        Ok(())
    }

    fn prompt_count(&mut self, path: &str, text: &str, default: &str) -> Reply<()> {
        // A value for all workers answers the question for each role.
        let shared = path.split_once('.').map(|(_, rest)| format!("worker.{rest}")).unwrap_or_default();
        if self.is_set(&shared) && !path.ends_with("replicas") {
            return Ok(());
        }
        self.prompt_field(path, text, default, Some("1"))
    }

    fn prompt_switch(&mut self, path: &str, text: &str) -> Reply<()> {
        if !self.is_set(path) && self.confirm(text)? {
            self.set_flag(path, "true")?;
        }
        Ok(())
    }

    fn set_flag(&mut self, path: &str, text: &str) -> Result<()> {
        self.flags.add(field(path), vec![text.into()]);
        Ok(())
    }

    fn confirm(&mut self, text: &str) -> Reply<bool> {
        let question = YesNoQuestion { text: text.into(), other_keys: OtherKeys::Ignored };
        Ok(self.prompt.yes_or_no(&question)?.ok_or(EndOfInput)?)
    }

    fn prompt_value(&mut self, path: &str, text: &str, default: &str) -> Reply<String> {
        let context = self.answer_context(path)?;
        let checked = Arc::clone(&context);
        let question = TextQuestion {
            text: text.into(),
            default: default.into(),
            check: Arc::new(move |answer| Ok(checked.check(answer)?)),
            preview: Arc::new(move |answer| context.gpu_preview(answer)),
        };
        Ok(self.prompt.text(&question)?.ok_or(EndOfInput)?)
    }

    /// Returns what an answer for a field is checked with.
    fn answer_context(&self, path: &str) -> Result<Arc<AnswerContext>> {
        Ok(Arc::new(AnswerContext {
            path: path.into(),
            layers: self.layers()?,
            max_name_length: self.max_name_length(),
            taken_names: self.facts.taken_names.clone(),
        }))
    }

    /// Returns all settings layers so far.
    fn layers(&self) -> Result<Vec<SettingsLayer>> {
        let RequestInput::Request(mut request) = collect_input(self.flags)? else { return Ok(Vec::new()) };
        let mut defaults = SettingsLayer::new(SettingSource::Default);
        defaults.set_str(field("release"), self.facts.release)?;
        request.layers.push(defaults);
        Ok(request.layers)
    }

    fn max_name_length(&self) -> usize {
        let layers = self.layers().unwrap_or_default();
        let topology = resolve_trial(layers, usize::MAX)
            .map(|intent| intent.topology)
            .unwrap_or(Topology::Aggregated { worker: WorkerGroup::default() });
        self.facts.budget.max_name_length(&self.facts.namespace, &named_parts(&topology))
    }

    /// Resolves the settings so far. `None` if they are incomplete or invalid.
    fn resolve_so_far(&self) -> Option<ServingIntent> {
        resolve_trial(self.layers().ok()?, self.max_name_length()).ok()
    }
}
