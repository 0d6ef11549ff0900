//! The terminal: one line for each finished stage, and one below them that is redrawn while something is
//! awaited. The only user of indicatif's bars.

use std::io::IsTerminal;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};

use super::lines::message;
use super::{Event, Stage};

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const NOTE: Style = AnsiColor::Yellow.on_default();
const DIM: Style = Style::new().dimmed();

/// Draws on stderr.
pub(super) struct Terminal {
    bar: Option<(Stage, ProgressBar)>,
    colour: bool,
}

impl Terminal {
    pub(super) fn new() -> Self {
        let colour = std::io::stderr().is_terminal()
            && anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
        Self { bar: None, colour }
    }

    fn paint(&self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.into() }
    }

    fn print(&self, line: &str) {
        match &self.bar {
            Some((_, bar)) => bar.suspend(|| super::lines::write_line(line)),
            None => super::lines::write_line(line),
        }
    }

    fn bar(&mut self, stage: Stage, template: &str) -> &ProgressBar {
        if self.bar.as_ref().is_none_or(|(current, _)| *current != stage) {
            self.clear();
            let bar = ProgressBar::new(0);
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
}

impl super::Reader for Terminal {
    fn show(&mut self, event: &Event) {
        match event {
            Event::Plan { lines } => lines.iter().for_each(|line| self.print(line)),
            Event::Closing { lines } => {
                self.clear();
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
            Event::Done { stage, text } => {
                self.clear();
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
                let text = message("error", *code, text, None);
                self.print(&self.paint(BAD, &text));
                if let Some(hint) = hint {
                    self.print(&format!("hint: {hint}"));
                }
            }
        }
    }
}
