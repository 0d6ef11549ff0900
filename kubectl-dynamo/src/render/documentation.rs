//! Renders the embedded documentation: the list of its pages, and a page for a terminal. It does not print them.

use std::sync::LazyLock;

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets};
use regex::{Captures, Regex};
use textwrap::Options;

use crate::render::table::columns;
use kubectl_dynamo_core::documentation::DocumentationPage;

const BOLD: Style = Style::new().bold();
const CODE: Style = AnsiColor::Cyan.on_default();

/// Code or bold text, with the text in the first or the second group.
static MARKED_TEXT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"`([^`]+)`|\*\*([^*]+)\*\*").expect("a valid pattern"));
/// Inline code in the first group, or a link with its text and its target in the others.
static LINK: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(`[^`]*`)|!?\[([^\]]+)\]\(([^)\s]+)\)").expect("a valid pattern"));

/// Lists the names and the topics of the pages below the headings of their sections.
pub(crate) fn page_list(pages: &[DocumentationPage]) -> String {
    let sections = pages.chunk_by(|one, next| one.section == next.section);
    let section = |pages: &[DocumentationPage]| {
        let rows = pages.iter().map(|page| vec![format!("  {}", page.name), page.topic.to_owned()]);
        let title = pages.first().map_or("", |page| page.section);
        format!("{title}\n{}\n", columns(rows, 3))
    };
    sections.map(section).collect::<Vec<_>>().join("\n")
}

/// Renders Markdown for a terminal with `width` columns. Links are replaced by their text, and comments are left out.
/// Code is indented and never wrapped, so that it can be copied.
pub(crate) fn page_for_terminal(markdown: &str, width: usize) -> String {
    let (mut text, mut prose, mut is_code) = (String::new(), String::new(), false);
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            // Code in a list item is indented.
            text += &prose_for_terminal(&std::mem::take(&mut prose), width);
            is_code = !is_code;
        } else if is_code {
            text += &format!("    {line}\n");
        } else {
            prose += &format!("{line}\n");
        }
    }
    text + &prose_for_terminal(&prose, width)
}

fn prose_for_terminal(markdown: &str, width: usize) -> String {
    if markdown.is_empty() {
        return String::new();
    }
    blocks_for_terminal(&one_line_paragraphs(&without_links(markdown)), width)
}

/// Renders headings, paragraphs, list items, and tables. Each but a row of a table is one line of `markdown`.
fn blocks_for_terminal(markdown: &str, width: usize) -> String {
    let mut text = String::new();
    let mut lines = markdown.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with('|') {
            let mut rows = vec![line];
            rows.extend(std::iter::from_fn(|| lines.next_if(|line| line.starts_with('|'))));
            text += &table_for_terminal(&rows, width);
            text.push('\n');
            continue;
        }
        if let Some(heading) = line.strip_prefix('#') {
            let heading =
                with_inline_styles(heading.trim_start_matches('#').trim(), Style::new(), Style::new());
            text += &format!("{BOLD}{heading}{BOLD:#}\n");
            continue;
        }
        let indent = " ".repeat(line.len() - line.trim_start().len() + list_mark_length(line));
        let options = Options::new(width).subsequent_indent(&indent);
        for wrapped in textwrap::wrap(&with_inline_styles(line, CODE, BOLD), options) {
            text += &format!("{wrapped}\n");
        }
    }
    text
}

/// Renders the rows of a table, of which the second only separates the heading.
fn table_for_terminal(rows: &[&str], width: usize) -> String {
    let cells = |row: &&str| -> Vec<String> {
        let row = row.trim().trim_matches('|').replace(r"\|", "\u{0}");
        let plain =
            |cell: &str| with_inline_styles(cell.trim(), Style::new(), Style::new()).replace('\u{0}', "|");
        row.split('|').map(plain).collect()
    };
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
    table.set_header(rows.first().map(cells).unwrap_or_default());
    table.add_rows(rows.iter().skip(2).map(cells));
    table.trim_fmt()
}

/// Replaces the marks of code and of bold text by styles.
fn with_inline_styles(text: &str, code: Style, bold: Style) -> String {
    let styled = MARKED_TEXT.replace_all(text, |found: &Captures| match (found.get(1), found.get(2)) {
        (Some(text), _) => format!("{code}{}{code:#}", text.as_str()),
        (_, Some(text)) => format!("{bold}{}{bold:#}", text.as_str()),
        _ => found[0].to_owned(),
    });
    styled.into_owned()
}

/// Replaces links by their text and the address of a website in parentheses. Inline code is not changed.
fn without_links(markdown: &str) -> String {
    let replaced = LINK.replace_all(markdown, |found: &Captures| match (found.get(2), found.get(3)) {
        (Some(text), Some(target)) if target.as_str().contains("://") => {
            format!("{} ({})", text.as_str(), target.as_str())
        }
        (Some(text), _) => text.as_str().to_owned(),
        _ => found[0].to_owned(),
    });
    replaced.into_owned()
}

/// Joins the lines of each paragraph and of each list item, and leaves out comments.
fn one_line_paragraphs(markdown: &str) -> String {
    let mut text = String::new();
    let mut is_open = false;
    for line in markdown.lines().filter(|line| !line.starts_with("<!--")) {
        let trimmed = line.trim_start();
        let is_block = trimmed.is_empty() || trimmed.starts_with(['#', '|']);
        if is_open && !is_block && list_mark_length(line) == 0 {
            text += &format!(" {trimmed}");
        } else {
            text += &format!("\n{line}");
        }
        is_open = !is_block;
    }
    format!("{}\n", text.strip_prefix('\n').unwrap_or(&text))
}

/// Returns the length of the mark of a list item, such as `- ` or `12. `, or 0 if the line does not start an item.
fn list_mark_length(line: &str) -> usize {
    let line = line.trim_start();
    match line.split_once(". ") {
        _ if line.starts_with("- ") => 2,
        Some((number, _)) if !number.is_empty() && number.bytes().all(|one| one.is_ascii_digit()) => {
            number.len() + 2
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_become_text_and_inline_code_stays() {
        let markdown = "See [fit](explanation/fit.md#a), [krew](https://krew.sigs.k8s.io), and `[x](y)`.";
        assert_eq!(without_links(markdown), "See fit, krew (https://krew.sigs.k8s.io), and `[x](y)`.");
    }

    #[test]
    fn paragraphs_and_list_items_become_one_line() {
        let markdown = "# A\n\none\ntwo\n\n- three\n  four\n- five\n1. six\n   seven\n\n| a |\n|---|\n<!-- x -->\n| b |\n";
        let expected = "# A\n\none two\n\n- three four\n- five\n1. six seven\n\n| a |\n|---|\n| b |\n";
        assert_eq!(one_line_paragraphs(markdown), expected);
    }

    #[test]
    fn text_and_tables_fit_and_code_is_not_wrapped() {
        let row = "| `--timeout <DURATION>` | Maximum time to wait, such as 90s or 30m, before the command gives up |";
        let code = format!("kubectl dynamo up {}", "a".repeat(60));
        let item = page_for_terminal("10. Waits until it serves.\n- Waits until.\n", 14);
        assert_eq!(item, "10. Waits\n    until it\n    serves.\n- Waits until.\n");
        let listed = format!("1. Run:\n\n   ```sh\n   {code}\n   ```\n");
        let indented = page_for_terminal(&listed, 60);
        assert_eq!(indented, format!("1. Run:\n\n       {code}\n"));
        let markdown = format!(
            "# up\n\nWaits until\nit serves.\n\n```sh\n{code}\n```\n\n| Flag | Description |\n|---|---|\n{row}\n"
        );
        let text = page_for_terminal(&markdown, 60);
        let plain = console::strip_ansi_codes(&text);
        for part in [
            "up\n",
            "Waits until it serves.\n",
            &format!("\n\n    {code}\n\n┌"),
            "--timeout <DURATION>",
            "before the command",
        ] {
            assert!(plain.contains(part), "{part:?} is missing:\n{plain}");
        }
        for line in plain.lines().filter(|line| !line.contains(&code)) {
            assert!(console::measure_text_width(line) <= 60, "{line}");
        }
    }
}
