//! What runs on this machine and needs Linux. It decides only by the name of the operating system.

use super::LocalError;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};

/// A part of the plugin that runs programs for Linux on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalFeature {
    /// The Dynamo runtime of local deployments, which does not have wheels for other operating systems.
    Runtime,
    /// AIPerf outside of a cluster. Its processes are stopped with functions of the Linux kernel.
    Aiperf,
    /// aiconfigurator, for the same reason.
    Aiconfigurator,
}

impl LocalFeature {
    /// Checks that the feature runs on an operating system, named as in [`std::env::consts::OS`].
    ///
    /// # Errors
    /// [`LocalError::UnsupportedSystem`].
    pub(crate) fn check_system(self, system: &str) -> Result<(), LocalError> {
        let system = match system {
            "linux" => return Ok(()),
            "macos" => "macOS",
            other => other,
        };
        Err(LocalError::UnsupportedSystem { feature: self, system: system.to_owned() })
    }

    /// The name of what needs Linux, for messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Runtime => "the Dynamo runtime of local deployments",
            Self::Aiperf => "AIPerf outside of a cluster",
            Self::Aiconfigurator => "aiconfigurator",
        }
    }

    /// What to type on another operating system.
    pub(super) fn alternative(self) -> Fix {
        match self {
            Self::Runtime => SuggestedCommand::plugin("up ORG/NAME").after("deploy to a cluster: "),
            Self::Aiperf => SuggestedCommand::plugin("bench run NAME")
                .after("measure a deployment in a cluster from a Job: "),
            Self::Aiconfigurator => {
                let fit = SuggestedCommand::plugin("fit ORG/NAME");
                fit.after("run the same command on Linux, or show where the model fits: ")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LocalFeature::{Aiconfigurator, Aiperf, Runtime};
    use kubectl_dynamo_core::code::MessageCode;
    use kubectl_dynamo_core::error::{Exit, Explain};

    #[test]
    fn local_features_run_only_on_linux() {
        for (feature, command) in [
            (Runtime, "kubectl dynamo up ORG/NAME"),
            (Aiperf, "kubectl dynamo bench run NAME"),
            (Aiconfigurator, "kubectl dynamo fit ORG/NAME"),
        ] {
            assert!(feature.check_system("linux").is_ok(), "{feature:?}");
            for (system, name) in [("macos", "macOS"), ("windows", "windows")] {
                let error = feature.check_system(system).expect_err("only Linux is supported");
                assert_eq!(error.code(), Some(MessageCode::LocalSystemUnsupported), "{feature:?}");
                assert_eq!(error.exit(), Exit::Platform, "{feature:?}");
                assert_eq!(error.to_string(), format!("{} needs Linux, but this is {name}", feature.name()));
                let hint = error.hint().expect("there is another command").to_string();
                assert!(hint.ends_with(command), "{hint}");
            }
        }
    }
}
