//! Tables as kubectl prints them: columns apart by spaces, no lines, upper-case headings.

use comfy_table::{ContentArrangement, Table, presets};

/// A table of `headings` and `rows`, ending in a line break.
pub(super) fn table(headings: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.iter().copied());
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    format!("{}\n", table.trim_fmt())
}
