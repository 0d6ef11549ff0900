//! Generated parts of the documentation: the text of a page between two markers, which a test compares with the
//! code. With `UPDATE_PAGES=1` the tests write this text instead.

use crate::cache::repository;

/// Compares the text between `<!-- MARKER -->` and `<!-- /MARKER -->` of a page with the expected text.
///
/// # Panics
/// If the page cannot be read, does not have the markers, or is outdated.
pub fn check_generated(page: &str, marker: &str, expected: &str) {
    let path = repository().join(page);
    let text = std::fs::read_to_string(&path).expect("the page can be read");
    let (start, end) = (format!("<!-- {marker} -->\n"), format!("<!-- /{marker} -->"));
    let parts = text.split_once(&start).and_then(|(before, rest)| Some((before, rest.split_once(&end)?)));
    let (before, (documented, after)) = parts.unwrap_or_else(|| panic!("{page} has the markers of {marker}"));
    if documented == expected {
        return;
    }
    if is_update_requested() {
        std::fs::write(&path, format!("{before}{start}{expected}{end}{after}"))
            .expect("the page can be written");
        return;
    }
    let differing = expected.lines().find(|line| !documented.lines().any(|known| known == *line));
    panic!(
        "{page} is outdated: run the test again with UPDATE_PAGES=1; the first missing line is:\n{}",
        differing.unwrap_or("(a line that no longer exists)")
    );
}

fn is_update_requested() -> bool {
    std::env::var_os("UPDATE_PAGES").is_some_and(|value| !value.is_empty())
}

/// Returns a row of a Markdown table. A `|` in a cell is escaped.
pub fn table_row<T: AsRef<str>>(cells: &[T]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.as_ref().replace('|', r"\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}
