//! `config`: settings that every deployment falls back to, in the user's file and in a project's.

use crate::requests::Place;

const FILE: &str = ".config/kubectl-dynamo/config.toml";

#[test]
fn a_setting_is_kept_found_and_removed() {
    let place = Place::new();
    place.write(FILE, "# ours\nrelease = \"1.4.2\" # until June\n");
    place.prints(&["config", "set", "release", "1.5.1"]);
    place.prints(&["config", "set", "nodeSelector.pool", "h100"]);
    place.prints(&["config", "set", "nodeSelector.kubernetes\\.io/arch", "amd64"]);
    let file = place.read(FILE);
    assert!(file.starts_with("# ours\nrelease = \"1.5.1\" # until June\n"), "{file}");
    assert_eq!(place.prints(&["config", "get", "release"]), "1.5.1\n");
    assert_eq!(place.prints(&["config", "get", "nodeSelector.pool"]), "h100\n");
    assert_eq!(place.prints(&["config", "path"]).trim(), place.path().join(FILE).display().to_string());
    let listed = place.prints(&["config", "list"]);
    assert!(listed.contains("nodeSelector.pool") && listed.contains("user config"), "{listed}");
    let rendered = place.prints(&["render", "Qwen/Qwen3-0.6B", "--graph-api", "v1beta1"]);
    assert!(rendered.contains("vllm-runtime:1.5.1") && rendered.contains("pool: h100"), "{rendered}");
    place.prints(&["config", "unset", "nodeSelector.pool"]);
    place.prints(&["config", "unset", "release"]);
    let output = place.run(&["config", "get", "release"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{output:?}");
    assert!(!place.read(FILE).contains("h100"));
}

#[test]
fn a_project_has_settings_of_its_own() {
    let place = Place::new();
    place.prints(&["config", "set", "--project", "namespace", "serving"]);
    assert_eq!(place.read(".kubectl-dynamo.toml"), "namespace = \"serving\"\n");
    let model = ["render", "Qwen/Qwen3-0.6B", "--release", "1.6.1", "--graph-api", "v1beta1"];
    assert!(place.prints(&model).contains("namespace: serving"));
    let flag = [&model[..], &["-n", "other"]].concat();
    assert!(place.prints(&flag).contains("namespace: other"));
}

#[test]
fn a_wrong_setting_is_refused_and_nothing_is_written() {
    let place = Place::new();
    let cases = [
        (["config", "set", "releese", "1.6.1"], "KD0004", "release"),
        (["config", "set", "router.mode", "fast"], "KD0005", "round-robin"),
        (["config", "set", "cache.size", "large"], "KD0402", "cache.size=200Gi"),
    ];
    for (arguments, code, said) in cases {
        let output = place.run(&arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(code) && stderr.contains(said), "{stderr}");
    }
    assert!(!place.path().join(FILE).exists());
    place.write(FILE, "release = \"1.6.1\nnamespace = 3\n");
    let output = place.run(&["render", "Qwen/Qwen3-0.6B", "--graph-api", "v1beta1"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("config.toml") && stderr.contains("error [KD0008]"), "{stderr}");
    // Where the new file is to be, a folder is.
    let place = Place::new();
    place.write(&format!("{FILE}.new/any"), "");
    let output = place.run(&["config", "set", "release", "1.6.1"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("error [KD0009]"), "{stderr}");
}

/// The starter kit's `config.json`, with the fields of its own example.
const KIT: &str = r#"{
  "platform": {
    "eks": {
      "dynamoPlatform": { "releaseVersion": "1.4.2-post1", "namespace": "dynamo-cloud" },
      "storageClass": "efs-sc"
    }
  }
}"#;

#[test]
fn the_kits_settings_are_taken_over() {
    let place = Place::new();
    place.write("config.json", KIT);
    let output = place.run(&["config", "import-kit", "config.json"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("release = 1.4.2") && stderr.contains("left out"), "{stderr}");
    assert_eq!(place.prints(&["config", "get", "release"]), "1.4.2\n");
    assert_eq!(place.prints(&["config", "get", "namespace"]), "dynamo-cloud\n");
    assert_eq!(place.prints(&["config", "get", "cache.storageClass"]), "efs-sc\n");
    place.write("config.json", "{}");
    let output = place.run(&["config", "import-kit", "config.json"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("dynamoPlatform"), "{stderr}");
    assert!(stderr.contains("error [KD0010]"), "{stderr}");
}
