//! Classifies responses with status 403 that are not about permissions: the API server uses the same status when
//! one of its admission plugins denies an object.

use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};

/// The admission plugin that denies an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdmissionDenial {
    LimitRange,
    NamespaceTerminating,
    PodSecurity,
    ServiceAccount,
    /// A quota that requires a limit which the object does not set.
    QuotaLimit,
    Other,
}

impl AdmissionDenial {
    /// Classifies the message of a response with status 403; `None` if an authorizer denies the request.
    pub(super) fn from_message(message: &str) -> Option<Self> {
        let is_authorizer = message.contains("User \"") && message.contains(" cannot ");
        if is_authorizer || !message.contains("is forbidden: ") {
            return None;
        }
        let contains = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
        Some(if contains(&["because it is being terminated"]) {
            Self::NamespaceTerminating
        } else if contains(&[" usage per ", " limit to request ratio per "]) {
            Self::LimitRange
        } else if contains(&["violates PodSecurity"]) {
            Self::PodSecurity
        } else if contains(&["error looking up service account"]) {
            Self::ServiceAccount
        } else if contains(&["failed quota"]) {
            Self::QuotaLimit
        } else {
            Self::Other
        })
    }

    pub(super) fn code(self) -> MessageCode {
        match self {
            Self::LimitRange => MessageCode::LimitRangeViolation,
            Self::NamespaceTerminating => MessageCode::NamespaceNotFound,
            Self::PodSecurity => MessageCode::PodSecurityViolation,
            Self::ServiceAccount => MessageCode::ServiceAccountNotFound,
            Self::QuotaLimit => MessageCode::QuotaRequiresLimit,
            Self::Other => MessageCode::ObjectRejected,
        }
    }

    pub(super) fn hint(self, namespace: &str) -> Option<Fix> {
        let in_namespace = |verb: &str| SuggestedCommand::kubectl(verb).in_namespace(namespace);
        let get_namespace =
            || SuggestedCommand::kubectl("get namespace").operand(namespace, "NAME").cluster_scoped();
        Some(match self {
            Self::LimitRange => in_namespace("describe limitrange").after("list the limits: "),
            Self::NamespaceTerminating => {
                get_namespace().after("use another namespace with -n, or wait until it is deleted: ")
            }
            Self::PodSecurity => {
                get_namespace().flag("--show-labels").after("check the labels of the namespace: ")
            }
            Self::ServiceAccount => in_namespace("get serviceaccounts").after("list the service accounts: "),
            Self::QuotaLimit => in_namespace("describe quota").after("check the quota: "),
            Self::Other => return None,
        })
    }
}

/// Returns the reason in the message of a denial, without the object.
pub(super) fn reason(message: &str) -> &str {
    message.split_once("is forbidden: ").map_or(message, |(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_authorizer_denials_are_missing_permissions() {
        use AdmissionDenial::{
            LimitRange, NamespaceTerminating, Other, PodSecurity, QuotaLimit, ServiceAccount,
        };
        for (message, denial) in [
            (
                r#"jobs.batch is forbidden: User "jane" cannot create resource "jobs" in API group "batch" in the namespace "serving""#,
                None,
            ),
            (r#"forbidden: User "system:anonymous" cannot get path "/apis""#, None),
            ("access denied by the proxy", None),
            (
                r#"persistentvolumeclaims "model-cache" is forbidden: maximum storage usage per PersistentVolumeClaim is 100Gi, but request is 500Gi"#,
                Some(LimitRange),
            ),
            (
                r#"pods "a" is forbidden: [maximum cpu usage per Container is 1, but limit is 2, minimum memory usage per Pod is 1Gi, but request is 1Mi]"#,
                Some(LimitRange),
            ),
            (
                r#"pods "a" is forbidden: cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000"#,
                Some(LimitRange),
            ),
            (
                r#"jobs.batch "fetch" is forbidden: unable to create new content in namespace serving because it is being terminated"#,
                Some(NamespaceTerminating),
            ),
            (
                r#"pods "a" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot"#,
                Some(PodSecurity),
            ),
            (
                r#"pods "a" is forbidden: error looking up service account serving/x: serviceaccount "x" not found"#,
                Some(ServiceAccount),
            ),
            (
                r#"pods "a" is forbidden: failed quota: q: must specify limits.cpu for: main"#,
                Some(QuotaLimit),
            ),
            (r#"pods "a" is forbidden: no PriorityClass with name high was found"#, Some(Other)),
        ] {
            assert_eq!(AdmissionDenial::from_message(message), denial, "{message}");
        }
    }
}
