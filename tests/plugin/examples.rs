//! `manifests/examples` and `manifests/rbac` are what the program prints now.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kubectl_dynamo_tests::cache;

use crate::programs;

fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let read = entries.map(|entry| {
        let entry = entry.expect("the folder can be read");
        let text = fs::read_to_string(entry.path()).expect("examples are text");
        (entry.file_name().to_string_lossy().into_owned(), text)
    });
    read.collect()
}

#[test]
fn examples_and_roles_are_what_the_program_prints() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    programs::run("manifests/render", &[folder.path()]);
    for part in ["examples", "rbac"] {
        let kept = files(&cache::repository().join("manifests").join(part));
        let rendered = files(&folder.path().join(part));
        assert!(!rendered.is_empty(), "nothing was rendered");
        assert_eq!(kept, rendered, "run manifests/render and read what changed");
    }
}
