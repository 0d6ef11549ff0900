//! The terminal: one line for each finished stage, and below them one that is redrawn while something is awaited,
//! with a line for each pod of it. The only user of indicatif's bars.

use std::io::IsTerminal;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::lines::message;
use super::{Event, Mark, PodLine, Stage};

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const NOTE: Style = AnsiColor::Yellow.on_default();
const DIM: Style = Style::new().dimmed();

/// How many pods are shown at once; the rest is counted.
const PODS: usize = 16;

/// Draws on stderr.
pub(super) struct Terminal {
    screen: MultiProgress,
    bar: Option<(Stage, ProgressBar)>,
    pods: Vec<(PodLine, ProgressBar)>,
    colour: bool,
}

impl Terminal {
    pub(super) fn new() -> Self {
        let colour = std::io::stderr().is_terminal()
            && anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
        Self { screen: MultiProgress::new(), bar: None, pods: Vec::new(), colour }
    }

    fn paint(&self, style: Style, text: &str) -> String {
        paint(self.colour, style, text)
    }

    fn print(&self, line: &str) {
        self.screen.suspend(|| super::lines::write_line(line));
    }

    fn bar(&mut self, stage: Stage, template: &str) -> &ProgressBar {
        if self.bar.as_ref().is_none_or(|(current, _)| *current != stage) {
            self.clear();
            let bar = self.screen.add(ProgressBar::new(0));
            bar.enable_steady_tick(Duration::from_millis(120));
            self.bar = Some((stage, bar));
        }
        let (_, bar) = self.bar.as_ref().expect("a bar was just made");
        let style = ProgressStyle::with_template(template).expect("the templates are constants of this file");
        bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏░"));
        bar
    }

    fn clear(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Redraws the pods' lines; those that are not ready come first where there are too many.
    fn draw_pods(&mut self, stage: Stage, pods: &[PodLine]) {
        if self.bar.as_ref().is_none_or(|(current, _)| *current != stage) {
            return;
        }
        let mut shown: Vec<&PodLine> = pods.iter().collect();
        if shown.len() > PODS {
            shown.sort_by_key(|pod| pod.mark == Mark::Ready);
            shown.truncate(PODS);
        }
        if self.pods.iter().map(|(pod, _)| &pod.pod).ne(shown.iter().map(|pod| &pod.pod)) {
            self.pods.drain(..).for_each(|(_, bar)| bar.finish_and_clear());
            for pod in &shown {
                self.pods.push(((*pod).clone(), self.screen.add(ProgressBar::new(0))));
            }
        }
        let colour = self.colour;
        let mut component = "";
        for (pod, (last, bar)) in shown.into_iter().zip(&mut self.pods) {
            let head = if pod.component == component { String::new() } else { head(pod) };
            component = &pod.component;
            let template = match pod.mark {
                Mark::Working => "  {prefix:15} {spinner} {wide_msg}",
                _ => "  {prefix:15} {wide_msg}",
            };
            bar.set_style(
                ProgressStyle::with_template(template).expect("the templates are constants of this file"),
            );
            bar.set_prefix(head);
            match pod.mark {
                Mark::Working => {
                    bar.enable_steady_tick(Duration::from_millis(120));
                    bar.set_message(words(pod));
                }
                Mark::Ready => bar.set_message(format!("{} {}", paint(colour, GOOD, "✔"), words(pod))),
                Mark::Troubled => bar.set_message(format!("{} {}", paint(colour, BAD, "✗"), words(pod))),
            }
            last.clone_from(pod);
        }
    }

    /// Leaves the pods' last lines on the screen.
    fn keep_pods(&mut self) {
        let pods: Vec<PodLine> = self
            .pods
            .drain(..)
            .map(|(pod, bar)| {
                bar.finish_and_clear();
                pod
            })
            .collect();
        let mut component = String::new();
        for pod in &pods {
            let head = if pod.component == component { String::new() } else { head(pod) };
            component.clone_from(&pod.component);
            let mark = match pod.mark {
                Mark::Ready => self.paint(GOOD, "✔"),
                Mark::Working => "·".into(),
                Mark::Troubled => self.paint(BAD, "✗"),
            };
            self.print(&format!("  {head:15} {mark} {}", words(pod)));
        }
    }
}

fn paint(colour: bool, style: Style, text: &str) -> String {
    if colour { format!("{style}{text}{style:#}") } else { text.into() }
}

/// `prefill   1/2`.
fn head(pod: &PodLine) -> String {
    format!("{:<9} {}/{}", pod.component, pod.ready, pod.wanted)
}

fn words(pod: &PodLine) -> String {
    let rest = [pod.node.as_deref(), pod.note.as_deref()];
    let rest: String = rest.into_iter().flatten().map(|words| format!("  {words}")).collect();
    format!("{}  {}{rest}", pod.short, pod.doing)
}

impl super::Reader for Terminal {
    fn show(&mut self, event: &Event) {
        match event {
            Event::Plan { lines } => lines.iter().for_each(|line| self.print(line)),
            Event::Closing { lines } => {
                self.clear();
                self.keep_pods();
                lines.iter().for_each(|line| self.print(line));
            }
            Event::Waiting { stage, waits_for } => {
                let text = format!("{:<14} waits for {waits_for}", stage.title());
                self.bar(*stage, "{spinner} {wide_msg} {elapsed}").set_message(text);
            }
            Event::Transfer { stage, done, total, note, .. } => {
                let text = format!("{:<14}", stage.title());
                let note = note.clone();
                let bar = self.bar(
                    *stage,
                    "{spinner} {msg} {bar:18} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} left {prefix}",
                );
                bar.set_length(*total);
                bar.set_position(*done);
                bar.set_prefix(note);
                bar.set_message(text);
            }
            Event::Pods { stage, pods } => self.draw_pods(*stage, pods),
            Event::Done { stage, text } => {
                self.clear();
                self.keep_pods();
                self.print(&format!("{} {:<14} {text}", self.paint(GOOD, "✔"), stage.title()));
            }
            Event::Detail { text } => self.print(&format!("  {}", self.paint(DIM, text))),
            Event::Log { source, line } => {
                self.print(&format!("{} {line}", self.paint(DIM, &format!("{source:<10} |"))))
            }
            Event::Warning { code, text, hint } => {
                let text = message("warning", *code, text, hint.as_deref());
                self.print(&self.paint(NOTE, &text));
            }
            Event::Failed { code, text, hint, .. } => {
                self.clear();
                self.keep_pods();
                let text = message("error", *code, text, None);
                self.print(&self.paint(BAD, &text));
                if let Some(hint) = hint {
                    self.print(&format!("hint: {hint}"));
                }
            }
        }
    }
}
