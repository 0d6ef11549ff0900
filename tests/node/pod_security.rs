//! A namespace that enforces the Pod Security Standard `restricted`: which real pods start and serve there.

use std::sync::Arc;

use kubectl_dynamo_tests::{Outcome, ensure};

use crate::Shared;
use crate::plugin::{up_args, with_pod_details};

pub(crate) async fn denied_deployment_answers_after_its_fix_in_a_restricted_namespace(
    shared: Arc<Shared>,
) -> Outcome {
    let namespace = shared.namespace("restricted").await?;
    namespace.enforce_pod_security("restricted").await?;
    namespace.create_volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&namespace)?;
    let output = plugin.run(&up_args(&shared, &["--name=tiny"])).await?.expect(1)?;
    let fix = format!("kubectl dynamo up tiny -n {} --pod-security restricted", namespace.name());
    ensure!(output.err.contains("[KD0311]") && output.err.contains(&fix), "{}", output.err);

    let args = ["up", "tiny", "--pod-security=restricted", "--timeout=4m"];
    let output = with_pod_details(plugin.run(&args).await?.expect(0), &namespace).await?;
    ensure!(output.err.contains("smoke test: done"), "{}", output.err);
    namespace.delete().await
}
