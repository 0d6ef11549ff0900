//! A text as its lines inside and outside of the markers.

use super::{MODEL_LIST, TextEditError};

/// What a pair of markers encloses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SectionKind {
    Entries,
    Settings,
}

impl SectionKind {
    const ALL: [Self; 2] = [Self::Entries, Self::Settings];

    fn name(self) -> &'static str {
        match self {
            Self::Entries => "entries",
            Self::Settings => "settings",
        }
    }

    fn begin(self) -> String {
        format!("# kubectl-dynamo: begin of {}, which the next gateway config replaces", self.name())
    }

    fn end(self) -> String {
        format!("# kubectl-dynamo: end of {}", self.name())
    }
}

/// A text with at most one section of each kind.
#[derive(Debug, Clone)]
pub(super) struct MarkedText {
    parts: Vec<TextPart>,
}

#[derive(Debug, Clone)]
enum TextPart {
    /// A line with its line break.
    Line(String),
    Section(MarkedSection),
}

#[derive(Debug, Clone)]
struct MarkedSection {
    kind: SectionKind,
    indent: String,
    /// Without line breaks and without the indent.
    lines: Vec<String>,
}

impl MarkedText {
    /// Finds the sections of a text.
    ///
    /// # Errors
    /// Markers that are repeated or not in pairs.
    pub(super) fn parse(text: &str) -> Result<Self, TextEditError> {
        let mut parts = Vec::new();
        let mut open: Option<MarkedSection> = None;
        let mut seen = Vec::new();
        let broken = |reason: String| TextEditError::BrokenMarkers { reason };
        for line in text.split_inclusive('\n') {
            let content = line.trim();
            if let Some(kind) = SectionKind::ALL.into_iter().find(|kind| content == kind.begin()) {
                if open.is_some() || seen.contains(&kind) {
                    return Err(broken(format!(
                        "\"{}\" is repeated or inside of another pair",
                        kind.begin()
                    )));
                }
                seen.push(kind);
                let indent = line[..line.len() - line.trim_start().len()].to_owned();
                open = Some(MarkedSection { kind, indent, lines: Vec::new() });
            } else if let Some(kind) = SectionKind::ALL.into_iter().find(|kind| content == kind.end()) {
                match open.take() {
                    Some(section) if section.kind == kind => parts.push(TextPart::Section(section)),
                    _ => return Err(broken(format!("\"{}\" does not have a beginning", kind.end()))),
                }
            } else if content.starts_with("# kubectl-dynamo: ") {
                return Err(broken(format!("\"{content}\" is not a marker of this version")));
            } else if open.is_none() {
                // The lines of a section are always replaced.
                parts.push(TextPart::Line(line.to_owned()));
            }
        }
        match open {
            Some(section) => Err(broken(format!("\"{}\" does not have an end", section.kind.begin()))),
            None => Ok(Self { parts }),
        }
    }

    /// The text outside of the markers.
    pub(super) fn outside(&self) -> String {
        let line = |part: &TextPart| match part {
            TextPart::Line(line) => Some(line.clone()),
            TextPart::Section(_) => None,
        };
        self.parts.iter().filter_map(line).collect()
    }

    /// The complete text.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                TextPart::Line(line) => text.push_str(line),
                TextPart::Section(section) => {
                    if !text.is_empty() && !text.ends_with('\n') {
                        text.push('\n');
                    }
                    let MarkedSection { kind, indent, lines } = section;
                    for line in [kind.begin()].iter().chain(lines).chain([&kind.end()]) {
                        text.push_str(&format!("{indent}{line}\n"));
                    }
                }
            }
        }
        text
    }

    /// Writes a section at the end of the text, or where it is. A section without lines is removed.
    pub(super) fn set_at_end(&mut self, kind: SectionKind, lines: Vec<String>) {
        let at = self.position(kind);
        match (at, lines.is_empty()) {
            (Some(at), true) => drop(self.parts.remove(at)),
            (None, true) => {}
            (at, false) => {
                let section = TextPart::Section(MarkedSection { kind, indent: String::new(), lines });
                match at {
                    Some(at) => self.parts[at] = section,
                    None => self.parts.push(section),
                }
            }
        }
    }

    /// Writes the entries where their section is, or behind the last item of `model_list`.
    ///
    /// # Errors
    /// A list in another layout than one line for each field.
    pub(super) fn set_entries(&mut self, lines: &[String]) -> Result<(), TextEditError> {
        let (key, end) = self.list_lines().ok_or(TextEditError::UnknownLayout)?;
        let item = self.parts[key + 1..end].iter().find_map(TextPart::item_indent);
        let indent = item.unwrap_or_else(|| "  ".to_owned());
        let section =
            TextPart::Section(MarkedSection { kind: SectionKind::Entries, indent, lines: lines.to_vec() });
        match self.position(SectionKind::Entries) {
            // A section elsewhere contains the field too, which is outside of it now.
            Some(at) if !(key..end).contains(&at) => {
                self.parts.insert(end, section);
                self.parts.remove(if at < end { at } else { at + 1 });
            }
            Some(at) => self.parts[at] = section,
            None => self.parts.insert(end, section),
        }
        Ok(())
    }

    fn position(&self, kind: SectionKind) -> Option<usize> {
        self.parts.iter().position(|part| matches!(part, TextPart::Section(section) if section.kind == kind))
    }

    /// The index of the line with the field, and the index behind the last line of its list.
    fn list_lines(&self) -> Option<(usize, usize)> {
        let field = format!("{MODEL_LIST}:");
        let key = self.parts.iter().position(|part| {
            part.line().and_then(|line| line.strip_prefix(&field)).is_some_and(is_blank_or_comment)
        })?;
        let mut end = key + 1;
        for (index, part) in self.parts.iter().enumerate().skip(key + 1) {
            let belongs = match part {
                TextPart::Section(section) => section.kind == SectionKind::Entries,
                TextPart::Line(line) if is_blank_or_comment(line) => continue,
                TextPart::Line(line) => line.starts_with([' ', '\t']) || line.starts_with("- "),
            };
            if !belongs {
                break;
            }
            end = index + 1;
        }
        Some((key, end))
    }
}

impl TextPart {
    fn line(&self) -> Option<&str> {
        match self {
            Self::Line(line) => Some(line),
            Self::Section(_) => None,
        }
    }

    /// The spaces before the dash of an item.
    fn item_indent(&self) -> Option<String> {
        let line = self.line()?;
        let item = line.trim_start_matches(' ');
        item.starts_with('-').then(|| line[..line.len() - item.len()].to_owned())
    }
}

fn is_blank_or_comment(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || text.starts_with('#')
}
