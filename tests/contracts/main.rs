//! Contracts with scripts, pipelines, stored objects, and other versions of both programs. A snapshot changes
//! only on purpose: a key, a code, an exit code, or a wire value in a separate commit with a changelog line;
//! prose (help and the meaning of a code) together with the text.
//!
//! - `help`: the help of every verb of both programs
//! - `codes`: exit codes and message codes
//! - `names`: labels, annotations, environment variables, rendered objects
//! - `documents`: `-o json` of the verbs that need no cluster (the control-plane tier has the others)
//! - `events`: `--progress json`, the supervisor's notices, and completion
//! - `fetcher`: model-fetcher's receipt, lock, progress events, and termination message
//! - `local`: `-o json` of a serving local deployment
//! - `matched_text`: every text of model-fetcher that the plugin matches
//! - `wire_values`: the values of closed sets, such as `passed` or `round-robin`
//! - `fixtures`: files that commit df1e54c wrote, which every later version must read

// A case that cannot continue has failed.
#![allow(clippy::unwrap_used)]

mod codes;
mod documents;
mod events;
mod fetcher;
mod fixtures;
mod help;
mod local;
mod matched_text;
mod names;
mod wire_values;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kubectl_dynamo_tests::programs;
use serde_json::Value;

/// Compares with the snapshot file of this name, in whatever module the test is.
macro_rules! frozen {
    ($name:expr, $value:expr) => {
        let (name, value) = ($name, $value);
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name, value);
        });
    };
}
pub(crate) use frozen;

/// The plugin with an empty home folder that is also its working directory.
pub(crate) struct Home(tempfile::TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(programs::kubectl_dynamo());
        command.args(arguments).env_clear().env("HOME", self.path()).env("PATH", "/usr/bin:/bin");
        command.current_dir(self.path());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Returns what it prints on stdout; it must exit with the exit code.
    #[track_caller]
    pub(crate) fn stdout(&self, arguments: &[&str], exit: i32) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str], exit: i32) -> Value {
        serde_json::from_str(&self.stdout(arguments, exit)).unwrap()
    }
}

/// Returns the folder of files that commit df1e54c wrote.
pub(crate) fn fixture_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/df1e54c")
}

/// Copies a folder recursively.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
