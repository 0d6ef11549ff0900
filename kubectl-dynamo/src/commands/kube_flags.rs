//! kubectl's own global flags, meaning what they mean there.

use std::time::Duration;

use clap::Args;

use crate::cluster::Access;
use crate::error::{Exit, Explain, Result};

/// Which cluster, as whom, and where in it.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Kubernetes flags (as in kubectl)")]
pub(super) struct KubeFlags {
    /// Namespace; the context's own, or `default`, when absent
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Look at every namespace
    #[arg(short = 'A', long, global = true)]
    pub all_namespaces: bool,
    /// Path of the kubeconfig file
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<std::path::PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Cluster of the kubeconfig
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub cluster: Option<String>,
    /// User of the kubeconfig
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub user: Option<String>,
    /// Address of the API server
    #[arg(short, long, global = true, value_name = "URL", hide_short_help = true)]
    pub server: Option<String>,
    /// Certificate authority of the API server
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub certificate_authority: Option<std::path::PathBuf>,
    /// Do not check the API server's certificate
    #[arg(long, global = true, hide_short_help = true)]
    pub insecure_skip_tls_verify: bool,
    /// Name to expect in the API server's certificate
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub tls_server_name: Option<String>,
    /// User to impersonate
    #[arg(long = "as", global = true, value_name = "USER", hide_short_help = true)]
    pub impersonate: Option<String>,
    /// Group to impersonate; may be given again
    #[arg(long = "as-group", global = true, value_name = "GROUP", hide_short_help = true)]
    pub impersonate_groups: Vec<String>,
    /// UID to impersonate
    #[arg(long = "as-uid", global = true, value_name = "UID", hide_short_help = true)]
    pub impersonate_uid: Option<String>,
    /// Longest time for one request to the API server, such as 5s or 2m; 0 waits for ever
    #[arg(long, global = true, value_name = "DURATION", default_value = "0", hide_short_help = true)]
    pub request_timeout: String,
    /// Verbosity of the log on stderr, 0 to 9
    #[arg(
        short,
        long = "v",
        global = true,
        value_name = "LEVEL",
        default_value_t = 0,
        hide_short_help = true
    )]
    pub verbosity: u8,
}

impl KubeFlags {
    /// Refuses `-A` for verbs that act on one deployment.
    ///
    /// # Errors
    /// [`FlagError::AllNamespaces`].
    pub(super) fn refuse_all_namespaces(&self) -> Result<()> {
        if self.all_namespaces { Err(FlagError::AllNamespaces.into()) } else { Ok(()) }
    }

    /// The flags as values.
    ///
    /// # Errors
    /// A request timeout that is no duration.
    pub(super) fn access(&self) -> Result<Access> {
        let request_timeout = match self.request_timeout.as_str() {
            "0" => None,
            text => Some(
                duration(text).map_err(|reason| FlagError::Duration { flag: "--request-timeout", reason })?,
            ),
        };
        Ok(Access {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            cluster: self.cluster.clone(),
            user: self.user.clone(),
            server: self.server.clone(),
            certificate_authority: self.certificate_authority.clone(),
            insecure_skip_tls_verify: self.insecure_skip_tls_verify,
            tls_server_name: self.tls_server_name.clone(),
            impersonate: self.impersonate.clone(),
            impersonate_groups: self.impersonate_groups.clone(),
            impersonate_uid: self.impersonate_uid.clone(),
            namespace: self.namespace.clone(),
            request_timeout: request_timeout.filter(|timeout| !timeout.is_zero()),
            ..Access::default()
        })
    }
}

/// Reads a duration as Go writes them (`90s`, `1h30m`), or a number of seconds as kubectl also takes it.
pub(super) fn duration(text: &str) -> std::result::Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let span: jiff::SignedDuration =
        text.parse().map_err(|_| format!("`{text}` is not a duration such as 90s or 30m"))?;
    Duration::try_from(span).map_err(|_| format!("`{text}` is below zero"))
}

/// A flag whose value cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FlagError {
    #[error("{flag}: {reason}")]
    Duration { flag: &'static str, reason: String },
    #[error("-A looks at every namespace, and a deployment's name is only known in one")]
    AllNamespaces,
    #[error("there is no component `{given}`; there are {names}")]
    NoComponent { given: String, names: String },
    #[error("{flag} belongs to --local")]
    OnlyLocal { flag: &'static str },
    #[error("a user, group or service account has a name")]
    NoSubject,
    #[error("a plan is a table or JSON, and objects are YAML or JSON")]
    PlanFormat,
    #[error(
        "what is there already is known by the API server alone, so --fail-on-change needs --dry-run=server"
    )]
    OnlyServerKnows,
}

impl Explain for FlagError {
    fn code(&self) -> Option<&'static str> {
        Some("KD0001")
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Duration { flag, .. } => format!("for example {flag} 30s"),
            Self::NoComponent { .. } => "name one of them, or fetch for the model's download".into(),
            Self::OnlyLocal { .. } => {
                "leave it out; on a cluster: kubectl dynamo port-forward, kubectl dynamo logs".into()
            }
            Self::NoSubject => "for example --user jane, or --service-account ci:deployer".into(),
            Self::PlanFormat => "for example --plan -o json, or -o yaml without --plan".into(),
            Self::OnlyServerKnows => "for example --dry-run=server --fail-on-change".into(),
            Self::AllNamespaces => "name the namespace with -n, or leave the name out".into(),
        })
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }
}
