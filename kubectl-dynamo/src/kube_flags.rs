//! kubectl's global flags, with the same meaning as in kubectl, and the errors of flag values.
//! A verb must not reuse one of these flags for another purpose.

use std::time::Duration;

use clap::Args;

use kubectl_dynamo_cluster::{ConnectOptions, NamespaceScope};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{CommandScope, Fix, SuggestedCommand};
use kubectl_dynamo_core::error::{Explain, Result};

/// The flags that select the cluster, the user, and the namespace.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Kubernetes flags (as in kubectl)")]
pub(crate) struct KubeFlags {
    /// Namespace (default: the namespace of the context, or `default`)
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// List resources across all namespaces
    #[arg(short = 'A', long, global = true)]
    pub all_namespaces: bool,
    /// Path of the kubeconfig file
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<std::path::PathBuf>,
    /// Name of the kubeconfig context
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Name of the kubeconfig cluster
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub cluster: Option<String>,
    /// Name of the kubeconfig user
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub user: Option<String>,
    /// Address of the API server
    #[arg(short, long, global = true, value_name = "URL", hide_short_help = true)]
    pub server: Option<String>,
    /// Path of the certificate authority file for the API server
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub certificate_authority: Option<std::path::PathBuf>,
    /// Do not verify the API server's certificate
    #[arg(long, global = true, hide_short_help = true)]
    pub insecure_skip_tls_verify: bool,
    /// Server name to verify in the API server's certificate
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub tls_server_name: Option<String>,
    /// User to impersonate
    #[arg(long = "as", global = true, value_name = "USER", hide_short_help = true)]
    pub impersonate: Option<String>,
    /// Group to impersonate (repeatable)
    #[arg(long = "as-group", global = true, value_name = "GROUP", hide_short_help = true)]
    pub impersonate_groups: Vec<String>,
    /// UID to impersonate
    #[arg(long = "as-uid", global = true, value_name = "UID", hide_short_help = true)]
    pub impersonate_uid: Option<String>,
    /// Timeout of one request to the API server, such as 5s or 2m (0 means no timeout)
    #[arg(long, global = true, value_name = "DURATION", default_value = "0", hide_short_help = true)]
    pub request_timeout: String,
    /// Log verbosity on stderr, 0 to 9
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
    /// Rejects `-A` for verbs that operate on a single namespace.
    ///
    /// # Errors
    /// [`FlagError::AllNamespaces`].
    pub(crate) fn refuse_all_namespaces(&self) -> Result<()> {
        if self.all_namespaces { Err(FlagError::AllNamespaces.into()) } else { Ok(()) }
    }

    /// Returns the namespaces that `-A` selects.
    pub(crate) fn scope(&self) -> NamespaceScope {
        if self.all_namespaces { NamespaceScope::AllNamespaces } else { NamespaceScope::OneNamespace }
    }

    /// Returns the flags that a command of a hint needs to reach the same cluster as the same user.
    pub(crate) fn scope_of_commands(&self) -> CommandScope {
        let kubeconfig = self.kubeconfig.as_ref().map(|path| path.display().to_string());
        let flags = [
            ("--kubeconfig", &kubeconfig),
            ("--context", &self.context),
            ("--cluster", &self.cluster),
            ("--user", &self.user),
            ("--server", &self.server),
            ("--as", &self.impersonate),
        ];
        let is_set = flags.into_iter().filter_map(|(flag, value)| Some([flag.to_owned(), value.clone()?]));
        CommandScope { namespace: self.namespace.clone(), connection: is_set.flatten().collect() }
    }

    /// Converts the flags to cluster access options.
    ///
    /// # Errors
    /// A request timeout that is not a duration.
    pub(crate) fn access(&self) -> Result<ConnectOptions> {
        let request_timeout = match self.request_timeout.as_str() {
            "0" => None,
            text => Some(
                parse_duration(text)
                    .map_err(|reason| FlagError::InvalidDuration { flag: "--request-timeout", reason })?,
            ),
        };
        Ok(ConnectOptions {
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
            ..ConnectOptions::default()
        })
    }
}

/// Parses a duration in Go notation (`90s`, `1h30m`), or a number of seconds, as kubectl does.
pub(crate) fn parse_duration(text: &str) -> std::result::Result<Duration, DurationError> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let span: jiff::SignedDuration =
        text.parse().map_err(|_| DurationError::Syntax { given: text.into() })?;
    Duration::try_from(span).map_err(|_| DurationError::Negative { given: text.into() })
}

/// Why a text is not a duration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DurationError {
    #[error("\"{given}\" is not a duration such as 90s or 30m")]
    Syntax { given: String },
    #[error("\"{given}\" is negative")]
    Negative { given: String },
}

/// An invalid flag value or combination of flags.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FlagError {
    #[error("{flag}: {reason}")]
    InvalidDuration { flag: &'static str, reason: DurationError },
    #[error("-A cannot be used with a command that operates on a single namespace")]
    AllNamespaces,
    #[error("component \"{component}\" not found; the components are {names}")]
    UnknownComponent { component: String, names: String },
    #[error("{flag} can only be used with --local")]
    LocalOnly { flag: &'static str },
    #[error("missing name of the user, group, or service account")]
    MissingSubject,
    #[error("-o {format} cannot be used {place}")]
    UnsuitableFormat { format: &'static str, place: &'static str },
    #[error("--fail-on-change requires --dry-run=server, because only the API server has the live objects")]
    NeedsServerDryRun,
    #[error("-o can only be used with {flags}")]
    NeedsPreview { flags: &'static str },
}

impl Explain for FlagError {
    fn code(&self) -> Option<MessageCode> {
        Some(MessageCode::InvalidCommandLine)
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::InvalidDuration { flag, .. } => format!("use a value such as {flag} 30s").into(),
            Self::UnknownComponent { .. } => {
                "select one of them, or use \"fetch\" for the model download".into()
            }
            Self::LocalOnly { .. } => {
                let on_cluster = |verb: &str| SuggestedCommand::plugin(verb).operand("", "NAME");
                on_cluster("port-forward")
                    .after("omit it; on a cluster, use ")
                    .text(" or ")
                    .command(on_cluster("logs"))
            }
            Self::MissingSubject => {
                "pass a name, such as --user jane or --service-account ci:deployer".into()
            }
            Self::UnsuitableFormat { .. } => "use -o json or -o yaml; a plan also has -o table".into(),
            Self::NeedsServerDryRun => "use --dry-run=server --fail-on-change".into(),
            Self::NeedsPreview { .. } => "use --dry-run=server -o yaml".into(),
            Self::AllNamespaces => "select the namespace with -n, or omit the deployment name".into(),
        })
    }
}
