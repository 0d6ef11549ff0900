//! Tables as kubectl prints them: columns apart by spaces, no lines, upper-case headings.

use comfy_table::{ContentArrangement, Table, presets};

/// A table of `headings` and `rows`, ending in a line break.
pub(super) fn table(headings: &[&str], rows: Vec<Vec<String>>) -> String {
    let headings = headings.iter().map(|heading| (*heading).to_owned()).collect();
    format!("{}\n", columns(std::iter::once(headings).chain(rows), 3))
}

/// Rows in columns of equal width, so many spaces apart.
pub(super) fn columns(rows: impl IntoIterator<Item = Vec<String>>, gap: u16) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, gap));
    }
    table.trim_fmt()
}
