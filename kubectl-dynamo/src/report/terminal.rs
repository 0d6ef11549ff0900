//! The terminal: one line for each finished stage, and below them one that is redrawn while something is awaited,
//! with a line for each pod of it. The only user of indicatif's bars.

mod fitting;

use std::fmt::Write;
use std::io::{IsTerminal, Write as _};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use super::lines::message;
use super::units::{bytes, clock, share};
use super::{Event, Mark, PodLine, Stage};
use fitting::{Columns, STAGE, in_two, screen_width};

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const NOTE: Style = AnsiColor::Yellow.on_default();
const DIM: Style = Style::new().dimmed();

/// How often what moves is drawn anew.
const TICK: Duration = Duration::from_millis(120);
const WAITING: &str = "{spinner} {wide_msg} {clock}";
/// With the reason below.
const EXPLAINED: &str = "{spinner} {wide_msg} {clock}\n    {prefix}";
/// How many pods are shown at once; the rest is counted.
const PODS: usize = 16;

/// Draws on stderr.
pub(super) struct Terminal {
    screen: MultiProgress,
    started: Instant,
    bar: Option<(Stage, ProgressBar)>,
    pods: Vec<(PodLine, ProgressBar)>,
    /// What comes next and what leaving means; the lowest lines.
    outlook: Vec<ProgressBar>,
    /// Warnings of the preflight, which stand behind what came of it: each with its hint.
    warned: Vec<Warned>,
    /// That everything is ready, and when; it is told together with the smoke test.
    ready: Option<(Duration, String)>,
    told_ready: bool,
    colour: bool,
}

/// A warning that is told later.
struct Warned {
    code: Option<&'static str>,
    text: String,
    hint: Option<String>,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.clear();
        self.tell_kept();
    }
}

impl Terminal {
    pub(super) fn new() -> Self {
        let colour = std::io::stderr().is_terminal()
            && anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
        Self {
            screen: MultiProgress::new(),
            started: Instant::now(),
            bar: None,
            pods: Vec::new(),
            outlook: Vec::new(),
            warned: Vec::new(),
            ready: None,
            told_ready: false,
            colour,
        }
    }

    /// Tells what was kept for a line that does not come.
    fn tell_kept(&mut self) {
        for Warned { code, text, hint } in std::mem::take(&mut self.warned) {
            self.print(&self.paint(NOTE, &message("warning", code, &text, hint.as_deref())));
        }
        if let Some((_, text)) = self.ready.take() {
            self.print_done(Stage::Ready, &text);
        }
    }

    fn print_done(&self, stage: Stage, text: &str) {
        self.print(&format!("{} {:<14} {text}", self.paint(GOOD, "✔"), stage.title()));
    }

    /// What came of the preflight, with its warnings: one behind it where there is room, else below.
    fn print_preflight(&mut self, text: &str) {
        let warned = std::mem::take(&mut self.warned);
        let words = |one: &Warned| format!("{} {}", one.code.unwrap_or_default(), one.text);
        let first = warned.first().map(&words).unwrap_or_default();
        let width = |text: &str| text.chars().count();
        let behind = warned.len() == 1 && STAGE + width(text) + 6 + width(&first) <= screen_width();
        if behind {
            self.print_done(Stage::Preflight, &format!("{text}      {}", self.paint(NOTE, &first)));
        } else {
            self.print_done(Stage::Preflight, text);
        }
        for one in &warned {
            let below = format!("{:STAGE$}{}", "", words(one));
            if !behind {
                self.print(&self.paint(NOTE, &below));
            }
            if let Some(hint) = &one.hint {
                self.print(&format!("{:STAGE$}{}", "", self.paint(DIM, &format!("hint: {hint}"))));
            }
        }
    }

    /// That it is ready and answers, as the last word.
    fn print_ready(&mut self, smoke_test: Option<&str>) {
        let Some((after, _)) = self.ready.take() else { return };
        self.told_ready = true;
        let smoke_test = smoke_test.map(|text| format!(" · smoke test {text}")).unwrap_or_default();
        self.print("");
        self.print(&format!("{} ready in {}{smoke_test}", self.paint(GOOD, "✔"), clock(after)));
    }

    fn is_at(&self, stage: Stage) -> bool {
        self.bar.as_ref().is_some_and(|(current, _)| *current == stage)
    }

    fn paint(&self, style: Style, text: &str) -> String {
        paint(self.colour, style, text)
    }

    fn print(&self, line: &str) {
        self.screen.suspend(|| super::lines::write_line(line));
    }

    fn bar(&mut self, stage: Stage, template: &str) -> &ProgressBar {
        let style = style(template).progress_chars("█▉▊▋▌▍▎▏░");
        if !self.is_at(stage) {
            self.clear();
            // The terminal itself may have written `^C` there, and the bar takes it that a line begins.
            let _ = std::io::stderr().write_all(b"\r");
            // It is drawn from the first tick on, and must have its own style by then.
            let bar = self.screen.add(ProgressBar::new(0).with_style(style.clone()));
            bar.enable_steady_tick(TICK);
            self.bar = Some((stage, bar));
        }
        let (_, bar) = self.bar.as_ref().expect("a bar was just made");
        bar.set_style(style);
        bar
    }

    fn clear(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.outlook.drain(..).for_each(|line| line.finish_and_clear());
    }

    /// Shows below a stage what comes next, and how long everything took so far.
    fn draw_outlook(&mut self, stage: Stage, next: Option<&str>, leaving: &str) {
        self.bar(stage, WAITING);
        // What is set on a bar outside the screen is drawn at once, and stays.
        let elapsed = ProgressBar::new(0)
            .with_elapsed(self.started.elapsed())
            .with_style(style("  elapsed {clock} · {wide_msg}"))
            .with_message(leaving.to_owned());
        self.outlook.extend(next.map(|next| {
            let line = self.screen.add(ProgressBar::new(0).with_style(style("· {wide_msg}")));
            line.set_message(next.to_owned());
            line
        }));
        let elapsed = self.screen.add(elapsed);
        elapsed.enable_steady_tick(Duration::from_secs(1));
        self.outlook.push(elapsed);
        self.outlook.iter().for_each(ProgressBar::tick);
    }

    /// A line above the outlook.
    fn line(&self) -> ProgressBar {
        let line = ProgressBar::new(0).with_style(style("{wide_msg}"));
        match self.outlook.first() {
            Some(outlook) => self.screen.insert_before(outlook, line),
            None => self.screen.add(line),
        }
    }

    /// Redraws the pods' lines; those that are not ready come first where there are too many.
    fn draw_pods(&mut self, stage: Stage, pods: &[PodLine]) {
        if !self.is_at(stage) {
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
                self.pods.push(((*pod).clone(), self.line()));
            }
        }
        let columns = Columns::of(shown.iter().copied());
        let colour = self.colour;
        let mut component = "";
        for (pod, (last, bar)) in shown.into_iter().zip(&mut self.pods) {
            let head = if pod.component == component { String::new() } else { head(pod) };
            component = &pod.component;
            bar.set_style(style(match pod.mark {
                Mark::Working => "  {prefix:14} {spinner} {wide_msg}",
                _ => "  {prefix:14} {wide_msg}",
            }));
            bar.set_prefix(head);
            let words = columns.line(pod);
            match pod.mark {
                Mark::Working => {
                    bar.enable_steady_tick(TICK);
                    bar.set_message(words);
                }
                Mark::Ready => bar.set_message(format!("{} {words}", paint(colour, GOOD, "✔"))),
                Mark::Troubled => bar.set_message(format!("{} {words}", paint(colour, BAD, "✗"))),
            }
            last.clone_from(pod);
        }
    }

    /// Leaves the pods' last lines on the screen.
    fn keep_pods(&mut self) {
        let mut pods = Vec::new();
        for (pod, bar) in self.pods.drain(..) {
            bar.finish_and_clear();
            pods.push(pod);
        }
        let columns = Columns::of(&pods);
        let mut component = String::new();
        for pod in &pods {
            let head = if pod.component == component { String::new() } else { head(pod) };
            component.clone_from(&pod.component);
            let mark = match pod.mark {
                Mark::Ready => self.paint(GOOD, "✔"),
                Mark::Working => "·".into(),
                Mark::Troubled => self.paint(BAD, "✗"),
            };
            self.print(&format!("  {head:14} {mark} {}", columns.line(pod)));
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    let elapsed = |state: &ProgressState, text: &mut dyn Write| {
        let _ = text.write_str(&clock(state.elapsed()));
    };
    ProgressStyle::with_template(template)
        .expect("the templates are constants of this file")
        .with_key("clock", elapsed)
}

fn paint(colour: bool, style: Style, text: &str) -> String {
    if colour { format!("{style}{text}{style:#}") } else { text.into() }
}

/// `prefill   1/2`.
fn head(pod: &PodLine) -> String {
    format!("{:<9} {}/{}", pod.component, pod.ready, pod.wanted)
}

impl super::Reader for Terminal {
    fn show(&mut self, event: &Event) {
        match event {
            Event::Plan { lines } => lines.iter().for_each(|line| self.print(line)),
            Event::Closing { lines } => {
                self.clear();
                self.keep_pods();
                self.print_ready(None);
                self.tell_kept();
                // What follows the last word stands right below it.
                let told = std::mem::take(&mut self.told_ready);
                let lines = lines.iter().skip_while(|line| told && line.is_empty());
                lines.for_each(|line| self.print(line));
            }
            Event::Waiting { stage, waits_for } => {
                if self.is_at(Stage::Preflight) && *stage != Stage::Preflight {
                    self.tell_kept();
                }
                let (waits_for, why) = in_two(waits_for, screen_width());
                let bar = self.bar(*stage, if why.is_empty() { WAITING } else { EXPLAINED });
                bar.set_prefix(why);
                bar.set_message(format!("{:<14} waits for {waits_for}", stage.title()));
            }
            Event::Transfer { stage, done, total, bytes_per_second, eta_seconds, note } => {
                let left = eta_seconds.map(|seconds| clock(Duration::from_secs(seconds)));
                let left = left.map(|left| format!("{left} left  ")).unwrap_or_default();
                let text = format!("{}  {}/s  {left}{note}", share(*done, *total), bytes(*bytes_per_second));
                let bar = self.bar(*stage, "{spinner} {prefix:14} {bar:18}  {wide_msg}");
                bar.set_length(*total);
                bar.set_position(*done);
                bar.set_prefix(stage.title());
                bar.set_message(text);
            }
            Event::Outlook { stage, next, leaving } => self.draw_outlook(*stage, next.as_deref(), leaving),
            Event::Pods { stage, pods } => self.draw_pods(*stage, pods),
            Event::Done { stage, text } => {
                self.clear();
                self.keep_pods();
                match stage {
                    Stage::Preflight => self.print_preflight(text),
                    Stage::Ready => self.ready = Some((self.started.elapsed(), text.clone())),
                    Stage::SmokeTest if self.ready.is_some() => self.print_ready(Some(text)),
                    stage => self.print_done(*stage, text),
                }
            }
            Event::Detail { text } => self.print(&format!("  {}", self.paint(DIM, text))),
            Event::Log { source, line } => {
                self.print(&format!("{} {line}", self.paint(DIM, &format!("{source:<10} |"))))
            }
            Event::Warning { code, text, hint } if self.is_at(Stage::Preflight) => {
                self.warned.push(Warned { code: *code, text: text.clone(), hint: hint.clone() });
            }
            Event::Warning { code, text, hint } => {
                let text = message("warning", *code, text, hint.as_deref());
                self.print(&self.paint(NOTE, &text));
            }
            Event::Failed { code, text, hint, .. } => {
                self.clear();
                self.keep_pods();
                self.tell_kept();
                let text = message("error", *code, text, None);
                self.print(&self.paint(BAD, &text));
                if let Some(hint) = hint {
                    self.print(&format!("hint: {hint}"));
                }
            }
        }
    }
}
