//! The terminal renderer: one line for each finished stage, and below them the current stage, which is
//! redrawn, with one line for each pod. Only this module uses indicatif.

mod layout;

use std::fmt::Write;
use std::io::{IsTerminal, Write as _};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use super::lines::{format_load, format_message};
use super::units::{bytes, clock, part_of_total};
use super::{Event, PodLine, PodMark, Stage};
use kubectl_dynamo_core::code::MessageCode;
use layout::{PodColumns, STAGE_WIDTH, screen_width, split_reason};

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const NOTE: Style = AnsiColor::Yellow.on_default();
const DIM: Style = Style::new().dimmed();

/// Redraw interval of the spinners.
const TICK: Duration = Duration::from_millis(120);
const WAITING: &str = "{spinner} {wide_msg} {clock}";
/// Like `WAITING`, with the reason on a second line.
const WAITING_WITH_REASON: &str = "{spinner} {wide_msg} {clock}\n    {prefix}";
/// Maximum number of pods on the screen.
const MAX_POD_LINES: usize = 16;

/// The renderer for a terminal on stderr.
pub(super) struct TerminalRenderer {
    screen: MultiProgress,
    started: Instant,
    bar: Option<(Stage, ProgressBar)>,
    pods: Vec<(PodLine, ProgressBar)>,
    /// The lowest lines: the next stage and the effect of Ctrl-C.
    hint_lines: Vec<ProgressBar>,
    /// Preflight warnings, which are printed together with the preflight result.
    deferred_warnings: Vec<DeferredWarning>,
    /// When the deployment became ready, and the text; printed together with the smoke test.
    ready: Option<(Duration, String)>,
    ready_printed: bool,
    colors: Colors,
}

/// A warning that is printed later.
struct DeferredWarning {
    code: Option<MessageCode>,
    text: String,
    hint: Option<String>,
}

impl Drop for TerminalRenderer {
    fn drop(&mut self) {
        self.clear();
        self.print_deferred();
    }
}

impl TerminalRenderer {
    pub(super) fn new() -> Self {
        let has_color = std::io::stderr().is_terminal()
            && anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
        Self {
            screen: MultiProgress::new(),
            started: Instant::now(),
            bar: None,
            pods: Vec::new(),
            hint_lines: Vec::new(),
            deferred_warnings: Vec::new(),
            ready: None,
            ready_printed: false,
            colors: if has_color { Colors::Shown } else { Colors::Omitted },
        }
    }

    /// Prints deferred warnings and the ready line if the line that would contain them does not come.
    fn print_deferred(&mut self) {
        for DeferredWarning { code, text, hint } in std::mem::take(&mut self.deferred_warnings) {
            self.print(&self.paint(NOTE, &format_message("warning", code, &text, hint.as_deref())));
        }
        if let Some((_, text)) = self.ready.take() {
            self.print_done(Stage::Ready, &text);
        }
    }

    fn print_done(&self, stage: Stage, text: &str) {
        self.print(&format!("{} {:<14} {text}", self.paint(GOOD, "✔"), stage.title()));
    }

    /// Prints the preflight result and its warnings: a single warning on the same line if it fits, otherwise
    /// below.
    fn print_preflight(&mut self, text: &str) {
        let warnings = std::mem::take(&mut self.deferred_warnings);
        let label =
            |one: &DeferredWarning| format!("{} {}", one.code.map_or("", MessageCode::as_str), one.text);
        let first = warnings.first().map(&label).unwrap_or_default();
        let width = |text: &str| text.chars().count();
        let fits_on_line =
            warnings.len() == 1 && STAGE_WIDTH + width(text) + 6 + width(&first) <= screen_width();
        if fits_on_line {
            self.print_done(Stage::Preflight, &format!("{text}      {}", self.paint(NOTE, &first)));
        } else {
            self.print_done(Stage::Preflight, text);
        }
        for one in &warnings {
            let line = format!("{:STAGE_WIDTH$}{}", "", label(one));
            if !fits_on_line {
                self.print(&self.paint(NOTE, &line));
            }
            if let Some(hint) = &one.hint {
                self.print(&format!("{:STAGE_WIDTH$}{}", "", self.paint(DIM, &format!("hint: {hint}"))));
            }
        }
    }

    /// Prints the final line with the time until ready and the smoke test.
    fn print_ready(&mut self, smoke_test: Option<&str>) {
        let Some((after, _)) = self.ready.take() else { return };
        self.ready_printed = true;
        let smoke_test = smoke_test.map(|text| format!(" · smoke test {text}")).unwrap_or_default();
        self.print("");
        self.print(&format!("{} ready in {}{smoke_test}", self.paint(GOOD, "✔"), clock(after)));
    }

    fn is_current_stage(&self, stage: Stage) -> bool {
        self.bar.as_ref().is_some_and(|(current, _)| *current == stage)
    }

    fn paint(&self, style: Style, text: &str) -> String {
        self.colors.paint(style, text)
    }

    fn print(&self, line: &str) {
        self.screen.suspend(|| super::lines::write_line(line));
    }

    fn bar(&mut self, stage: Stage, template: &str) -> &ProgressBar {
        let style = style(template).progress_chars("█▉▊▋▌▍▎▏░");
        if !self.is_current_stage(stage) {
            self.clear();
            // The terminal may have echoed `^C`, but the bar assumes that the cursor is at the start of a
            // line.
            let _ = std::io::stderr().write_all(b"\r");
            // The bar is drawn from the first tick, so the style must be set before.
            let bar = self.screen.add(ProgressBar::new(0).with_style(style.clone()));
            bar.enable_steady_tick(TICK);
            self.bar = Some((stage, bar));
        }
        let (_, bar) = self.bar.as_ref().expect("the bar was created above");
        bar.set_style(style);
        bar
    }

    fn clear(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.hint_lines.drain(..).for_each(|line| line.finish_and_clear());
    }

    /// Shows the next stage, the elapsed time, and the effect of Ctrl-C below the current stage.
    fn draw_hint(&mut self, stage: Stage, next: Option<&str>, on_interrupt: &str) {
        self.bar(stage, WAITING);
        // Set everything before adding the bar: a bar outside the screen draws each change permanently.
        let elapsed = ProgressBar::new(0)
            .with_elapsed(self.started.elapsed())
            .with_style(style("  elapsed {clock} · {wide_msg}"))
            .with_message(on_interrupt.to_owned());
        self.hint_lines.extend(next.map(|next| {
            let line = self.screen.add(ProgressBar::new(0).with_style(style("· {wide_msg}")));
            line.set_message(next.to_owned());
            line
        }));
        let elapsed = self.screen.add(elapsed);
        elapsed.enable_steady_tick(Duration::from_secs(1));
        self.hint_lines.push(elapsed);
        self.hint_lines.iter().for_each(ProgressBar::tick);
    }

    /// Adds a line above the hint lines.
    fn add_line(&self) -> ProgressBar {
        let line = ProgressBar::new(0).with_style(style("{wide_msg}"));
        match self.hint_lines.first() {
            Some(first_hint) => self.screen.insert_before(first_hint, line),
            None => self.screen.add(line),
        }
    }

    /// Redraws the pod lines. If there are too many pods, those that are not ready come first.
    fn draw_pods(&mut self, stage: Stage, pods: &[PodLine]) {
        if !self.is_current_stage(stage) {
            return;
        }
        let mut shown: Vec<&PodLine> = pods.iter().collect();
        if shown.len() > MAX_POD_LINES {
            shown.sort_by_key(|pod| pod.mark == PodMark::Ready);
            shown.truncate(MAX_POD_LINES);
        }
        if self.pods.iter().map(|(pod, _)| &pod.pod).ne(shown.iter().map(|pod| &pod.pod)) {
            self.pods.drain(..).for_each(|(_, bar)| bar.finish_and_clear());
            for pod in &shown {
                self.pods.push(((*pod).clone(), self.add_line()));
            }
        }
        let columns = PodColumns::for_pods(shown.iter().copied());
        let colors = self.colors;
        let mut component = "";
        for (pod, (last, bar)) in shown.into_iter().zip(&mut self.pods) {
            let label = if pod.component == component { String::new() } else { component_label(pod) };
            component = &pod.component;
            bar.set_style(style(match pod.mark {
                PodMark::Starting => "  {prefix:14} {spinner} {wide_msg}",
                _ => "  {prefix:14} {wide_msg}",
            }));
            bar.set_prefix(label);
            let text = columns.line(pod);
            match pod.mark {
                PodMark::Starting => {
                    bar.enable_steady_tick(TICK);
                    bar.set_message(text);
                }
                PodMark::Ready => bar.set_message(format!("{} {text}", colors.paint(GOOD, "✔"))),
                PodMark::Failing => bar.set_message(format!("{} {text}", colors.paint(BAD, "✗"))),
            }
            last.clone_from(pod);
        }
    }

    /// Prints the last state of the pods permanently.
    fn print_final_pods(&mut self) {
        let mut pods = Vec::new();
        for (pod, bar) in self.pods.drain(..) {
            bar.finish_and_clear();
            pods.push(pod);
        }
        let columns = PodColumns::for_pods(&pods);
        let mut component = String::new();
        for pod in &pods {
            let label = if pod.component == component { String::new() } else { component_label(pod) };
            component.clone_from(&pod.component);
            let mark = match pod.mark {
                PodMark::Ready => self.paint(GOOD, "✔"),
                PodMark::Starting => "·".into(),
                PodMark::Failing => self.paint(BAD, "✗"),
            };
            self.print(&format!("  {label:14} {mark} {}", columns.line(pod)));
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    let elapsed = |state: &ProgressState, text: &mut dyn Write| {
        let _ = text.write_str(&clock(state.elapsed()));
    };
    ProgressStyle::with_template(template)
        .expect("the templates are valid constants of this file")
        .with_key("clock", elapsed)
}

/// Whether the terminal shows colors.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Colors {
    Shown,
    Omitted,
}

impl Colors {
    fn paint(self, style: Style, text: &str) -> String {
        match self {
            Self::Shown => format!("{style}{text}{style:#}"),
            Self::Omitted => text.into(),
        }
    }
}

/// The component with ready and desired pods: `prefill   1/2`.
fn component_label(pod: &PodLine) -> String {
    format!("{:<9} {}/{}", pod.component, pod.ready, pod.desired)
}

impl super::EventRenderer for TerminalRenderer {
    fn show(&mut self, event: &Event) {
        match event {
            Event::Plan { lines } => lines.iter().for_each(|line| self.print(line)),
            Event::Summary { lines } => {
                self.clear();
                self.print_final_pods();
                self.print_ready(None);
                self.print_deferred();
                // The summary follows the ready line without an empty line.
                let ready_printed = std::mem::take(&mut self.ready_printed);
                let lines = lines.iter().skip_while(|line| ready_printed && line.is_empty());
                lines.for_each(|line| self.print(line));
            }
            Event::Waiting { stage, waits_for } => {
                if self.is_current_stage(Stage::Preflight) && *stage != Stage::Preflight {
                    self.print_deferred();
                }
                let (waits_for, reason) = split_reason(waits_for, screen_width());
                let bar = self.bar(*stage, if reason.is_empty() { WAITING } else { WAITING_WITH_REASON });
                bar.set_prefix(reason);
                bar.set_message(format!("{:<14} waits for {waits_for}", stage.title()));
            }
            Event::Transfer { stage, done, total, bytes_per_second, eta_seconds, note } => {
                let remaining = eta_seconds.map(|seconds| clock(Duration::from_secs(seconds)));
                let remaining = remaining.map(|time| format!("{time} left  ")).unwrap_or_default();
                let text = format!(
                    "{}  {}/s  {remaining}{note}",
                    part_of_total(*done, *total),
                    bytes(*bytes_per_second)
                );
                let bar = self.bar(*stage, "{spinner} {prefix:14} {bar:18}  {wide_msg}");
                bar.set_length(*total);
                bar.set_position(*done);
                bar.set_prefix(stage.title());
                bar.set_message(text);
            }
            Event::Load { stage, level, done, total, requests_per_second, eta_seconds } => {
                let text = format_load(level, *done, *total, *requests_per_second, *eta_seconds);
                let bar = self.bar(*stage, WAITING);
                bar.set_message(format!("{:<14} {text}", stage.title()));
            }
            Event::Hint { stage, next, on_interrupt } => {
                self.draw_hint(*stage, next.as_deref(), on_interrupt)
            }
            Event::Pods { stage, pods } => self.draw_pods(*stage, pods),
            Event::Done { stage, text } => {
                self.clear();
                self.print_final_pods();
                match stage {
                    Stage::Preflight => self.print_preflight(text),
                    Stage::Ready => self.ready = Some((self.started.elapsed(), text.clone())),
                    Stage::SmokeTest if self.ready.is_some() => self.print_ready(Some(text)),
                    stage => self.print_done(*stage, text),
                }
            }
            Event::Info { text } => self.print(&format!("  {text}")),
            Event::Log { source, line } => {
                self.print(&format!("{} {line}", self.paint(DIM, &format!("{source:<10} |"))))
            }
            Event::Warning { code, text, hint } if self.is_current_stage(Stage::Preflight) => {
                self.deferred_warnings.push(DeferredWarning {
                    code: *code,
                    text: text.clone(),
                    hint: hint.clone(),
                });
            }
            Event::Warning { code, text, hint } => {
                let text = format_message("warning", *code, text, hint.as_deref());
                self.print(&self.paint(NOTE, &text));
            }
            Event::Failed { code, text, hint, .. } => {
                self.clear();
                self.print_final_pods();
                self.print_deferred();
                let text = format_message("error", *code, text, None);
                self.print(&self.paint(BAD, &text));
                if let Some(hint) = hint {
                    self.print(&format!("hint: {hint}"));
                }
            }
        }
    }
}
