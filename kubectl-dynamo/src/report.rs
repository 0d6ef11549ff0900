//! What a reader of progress needs to know, and the readers: a terminal, plain lines, JSON lines.
//! Everything here goes to stderr; stdout belongs to data.

mod lines;
mod terminal;
pub(crate) mod units;

use std::sync::Mutex;

use serde::Serialize;

use crate::error::{Error, Exit};

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressMode {
    /// `Terminal` when stderr is one, else `Plain`.
    Auto,
    Terminal,
    Plain,
    Json,
    None,
}

impl crate::intent::Word for ProgressMode {
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

/// A step of a story, in the order of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    Preflight,
    /// Python and the Dynamo runtime on this machine.
    Runtime,
    Objects,
    ModelFetch,
    /// Work on a model that is on its volume.
    ModelCache,
    Deploy,
    Ready,
    SmokeTest,
}

impl Stage {
    /// Its name on the screen, at most 12 characters wide.
    pub fn title(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::Runtime => "runtime",
            Self::Objects => "objects",
            Self::ModelFetch => "model fetch",
            Self::ModelCache => "model cache",
            Self::Deploy => "deploy",
            Self::Ready => "ready",
            Self::SmokeTest => "smoke test",
        }
    }
}

/// Something a reader of progress wants to know. Fields may be added, never renamed: JSON is a contract.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// What will run, shown before anything happens.
    Plan { lines: Vec<String> },
    /// A stage began or now waits for something else.
    Waiting { stage: Stage, waits_for: String },
    /// Bytes of a stage that counts them.
    Transfer {
        stage: Stage,
        done: u64,
        total: u64,
        bytes_per_second: u64,
        /// Until the end, where that can be told.
        eta_seconds: Option<u64>,
        note: String,
    },
    /// What comes after a stage, and what leaving now means; a screen keeps it below while the stage lasts.
    Outlook { stage: Stage, next: Option<String>, leaving: String },
    /// Where each pod stands that a stage waits for.
    Pods { stage: Stage, pods: Vec<PodLine> },
    /// A stage is over; `text` says what came of it.
    Done { stage: Stage, text: String },
    /// A line of detail below the current stage.
    Detail { text: String },
    /// Something to know that stops nothing.
    Warning { code: Option<&'static str>, text: String, hint: Option<String> },
    /// A line that a component wrote.
    Log { source: String, line: String },
    /// The last words: where the deployment answers and what to type next.
    Closing { lines: Vec<String> },
    /// The verb failed.
    Failed { code: Option<&'static str>, text: String, hint: Option<String>, exit: u8 },
}

/// One pod that comes up.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PodLine {
    pub component: String,
    /// Of the component: how many pods are ready, and how many are wanted.
    pub ready: u64,
    pub wanted: u64,
    pub pod: String,
    /// The pod's name without what all of the component have in common.
    #[serde(skip)]
    pub short: String,
    pub mark: Mark,
    pub doing: String,
    pub node: Option<String>,
    pub note: Option<String>,
    /// From its creation until it was ready, by the server's clock.
    pub ready_after_seconds: Option<u64>,
}

/// How a pod is marked on a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    Ready,
    Working,
    Troubled,
}

/// One way to show events.
trait Reader: Send {
    fn show(&mut self, event: &Event);
}

/// Takes events from anywhere and shows them in the chosen way.
pub struct Report {
    reader: Mutex<Box<dyn Reader>>,
    last_wait: Mutex<Option<(Stage, String)>>,
}

impl Report {
    /// A report in `mode`; `Auto` looks at stderr.
    pub fn new(mode: ProgressMode) -> Self {
        use std::io::IsTerminal;
        let mode = match mode {
            ProgressMode::Auto if std::io::stderr().is_terminal() => ProgressMode::Terminal,
            ProgressMode::Auto => ProgressMode::Plain,
            chosen => chosen,
        };
        let reader: Box<dyn Reader> = match mode {
            ProgressMode::Terminal => Box::new(terminal::Terminal::new()),
            ProgressMode::Json => Box::new(lines::Json::default()),
            ProgressMode::None => Box::new(lines::ErrorsOnly),
            ProgressMode::Plain | ProgressMode::Auto => Box::new(lines::Plain::default()),
        };
        Self { reader: Mutex::new(reader), last_wait: Mutex::new(None) }
    }

    /// Shows one event.
    pub fn event(&self, event: &Event) {
        self.reader.lock().unwrap_or_else(std::sync::PoisonError::into_inner).show(event);
    }

    /// A stage waits for something.
    pub fn waiting(&self, stage: Stage, waits_for: impl Into<String>) {
        let waits_for = waits_for.into();
        *self.last_wait.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
            Some((stage, waits_for.clone()));
        self.event(&Event::Waiting { stage, waits_for });
    }

    /// What was last said to be waited for.
    pub fn last_wait(&self) -> Option<String> {
        self.last().map(|(_, waits_for)| waits_for)
    }

    fn last(&self) -> Option<(Stage, String)> {
        self.last_wait.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Something is in the way of what is waited for; without a text it is out of the way again.
    pub fn interlude(&self, text: Option<&str>) {
        let Some((stage, waits_for)) = self.last() else { return };
        self.event(&Event::Waiting { stage, waits_for: text.map_or(waits_for, ToOwned::to_owned) });
    }

    /// A stage is over.
    pub fn done(&self, stage: Stage, text: impl Into<String>) {
        self.event(&Event::Done { stage, text: text.into() });
    }

    /// A line of detail.
    pub fn detail(&self, text: impl Into<String>) {
        self.event(&Event::Detail { text: text.into() });
    }

    /// Something to know that stops nothing.
    pub fn warn(&self, code: Option<&'static str>, text: impl Into<String>, hint: Option<String>) {
        self.event(&Event::Warning { code, text: text.into(), hint });
    }

    /// The last words of a verb that went well.
    pub fn closing(&self, lines: Vec<String>) {
        self.event(&Event::Closing { lines });
    }

    /// Shows an error and says the exit code.
    pub fn failed(&self, error: &Error) -> Exit {
        let exit = error.exit();
        self.event(&Event::Failed {
            code: error.code(),
            text: error.to_string(),
            hint: error.hint(),
            exit: exit as u8,
        });
        exit
    }
}
