//! The state that every verb receives: kubectl's flags, the reporter, and the connection to the cluster. It
//! must not contain the logic of a verb.

use crate::kube_flags::KubeFlags;
use crate::report::{ProgressMode, Report};
use crate::settings;
use kubectl_dynamo_cluster::{Cluster, MissingPermissions, context_namespace};
use kubectl_dynamo_core::error::Result;

/// The state that every verb receives besides its own flags.
pub(crate) struct Context {
    pub(crate) kube: KubeFlags,
    pub(crate) report: Report,
    pub(crate) progress: ProgressMode,
    /// The running verb, by its name in the permission table.
    pub(crate) verb: &'static str,
    pub(crate) missing_permissions: MissingPermissions,
}

impl Context {
    /// Connects to the cluster that kubectl's flags select.
    pub(crate) async fn cluster(&self) -> Result<Cluster> {
        let mut access = self.kube.access()?;
        access.namespace = self.namespace()?;
        access.verb = self.verb;
        access.missing_permissions = self.missing_permissions.clone();
        Ok(Cluster::connect(&access).await?)
    }

    /// Returns the namespace from the flag, from the kubeconfig context, or from a setting, which is reported,
    /// because kubectl does not know it.
    pub(crate) fn namespace(&self) -> Result<Option<String>> {
        if let Some(namespace) = &self.kube.namespace {
            return Ok(Some(namespace.clone()));
        }
        if let Some(namespace) = context_namespace(&self.kube.access()?) {
            return Ok(Some(namespace));
        }
        let Some((namespace, place)) = settings::namespace()? else { return Ok(None) };
        self.report.info(format!("using namespace \"{namespace}\" ({place})"));
        Ok(Some(namespace))
    }
}
