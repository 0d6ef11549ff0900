//! Rejections of a webhook: plain text as in 0.9.1, or a cause for each field as in 1.5.
//! It does not decide what is rejected.

use serde_json::{Value, json};

use super::super::api_client::text;

/// A problem with one field.
#[derive(Debug, Clone)]
pub(super) struct FieldCause {
    field: String,
    reason: &'static str,
    message: String,
}

impl FieldCause {
    pub(super) fn required(field: impl Into<String>, text: &str) -> Self {
        Self { field: field.into(), reason: "FieldValueRequired", message: format!("Required value: {text}") }
    }

    pub(super) fn forbidden(field: impl Into<String>, text: &str) -> Self {
        Self { field: field.into(), reason: "FieldValueForbidden", message: format!("Forbidden: {text}") }
    }

    pub(super) fn invalid(field: impl Into<String>, value: &str, text: &str) -> Self {
        Self {
            field: field.into(),
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {value:?}: {text}"),
        }
    }
}

/// The response of a validating webhook.
#[derive(Debug, Clone, Default)]
pub(super) struct AdmissionVerdict {
    pub(super) warnings: Vec<String>,
    pub(super) rejection: Option<Value>,
}

impl AdmissionVerdict {
    /// Returns 422 with the causes, unless there are none.
    pub(super) fn from_causes(object: &Value, causes: &[FieldCause], warnings: Vec<String>) -> Self {
        let texts: Vec<String> =
            causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        let all = match texts.as_slice() {
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        let name = text(object, "/metadata/name");
        let listed: Vec<Value> = causes
            .iter()
            .map(|cause| json!({"field": cause.field, "reason": cause.reason, "message": cause.message}))
            .collect();
        let rejection = (!causes.is_empty()).then(|| {
            json!({
                "status": "Failure",
                "code": 422,
                "reason": "Invalid",
                "message": format!("DynamoGraphDeployment.nvidia.com {name:?} is invalid: {all}"),
                "details": {"group": "nvidia.com", "kind": "DynamoGraphDeployment", "name": name, "causes": listed},
            })
        });
        Self { warnings, rejection }
    }

    /// Returns 403 with the texts, one per line, unless there are none.
    pub(super) fn from_texts(texts: &[String], warnings: Vec<String>) -> Self {
        let rejection = (!texts.is_empty()).then(
            || json!({"status": "Failure", "code": 403, "reason": "Forbidden", "message": texts.join("\n")}),
        );
        Self { warnings, rejection }
    }

    pub(super) fn response(self) -> Value {
        let mut response = json!({"allowed": self.rejection.is_none()});
        if !self.warnings.is_empty() {
            response["warnings"] = json!(self.warnings);
        }
        if let Some(rejection) = self.rejection {
            response["status"] = rejection;
        }
        response
    }
}
