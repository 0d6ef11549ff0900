//! Errors of the connection and of the API server, with message code, hint, and exit code.
//! A missing permission is never reported as "not found".

use std::collections::BTreeMap;

use kube::client::AuthError;
use kube::config::ExecConfig;
use kube::core::Status;

use super::admission_denial::{self, AdmissionDenial};
use super::connect::error_chain_text;
use super::{Cluster, Kind, MissingPermission};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::error::Explain;
use kubectl_dynamo_core::rbac::{Persona, persona_granting};
use kubectl_dynamo_core::readiness::MalformedObject;
use kubectl_dynamo_core::resources::SchemaViolation;

/// The message code of a missing permission. Commands continue if the permission is optional.
pub const FORBIDDEN_CODE: MessageCode = MessageCode::RbacDenied;
/// Verbs in messages for the pod subresources `log` and `portforward`, which have separate permissions.
pub(super) const READ_LOG: &str = "read the log of";
pub(super) const FORWARD_PORT: &str = "forward a port of";

/// An error of the connection or of the API server.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("kubeconfig not found (checked --kubeconfig, KUBECONFIG, and ~/.kube/config)")]
    NoKubeconfig,
    #[error("cannot load the kubeconfig: {cause}")]
    Kubeconfig { cause: String },
    #[error("current-context is not set in the kubeconfig")]
    NoCurrentContext { contexts: Vec<String> },
    #[error("context \"{context}\" not found in the kubeconfig")]
    NoSuchContext { context: String, contexts: Vec<String> },
    #[error("cannot get credentials for {server}: {cause}")]
    Credentials { server: String, cause: String },
    #[error("cannot start the credential plugin for {server}: {command}: {cause}")]
    LoginCommand { server: String, command: String, cause: String, install_hint: Option<String> },
    #[error("cannot reach the API server {server}: {cause}")]
    Unreachable { server: String, cause: String },
    #[error("the API server {server} rejected the credentials")]
    Unauthorized { server: String },
    #[error("missing permission to {permission}")]
    Forbidden {
        permission: MissingPermission,
        /// The persona with this permission and all others that the verb needs.
        persona: Option<Persona>,
    },
    #[error("quota exceeded in namespace \"{namespace}\": {message}")]
    Quota { namespace: String, message: String },
    #[error("{kind} \"{name}\" is not allowed in namespace \"{namespace}\": {reason}")]
    AdmissionDenied { kind: Kind, name: String, namespace: String, reason: String, denial: AdmissionDenial },
    #[error("namespace \"{namespace}\" not found")]
    NoNamespace { namespace: String },
    #[error("{kind} \"{name}\" not found in namespace \"{namespace}\"")]
    NotFound { kind: Kind, name: String, namespace: String },
    #[error("the Dynamo platform is not installed: {server} does not serve DynamoGraphDeployment")]
    DynamoNotInstalled { server: String },
    #[error("{kind} \"{name}\" was rejected: {message}")]
    Rejected { kind: Kind, name: String, message: String },
    /// The server-side apply error for an object that does not match its schema.
    #[error("{kind} \"{name}\" was rejected: {message}")]
    SchemaRejected { kind: Kind, name: String, message: String },
    #[error("{kind} \"{name}\" does not match the schema of the cluster: {}", join_violations(.violations))]
    SchemaViolations { kind: Kind, name: String, violations: Vec<SchemaViolation> },
    #[error("{kind} \"{name}\" has fields that are managed by {managers}")]
    Conflict { kind: Kind, name: String, managers: String },
    #[error("deployment \"{name}\" in namespace \"{namespace}\" does not have a ready frontend pod")]
    NoReadyPod { name: String, namespace: String },
    #[error("the webhook of the Dynamo operator does not respond: {message}")]
    WebhookUnavailable { message: String },
    #[error("cannot listen on {address}: {cause}")]
    Listen { address: std::net::SocketAddr, cause: String },
    #[error("pod \"{pod}\" does not accept connections on port {port}: {cause}")]
    PortRefused { pod: String, port: u16, cause: String },
    #[error("lost a connection to \"{pod}\": {cause}")]
    PortForwardLost { pod: String, cause: String },
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
            error @ kube::Error::Auth(_) => Self::from_auth_error(&error, None, &cluster.server),
            kube::Error::Service(error) => {
                Self::Unreachable { server: cluster.server.clone(), cause: error_chain_text(&*error) }
            }
            kube::Error::HyperError(error) => {
                Self::Unreachable { server: cluster.server.clone(), cause: error_chain_text(&error) }
            }
            other => Self::Server { verb, kind, name: name.into(), message: error_chain_text(&other) },
        }
    }

    /// An error of a client that could not get credentials. `exec` is the credential plugin of the
    /// kubeconfig.
    pub(super) fn from_auth_error(error: &kube::Error, exec: Option<&ExecConfig>, server: &str) -> Self {
        let server = server.to_owned();
        let command = exec.and_then(|exec| exec.command.as_deref()).unwrap_or("the credential plugin");
        let cause = match error {
            kube::Error::Auth(AuthError::AuthExecStart(cause)) => {
                return Self::LoginCommand {
                    server,
                    command: command.into(),
                    cause: cause.to_string(),
                    install_hint: exec.and_then(|exec| exec.install_hint.clone()),
                };
            }
            // Its stdout and environment may contain a token, so only its last line on stderr is shown.
            kube::Error::Auth(AuthError::AuthExecRun { out, .. }) => {
                let stderr = String::from_utf8_lossy(&out.stderr);
                let last_line =
                    stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no output on stderr");
                format!("{command} failed with {}: {last_line}", out.status)
            }
            error => error_chain_text(error),
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
            403 if message.contains("admission webhook") => Self::Rejected { kind, name, message },
            403 => {
                if let Some(denial) = AdmissionDenial::from_message(&message) {
                    let reason = admission_denial::reason(&message).to_owned();
                    return Self::AdmissionDenied { kind, name, namespace, reason, denial };
                }
                let (rbac_verb, resource) = rbac_permission(verb, &kind.resource_name());
                let permission = MissingPermission::parse(&message, &rbac_verb, &resource, &namespace);
                let persona = persona_granting(cluster.verb, &permission.verb, &permission.resource);
                cluster.missing_permissions.record(&permission);
                Self::Forbidden { permission, persona }
            }
            404 if about_namespace => Self::NoNamespace { namespace },
            404 => Self::NotFound { kind, name, namespace },
            409 if status.details.as_ref().is_some_and(|details| !details.causes.is_empty()) => {
                Self::Conflict { kind, name, managers: conflicting_managers(status) }
            }
            400 | 409 | 422 => Self::Rejected { kind, name, message },
            // Server-side apply rejects an unknown field with 500 and without a reason. The API server does
            // the same for every other plain error: a kubelet or webhook that does not respond, or a leader
            // change in etcd.
            500 if message.contains("failed to create typed") => {
                Self::SchemaRejected { kind, name, message: field_and_reason(&message) }
            }
            500 if is_dynamo_webhook_failure(&message) => Self::WebhookUnavailable { message },
            _ => Self::Server { verb, kind, name, message },
        }
    }

    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Server { .. } | Self::WebhookUnavailable { .. })
    }

    /// Creates the error for an object that does not have the fields of its kind.
    pub fn malformed(verb: &'static str, kind: Kind, object: MalformedObject) -> Self {
        Self::Server { verb, kind, message: object.to_string(), name: object.name }
    }
}

/// Returns whether a webhook of the Dynamo operator does not respond. Those of other programs are errors of the API
/// server for this plugin.
fn is_dynamo_webhook_failure(message: &str) -> bool {
    let name = message.split_once("failed calling webhook \"").and_then(|(_, rest)| rest.split('"').next());
    name.is_some_and(|name| name.contains("dynamo")) || message.contains("conversion webhook for nvidia.com/")
}

fn join_violations(violations: &[SchemaViolation]) -> String {
    violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The other field managers, each with its fields, from the causes of a conflict.
fn conflicting_managers(status: &Status) -> String {
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    let mut fields_by_manager: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for cause in causes {
        let manager = cause.message.split('"').nth(1).unwrap_or("another manager");
        fields_by_manager.entry(manager).or_default().push(&cause.field);
    }
    let manager_text =
        |(manager, fields): (&str, Vec<&str>)| format!("\"{manager}\" ({})", fields.join(", "));
    fields_by_manager.into_iter().map(manager_text).collect::<Vec<_>>().join(" and ")
}

/// The field and the reason from the server-side apply message for a field that the schema does not define.
fn field_and_reason(message: &str) -> String {
    match message.split_once("): ") {
        Some((_, field)) => field.to_owned(),
        None => message.to_owned(),
    }
}

/// The RBAC verb and resource of a request.
fn rbac_permission(verb: &str, resource: &str) -> (String, String) {
    let (verb, resource) = match verb {
        READ_LOG => ("get", "pods/log"),
        FORWARD_PORT => ("create", "pods/portforward"),
        "discover" => ("get", "/apis/nvidia.com"),
        verb => (verb, resource),
    };
    (verb.into(), resource.into())
}

impl Explain for ClusterError {
    fn code(&self) -> Option<MessageCode> {
        Some(match self {
            Self::NoKubeconfig => MessageCode::KubeconfigNotFound,
            Self::NoCurrentContext { .. } | Self::NoSuchContext { .. } => MessageCode::ContextNotFound,
            Self::Unreachable { .. } => MessageCode::ApiServerUnreachable,
            Self::Credentials { .. } | Self::LoginCommand { .. } | Self::Unauthorized { .. } => {
                MessageCode::LoginFailed
            }
            Self::Forbidden { .. } => FORBIDDEN_CODE,
            Self::NotFound { .. } => MessageCode::ObjectNotFound,
            Self::NoNamespace { .. } => MessageCode::NamespaceNotFound,
            Self::Server { .. } => MessageCode::ApiServerError,
            Self::Kubeconfig { .. } => MessageCode::UnreadableKubeconfig,
            Self::DynamoNotInstalled { .. } => MessageCode::PlatformNotInstalled,
            Self::Rejected { .. } | Self::SchemaRejected { .. } => MessageCode::ObjectRejected,
            Self::SchemaViolations { .. } => MessageCode::SchemaMismatch,
            Self::Conflict { .. } => MessageCode::FieldManagerConflict,
            Self::Quota { .. } => MessageCode::QuotaExhausted,
            Self::AdmissionDenied { denial, .. } => denial.code(),
            Self::WebhookUnavailable { .. } => MessageCode::OperatorUnreachable,
            Self::NoReadyPod { .. } => MessageCode::NoReadyFrontendPod,
            Self::Listen { .. } => MessageCode::LocalAddressUnavailable,
            Self::PortRefused { .. } => MessageCode::PodConnectionRefused,
            Self::PortForwardLost { .. } => MessageCode::ForwardedConnectionLost,
        })
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::NoKubeconfig => SuggestedCommand::plugin("up")
                .flag("--local")
                .after("set --kubeconfig FILE, or serve on this machine: "),
            Self::Kubeconfig { .. } => {
                SuggestedCommand::kubectl("config view").on_this_machine().after("check the kubeconfig: ")
            }
            Self::NoCurrentContext { contexts } | Self::NoSuchContext { contexts, .. } => {
                match contexts.as_slice() {
                    [] => SuggestedCommand::kubectl("config set-context")
                        .flag("--help")
                        .on_this_machine()
                        .after("create a context: "),
                    names => format!("use --context with one of: {}", names.join(" ")).into(),
                }
            }
            Self::Unreachable { .. } => SuggestedCommand::kubectl("cluster-info")
                .cluster_scoped()
                .after("check the cluster and the context: "),
            Self::Credentials { .. } | Self::Unauthorized { .. } => {
                SuggestedCommand::kubectl("auth whoami").cluster_scoped().after("log in again, then check: ")
            }
            Self::LoginCommand { install_hint, command, .. } => install_hint
                .clone()
                .unwrap_or_else(|| ["install it, then check: ", command, " --help"].concat())
                .into(),
            Self::Forbidden { permission, persona } => permission.hint(*persona),
            Self::AdmissionDenied { namespace, denial, .. } => return denial.hint(namespace),
            Self::Quota { namespace, .. } => {
                SuggestedCommand::kubectl("describe quota").in_namespace(namespace).after("check the usage: ")
            }
            Self::NoNamespace { namespace } => SuggestedCommand::kubectl("create namespace")
                .operand(namespace, "NAME")
                .cluster_scoped()
                .after("create it: "),
            Self::NotFound {
                kind: kind @ (Kind::ConfigMap | Kind::Deployment | Kind::Secret),
                namespace,
                ..
            } => SuggestedCommand::kubectl(&format!("get {}", kind.resource_name()))
                .in_namespace(namespace)
                .after("list the objects: "),
            Self::NotFound { .. } => {
                SuggestedCommand::plugin("list").flag("-A").after("list the deployments: ")
            }
            Self::DynamoNotInstalled { .. } => {
                SuggestedCommand::kubectl("get crd dynamographdeployments.nvidia.com")
                    .cluster_scoped()
                    .after("install the dynamo-platform chart, then check: ")
            }
            Self::Conflict { .. } => "add --force-conflicts to take over the fields".into(),
            Self::NoReadyPod { name, namespace } => SuggestedCommand::plugin("status")
                .operand(name, "NAME")
                .in_namespace(namespace)
                .after("check the deployment: "),
            Self::WebhookUnavailable { .. } => SuggestedCommand::kubectl("get pods")
                .flag("-A")
                .flag("-l")
                .flag("app.kubernetes.io/name=dynamo-operator")
                .after("check that the operator is running: "),
            Self::Listen { .. } => "omit the local port to use a free one".into(),
            Self::SchemaViolations { kind, .. } => {
                let resource = kind.api_resource();
                let explain = SuggestedCommand::kubectl("explain")
                    .operand(&[&resource.plural, ".spec"].concat(), "NAME")
                    .cluster_scoped();
                let explain = explain.flag(&["--api-version=", &resource.api_version].concat());
                explain.after("correct the fields; list the valid ones: ")
            }
            Self::Rejected { .. } | Self::SchemaRejected { .. } => return None,
            Self::PortRefused { pod, .. } => {
                SuggestedCommand::kubectl("logs").operand(pod, "POD").after("check the log of the pod: ")
            }
            Self::PortForwardLost { .. } => {
                "reconnect; the port-forward stays open and switches to a ready pod".into()
            }
            Self::Server { .. } => "rerun the same command to resume".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_webhooks_of_dynamo_are_the_operators() {
        for (message, expected) in [
            ("Internal error occurred: failed calling webhook \"mdynamographdeployment.kb.io\": EOF", true),
            ("conversion webhook for nvidia.com/v1beta1, Kind=DynamoGraphDeployment failed: Post", true),
            ("Internal error occurred: failed calling webhook \"validate.kyverno.svc-fail\": EOF", false),
            ("conversion webhook for cert-manager.io/v1, Kind=Issuer failed: Post", false),
        ] {
            assert_eq!(is_dynamo_webhook_failure(message), expected, "{message}");
        }
    }

    #[test]
    fn unknown_field_is_extracted_from_message() {
        let message = "failed to create typed patch object (dyn/tiny; nvidia.com/v1beta1, \
                      Kind=DynamoGraphDeployment): .spec.components[name=\"worker\"].replica: field not declared in schema";
        assert_eq!(
            field_and_reason(message),
            ".spec.components[name=\"worker\"].replica: field not declared in schema"
        );
    }

    #[test]
    fn conflict_lists_fields_by_manager() {
        let cause = |manager: &str, field: &str| {
            serde_json::json!({ "reason": "FieldManagerConflict", "field": field,
                "message": format!("conflict with \"{manager}\" using nvidia.com/v1beta1") })
        };
        let status: Status = serde_json::from_value(serde_json::json!({
            "status": "Failure", "message": "Apply failed", "reason": "Conflict", "code": 409,
            "details": { "causes": [cause("hpa", ".a"), cause("helm", ".b"), cause("hpa", ".c")] },
        }))
        .expect("a valid Status");
        assert_eq!(conflicting_managers(&status), "\"helm\" (.b) and \"hpa\" (.a, .c)");
    }
}
