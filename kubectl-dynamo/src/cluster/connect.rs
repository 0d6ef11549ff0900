//! Connecting by kubeconfig, with kubectl's own overrides.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError, NamedContext};

use super::session::Session;
use super::{Cluster, ClusterError, Refusals, Result};

/// The namespace of a context that names none, as in kubectl.
pub const DEFAULT_NAMESPACE: &str = "default";

/// How to reach a cluster: kubectl's global flags, as values.
#[derive(Debug, Clone, Default)]
pub struct Access {
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
    /// Longest time for one request; none waits for ever.
    pub request_timeout: Option<Duration>,
    /// The verb of this program that asks, as the table of rights names it.
    pub verb: &'static str,
    /// Where refused rights are noted.
    pub refusals: Refusals,
}

impl Cluster {
    /// Makes a client; nothing is asked of the server yet.
    ///
    /// # Errors
    /// No kubeconfig, one that cannot be read, a context or user that is not in it.
    pub async fn connect(access: &Access) -> Result<Self> {
        let (mut config, context) = config(access).await?;
        config.apply(access)?;
        let namespace = match (&access.namespace, config.default_namespace.as_str()) {
            (Some(namespace), _) => namespace.clone(),
            (None, "") => DEFAULT_NAMESPACE.into(),
            (None, namespace) => namespace.into(),
        };
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let login = config.auth_info.exec.clone();
        let session =
            Session::new(config).map_err(|error| ClusterError::of_login(&error, login.as_ref(), &server))?;
        let (verb, refusals) = (access.verb, access.refusals.clone());
        Ok(Self { session: Arc::new(session), server, context, namespace, verb, refusals })
    }
}

/// The contexts of the kubeconfig, for completion; none where there is no kubeconfig that can be read.
pub fn contexts(access: &Access) -> Vec<String> {
    read(access).ok().flatten().as_ref().map(context_names).unwrap_or_default()
}

/// The namespace of the kubeconfig's context; nothing where there is no kubeconfig that can be read.
pub fn context_namespace(access: &Access) -> Option<String> {
    let kubeconfig = read(access).ok().flatten()?;
    let name = access.context.clone().or(kubeconfig.current_context)?;
    let context = kubeconfig.contexts.into_iter().find(|known| known.name == name)?;
    context.context?.namespace
}

/// The contexts of the kubeconfig, for messages.
pub(super) fn context_names(kubeconfig: &Kubeconfig) -> Vec<String> {
    kubeconfig.contexts.iter().map(|NamedContext { name, .. }| name.clone()).collect()
}

async fn config(access: &Access) -> Result<(Config, Option<String>)> {
    let Some(kubeconfig) = read(access)? else {
        if let Some(server) = &access.server {
            return Ok((Config::new(server_address(server)?), None));
        }
        let config = Config::incluster().map_err(|_| ClusterError::NoKubeconfig)?;
        return Ok((config, None));
    };
    let wanted =
        access.context.clone().or_else(|| kubeconfig.current_context.clone().filter(|c| !c.is_empty()));
    let options = KubeConfigOptions {
        context: access.context.clone(),
        cluster: access.cluster.clone(),
        user: access.user.clone(),
    };
    let contexts = context_names(&kubeconfig);
    if let Some(user) = &access.user
        && !kubeconfig.auth_infos.iter().any(|known| known.name == *user)
    {
        return Err(ClusterError::Kubeconfig { cause: format!("it has no user `{user}`") });
    }
    match Config::from_custom_kubeconfig(kubeconfig, &options).await {
        Ok(config) => Ok((config, wanted)),
        Err(KubeconfigError::CurrentContextNotSet) => Err(ClusterError::NoCurrentContext { contexts }),
        Err(KubeconfigError::LoadContext(_)) => {
            Err(ClusterError::NoSuchContext { context: wanted.unwrap_or_default(), contexts })
        }
        Err(error) => Err(ClusterError::Kubeconfig { cause: root_cause(&error) }),
    }
}

/// The kubeconfig as kubectl finds it: the flag, `KUBECONFIG` with all its files, the home folder.
fn read(access: &Access) -> Result<Option<Kubeconfig>> {
    let read = match &access.kubeconfig {
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
    read.map_err(|error| ClusterError::Kubeconfig {
        cause: match error {
            KubeconfigError::ReadConfig(error, path) => format!("{}: {error}", path.display()),
            other => root_cause(&other),
        },
    })
}

/// What a person can act on: the whole chain, without repeating a cause that its parent already printed.
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
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

/// Reads an API server's address; without a scheme it is plain HTTP, as in kubectl.
fn server_address(given: &str) -> Result<http::Uri> {
    let whole = if given.contains("://") { given.to_owned() } else { format!("http://{given}") };
    let address = whole.parse::<http::Uri>().ok().filter(|address| address.host().is_some());
    address.ok_or_else(|| ClusterError::Kubeconfig {
        cause: format!("`{given}` is not the address of a server"),
    })
}

trait Override {
    fn apply(&mut self, access: &Access) -> Result<()>;
}

impl Override for Config {
    fn apply(&mut self, access: &Access) -> Result<()> {
        let server = access.server.clone().unwrap_or_else(|| self.cluster_url.to_string());
        self.cluster_url = server_address(&server)?;
        if let Some(path) = &access.certificate_authority {
            if let Err(error) = std::fs::metadata(path) {
                return Err(ClusterError::Kubeconfig {
                    cause: format!("certificate authority {}: {error}", path.display()),
                });
            }
            self.root_cert = None;
            self.root_cert_file = Some(path.clone());
        }
        self.accept_invalid_certs |= access.insecure_skip_tls_verify;
        if let Some(name) = &access.tls_server_name {
            self.tls_server_name = Some(name.clone());
        }
        if access.impersonate.is_some() {
            self.auth_info.impersonate = access.impersonate.clone();
        }
        if !access.impersonate_groups.is_empty() {
            self.auth_info.impersonate_groups = Some(access.impersonate_groups.clone());
        }
        if access.impersonate_uid.is_some() {
            self.auth_info.impersonate_uid = access.impersonate_uid.clone();
        }
        // A watch may be silent for as long as nothing changes, so only a person's own limit ends a read.
        self.read_timeout = access.request_timeout;
        self.connect_timeout = Some(access.request_timeout.unwrap_or(Duration::from_secs(10)));
        Ok(())
    }
}
