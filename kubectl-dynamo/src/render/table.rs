//! Renders tables as kubectl does: columns separated by spaces, no lines, upper-case headings. It does not
//! print them.

use comfy_table::{ContentArrangement, Table, presets};

/// Renders a table of `headings` and `rows` that ends with a line break.
pub(crate) fn table(headings: &[&str], rows: Vec<Vec<String>>) -> String {
    let headings = headings.iter().map(|heading| (*heading).to_owned()).collect();
    format!("{}\n", columns(std::iter::once(headings).chain(rows), 3))
}

/// Renders rows as aligned columns, `gap` spaces apart.
pub(crate) fn columns(rows: impl IntoIterator<Item = Vec<String>>, gap: u16) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, gap));
    }
    table.trim_fmt()
}
