//! Checks that `manifests/examples` and `manifests/rbac` match the program's output.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kubectl_dynamo_tests::cache;

use crate::programs;

fn read_folder(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).expect("the folder exists");
    let read = entries.map(|entry| {
        let entry = entry.expect("the folder is readable");
        let text = fs::read_to_string(entry.path()).expect("examples are UTF-8");
        (entry.file_name().to_string_lossy().into_owned(), text)
    });
    read.collect()
}

#[test]
fn committed_manifests_match_the_program_output() {
    let folder = tempfile::tempdir().expect("can create a temporary folder");
    programs::run_repository_command("manifests/render", &[folder.path()]);
    for part in ["examples", "rbac"] {
        let committed = read_folder(&cache::repository().join("manifests").join(part));
        let rendered = read_folder(&folder.path().join(part));
        assert!(!rendered.is_empty(), "nothing was rendered");
        assert_eq!(committed, rendered, "run manifests/render and review the changes");
    }
}
