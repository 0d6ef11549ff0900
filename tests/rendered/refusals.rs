//! The cells of the matrix that are refused, listed for review: every other one must be accepted.

use std::fmt::Write;

use kubectl_dynamo_tests::cells::{Cell, REFUSALS};

#[test]
fn every_refused_cell_has_a_reason_and_a_source() {
    let cells = Cell::all();
    let mut accepted = 0;
    for cell in &cells {
        accepted += usize::from(cell.plan().expect("accepted or refused as listed").is_some());
    }
    let mut text =
        format!("{} cells: {accepted} accepted, {} refused\n", cells.len(), cells.len() - accepted);
    for refusal in REFUSALS {
        let refused: Vec<_> =
            cells.iter().filter(|cell| cell.refusal().is_some_and(|of| std::ptr::eq(of, refusal))).collect();
        assert!(!refused.is_empty(), "no cell is refused because {}", refusal.reason);
        let heading = format!("{}: {}\nsource: {}", refusal.code, refusal.reason, refusal.source);
        write!(text, "\n{heading}\n{} cells:\n", refused.len()).expect("a text takes all");
        refused.iter().for_each(|cell| writeln!(text, "  {cell}").expect("a text takes all"));
    }
    insta::assert_snapshot!("refused-cells", text);
}
