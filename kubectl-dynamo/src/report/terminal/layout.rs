//! Fits text to the width of the screen: the columns of the pod lines, and long reasons on a second line.
//! It does not write to the terminal.

use std::time::Duration;

use console::{measure_text_width, truncate_str};

use crate::report::PodLine;
use crate::report::units::clock;

/// Width before a pod name: the component, its pod count, and a mark.
const PREFIX_WIDTH: usize = 19;
/// Width before the result of a stage.
pub(super) const STAGE_WIDTH: usize = 17;

/// The column widths of the pod lines.
pub(super) struct PodColumns {
    full_names: bool,
    name: usize,
    status: usize,
    node: usize,
}

impl PodColumns {
    pub(super) fn for_pods<'a>(pods: impl IntoIterator<Item = &'a PodLine> + Clone) -> Self {
        let widest =
            |text: &dyn Fn(&PodLine) -> usize| pods.clone().into_iter().map(text).max().unwrap_or_default();
        let width = |text: &str| text.chars().count();
        let (status, node) =
            (widest(&|pod| width(&pod.status_text)), widest(&|pod| pod.node.as_deref().map_or(0, width)));
        let (full_name_width, note) =
            (widest(&|pod| width(&pod.pod)), widest(&|pod| width(&duration_note(pod))));
        let full_names = PREFIX_WIDTH + full_name_width + status + node + note + 6 <= screen_width();
        let name = if full_names { full_name_width } else { widest(&|pod| width(&pod.short_name)) };
        // A long status must not push the node column of the other pods off the screen.
        let available = screen_width().saturating_sub(PREFIX_WIDTH + name + node + note + 6);
        Self { full_names, name, status: status.min(available.max(12)), node }
    }

    pub(super) fn line(&self, pod: &PodLine) -> String {
        let name = if self.full_names { &pod.pod } else { &pod.short_name };
        let node = pod.node.as_deref().unwrap_or_default();
        let (name_width, status_width, node_width) = (self.name, self.status, self.node);
        let line = format!(
            "{name:name_width$}  {:status_width$}  {node:node_width$}  {}",
            pod.status_text,
            duration_note(pod)
        );
        line.trim_end().to_owned()
    }
}

/// The time until the pod was ready, or its note, such as the image pull time.
fn duration_note(pod: &PodLine) -> String {
    let duration = pod.ready_after_seconds.map(|seconds| clock(Duration::from_secs(seconds)));
    duration.or_else(|| pod.note.clone()).unwrap_or_default()
}

/// Splits a wait at its first colon outside of parentheses if it does not fit on one line. The reason is
/// truncated to the width of the second line.
pub(super) fn split_reason(waits_for: &str, width: usize) -> (String, String) {
    let text = waits_for.split_whitespace().collect::<Vec<_>>().join(" ");
    if STAGE_WIDTH + "waits for   0:00:00".len() + measure_text_width(&text) <= width {
        return (text, String::new());
    }
    let mut depth = 0;
    let colon = text.char_indices().find(|(index, letter)| {
        depth += match letter {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth == 0 && text[*index..].starts_with(": ")
    });
    match colon {
        Some((index, _)) => {
            let reason = truncate_str(&text[index + 2..], width.saturating_sub(5), "…").into_owned();
            (text[..index].to_owned(), reason)
        }
        None => (text, String::new()),
    }
}

pub(super) fn screen_width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stderr()).map_or(80, |size| usize::from(size.ws_col).max(40))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_reason_wraps_to_second_line() {
        let long = "a".repeat(30);
        for (waits_for, subject, reason) in [
            ("a pod", "a pod", ""),
            ("a pod: none yet", "a pod: none yet", ""),
            (&*format!("{long}: it is\nfull"), &*long, "it is full"),
            (&format!("{long} (pods: {long})"), &format!("{long} (pods: {long})"), ""),
            (&format!("{long} (pods: none): it is full"), &format!("{long} (pods: none)"), "it is full"),
            (&format!("{long}: {}", "満".repeat(40)), &long, &format!("{}…", "満".repeat(27))),
        ] {
            assert_eq!(split_reason(waits_for, 60), (subject.to_owned(), reason.to_owned()), "{waits_for}");
        }
    }
}
