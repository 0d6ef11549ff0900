//! What fits on a screen of some width: the columns of the pods' lines, and a reason below what is waited for.

use std::time::Duration;

use console::{measure_text_width, truncate_str};

use crate::report::PodLine;
use crate::report::units::clock;

/// Columns before a pod's name: the component, its count, a mark.
const HEAD: usize = 19;
/// Columns before what came of a stage.
pub(super) const STAGE: usize = 17;

/// How wide the columns of the pods' lines are on a screen of this width.
pub(super) struct Columns {
    whole_names: bool,
    name: usize,
    doing: usize,
    node: usize,
}

impl Columns {
    pub(super) fn of<'a>(pods: impl IntoIterator<Item = &'a PodLine> + Clone) -> Self {
        let widest =
            |text: &dyn Fn(&PodLine) -> usize| pods.clone().into_iter().map(text).max().unwrap_or_default();
        let width = |text: &str| text.chars().count();
        let (doing, node) =
            (widest(&|pod| width(&pod.doing)), widest(&|pod| pod.node.as_deref().map_or(0, width)));
        let (whole, note) = (widest(&|pod| width(&pod.pod)), widest(&|pod| width(&note(pod))));
        let whole_names = HEAD + whole + doing + node + note + 6 <= screen_width();
        let name = if whole_names { whole } else { widest(&|pod| width(&pod.short)) };
        // A long reason is no reason to push the nodes of the others off the screen.
        let room = screen_width().saturating_sub(HEAD + name + node + note + 6);
        Self { whole_names, name, doing: doing.min(room.max(12)), node }
    }

    pub(super) fn line(&self, pod: &PodLine) -> String {
        let name = if self.whole_names { &pod.pod } else { &pod.short };
        let node = pod.node.as_deref().unwrap_or_default();
        let (name_width, doing_width, node_width) = (self.name, self.doing, self.node);
        let line =
            format!("{name:name_width$}  {:doing_width$}  {node:node_width$}  {}", pod.doing, note(pod));
        line.trim_end().to_owned()
    }
}

/// How long it took to get ready, or what its image took.
fn note(pod: &PodLine) -> String {
    let took = pod.ready_after_seconds.map(|seconds| clock(Duration::from_secs(seconds)));
    took.or_else(|| pod.note.clone()).unwrap_or_default()
}

/// What is waited for, and apart from it why where a line of this width does not hold both; as much of it as a second
/// line holds. What stands in brackets is not torn apart.
pub(super) fn in_two(waits_for: &str, width: usize) -> (String, String) {
    let text = waits_for.split_whitespace().collect::<Vec<_>>().join(" ");
    if STAGE + "waits for   0:00:00".len() + measure_text_width(&text) <= width {
        return (text, String::new());
    }
    let mut depth = 0;
    let colon = text.char_indices().find(|(at, letter)| {
        depth += match letter {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth == 0 && text[*at..].starts_with(": ")
    });
    match colon {
        Some((at, _)) => {
            let why = truncate_str(&text[at + 2..], width.saturating_sub(5), "…").into_owned();
            (text[..at].to_owned(), why)
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
    fn why_stands_below_where_a_line_does_not_hold_it() {
        let long = "a".repeat(30);
        for (waits_for, what, why) in [
            ("a pod", "a pod", ""),
            ("a pod: none yet", "a pod: none yet", ""),
            (&*format!("{long}: it is\nfull"), &*long, "it is full"),
            (&format!("{long} (pods: {long})"), &format!("{long} (pods: {long})"), ""),
            (&format!("{long} (pods: none): it is full"), &format!("{long} (pods: none)"), "it is full"),
            (&format!("{long}: {}", "満".repeat(40)), &long, &format!("{}…", "満".repeat(27))),
        ] {
            assert_eq!(in_two(waits_for, 60), (what.to_owned(), why.to_owned()), "{waits_for}");
        }
    }
}
