//! What the API server or the way to it refused, sorted by what a person does about it.

use std::collections::BTreeMap;

use kube::client::AuthError;
use kube::config::ExecConfig;
use kube::core::Status;

use super::connect::root_cause;
use super::{Cluster, Denied, Kind};
use crate::error::{Exit, Explain};
use crate::resources::Misfit;
use crate::rights::{Persona, persona_with};

/// The code of a missing right: what a verb can do without goes on at it.
pub const NO_RIGHT: &str = "KD0105";
/// The subresources of a pod have rights of their own; these are their verbs in messages.
pub(super) const READ_LOG: &str = "read the log of";
pub(super) const FORWARD_PORT: &str = "forward a port of";

/// A refusal of the cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("no kubeconfig: neither --kubeconfig, KUBECONFIG nor ~/.kube/config names a cluster")]
    NoKubeconfig,
    #[error("the kubeconfig cannot be used: {cause}")]
    Kubeconfig { cause: String },
    #[error("the kubeconfig has no current context")]
    NoCurrentContext { contexts: Vec<String> },
    #[error("the kubeconfig has no context `{context}`")]
    NoSuchContext { context: String, contexts: Vec<String> },
    #[error("no credentials for {server}: {cause}")]
    Credentials { server: String, cause: String },
    #[error("the kubeconfig's command for {server} cannot be started: {command}: {cause}")]
    LoginCommand { server: String, command: String, cause: String, install_hint: Option<String> },
    #[error("the API server {server} cannot be reached: {cause}")]
    Unreachable { server: String, cause: String },
    #[error("{server} does not accept these credentials")]
    Unauthorized { server: String },
    #[error("no right to {denied}")]
    Forbidden {
        denied: Denied,
        /// The persona that has this right, and all else that the verb needs.
        persona: Option<Persona>,
    },
    #[error("the quota of namespace {namespace} is used up: {message}")]
    Quota { namespace: String, message: String },
    #[error("namespace {namespace} does not exist")]
    NoNamespace { namespace: String },
    #[error("{kind} {name} does not exist in namespace {namespace}")]
    NotFound { kind: Kind, name: String, namespace: String },
    #[error("the cluster has no Dynamo platform: DynamoGraphDeployment is not served by {server}")]
    NoPlatform { server: String },
    #[error("{kind}/{name} is refused: {message}")]
    Refused { kind: Kind, name: String, message: String },
    /// What server-side apply says of an object that does not fit its schema, or an error without any reason.
    #[error("{kind}/{name} is refused: {message}")]
    Untyped { kind: Kind, name: String, message: String },
    #[error("{kind}/{name} does not fit the schema that the cluster publishes: {}", together(.misfits))]
    Misfits { kind: Kind, name: String, misfits: Vec<Misfit> },
    #[error("{kind}/{name} is also managed by {held}")]
    Conflict { kind: Kind, name: String, held: String },
    #[error("no frontend of {name} in namespace {namespace} is ready")]
    NoReadyPod { name: String, namespace: String },
    #[error("the Dynamo operator does not answer: {message}")]
    OperatorSilent { message: String },
    #[error("{address} cannot be listened on: {cause}")]
    Listen { address: std::net::SocketAddr, cause: String },
    #[error("{pod} does not answer on port {port}: {cause}")]
    PodRefuses { pod: String, port: u16, cause: String },
    #[error("a connection to {pod} broke: {cause}")]
    ForwardBroke { pod: String, cause: String },
    #[error("the API server failed to {verb} {kind} {name}: {message}")]
    Server { verb: &'static str, kind: Kind, name: String, message: String },
}

impl ClusterError {
    pub(super) fn from_kube(
        error: kube::Error,
        verb: &'static str,
        kind: Kind,
        name: &str,
        cluster: &Cluster,
    ) -> Self {
        match error {
            kube::Error::Api(status) => Self::from_status(&status, verb, kind, name, cluster),
            error @ kube::Error::Auth(_) => Self::of_login(&error, None, &cluster.server),
            kube::Error::Service(error) => {
                Self::Unreachable { server: cluster.server.clone(), cause: root_cause(&*error) }
            }
            kube::Error::HyperError(error) => {
                Self::Unreachable { server: cluster.server.clone(), cause: root_cause(&error) }
            }
            other => Self::Server { verb, kind, name: name.into(), message: root_cause(&other) },
        }
    }

    /// A client that got no credentials. `login` is the command that the kubeconfig names for them.
    pub(super) fn of_login(error: &kube::Error, login: Option<&ExecConfig>, server: &str) -> Self {
        let server = server.to_owned();
        let command = login.and_then(|login| login.command.as_deref()).unwrap_or("the login command");
        let cause = match error {
            kube::Error::Auth(AuthError::AuthExecStart(cause)) => {
                return Self::LoginCommand {
                    server,
                    command: command.into(),
                    cause: cause.to_string(),
                    install_hint: login.and_then(|login| login.install_hint.clone()),
                };
            }
            // Its stdout and its environment may hold a token, so only its last words on stderr are told.
            kube::Error::Auth(AuthError::AuthExecRun { out, .. }) => {
                let words = String::from_utf8_lossy(&out.stderr);
                let last = words.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
                format!("{command} ended with {}: {last}", out.status)
            }
            error => root_cause(error),
        };
        Self::Credentials { server, cause }
    }

    fn from_status(status: &Status, verb: &'static str, kind: Kind, name: &str, cluster: &Cluster) -> Self {
        let namespace = cluster.namespace.clone();
        let message = status.message.clone();
        let (name, about_namespace) = (name.to_owned(), status.message.starts_with("namespaces "));
        match status.code {
            401 => Self::Unauthorized { server: cluster.server.clone() },
            403 if message.contains("exceeded quota") => Self::Quota { namespace, message },
            403 if message.contains("admission webhook") => Self::Refused { kind, name, message },
            403 => {
                let (asked, resource) = right(verb, &kind.resource_name());
                let denied = Denied::read(&message, &asked, &resource, &namespace);
                let persona = persona_with(cluster.verb, &denied.verb, &denied.resource);
                cluster.refusals.note(&denied);
                Self::Forbidden { denied, persona }
            }
            404 if about_namespace => Self::NoNamespace { namespace },
            404 => Self::NotFound { kind, name, namespace },
            409 if status.details.as_ref().is_some_and(|details| !details.causes.is_empty()) => {
                Self::Conflict { kind, name, held: held_by_others(status) }
            }
            400 | 409 | 422 => Self::Refused { kind, name, message },
            // Server-side apply answers a field that the schema does not know with 500 and no reason, as the API server
            // does with every other plain error: a kubelet or a webhook that does not answer, a leader that changes.
            500 if message.contains("failed to create typed") => {
                Self::Untyped { kind, name, message: untyped(&message) }
            }
            500 if message.contains("failed calling webhook")
                || message.contains("conversion webhook for") =>
            {
                Self::OperatorSilent { message }
            }
            _ => Self::Server { verb, kind, name, message },
        }
    }

    /// Whether waiting and asking again can help.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Server { .. } | Self::OperatorSilent { .. })
    }
}

fn together(misfits: &[Misfit]) -> String {
    misfits.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The other managers, each with the fields it holds, from the causes of a conflict.
fn held_by_others(status: &Status) -> String {
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    let mut held: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for cause in causes {
        let manager = cause.message.split('"').nth(1).unwrap_or("another manager");
        held.entry(manager).or_default().push(&cause.field);
    }
    let one = |(manager, fields): (&str, Vec<&str>)| format!("{manager}: {}", fields.join(", "));
    held.into_iter().map(one).collect::<Vec<_>>().join("; and by ")
}

/// The field and the reason, of the answer that server-side apply gives for a field the schema does not know.
fn untyped(message: &str) -> String {
    match message.split_once("): ") {
        Some((_, field)) => field.to_owned(),
        None => message.to_owned(),
    }
}

/// What is asked for in RBAC's words: the verb and the resource.
fn right(verb: &str, resource: &str) -> (String, String) {
    let (verb, resource) = match verb {
        READ_LOG => ("get", "pods/log"),
        FORWARD_PORT => ("create", "pods/portforward"),
        "discover" => ("get", "/apis/nvidia.com"),
        verb => (verb, resource),
    };
    (verb.into(), resource.into())
}

impl Explain for ClusterError {
    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoKubeconfig => "KD0101",
            Self::NoCurrentContext { .. } | Self::NoSuchContext { .. } => "KD0102",
            Self::Unreachable { .. } => "KD0103",
            Self::Credentials { .. } | Self::LoginCommand { .. } | Self::Unauthorized { .. } => "KD0104",
            Self::Forbidden { .. } => NO_RIGHT,
            Self::NotFound { .. } => "KD0106",
            Self::NoNamespace { .. } => "KD0107",
            Self::Server { .. } => "KD0108",
            Self::Kubeconfig { .. } => "KD0109",
            Self::NoPlatform { .. } => "KD0203",
            Self::Refused { .. } | Self::Untyped { .. } => "KD0204",
            Self::Misfits { .. } => "KD0245",
            Self::Conflict { .. } => "KD0205",
            Self::Quota { .. } => "KD0301",
            Self::OperatorSilent { .. } => "KD0220",
            Self::NoReadyPod { .. } => "KD0801",
            Self::Listen { .. } => "KD0803",
            Self::PodRefuses { .. } => "KD0820",
            Self::ForwardBroke { .. } => "KD0821",
        })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoKubeconfig => {
                "name one: --kubeconfig FILE; or serve on this machine: kubectl dynamo up --local".into()
            }
            Self::Kubeconfig { .. } => "see what kubectl reads: kubectl config view".into(),
            Self::NoCurrentContext { contexts } | Self::NoSuchContext { contexts, .. } => match contexts.as_slice() {
                [] => "add one: kubectl config set-context --help".into(),
                known => format!("use --context with one of: {}", known.join(" ")),
            },
            Self::Unreachable { .. } => "check the cluster and the context: kubectl cluster-info".into(),
            Self::Credentials { .. } | Self::Unauthorized { .. } => {
                "log in again, then check: kubectl auth whoami".into()
            }
            Self::LoginCommand { install_hint, command, .. } => {
                install_hint.clone().unwrap_or_else(|| format!("install it, then check: {command} --help"))
            }
            Self::Forbidden { denied, persona } => denied.remedy(*persona),
            Self::Quota { namespace, .. } => format!("see what uses it: kubectl describe quota -n {namespace}"),
            Self::NoNamespace { namespace } => format!("create it: kubectl create namespace {namespace}"),
            Self::NotFound { .. } => "see what is there: kubectl dynamo list -A".into(),
            Self::NoPlatform { .. } => {
                "install the dynamo-platform chart, then check: kubectl get crd dynamographdeployments.nvidia.com"
                    .into()
            }
            Self::Conflict { .. } => "take the fields over: add --force-conflicts".into(),
            Self::NoReadyPod { name, namespace } => {
                format!("see what it waits for: kubectl dynamo status {name} -n {namespace}")
            }
            Self::OperatorSilent { .. } => {
                "see whether it runs: kubectl get pods -A -l app.kubernetes.io/name=dynamo-operator".into()
            }
            Self::Listen { .. } => "leave the local port out for a free one".into(),
            Self::Misfits { kind, .. } => {
                let resource = kind.api_resource();
                format!(
                    "correct them; what there is: kubectl explain {}.spec --api-version={}",
                    resource.plural, resource.api_version
                )
            }
            Self::Refused { .. } | Self::Untyped { .. } => return None,
            Self::PodRefuses { pod, .. } => format!("see what it listens on and says: kubectl logs {pod}"),
            Self::ForwardBroke { .. } => "connect again: the tunnel stays, and leads to a pod that is ready".into(),
            Self::Server { .. } => "try again; the same command continues".into(),
        })
    }

    fn exit(&self) -> Exit {
        match self {
            Self::NoKubeconfig
            | Self::Kubeconfig { .. }
            | Self::NoCurrentContext { .. }
            | Self::NoSuchContext { .. }
            | Self::Credentials { .. }
            | Self::LoginCommand { .. }
            | Self::Unreachable { .. }
            | Self::Unauthorized { .. }
            | Self::Forbidden { .. } => Exit::Access,
            Self::Quota { .. } => Exit::DoesNotFit,
            Self::NoPlatform { .. } | Self::OperatorSilent { .. } => Exit::Platform,
            Self::NoNamespace { .. }
            | Self::NotFound { .. }
            | Self::Refused { .. }
            | Self::Untyped { .. }
            | Self::Misfits { .. }
            | Self::Conflict { .. }
            | Self::NoReadyPod { .. }
            | Self::Listen { .. }
            | Self::PodRefuses { .. }
            | Self::ForwardBroke { .. }
            | Self::Server { .. } => Exit::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_no_schema_knows_is_named_without_what_surrounds_it() {
        let answer = "failed to create typed patch object (dyn/tiny; nvidia.com/v1beta1, \
                      Kind=DynamoGraphDeployment): .spec.components[name=\"worker\"].replica: field not declared in schema";
        assert_eq!(
            untyped(answer),
            ".spec.components[name=\"worker\"].replica: field not declared in schema"
        );
    }

    #[test]
    fn every_manager_of_a_conflict_is_named_with_its_fields() {
        let cause = |manager: &str, field: &str| {
            serde_json::json!({ "reason": "FieldManagerConflict", "field": field,
                "message": format!("conflict with \"{manager}\" using nvidia.com/v1beta1") })
        };
        let status: Status = serde_json::from_value(serde_json::json!({
            "status": "Failure", "message": "Apply failed", "reason": "Conflict", "code": 409,
            "details": { "causes": [cause("hpa", ".a"), cause("helm", ".b"), cause("hpa", ".c")] },
        }))
        .expect("a status");
        assert_eq!(held_by_others(&status), "helm: .b; and by hpa: .a, .c");
    }
}
