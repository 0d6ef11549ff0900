//! `endpoint --local`: the URL of a local deployment and the models that it serves.

use std::time::Duration;

use crate::smoke_test;
use crate::workflow::local::lookup::find_deployment;
use kubectl_dynamo_core::error::Result;

/// Timeout for the frontend to list its models.
const MODELS_TIMEOUT: Duration = Duration::from_secs(3);

/// The endpoint of a local deployment.
pub(in crate::commands) struct LocalEndpoint {
    pub name: String,
    pub url: String,
    /// The models that it lists; the requested one while it starts.
    pub models: Vec<String>,
}

/// Returns the endpoint of a local deployment. The name may be omitted if there is only one.
///
/// # Errors
/// The deployment does not exist.
pub(in crate::commands) async fn endpoint(name: Option<&str>) -> Result<LocalEndpoint> {
    let spec = find_deployment(name)?.spec;
    let url = spec.base_url();
    let models = smoke_test::models(&url, MODELS_TIMEOUT).await.unwrap_or_default();
    let models = if models.is_empty() { vec![spec.intent.served_model_name.clone()] } else { models };
    Ok(LocalEndpoint { name: spec.name, url, models })
}
