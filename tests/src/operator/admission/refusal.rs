//! How a webhook refuses: as 0.9.1 does with a plain text, or as 1.5 does with a cause for each field.

use serde_json::{Value, json};

use super::super::access::text;

/// What is wrong with one field.
#[derive(Debug, Clone)]
pub(super) struct Cause {
    field: String,
    reason: &'static str,
    message: String,
}

impl Cause {
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

/// What a validating webhook answers.
#[derive(Debug, Clone, Default)]
pub(super) struct Verdict {
    pub(super) warnings: Vec<String>,
    pub(super) refusal: Option<Value>,
}

impl Verdict {
    /// 422 with the causes, unless there are none.
    pub(super) fn with_causes(object: &Value, causes: &[Cause], warnings: Vec<String>) -> Self {
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
        let refusal = (!causes.is_empty()).then(|| {
            json!({
                "status": "Failure",
                "code": 422,
                "reason": "Invalid",
                "message": format!("DynamoGraphDeployment.nvidia.com {name:?} is invalid: {all}"),
                "details": {"group": "nvidia.com", "kind": "DynamoGraphDeployment", "name": name, "causes": listed},
            })
        });
        Self { warnings, refusal }
    }

    /// 403 with the texts, one a line, unless there are none.
    pub(super) fn with_texts(texts: &[String], warnings: Vec<String>) -> Self {
        let refusal = (!texts.is_empty()).then(
            || json!({"status": "Failure", "code": 403, "reason": "Forbidden", "message": texts.join("\n")}),
        );
        Self { warnings, refusal }
    }

    pub(super) fn response(self) -> Value {
        let mut response = json!({"allowed": self.refusal.is_none()});
        if !self.warnings.is_empty() {
            response["warnings"] = json!(self.warnings);
        }
        if let Some(refusal) = self.refusal {
            response["status"] = refusal;
        }
        response
    }
}
