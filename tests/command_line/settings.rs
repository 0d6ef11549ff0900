//! `config`: default settings for every deployment, in the user's file and in a project's.

use crate::requests::TestFolder;

const FILE: &str = ".config/kubectl-dynamo/config.toml";

#[test]
fn config_set_get_and_unset_preserve_the_file() {
    let folder = TestFolder::new();
    folder.write(FILE, "# ours\nrelease = \"1.4.2\" # until June\n");
    folder.run_successfully(&["config", "set", "release", "1.5.1"]);
    folder.run_successfully(&["config", "set", "nodeSelector.pool", "h100"]);
    folder.run_successfully(&["config", "set", "nodeSelector.kubernetes\\.io/arch", "amd64"]);
    let file = folder.read(FILE);
    assert!(file.starts_with("# ours\nrelease = \"1.5.1\" # until June\n"), "{file}");
    assert_eq!(folder.run_successfully(&["config", "get", "release"]), "1.5.1\n");
    assert_eq!(folder.run_successfully(&["config", "get", "nodeSelector.pool"]), "h100\n");
    assert_eq!(
        folder.run_successfully(&["config", "path"]).trim(),
        folder.path().join(FILE).display().to_string()
    );
    let listed = folder.run_successfully(&["config", "list"]);
    assert!(listed.contains("nodeSelector.pool") && listed.contains("user config"), "{listed}");
    let rendered = folder.run_successfully(&["render", "Qwen/Qwen3-0.6B", "--graph-api", "v1beta1"]);
    assert!(rendered.contains("vllm-runtime:1.5.1") && rendered.contains("pool: h100"), "{rendered}");
    folder.run_successfully(&["config", "unset", "nodeSelector.pool"]);
    folder.run_successfully(&["config", "unset", "release"]);
    let output = folder.run(&["config", "get", "release"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{output:?}");
    assert!(!folder.read(FILE).contains("h100"));
}

#[test]
fn project_settings_apply_to_render() {
    let folder = TestFolder::new();
    folder.run_successfully(&["config", "set", "--project", "namespace", "serving"]);
    assert_eq!(folder.read(".kubectl-dynamo.toml"), "namespace = \"serving\"\n");
    let model = ["render", "Qwen/Qwen3-0.6B", "--release", "1.6.1", "--graph-api", "v1beta1"];
    assert!(folder.run_successfully(&model).contains("namespace: serving"));
    let flag = [&model[..], &["-n", "other"]].concat();
    assert!(folder.run_successfully(&flag).contains("namespace: other"));
}

#[test]
fn rejects_invalid_settings_without_writing() {
    let folder = TestFolder::new();
    let cases = [
        (["config", "set", "releese", "1.6.1"], "KD0004", "release"),
        (["config", "set", "router.mode", "fast"], "KD0005", "round-robin"),
        (["config", "set", "cache.size", "large"], "KD0402", "cache.size=200Gi"),
    ];
    for (arguments, code, message) in cases {
        let output = folder.run(&arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(code) && stderr.contains(message), "{stderr}");
    }
    assert!(!folder.path().join(FILE).exists());
    folder.write(FILE, "release = \"1.6.1\nnamespace = 3\n");
    let output = folder.run(&["render", "Qwen/Qwen3-0.6B", "--graph-api", "v1beta1"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("config.toml") && stderr.contains("error [KD0008]"), "{stderr}");
    // The path of the new file is a folder.
    let folder = TestFolder::new();
    folder.write(&format!("{FILE}.new/any"), "");
    let output = folder.run(&["config", "set", "release", "1.6.1"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("error [KD0009]"), "{stderr}");
}

#[test]
fn config_set_writes_through_symlinks() {
    let mut folder = TestFolder::new();
    folder.write("dotfiles/config.toml", "release = \"1.4.2\"\n");
    std::os::unix::fs::symlink("dotfiles/config.toml", folder.path().join("link.toml")).expect("a link");
    std::os::unix::fs::symlink("dotfiles/new.toml", folder.path().join("dangling.toml")).expect("a link");
    for (link, target) in [("link.toml", "dotfiles/config.toml"), ("dangling.toml", "dotfiles/new.toml")] {
        folder.set("KUBECTL_DYNAMO_CONFIG", link);
        folder.run_successfully(&["config", "set", "release", "1.5.1"]);
        let kind = std::fs::symlink_metadata(folder.path().join(link)).expect("the link").file_type();
        assert!(kind.is_symlink(), "{link} was replaced");
        assert_eq!(folder.read(target), "release = \"1.5.1\"\n");
    }
}

#[test]
fn config_set_keeps_the_file_mode() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TestFolder::new();
    folder.write(FILE, "");
    let path = folder.path().join(FILE);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("the mode");
    folder.run_successfully(&["config", "set", "release", "1.5.1"]);
    assert_eq!(std::fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o600);
}

#[test]
fn config_set_rejects_files_that_are_not_regular() {
    let mut folder = TestFolder::new();
    let pipe = folder.path().join("pipe");
    let created = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
    assert!(created.success());
    // A socket represents a device, which only root could refolder.
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    std::fs::create_dir(folder.path().join("folder")).expect("a folder");
    std::os::unix::fs::symlink("socket", folder.path().join("link")).expect("a link");
    for path in ["socket", "folder", "link", "pipe"] {
        folder.set("KUBECTL_DYNAMO_CONFIG", path);
        let output = folder.run(&["config", "set", "release", "1.5.1"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{path}: {stderr}");
        assert!(stderr.contains("error [KD0009]: "), "{path}: {stderr}");
        assert!(stderr.contains("is not a regular file"), "{path}: {stderr}");
        let metadata = std::fs::symlink_metadata(folder.path().join(path)).expect("the file still exists");
        assert!(!metadata.is_file(), "{path} was replaced");
    }
}

#[test]
fn concurrent_runs_lose_no_setting() {
    let folder = TestFolder::new();
    let keys: Vec<String> = (0..12).map(|number| format!("nodeSelector.key{number}")).collect();
    std::thread::scope(|scope| {
        for key in &keys {
            scope.spawn(|| folder.run_successfully(&["config", "set", key, "value"]));
        }
    });
    for key in &keys {
        assert_eq!(folder.run_successfully(&["config", "get", key]), "value\n", "{}", folder.read(FILE));
    }
}

/// The starter kit's `config.json`, with the fields of its example.
const KIT: &str = r#"{
  "platform": {
    "eks": {
      "dynamoPlatform": { "releaseVersion": "1.4.2-post1", "namespace": "dynamo-cloud" },
      "storageClass": "efs-sc"
    }
  }
}"#;

#[test]
fn import_kit_copies_starter_kit_settings() {
    let folder = TestFolder::new();
    folder.write("config.json", KIT);
    let output = folder.run(&["config", "import-kit", "config.json"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("release = 1.4.2") && stderr.contains("skipped: "), "{stderr}");
    assert_eq!(folder.run_successfully(&["config", "get", "release"]), "1.4.2\n");
    assert_eq!(folder.run_successfully(&["config", "get", "namespace"]), "dynamo-cloud\n");
    assert_eq!(folder.run_successfully(&["config", "get", "cache.storageClass"]), "efs-sc\n");
    folder.write("config.json", "{}");
    let output = folder.run(&["config", "import-kit", "config.json"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("dynamoPlatform"), "{stderr}");
    assert!(stderr.contains("error [KD0010]"), "{stderr}");
}

#[test]
fn namespace_of_the_context_precedes_a_setting() {
    let mut folder = TestFolder::new();
    let kubeconfig = |namespace: &str| {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- name: c\n  context: {{cluster: c, user: u{namespace}}}\n\
             clusters:\n- name: c\n  cluster: {{server: \"http://127.0.0.1:1\"}}\nusers:\n- name: u\n"
        )
    };
    folder.set("KUBECTL_DYNAMO_NAMESPACE", "setting");
    for (context, flags, expected, is_printed) in [
        (", namespace: context", &[][..], "context", false),
        (", namespace: context", &["-n", "flag"], "flag", false),
        ("", &[], "setting", true),
        ("", &["-n", "flag"], "flag", false),
    ] {
        folder.write(".kube/config", &kubeconfig(context));
        let request = ["render", "acme/tiny", "--graph-api", "v1beta1", "--release", "1.6.1"];
        let output = folder.run(&[&request, flags].concat());
        let objects = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(objects.contains(&format!("namespace: {expected}\n")), "{objects}{stderr}");
        assert_eq!(stderr.contains("using namespace \"setting\" ("), is_printed, "{stderr}");
    }
}
