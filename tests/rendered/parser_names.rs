//! Compares the table of parser names with the wheels of every release. It is ignored by default, because it downloads
//! about 4 GB.

use std::path::Path;
use std::process::Command;

const TABLE: &str = include_str!("../../kubectl-dynamo/core/src/release/parser_names.txt");

#[test]
#[ignore = "downloads the wheels of every release, about 4 GB"]
fn parser_names_match_the_wheels() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("parser-names");
    let output = Command::new("python3").arg(script).arg("--print").output().expect("the script runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), TABLE);
}
