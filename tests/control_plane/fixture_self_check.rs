//! Properties of the control planes that the other cases rely on.

use std::sync::Arc;

use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration;
use kubectl_dynamo_tests::{Outcome, ensure};

use crate::Shared;

pub(crate) async fn each_control_plane_serves_its_api_versions(shared: Arc<Shared>) -> Outcome {
    for (generation, expected) in
        [(GraphGeneration::V1Alpha1, &["v1alpha1"][..]), (GraphGeneration::V1Beta1, &["v1beta1", "v1alpha1"])]
    {
        let client = shared.cluster.control_plane(generation)?.client();
        let group = kube::discovery::group(&client, "nvidia.com").await?;
        let versions: Vec<&str> = group.versions().collect();
        for version in expected {
            ensure!(versions.contains(version), "{version} is not among {versions:?}");
            let kinds = group.versioned_resources(version);
            ensure!(
                kinds.iter().any(|(resource, _)| resource.kind == "DynamoGraphDeployment"),
                "{version} does not have DynamoGraphDeployment"
            );
        }
    }
    Ok(())
}
