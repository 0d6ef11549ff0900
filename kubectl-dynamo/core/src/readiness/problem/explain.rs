//! The code, the fix, and the exit code of each problem, as far as the problem itself determines them.
//! `diagnosis` finds the exact cause and the command that changes the deployment.

use model_fetcher_contract::FailureReason;

use super::{Problem, mentions_missing_pvc};
use crate::code::MessageCode;
use crate::command::{Fix, SuggestedCommand, UNKNOWN_MODEL, UNKNOWN_NAME};
use crate::error::{Exit, Explain};

impl Problem {
    /// Returns the fix.
    pub fn fix(&self) -> Fix {
        let command = |verb: &str, operand: &str, namespace: &str| {
            SuggestedCommand::kubectl(verb).operand(operand, UNKNOWN_NAME).in_namespace(namespace)
        };
        match self {
            Self::Fetch { .. } if self.is_denied_access() => Fix::default()
                .text("provide a token of an account with access to the model: --hf-token-stdin < token.txt"),
            Self::Fetch { .. } if self.is_revision_mismatch() => Fix::default()
                .text("stop the pods that mount it, remove the other revision with ")
                .command(SuggestedCommand::plugin("cache rm").operand("", UNKNOWN_MODEL))
                .text(", then rerun the command"),
            Self::Fetch { .. } => {
                Fix::default().text("fix the cause, then rerun the command; downloaded files are kept")
            }
            Self::Image { .. } => Fix::default()
                .text("check the tag and the pull Secret: --image, --fetcher-image, --image-pull-secret"),
            Self::Container { pod, namespace, .. } => {
                Fix::default().text("list its events with ").command(command("describe pod", pod, namespace))
            }
            Self::Crash { pod, namespace, container, restarts, .. } => {
                let log = command("logs", pod, namespace).flag("-c").flag(container);
                let log = if *restarts > 0 { log.flag("--previous") } else { log };
                Fix::default().text("show its log with ").command(log)
            }
            Self::Unschedulable { pod, namespace, .. } => Fix::default()
                .text("show its requests with ")
                .command(command("describe pod", pod, namespace)),
            Self::Node { node, .. } => Fix::default()
                .text("wait five minutes for new pods, or inspect it with ")
                .command(command("describe node", node, "")),
            Self::ReplicaFailure { workload, namespace, .. } => {
                Fix::default().text("find the cause with ").command(command("describe", workload, namespace))
            }
            Self::Component { component, namespace, .. } => Fix::default()
                .text("show it with ")
                .command(command("describe dynamocomponentdeployments", component, namespace)),
            Self::OutdatedDeployment { .. } => Fix::default()
                .text("update its pods with ")
                .command(SuggestedCommand::plugin("rollout restart").operand("", UNKNOWN_NAME)),
            Self::Operator { .. } => Fix::default()
                .text("check the operator's log and run ")
                .command(SuggestedCommand::kubectl("describe dynamographdeployments")),
        }
    }

    /// Returns one problem of each kind, for tests of their fixes.
    pub(crate) fn examples(value: &str) -> Vec<Self> {
        let text = || value.to_owned();
        let fetch = |exit_code, reason| Self::Fetch { pod: text(), exit_code, message: text(), reason };
        vec![
            fetch(u64::from(model_fetcher_contract::exit::ACCESS), None),
            fetch(1, Some(FailureReason::OtherRevision)),
            fetch(1, None),
            Self::Image { pod: text(), container: text(), image: text(), message: text() },
            Self::Container { pod: text(), namespace: text(), container: text(), message: text() },
            Self::Crash {
                pod: text(),
                namespace: text(),
                container: text(),
                restarts: 3,
                exit_code: 1,
                message: text(),
            },
            Self::Unschedulable { pod: text(), namespace: text(), message: text() },
            Self::Node { pod: text(), node: text() },
            Self::ReplicaFailure { workload: text(), namespace: text(), message: text() },
            Self::Component { component: text(), namespace: text(), message: text() },
            Self::OutdatedDeployment { deployment: text(), namespace: text(), field: text() },
            Self::Operator { message: text() },
        ]
    }
}

impl Explain for Problem {
    fn code(&self) -> Option<MessageCode> {
        Some(match self {
            Self::Fetch { .. } if self.is_revision_mismatch() => MessageCode::OtherRevisionInFolder,
            Self::Fetch { .. } => MessageCode::ModelFetchFailed,
            Self::Image { .. } => MessageCode::ImagePullFailed,
            Self::Container { .. } => MessageCode::ContainerNotCreated,
            Self::Crash { .. } => MessageCode::ContainerCrashLoop,
            Self::Unschedulable { .. } => MessageCode::PodUnschedulable,
            Self::Node { .. } => MessageCode::NodeNotResponding,
            Self::ReplicaFailure { .. } => MessageCode::PodsNotCreated,
            Self::Component { .. } => MessageCode::ComponentNotCreated,
            Self::OutdatedDeployment { .. } => MessageCode::DeploymentNotUpdated,
            Self::Operator { .. } => MessageCode::OperatorFailure,
        })
    }

    fn hint(&self) -> Option<Fix> {
        Some(self.fix())
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Fetch { .. } if self.is_denied_access() => Exit::Access,
            Self::Fetch { .. } => Exit::Model,
            Self::Unschedulable { message, .. } if mentions_missing_pvc(message) => Exit::Model,
            Self::Unschedulable { .. } => Exit::DoesNotFit,
            Self::ReplicaFailure { message, .. } if message.contains("exceeded quota") => Exit::DoesNotFit,
            Self::ReplicaFailure { .. }
            | Self::Component { .. }
            | Self::OutdatedDeployment { .. }
            | Self::Node { .. }
            | Self::Image { .. }
            | Self::Container { .. }
            | Self::Crash { .. }
            | Self::Operator { .. } => Exit::Failed,
        }
    }
}
