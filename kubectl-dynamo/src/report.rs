//! Progress events and their renderers: terminal, plain lines, and JSON lines.
//! All output of this module goes to stderr; stdout is for data.

mod lines;
mod printable_event;
mod terminal;
pub(crate) mod units;

use std::sync::Mutex;

use serde::Serialize;

use crate::typed_command::typed;
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::Fix;

use kubectl_dynamo_core::error::{Error, Exit};

/// How progress is shown (`--progress`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressMode {
    /// `Terminal` if stderr is a terminal, otherwise `Plain`.
    Auto,
    Terminal,
    Plain,
    Json,
    None,
}

impl kubectl_dynamo_core::intent::StringEnum for ProgressMode {
    const ALL: &'static [Self] = &[Self::Auto, Self::Terminal, Self::Plain, Self::Json, Self::None];

    fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Terminal => "tty",
            Self::Plain => "plain",
            Self::Json => "json",
            Self::None => "none",
        }
    }
}

/// A step of a command, in the order of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    Preflight,
    /// Installs Python packages and the Dynamo runtime on this machine.
    Runtime,
    Apply,
    ModelFetch,
    /// Works on a model in the model cache.
    ModelCache,
    Deploy,
    Ready,
    SmokeTest,
    /// Probes a deployment that serves.
    Probes,
    /// Measures a deployment under load.
    Benchmark,
    /// Predicts the speed of deployments.
    Prediction,
}

impl Stage {
    /// The name on the screen, at most 12 characters.
    pub fn title(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::Runtime => "runtime",
            Self::Apply => "objects",
            Self::ModelFetch => "model fetch",
            Self::ModelCache => "model cache",
            Self::Deploy => "deploy",
            Self::Ready => "ready",
            Self::SmokeTest => "smoke test",
            Self::Probes => "probes",
            Self::Benchmark => "benchmark",
            Self::Prediction => "prediction",
        }
    }
}

/// A progress event. The JSON form is a contract: fields may be added but not renamed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The plan, shown before the first stage.
    Plan { lines: Vec<String> },
    /// A stage has started or waits for something else.
    Waiting { stage: Stage, waits_for: String },
    /// Transfer progress of a stage; `done`, `total`, and `bytes_per_second` are in bytes.
    Transfer {
        stage: Stage,
        done: u64,
        total: u64,
        bytes_per_second: u64,
        /// Estimated time until the end, if known.
        eta_seconds: Option<u64>,
        note: String,
    },
    /// Progress of a benchmark: the level, such as `8 (2 of 7)`, and its requests.
    Load {
        stage: Stage,
        level: String,
        done: u64,
        /// The number of requests of the level, if it is known.
        total: Option<u64>,
        requests_per_second: f64,
        eta_seconds: Option<u64>,
    },
    /// The next stage and the effect of Ctrl-C, shown below the current stage while it lasts.
    Hint { stage: Stage, next: Option<String>, on_interrupt: String },
    /// The pods that a stage waits for.
    Pods { stage: Stage, pods: Vec<PodLine> },
    /// A stage has finished; `text` is its result.
    Done { stage: Stage, text: String },
    /// Additional information below the current stage.
    Info { text: String },
    /// A warning; the command continues.
    Warning { code: Option<MessageCode>, text: String, hint: Option<String> },
    /// A log line of a component.
    Log { source: String, line: String },
    /// The summary after success: the endpoint and the next commands.
    Summary { lines: Vec<String> },
    /// The command failed.
    Failed { code: Option<MessageCode>, text: String, hint: Option<String>, exit: u8 },
}

/// One pod of a deployment that is starting.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PodLine {
    pub component: String,
    /// Ready and desired pods of the component.
    pub ready: u64,
    pub desired: u64,
    pub pod: String,
    /// The pod name without the prefix that all pods of the component share.
    #[serde(skip)]
    pub short_name: String,
    pub mark: PodMark,
    #[serde(rename = "status")]
    pub status_text: String,
    pub node: Option<String>,
    pub note: Option<String>,
    /// Time from the pod's creation until it was ready, by the server's clock.
    pub ready_after_seconds: Option<u64>,
}

/// The state of a pod on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PodMark {
    Ready,
    Starting,
    Failing,
}

/// Renders events in one format.
trait EventRenderer: Send {
    /// Shows an event. Its texts are printable, except for JSON.
    fn show(&mut self, event: &Event);
}

/// Renders events from any thread in the selected format.
pub struct Report {
    renderer: Mutex<Box<dyn EventRenderer>>,
    /// The renderer writes JSON, which keeps every character of a text.
    is_json: bool,
    last_wait: Mutex<Option<(Stage, String)>>,
}

impl Report {
    /// Creates a report; `Auto` depends on whether stderr is a terminal.
    pub fn new(mode: ProgressMode) -> Self {
        use std::io::IsTerminal;
        let mode = match mode {
            ProgressMode::Auto if std::io::stderr().is_terminal() => ProgressMode::Terminal,
            ProgressMode::Auto => ProgressMode::Plain,
            explicit => explicit,
        };
        let renderer: Box<dyn EventRenderer> = match mode {
            ProgressMode::Terminal => Box::new(terminal::TerminalRenderer::new()),
            ProgressMode::Json => Box::new(lines::JsonLines::default()),
            ProgressMode::None => Box::new(lines::ErrorsOnly),
            ProgressMode::Plain | ProgressMode::Auto => Box::new(lines::PlainLines::default()),
        };
        let is_json = mode == ProgressMode::Json;
        Self { renderer: Mutex::new(renderer), is_json, last_wait: Mutex::new(None) }
    }

    /// Renders one event.
    pub fn event(&self, event: &Event) {
        let mut renderer = self.renderer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match self.is_json {
            true => renderer.show(event),
            false => renderer.show(&event.printable()),
        }
    }

    /// Reports that a stage waits for something.
    pub fn waiting(&self, stage: Stage, waits_for: impl Into<String>) {
        let waits_for = waits_for.into();
        *self.last_wait.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
            Some((stage, waits_for.clone()));
        self.event(&Event::Waiting { stage, waits_for });
    }

    /// What the last [`Event::Waiting`] waits for.
    pub fn last_wait(&self) -> Option<String> {
        self.last().map(|(_, waits_for)| waits_for)
    }

    fn last(&self) -> Option<(Stage, String)> {
        self.last_wait.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Shows a temporary obstacle, such as an API server outage, in place of the last wait; `None` restores
    /// it.
    pub fn outage(&self, text: Option<&str>) {
        let Some((stage, waits_for)) = self.last() else { return };
        self.event(&Event::Waiting { stage, waits_for: text.map_or(waits_for, ToOwned::to_owned) });
    }

    /// Reports that a stage has finished.
    pub fn done(&self, stage: Stage, text: impl Into<String>) {
        self.event(&Event::Done { stage, text: text.into() });
    }

    /// Reports additional information.
    pub fn info(&self, text: impl Into<String>) {
        self.event(&Event::Info { text: text.into() });
    }

    /// Reports a warning; the command continues.
    pub fn warn(&self, code: Option<MessageCode>, text: impl Into<String>, hint: Option<Fix>) {
        self.event(&Event::Warning { code, text: text.into(), hint: hint.map(typed) });
    }

    /// Reports the summary of a successful command.
    pub fn summary(&self, lines: Vec<String>) {
        self.event(&Event::Summary { lines });
    }

    /// Reports an error and returns its exit code.
    pub fn failed(&self, error: &Error) -> Exit {
        let exit = error.exit();
        self.event(&Event::Failed {
            code: error.code(),
            text: error.to_string(),
            hint: error.hint().map(typed),
            exit: exit as u8,
        });
        exit
    }
}
