//! A namespace that enforces the Pod Security Standard `restricted`: real pods start and serve there.

use std::sync::Arc;

use kubectl_dynamo_tests::{Outcome, ensure};

use crate::Shared;
use crate::plugin::{up_args, with_pod_details};

pub(crate) async fn restricted_deployment_answers_in_a_restricted_namespace(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace("restricted").await?;
    namespace.enforce_pod_security("restricted").await?;
    namespace.create_volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&namespace)?;
    let args = up_args(&shared, &["--name=tiny", "--pod-security=restricted"]);
    let output = with_pod_details(plugin.run(&args).await?.expect(0), &namespace).await?;
    ensure!(output.err.contains("smoke test: done"), "{}", output.err);
    namespace.delete().await
}
