//! The folders of the plugin on this machine: those of the operating system's convention, unless a variable sets
//! another. This module must not access the disk.

use std::ffi::OsString;
use std::path::PathBuf;

/// The name of the plugin's folder in the folders of the user.
const FOLDER_NAME: &str = "kubectl-dynamo";

/// What a folder contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FolderKind {
    /// The user config.
    Config,
    /// What can be created again: runtimes and models.
    Cache,
    /// What a run leaves: local deployments, evidence of failures, and the history of `chat`.
    State,
    /// What the user keeps: benchmark runs.
    Data,
}

impl FolderKind {
    /// The plugin's own variable with the path of the folder.
    fn own_variable(self) -> Option<&'static str> {
        match self {
            Self::Cache => Some("KUBECTL_DYNAMO_CACHE"),
            Self::State => Some("KUBECTL_DYNAMO_STATE"),
            // `KUBECTL_DYNAMO_CONFIG` names the file, and `--output-dir` the folder of the runs.
            Self::Config | Self::Data => None,
        }
    }

    /// The variable of the XDG Base Directory Specification with the path of the parent folder.
    fn xdg_variable(self) -> &'static str {
        match self {
            Self::Config => "XDG_CONFIG_HOME",
            Self::Cache => "XDG_CACHE_HOME",
            Self::State => "XDG_STATE_HOME",
            Self::Data => "XDG_DATA_HOME",
        }
    }

    /// The parent folder in the home folder. On macOS it is where Helm has its config and its cache, and where Apple's
    /// File System Programming Guide puts what a program creates.
    fn default_parent(self, system: &str) -> &'static str {
        match (system, self) {
            ("macos", Self::Config) => "Library/Preferences",
            ("macos", Self::Cache) => "Library/Caches",
            ("macos", Self::State | Self::Data) => "Library/Application Support",
            (_, Self::Config) => ".config",
            (_, Self::Cache) => ".cache",
            (_, Self::State) => ".local/state",
            (_, Self::Data) => ".local/share",
        }
    }

    /// Returns the folder, which may not exist: that of the plugin's own variable, else of the XDG variable, else in the
    /// home folder. Returns `None` if the user does not have a home folder.
    pub(crate) fn path(self) -> Option<PathBuf> {
        self.path_on(std::env::consts::OS, std::env::home_dir(), |name| std::env::var_os(name))
    }

    fn path_on(
        self,
        system: &str,
        home: Option<PathBuf>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Option<PathBuf> {
        let folder = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(own) = self.own_variable().and_then(folder) {
            return Some(own);
        }
        // The specification requires that a relative path is ignored.
        let parent = folder(self.xdg_variable()).filter(|parent| parent.is_absolute());
        let parent = parent.or_else(|| Some(home?.join(self.default_parent(system))))?;
        Some(parent.join(FOLDER_NAME))
    }
}

#[cfg(test)]
mod tests {
    use super::FolderKind::{Cache, Config, Data, State};
    use super::*;

    fn path_on(
        kind: FolderKind,
        system: &str,
        home: Option<&str>,
        variables: &[(&str, &str)],
    ) -> Option<String> {
        let variable =
            |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| value.into());
        let path = kind.path_on(system, home.map(PathBuf::from), variable)?;
        Some(path.to_str().expect("the paths are UTF-8").to_owned())
    }

    #[test]
    fn folders_follow_the_convention_of_each_system() {
        for (system, kind, expected) in [
            ("linux", Config, "/home/me/.config/kubectl-dynamo"),
            ("linux", Cache, "/home/me/.cache/kubectl-dynamo"),
            ("linux", State, "/home/me/.local/state/kubectl-dynamo"),
            ("linux", Data, "/home/me/.local/share/kubectl-dynamo"),
            ("macos", Config, "/home/me/Library/Preferences/kubectl-dynamo"),
            ("macos", Cache, "/home/me/Library/Caches/kubectl-dynamo"),
            ("macos", State, "/home/me/Library/Application Support/kubectl-dynamo"),
            ("macos", Data, "/home/me/Library/Application Support/kubectl-dynamo"),
        ] {
            let home = Some("/home/me");
            assert_eq!(path_on(kind, system, home, &[]).as_deref(), Some(expected), "{system} {kind:?}");
            assert_eq!(path_on(kind, system, None, &[]), None, "{system} {kind:?} without a home folder");
        }
    }

    #[test]
    fn variables_win_on_every_system() {
        for system in ["linux", "macos"] {
            for (kind, variables, expected) in [
                (Config, vec![("XDG_CONFIG_HOME", "/x")], "/x/kubectl-dynamo"),
                (Cache, vec![("XDG_CACHE_HOME", "/x")], "/x/kubectl-dynamo"),
                (State, vec![("XDG_STATE_HOME", "/x")], "/x/kubectl-dynamo"),
                (Data, vec![("XDG_DATA_HOME", "/x")], "/x/kubectl-dynamo"),
                (Cache, vec![("XDG_CACHE_HOME", "/x"), ("KUBECTL_DYNAMO_CACHE", "/own")], "/own"),
                (State, vec![("XDG_STATE_HOME", "/x"), ("KUBECTL_DYNAMO_STATE", "own")], "own"),
            ] {
                for home in [Some("/home/me"), None] {
                    let path = path_on(kind, system, home, &variables);
                    assert_eq!(path.as_deref(), Some(expected), "{system} {kind:?} {variables:?}");
                }
            }
        }
    }

    #[test]
    fn empty_variables_and_relative_xdg_folders_are_ignored() {
        for (kind, variables) in [
            (Cache, [("KUBECTL_DYNAMO_CACHE", ""), ("XDG_CACHE_HOME", "")]),
            (Cache, [("KUBECTL_DYNAMO_CACHE", ""), ("XDG_CACHE_HOME", "relative")]),
        ] {
            let path = path_on(kind, "linux", Some("/home/me"), &variables);
            assert_eq!(path.as_deref(), Some("/home/me/.cache/kubectl-dynamo"), "{variables:?}");
        }
    }
}
