//! The state of the full-screen view: which deployment is selected, how workers are sorted, and what happened before.

use std::cmp::Ordering;
use std::collections::VecDeque;

use crate::full_screen::ViewInput;
use crate::workflow::top::DeploymentTop;
use kubectl_dynamo_core::top::WorkerLoad;

/// Number of intervals that a sparkline shows at most.
const HISTORY: usize = 240;

/// How workers are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkerOrder {
    Name,
    Requests,
    Running,
    Waiting,
    KvCache,
    Idle,
}

impl WorkerOrder {
    pub(crate) const ALL: [Self; 6] =
        [Self::Name, Self::Requests, Self::Running, Self::Waiting, Self::KvCache, Self::Idle];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Requests => "requests",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::KvCache => "KV cache",
            Self::Idle => "idle time",
        }
    }

    /// The key that selects it.
    pub(crate) fn key(self) -> char {
        match self {
            Self::Name => 'n',
            Self::Requests => 'r',
            Self::Running => 'u',
            Self::Waiting => 'w',
            Self::KvCache => 'k',
            Self::Idle => 'i',
        }
    }

    /// The largest value is first, and a value that is not known is last.
    fn compare(self, one: &WorkerLoad, other: &WorkerLoad) -> Ordering {
        let value = |worker: &WorkerLoad| match self {
            Self::Name => None,
            Self::Requests => worker.requests,
            Self::Running => worker.running,
            Self::Waiting => worker.waiting,
            Self::KvCache => worker.kv_cache_use,
            Self::Idle => worker.idle.map(|idle| idle.as_secs_f64()),
        };
        let order = value(other).partial_cmp(&value(one)).unwrap_or(Ordering::Equal);
        order.then_with(|| (one.role, &one.name).cmp(&(other.role, &other.name)))
    }
}

/// What an input asks for besides another frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ViewAction {
    Redraw,
    Quit,
    Interrupt,
}

/// What the last intervals of a deployment had.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct LoadHistory {
    /// Finished requests per second, oldest first.
    pub requests: VecDeque<Option<f64>>,
    /// Output tokens per second, oldest first.
    pub output_tokens: VecDeque<Option<f64>>,
}

/// A deployment and its history.
pub(crate) struct ViewedDeployment {
    pub top: DeploymentTop,
    pub history: LoadHistory,
}

/// The state of the view.
pub(crate) struct TopView {
    pub deployments: Vec<ViewedDeployment>,
    /// Index of the deployment whose workers are shown.
    pub selected: usize,
    pub order: WorkerOrder,
    pub shows_help: bool,
}

impl TopView {
    pub(crate) fn new() -> Self {
        Self { deployments: Vec::new(), selected: 0, order: WorkerOrder::Name, shows_help: false }
    }

    /// Shows a new report.
    pub(crate) fn update(&mut self, reports: Vec<DeploymentTop>) {
        let mut previous = std::mem::take(&mut self.deployments);
        let deployments = reports.into_iter().map(|top| {
            let is_same =
                |one: &ViewedDeployment| one.top.name == top.name && one.top.namespace == top.namespace;
            let found = previous.iter().position(is_same);
            let mut history = found.map(|at| previous.swap_remove(at).history).unwrap_or_default();
            let load = &top.report.load;
            push(&mut history.requests, load.latest_requests);
            push(&mut history.output_tokens, load.latest_output_tokens);
            ViewedDeployment { top, history }
        });
        self.deployments = deployments.collect();
        self.selected = self.selected.min(self.deployments.len().saturating_sub(1));
    }

    /// Handles an input.
    pub(crate) fn handle(&mut self, input: ViewInput) -> ViewAction {
        match input {
            ViewInput::Interrupt => return ViewAction::Interrupt,
            ViewInput::Character('q') => return ViewAction::Quit,
            ViewInput::Escape if !self.shows_help => return ViewAction::Quit,
            ViewInput::Escape => self.shows_help = false,
            ViewInput::Character('?' | 'h') => self.shows_help = !self.shows_help,
            ViewInput::Up => self.selected = self.selected.saturating_sub(1),
            ViewInput::Down => {
                self.selected = (self.selected + 1).min(self.deployments.len().saturating_sub(1));
            }
            ViewInput::Character(key) => {
                let order = WorkerOrder::ALL.into_iter().find(|order| order.key() == key);
                self.order = order.unwrap_or(self.order);
            }
            ViewInput::Resized => {}
        }
        ViewAction::Redraw
    }

    /// The deployment whose workers are shown.
    pub(crate) fn selected(&self) -> Option<&ViewedDeployment> {
        self.deployments.get(self.selected)
    }

    /// Its workers in the selected order.
    pub(crate) fn workers(&self) -> Vec<&WorkerLoad> {
        let mut workers: Vec<_> =
            self.selected().iter().flat_map(|viewed| &viewed.top.report.workers).collect();
        workers.sort_by(|one, other| self.order.compare(one, other));
        workers
    }
}

fn push(values: &mut VecDeque<Option<f64>>, value: Option<f64>) {
    values.push_back(value);
    if values.len() > HISTORY {
        values.pop_front();
    }
}
