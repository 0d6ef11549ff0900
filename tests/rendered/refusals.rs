//! Lists the rejected cells of the matrix for review. All other cells must be valid.

use std::fmt::Write;

use kubectl_dynamo_tests::intents::{Cell, UNSUPPORTED_COMBINATIONS};

#[test]
fn every_unsupported_cell_has_a_reason_and_a_source() {
    let cells = Cell::all();
    let mut accepted = 0;
    for cell in &cells {
        accepted += usize::from(cell.plan().expect("accepted or rejected as listed").is_some());
    }
    let mut text =
        format!("{} cells: {accepted} accepted, {} rejected\n", cells.len(), cells.len() - accepted);
    for reason in UNSUPPORTED_COMBINATIONS {
        let unsupported: Vec<_> = cells
            .iter()
            .filter(|cell| cell.unsupported_reason().is_some_and(|matching| std::ptr::eq(matching, reason)))
            .collect();
        assert!(!unsupported.is_empty(), "no cell is rejected because {}", reason.reason);
        let heading = format!("{}: {}\nsource: {}", reason.code, reason.reason, reason.source);
        write!(text, "\n{heading}\n{} cells:\n", unsupported.len()).expect("writing to a String cannot fail");
        unsupported
            .iter()
            .for_each(|cell| writeln!(text, "  {cell}").expect("writing to a String cannot fail"));
    }
    insta::assert_snapshot!("refused-cells", text);
}
