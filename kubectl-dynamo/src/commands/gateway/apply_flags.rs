//! The flags of `gateway config` that write into a ConfigMap, and the steps of that change.

use std::str::FromStr;

use clap::Args;

use crate::context::Context;
use crate::output::{print_data, printable};
use crate::render::gateway as screen;
use crate::report::Stage;
use crate::typed_command::typed;
use crate::workflow::confirm::confirm;
use crate::workflow::gateway::{GatewayObjects, LiveGateway};
use kubectl_dynamo_cluster::SendMode;
use kubectl_dynamo_core::command::{SuggestedCommand, UNKNOWN_NAME};
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::gateway::{GatewayConfig, diff_lines};

#[derive(Args)]
pub(in crate::commands) struct GatewayApplyArgs {
    /// ConfigMap of the LiteLLM proxy to write the entries into
    #[arg(long, value_name = "configmap/NAME", requires = "key", conflicts_with = "local")]
    pub apply_to: Option<ConfigMapName>,
    /// Key of the LiteLLM configuration in the ConfigMap
    #[arg(long, value_name = "KEY", requires = "apply_to")]
    pub key: Option<String>,
    /// Deployment of the LiteLLM proxy to restart after a change
    #[arg(long, value_name = "deployment/NAME", requires = "apply_to")]
    pub restart: Option<DeploymentName>,
    /// Namespace of the ConfigMap and the Deployment (default: that of -n)
    #[arg(long, value_name = "NAME", requires = "apply_to")]
    pub gateway_namespace: Option<String>,
    /// Show the change without writing it
    #[arg(long, requires = "apply_to")]
    pub dry_run: bool,
    /// Do not prompt for confirmation
    #[arg(short, long, requires = "apply_to")]
    pub yes: bool,
}

/// The name of a ConfigMap, written as in kubectl.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) struct ConfigMapName(String);

/// The name of a Deployment, written as in kubectl.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) struct DeploymentName(String);

/// The text is not `KIND/NAME` of the expected kind.
#[derive(Debug, thiserror::Error)]
#[error("use {kind}/NAME")]
pub(in crate::commands) struct ObjectNameError {
    kind: &'static str,
}

impl FromStr for ConfigMapName {
    type Err = ObjectNameError;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        name_of(text, &["configmap", "configmaps", "cm"]).map(Self)
    }
}

impl FromStr for DeploymentName {
    type Err = ObjectNameError;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        name_of(text, &["deployment", "deployments", "deploy"]).map(Self)
    }
}

fn name_of(text: &str, kinds: &[&'static str]) -> std::result::Result<String, ObjectNameError> {
    match text.split_once('/') {
        Some((kind, name)) if kinds.contains(&kind) && !name.is_empty() && !name.contains('/') => {
            Ok(name.to_owned())
        }
        _ => Err(ObjectNameError { kind: kinds[0] }),
    }
}

impl GatewayApplyArgs {
    /// Reads the objects to change; `None` if the command only prints.
    ///
    /// # Errors
    /// An object that does not exist.
    pub(super) async fn read(&self, context: &Context) -> Result<Option<LiveGateway>> {
        let (Some(ConfigMapName(config_map)), Some(key)) = (&self.apply_to, &self.key) else {
            return Ok(None);
        };
        let objects = GatewayObjects {
            config_map: config_map.clone(),
            key: key.clone(),
            deployment: self.restart.as_ref().map(|DeploymentName(name)| name.clone()),
            namespace: self.gateway_namespace.clone(),
        };
        objects.read(context).await.map(Some)
    }

    /// Shows the change, asks for confirmation, and writes it.
    ///
    /// # Errors
    /// A text that cannot be changed, and every API error.
    pub(super) async fn apply(
        &self,
        live: &LiveGateway,
        config: &GatewayConfig,
        context: &Context,
    ) -> Result<Exit> {
        let report = &context.report;
        let change = match live.change(config) {
            Ok(change) => change,
            Err(error) => {
                print_data(&config.to_yaml())?;
                return Err(error);
            }
        };
        for setting in change.missing_settings() {
            let text = format!("the group needs a setting that {} must have: {setting}", live.describe());
            report.warn(None, text, None);
        }
        if change.is_empty() {
            report.info(format!("{} unchanged", live.describe()));
            return Ok(Exit::Ok);
        }
        let (before, after) = change.texts();
        print_data(&screen::line_diff(&diff_lines(before, after)))?;
        // A rejection comes before the prompt.
        change.send(SendMode::DryRun).await?;
        if self.dry_run {
            return Ok(Exit::Ok);
        }
        if !self.yes && !confirm(&format!("Change {}?", printable(&live.describe())), context)? {
            report.info("nothing was changed");
            return Ok(Exit::Ok);
        }
        change.send(SendMode::Write).await?;
        report.done(Stage::Apply, format!("{} configured", live.describe()));
        match live.deployment() {
            Some(deployment) => {
                live.restart(deployment).await?;
                report.done(Stage::Apply, format!("deployment/{deployment} restarted"));
            }
            None => {
                let restart =
                    SuggestedCommand::kubectl("rollout restart").operand("deployment/NAME", UNKNOWN_NAME);
                let restart = match &self.gateway_namespace {
                    Some(namespace) => restart.in_namespace(namespace),
                    None => restart,
                };
                let text = "LiteLLM reads its file only when it starts, so restart the proxies: ";
                report.info(typed(restart.after(text)));
            }
        }
        Ok(Exit::Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_as_in_kubectl() {
        assert_eq!("cm/litellm".parse::<ConfigMapName>().ok(), Some(ConfigMapName("litellm".into())));
        assert_eq!("deploy/litellm".parse::<DeploymentName>().ok(), Some(DeploymentName("litellm".into())));
        for text in ["litellm", "configmap/", "secret/litellm", "configmap/a/b", ""] {
            assert!(text.parse::<ConfigMapName>().is_err(), "{text}");
        }
    }
}
