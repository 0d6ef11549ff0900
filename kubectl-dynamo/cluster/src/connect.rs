//! Loads the kubeconfig with kubectl's overrides and creates the client.
//! This module does not send a request to the API server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError, NamedContext};

use super::client::ApiClient;
use super::{Cluster, ClusterError, MissingPermissions, Result};

/// The namespace if neither a flag nor the context sets one, as in kubectl.
pub const DEFAULT_NAMESPACE: &str = "default";

/// How to connect to a cluster: the values of kubectl's global flags.
#[derive(Debug, Clone, Default)]
pub struct ConnectOptions {
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
    pub cluster: Option<String>,
    pub user: Option<String>,
    pub server: Option<String>,
    pub certificate_authority: Option<PathBuf>,
    pub insecure_skip_tls_verify: bool,
    pub tls_server_name: Option<String>,
    pub impersonate: Option<String>,
    pub impersonate_groups: Vec<String>,
    pub impersonate_uid: Option<String>,
    pub namespace: Option<String>,
    /// Timeout of one request; `None` means no timeout.
    pub request_timeout: Option<Duration>,
    /// The plugin's verb that sends the requests, as named in the RBAC table.
    pub verb: &'static str,
    /// Collects the permissions that the API server denied.
    pub missing_permissions: MissingPermissions,
}

impl Cluster {
    /// Creates a client. This does not send a request.
    ///
    /// # Errors
    /// A missing or invalid kubeconfig, or a context or user that it does not define.
    pub async fn connect(options: &ConnectOptions) -> Result<Self> {
        let (mut config, context) = config(options).await?;
        config.apply(options)?;
        config.headers.push((USER_AGENT, user_agent()?));
        let namespace = match (&options.namespace, config.default_namespace.as_str()) {
            (Some(namespace), _) => namespace.clone(),
            (None, "") => DEFAULT_NAMESPACE.into(),
            (None, namespace) => namespace.into(),
        };
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let exec = config.auth_info.exec.clone();
        // A client asks the kubeconfig's command for credentials, which may take as long as it likes: on a thread of its
        // own it keeps neither timers nor other tasks waiting.
        let made = tokio::task::spawn_blocking(move || ApiClient::new(config)).await;
        let session = made
            .map_err(|error| ClusterError::Kubeconfig { cause: error.to_string() })?
            .map_err(|error| ClusterError::from_auth_error(&error, exec.as_ref(), &server))?;
        let (verb, missing_permissions) = (options.verb, options.missing_permissions.clone());
        Ok(Self { api_client: Arc::new(session), server, context, namespace, verb, missing_permissions })
    }
}

/// The header that identifies this plugin to API servers.
fn user_agent() -> Result<HeaderValue> {
    let text = kubectl_dynamo_core::user_agent("kubectl-dynamo", env!("CARGO_PKG_VERSION"));
    HeaderValue::from_str(&text).map_err(|error| ClusterError::Kubeconfig { cause: error.to_string() })
}

/// The context names of the kubeconfig, for completion; empty if the kubeconfig cannot be read.
pub fn contexts(options: &ConnectOptions) -> Vec<String> {
    read(options).ok().flatten().as_ref().map(context_names).unwrap_or_default()
}

/// The namespace of the kubeconfig's context; `None` if the kubeconfig cannot be read.
pub fn context_namespace(options: &ConnectOptions) -> Option<String> {
    let kubeconfig = read(options).ok().flatten()?;
    let name = options.context.clone().or(kubeconfig.current_context)?;
    let context = kubeconfig.contexts.into_iter().find(|entry| entry.name == name)?;
    context.context?.namespace.filter(|namespace| !namespace.is_empty())
}

/// The context names of a kubeconfig, for messages.
pub(super) fn context_names(kubeconfig: &Kubeconfig) -> Vec<String> {
    kubeconfig.contexts.iter().map(|NamedContext { name, .. }| name.clone()).collect()
}

async fn config(options: &ConnectOptions) -> Result<(Config, Option<String>)> {
    let Some(kubeconfig) = read(options)? else {
        if let Some(server) = &options.server {
            return Ok((Config::new(server_address(server)?), None));
        }
        let config = Config::incluster().map_err(|_| ClusterError::NoKubeconfig)?;
        return Ok((config, None));
    };
    let context_name =
        options.context.clone().or_else(|| kubeconfig.current_context.clone().filter(|c| !c.is_empty()));
    let kube_options = KubeConfigOptions {
        context: options.context.clone(),
        cluster: options.cluster.clone(),
        user: options.user.clone(),
    };
    let contexts = context_names(&kubeconfig);
    if let Some(user) = &options.user
        && !kubeconfig.auth_infos.iter().any(|entry| entry.name == *user)
    {
        return Err(ClusterError::Kubeconfig { cause: format!("user \"{user}\" not found") });
    }
    match Config::from_custom_kubeconfig(kubeconfig, &kube_options).await {
        Ok(config) => Ok((config, context_name)),
        Err(KubeconfigError::CurrentContextNotSet) => Err(ClusterError::NoCurrentContext { contexts }),
        Err(KubeconfigError::LoadContext(_)) => {
            Err(ClusterError::NoSuchContext { context: context_name.unwrap_or_default(), contexts })
        }
        Err(error) => Err(ClusterError::Kubeconfig { cause: error_chain_text(&error) }),
    }
}

/// Loads the kubeconfig as kubectl does: from the flag, all files of `KUBECONFIG`, or `~/.kube/config`.
fn read(options: &ConnectOptions) -> Result<Option<Kubeconfig>> {
    let result = match &options.kubeconfig {
        Some(path) => Kubeconfig::read_from(path).map(Some),
        None => match Kubeconfig::from_env() {
            Ok(Some(kubeconfig)) => Ok(Some(kubeconfig)),
            Ok(None) => match Kubeconfig::read() {
                Ok(kubeconfig) => Ok(Some(kubeconfig)),
                Err(KubeconfigError::ReadConfig(error, _))
                    if error.kind() == std::io::ErrorKind::NotFound =>
                {
                    Ok(None)
                }
                Err(KubeconfigError::FindPath) => Ok(None),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        },
    };
    result.map_err(|error| ClusterError::Kubeconfig {
        cause: match error {
            KubeconfigError::ReadConfig(error, path) => format!("{}: {error}", path.display()),
            other => error_chain_text(&other),
        },
    })
}

/// The complete error chain, without causes that an outer error already contains.
pub(super) fn error_chain_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// Parses the URL of an API server. Without a scheme it is plain HTTP, as in kubectl.
fn server_address(input: &str) -> Result<http::Uri> {
    let url = if input.contains("://") { input.to_owned() } else { format!("http://{input}") };
    let address = url.parse::<http::Uri>().ok().filter(|address| address.host().is_some());
    address.ok_or_else(|| ClusterError::Kubeconfig {
        cause: format!("\"{input}\" is not a valid server address"),
    })
}

trait Override {
    fn apply(&mut self, access: &ConnectOptions) -> Result<()>;
}

impl Override for Config {
    fn apply(&mut self, options: &ConnectOptions) -> Result<()> {
        let server = options.server.clone().unwrap_or_else(|| self.cluster_url.to_string());
        self.cluster_url = server_address(&server)?;
        if let Some(path) = &options.certificate_authority {
            if let Err(error) = std::fs::metadata(path) {
                return Err(ClusterError::Kubeconfig {
                    cause: format!("certificate authority {}: {error}", path.display()),
                });
            }
            self.root_cert = None;
            self.root_cert_file = Some(path.clone());
        }
        self.accept_invalid_certs |= options.insecure_skip_tls_verify;
        if let Some(name) = &options.tls_server_name {
            self.tls_server_name = Some(name.clone());
        }
        if options.impersonate.is_some() {
            self.auth_info.impersonate = options.impersonate.clone();
        }
        if !options.impersonate_groups.is_empty() {
            self.auth_info.impersonate_groups = Some(options.impersonate_groups.clone());
        }
        if options.impersonate_uid.is_some() {
            self.auth_info.impersonate_uid = options.impersonate_uid.clone();
        }
        // A watch sends nothing while nothing changes, so only the user's --request-timeout limits a read.
        self.read_timeout = options.request_timeout;
        self.connect_timeout = Some(options.request_timeout.unwrap_or(Duration::from_secs(10)));
        Ok(())
    }
}
