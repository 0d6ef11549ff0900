//! `-f` with manifests that are not valid Kubernetes objects.

use crate::requests::TestFolder;

/// Returns a graph manifest with the given `metadata` lines.
fn graph(metadata: &str) -> String {
    format!(
        "apiVersion: nvidia.com/v1beta1\nkind: DynamoGraphDeployment\n{metadata}\nspec: {{components: []}}\n"
    )
}

#[test]
fn rejects_metadata_that_is_not_an_object() {
    let cases = [
        ("metadata: foo", "metadata of an object of kind DynamoGraphDeployment"),
        ("metadata: [a]", "metadata of an object of kind DynamoGraphDeployment"),
        ("metadata: {name: g, labels: foo}", "metadata.labels of an object of kind DynamoGraphDeployment"),
        ("metadata: {name: g, labels: [a]}", "metadata.labels of an object of kind DynamoGraphDeployment"),
        (
            "metadata: {name: g, annotations: 3}",
            "metadata.annotations of an object of kind DynamoGraphDeployment",
        ),
    ];
    for (metadata, expected) in cases {
        let folder = TestFolder::new();
        folder.write("graph.yaml", &graph(metadata));
        let output = folder.run(&["render", "-f", "graph.yaml", "--graph-api", "v1beta1"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{metadata}: {stderr}");
        assert!(stderr.contains("error [KD0006]: ") && stderr.contains(expected), "{metadata}: {stderr}");
        assert!(!stderr.contains("panicked"), "{metadata}: {stderr}");
    }
}

#[test]
fn rejects_invalid_metadata_of_a_pvc() {
    let folder = TestFolder::new();
    let pvc = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: foo\n---\n";
    folder.write("graph.yaml", &format!("{pvc}{}", graph("metadata: {name: g}")));
    let output = folder.run(&["render", "-f", "graph.yaml", "--graph-api", "v1beta1"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("metadata of an object of kind PersistentVolumeClaim"), "{stderr}");
}

#[test]
fn absent_labels_and_annotations_are_valid() {
    let folder = TestFolder::new();
    folder.write("graph.yaml", &graph("metadata: {name: g, labels: null}"));
    let rendered = folder.run_successfully(&["render", "-f", "graph.yaml", "--graph-api", "v1beta1"]);
    assert!(rendered.contains("name: g"), "{rendered}");
}
