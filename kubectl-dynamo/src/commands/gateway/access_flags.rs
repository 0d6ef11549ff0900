//! The flags with which the gateway verbs reach a proxy.

use std::time::Duration;

use clap::Args;

use crate::context::Context;
use crate::kube_flags;
use crate::workflow::gateway::{GatewayKeySource, GatewayProxy, SecretKeyReference};
use kubectl_dynamo_core::error::Result;

#[derive(Args)]
pub(in crate::commands) struct GatewayAccessArgs {
    /// URL of the LiteLLM proxy, such as http://127.0.0.1:4000
    #[arg(long, value_name = "URL")]
    pub url: String,
    /// Environment variable with the proxy's master key
    #[arg(long, value_name = "NAME", conflicts_with = "api_key_secret")]
    pub api_key_env: Option<String>,
    /// Secret with the proxy's master key, and its key in the Secret
    #[arg(long, value_name = "NAME/KEY")]
    pub api_key_secret: Option<SecretKeyReference>,
    /// Namespace of the Secret (default: that of -n)
    #[arg(long, value_name = "NAME", requires = "api_key_secret")]
    pub gateway_namespace: Option<String>,
    /// Maximum time of one request to the proxy, such as 90s or 2m
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = kube_flags::parse_duration)]
    pub timeout: Duration,
}

impl GatewayAccessArgs {
    /// Reads the key and creates the client.
    ///
    /// # Errors
    /// A key that cannot be read, or an invalid URL.
    pub(super) async fn connect(&self, context: &Context) -> Result<GatewayProxy> {
        let source = match (&self.api_key_env, &self.api_key_secret) {
            (Some(name), _) => GatewayKeySource::Variable(name.clone()),
            (None, Some(reference)) => GatewayKeySource::Secret {
                reference: reference.clone(),
                namespace: self.gateway_namespace.clone(),
            },
            (None, None) => GatewayKeySource::None,
        };
        GatewayProxy::new(&self.url, source.read(context).await?, self.timeout)
    }
}
