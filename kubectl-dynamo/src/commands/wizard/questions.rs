//! What is asked, in order, with the starter kit's questions and the defaults of its page. An answer is checked with
//! all those before it, so what cannot work together is said where it is typed.

use std::rc::Rc;

use super::TokenState;
use super::answers::{About, field, trial};
use super::prompt::{Prompt, Question};
use crate::commands::asked::{Wanted, wanted};
use crate::commands::deployment::named_parts;
use crate::commands::serving_flags::ServingFlags;
use crate::error::Result;
use crate::intent::name::NameBudget;
use crate::intent::request::{Layer, Source};
use crate::intent::{Backend, Cache, ServingIntent, TokenSecret, Topology, WorkerGroup};

/// The kit's model.
const MODEL: &str = "Qwen/Qwen3-30B-A3B-Instruct-2507-FP8";
/// The kit's further arguments.
const ENGINE_ARGS: &str = "--gpu-memory-utilization 0.90 --block-size 128";
/// How EKS Auto Mode labels its nodes.
const INSTANCE_FAMILY: &str = "eks.amazonaws.com/instance-family";
/// The answer that leaves something out.
pub(super) const NONE: &str = "none";

/// What is known before the first question.
pub(super) struct Known {
    pub namespace: String,
    pub budget: NameBudget,
    pub token_secret: TokenState,
    /// Whether the usual claim is there, so that nothing of it need be asked.
    pub has_claim: bool,
    /// The release where nobody says another.
    pub release: &'static str,
    /// Whether EKS makes nodes as they are asked for, of any instance family.
    pub eks_auto_mode: bool,
}

/// The questions to one person.
pub(super) struct Session<'a> {
    flags: &'a mut ServingFlags,
    prompt: &'a mut Prompt,
    known: Known,
    /// What settings say, which is not asked.
    said: Vec<Layer>,
}

/// The person left; that is no failure.
struct Gone;

type Answer<T> = std::result::Result<T, Trouble>;

enum Trouble {
    Gone,
    Failed(crate::error::Error),
}

impl From<Gone> for Trouble {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<crate::error::Error> for Trouble {
    fn from(error: crate::error::Error) -> Self {
        Self::Failed(error)
    }
}

impl<'a> Session<'a> {
    pub(super) fn new(flags: &'a mut ServingFlags, prompt: &'a mut Prompt, known: Known) -> Result<Self> {
        let said = match wanted(flags)? {
            Wanted::Request(asked) => asked.layers,
            Wanted::Objects(_) => Vec::new(),
        };
        Ok(Self { flags, prompt, known, said })
    }

    /// Asks for what is missing. The token, if one was typed; `None` when the person leaves.
    pub(super) fn questions(&mut self) -> Result<Option<Option<String>>> {
        match self.all() {
            Ok(token) => Ok(Some(token)),
            Err(Trouble::Gone) => Ok(None),
            Err(Trouble::Failed(error)) => Err(error),
        }
    }

    fn all(&mut self) -> Answer<Option<String>> {
        self.field("model", "Model of the Hugging Face Hub", MODEL, None)?;
        let token = self.token()?;
        self.field("mode", "Mode: agg, or disagg with prefill and decode apart", "agg", Some("agg"))?;
        self.parallelism()?;
        self.instance_family()?;
        self.switch("worker.enableExpertParallel", "Expert parallelism, for mixture-of-experts models")?;
        self.router()?;
        self.offload()?;
        self.cache()?;
        self.replicas()?;
        self.engine_args()?;
        let name = self.trial(None).map(|intent| intent.name).unwrap_or_default();
        self.field("name", "Name of the deployment", &name, Some(&name))?;
        Ok(token)
    }

    fn parallelism(&mut self) -> Answer<()> {
        for (role, of) in self.roles() {
            self.count(&format!("{role}.tensorParallelSize"), &format!("Tensor parallelism{of}"), "1")?;
            self.count(&format!("{role}.pipelineParallelSize"), &format!("Pipeline parallelism{of}"), "1")?;
        }
        Ok(())
    }

    fn router(&mut self) -> Answer<()> {
        if !self.is_said("router.mode") && self.yes("KV-aware routing")? {
            self.answer("router.mode", "kv")?;
            let text = "Router temperature: 0 is Dynamo's own, 0.5 was the starter kit's";
            self.field("router.temperature", text, "0", Some("0"))?;
        }
        Ok(())
    }

    /// EKS Auto Mode starts any instance that fits, unless a label says which.
    fn instance_family(&mut self) -> Answer<()> {
        if !self.known.eks_auto_mode || self.is_said("nodeSelector") {
            return Ok(());
        }
        let question = Question {
            text: "Instance family of the workers' nodes, such as p5, or any".into(),
            default: "any".into(),
            words: vec!["any"],
            meaning: Rc::new(|_| String::new()),
            check: Rc::new(|answer| {
                let fits = answer.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
                if fits { Ok(()) } else { Err(format!("`{answer}` is no instance family, such as p5")) }
            }),
        };
        let family = self.prompt.ask(question)?.ok_or(Gone)?;
        if family != "any" {
            self.answer("nodeSelector", &format!("{INSTANCE_FAMILY}={family}"))?;
        }
        Ok(())
    }

    fn offload(&mut self) -> Answer<()> {
        if self.is_said("kvOffload.cpu") || !self.yes("Offload KV cache to CPU memory")? {
            return Ok(());
        }
        let cpu = self.ask("kvOffload.cpu", "CPU memory for it, of each worker", "20Gi")?;
        if cpu == NONE {
            return Ok(());
        }
        self.answer("kvOffload.cpu", &format!("cpu={cpu}"))?;
        if self.yes("A disk behind it")? {
            let disk = self.ask("kvOffload.disk", "Space on it", "200Gi")?;
            self.answer("kvOffload.disk", &disk)?;
            self.field(
                "kvOffload.diskVolume",
                "Its volume: ephemeral[=CLASS], hostPath=PATH or pvc=NAME",
                "ephemeral",
                Some("ephemeral"),
            )?;
        }
        Ok(())
    }

    fn cache(&mut self) -> Answer<()> {
        if self.known.has_claim || self.is_said("cache.claim") || self.is_said("cache.size") {
            return Ok(());
        }
        let own = Cache::DEFAULT_CLAIM;
        let claim = self.ask("cache.claim", "Claim that holds models; the usual one is made", own)?;
        if claim != own {
            self.answer("cache.claim", &claim)?;
            return Ok(());
        }
        self.field("cache.size", "Size of the claim", Cache::DEFAULT_SIZE, Some(Cache::DEFAULT_SIZE))
    }

    fn replicas(&mut self) -> Answer<()> {
        let routed = self.trial(None).is_ok_and(|intent| intent.router.mode == crate::intent::RouterMode::Kv);
        for (role, of) in self.roles() {
            // A KV router has nothing to choose from with one worker.
            let default = if routed && role == "worker" { "2" } else { "1" };
            self.count(&format!("{role}.replicas"), &format!("Replicas{of}"), default)?;
        }
        Ok(())
    }

    fn engine_args(&mut self) -> Answer<()> {
        if self.is_said("engineArgs") {
            return Ok(());
        }
        let mocked = self.trial(None).is_ok_and(|intent| intent.backend == Backend::Mocker);
        let default = if mocked { NONE } else { ENGINE_ARGS };
        let args = self.ask("engineArgs", "More engine flags, or none", default)?;
        if args != NONE {
            self.flags.add(field("engineArgs"), args.split_whitespace().map(Into::into).collect());
        }
        Ok(())
    }

    fn token(&mut self) -> Answer<Option<String>> {
        if self.is_said("hfTokenSecret") {
            return Ok(None);
        }
        match self.known.token_secret {
            TokenState::There => self.answer("hfTokenSecret", TokenSecret::DEFAULT_NAME)?,
            TokenState::Absent => return self.new_token(),
            TokenState::Unknown => {}
        }
        Ok(None)
    }

    /// A token for the Secret that is missing, typed without an echo.
    fn new_token(&mut self) -> Answer<Option<String>> {
        if !self.yes("Enter a hub token now, for gated models")? {
            return Ok(None);
        }
        let token = dialoguer::Password::new()
            .with_prompt("Token of the Hugging Face Hub (not shown)")
            .validate_with(|typed: &String| match typed.trim() {
                "" => Err("nothing was typed"),
                token if token.contains(char::is_whitespace) => Err("a token has no spaces"),
                _ => Ok(()),
            })
            .interact()
            .map_err(|error| crate::error::Error::from(std::io::Error::other(error)))?;
        self.answer("hfTokenSecret", TokenSecret::DEFAULT_NAME)?;
        Ok(Some(token.trim().to_owned()))
    }

    /// The kinds of workers, with words that tell them apart.
    fn roles(&self) -> Vec<(&'static str, &'static str)> {
        match self.trial(None).map(|intent| intent.topology.mode()) {
            Ok("disagg") => vec![("prefill", " of prefill workers"), ("decode", " of decode workers")],
            _ => vec![("worker", "")],
        }
    }

    fn is_said(&self, path: &str) -> bool {
        self.said.iter().flat_map(|layer| &layer.leaves).any(|leaf| leaf.field.path == path)
    }

    /// Asks for a field unless it is said; the program's own default is not said again.
    fn field(&mut self, path: &str, text: &str, default: &str, own: Option<&str>) -> Answer<()> {
        if self.is_said(path) {
            return Ok(());
        }
        let answer = self.ask(path, text, default)?;
        if Some(answer.as_str()) != own {
            self.answer(path, &answer)?;
        }
        Ok(())
    }

    fn count(&mut self, path: &str, text: &str, default: &str) -> Answer<()> {
        // What is said of all workers need not be asked of each kind.
        let shared = path.split_once('.').map(|(_, rest)| format!("worker.{rest}")).unwrap_or_default();
        if self.is_said(&shared) && !path.ends_with("replicas") {
            return Ok(());
        }
        self.field(path, text, default, Some("1"))
    }

    fn switch(&mut self, path: &str, text: &str) -> Answer<()> {
        if !self.is_said(path) && self.yes(text)? {
            self.answer(path, "true")?;
        }
        Ok(())
    }

    fn answer(&mut self, path: &str, text: &str) -> Result<()> {
        self.flags.add(field(path), vec![text.into()]);
        Ok(())
    }

    fn yes(&mut self, text: &str) -> Answer<bool> {
        let question = Question {
            text: format!("{text}, yes or no"),
            default: "no".into(),
            words: vec!["yes", "no"],
            meaning: Rc::new(|_| String::new()),
            check: Rc::new(|answer| match answer {
                "y" | "yes" | "n" | "no" => Ok(()),
                other => Err(format!("`{other}` is neither yes nor no")),
            }),
        };
        let answer = self.prompt.ask(question)?.ok_or(Gone)?;
        Ok(answer.starts_with('y'))
    }

    fn ask(&mut self, path: &str, text: &str, default: &str) -> Answer<String> {
        let about =
            Rc::new(About { path: path.into(), layers: self.layers()?, name_length: self.name_length() });
        let (checked, meant) = (Rc::clone(&about), about);
        let question = Question {
            text: text.into(),
            default: default.into(),
            words: match field(path).kind {
                crate::intent::request::Kind::Words(known) => known(),
                _ => Vec::new(),
            },
            check: Rc::new(move |answer| checked.check(answer)),
            meaning: Rc::new(move |answer| meant.meaning(answer)),
        };
        Ok(self.prompt.ask(question)?.ok_or(Gone)?)
    }

    /// Everything that is said by now.
    fn layers(&self) -> Result<Vec<Layer>> {
        let Wanted::Request(mut asked) = wanted(self.flags)? else { return Ok(Vec::new()) };
        let mut unsaid = Layer::of(Source::Default);
        unsaid.say(field("release"), self.known.release)?;
        asked.layers.push(unsaid);
        Ok(asked.layers)
    }

    fn name_length(&self) -> usize {
        let layers = self.layers().unwrap_or_default();
        let shape = trial(layers, usize::MAX)
            .map(|intent| intent.topology)
            .unwrap_or(Topology::Aggregated { worker: WorkerGroup::default() });
        self.known.budget.longest_name(&self.known.namespace, &named_parts(&shape))
    }

    fn trial(&self, more: Option<Layer>) -> std::result::Result<ServingIntent, String> {
        let layers = self.layers().map_err(|error| error.to_string())?;
        trial(layers.into_iter().chain(more), self.name_length())
    }
}
