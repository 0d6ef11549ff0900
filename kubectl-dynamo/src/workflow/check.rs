//! Runs the preflight checks for the cluster alone, for a new deployment, or for a change of one. It must not
//! change anything on the cluster.

use std::collections::BTreeMap;

use crate::context::Context;
use crate::report::{Report, Stage};
use crate::workflow::local::environment;
use crate::workflow::resolve::{self, ResolvedDeployment, TokenSecretCheck};
use crate::workflow::serving_input::ServingInput;
use crate::workflow::sources::{RequestInput, collect_input};
use crate::workflow::{confirm_change, image_lookup, model_config};
use kubectl_dynamo_cluster::{Cluster, ClusterError, ConflictPolicy, FactsRequest, Platform};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::error::{Error, Exit, Result};
use kubectl_dynamo_core::preflight::{
    Category, CheckProblem, CheckResult, ClusterFacts, Fact, Finding, FindingCounts, ModelLookup,
    PreflightInput, component_requests, run_checks,
};
use kubectl_dynamo_core::registry::ImageLookup;

/// The result of all checks.
pub(crate) struct CheckReport {
    pub namespace: String,
    pub server: String,
    /// The name of the checked deployment.
    pub name: Option<String>,
    pub findings: Vec<Finding>,
}

impl CheckReport {
    pub(crate) fn exit(&self) -> Exit {
        match FindingCounts::from_findings(&self.findings) {
            FindingCounts { failed: 1.., .. } => Exit::Failed,
            FindingCounts { pending: 1.., .. } => Exit::NotReadyInTime,
            FindingCounts { .. } => Exit::Ok,
        }
    }
}

/// Checks the cluster and, if the input describes a deployment, whether the cluster can run it.
///
/// # Errors
/// A usage error, or an API server that cannot be reached. Everything else is a finding.
pub(crate) async fn check(serving: &ServingInput, context: &Context) -> Result<CheckReport> {
    context.kube.refuse_all_namespaces()?;
    let input = collect_input(serving)?;
    let has_plan = match &input {
        RequestInput::Request(layers) => {
            let own_layers = layers.layers.iter().filter(|layer| layer.source.is_deployment_specific());
            own_layers.into_iter().any(|layer| !layer.settings.is_empty())
        }
        RequestInput::Manifest(_) => true,
    };
    if has_plan {
        input.check()?;
    }
    let cluster = context.cluster().await?;
    context.report.waiting(Stage::Preflight, format!("{} to answer", cluster.server));
    let report = check_cluster(&cluster, Some(&input).filter(|_| has_plan), &context.report).await?;
    // Each skipped check already names its missing permission.
    context.missing_permissions.clear();
    Ok(report)
}

async fn check_cluster(
    cluster: &Cluster,
    input: Option<&RequestInput>,
    report: &Report,
) -> Result<CheckReport> {
    let platform = match cluster.platform().await {
        Ok(platform) => Some(platform),
        Err(ClusterError::DynamoNotInstalled { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let plan_outcome = match (input, &platform) {
        (Some(input), Some(platform)) => Some(plan_deployment(cluster, input, platform, report).await?),
        _ => None,
    };
    let (deployment, blocker) = match plan_outcome {
        Some(PlanOutcome::Deployment(deployment)) => (Some(*deployment), None),
        Some(PlanOutcome::Blocked(finding)) => (None, Some(finding)),
        None => (None, None),
    };
    let added_pods = match (&deployment, &platform) {
        (Some(deployment), Some(platform)) if deployment.exists => {
            Some(added_pods(cluster, deployment, platform).await)
        }
        _ => None,
    };
    let subject = PreflightInput {
        plan: deployment.as_ref().and_then(|one| one.plan.as_ref()),
        resources: deployment.as_ref().map_or(&[], |one| &one.resources),
        pvc: deployment.as_ref().and_then(|one| one.pvc.as_ref()),
        starting_pods: added_pods.as_deref(),
        command: None,
    };
    let operators = deployment.as_ref().map_or(Fact::NotQueried, |one| one.operators.clone());
    let needs_operators = operators == Fact::NotQueried;
    let facts_request = FactsRequest { operators: needs_operators, ..build_facts_request(&subject) };
    let asked = deployment.as_ref().map_or(Fact::NotQueried, |one| one.model.clone());
    let (cluster_facts, model, images) = tokio::join!(
        cluster.collect_facts(&facts_request),
        query_model(&subject, asked, report),
        look_up_images(cluster, &subject)
    );
    let local_hub_endpoint = environment::local_hub_endpoint();
    let platform = Fact::Known(platform);
    let mut facts = ClusterFacts { platform, model, images, local_hub_endpoint, ..cluster_facts? };
    if !needs_operators {
        facts.operators = operators;
    }
    let mut findings = run_checks(&facts, &subject);
    findings.extend(blocker);
    Ok(CheckReport {
        namespace: cluster.namespace.clone(),
        server: cluster.server.clone(),
        name: deployment.map(|one| one.name),
        findings,
    })
}

/// Queries the hub for the facts about the planned model, unless it was asked before.
async fn query_model(
    subject: &PreflightInput<'_>,
    asked: Fact<ModelLookup>,
    report: &Report,
) -> Fact<ModelLookup> {
    match subject.plan {
        _ if asked != Fact::NotQueried => asked,
        Some(plan) => model_config::from_hub(&plan.intent, report).await,
        None => Fact::NotQueried,
    }
}

/// Looks up the images of the plan in their registries.
async fn look_up_images(cluster: &Cluster, subject: &PreflightInput<'_>) -> BTreeMap<String, ImageLookup> {
    match subject.plan {
        Some(plan) => Box::pin(image_lookup::look_up_images(cluster, plan)).await,
        None => BTreeMap::new(),
    }
}

/// A planned deployment, or the finding that blocks it.
enum PlanOutcome {
    Deployment(Box<ResolvedDeployment>),
    Blocked(Finding),
}

/// Plans the deployment. A usage error is returned as an error; a problem of the cluster becomes a finding.
async fn plan_deployment(
    cluster: &Cluster,
    input: &RequestInput,
    platform: &Platform,
    report: &Report,
) -> Result<PlanOutcome> {
    match resolve::resolve_input(input, cluster, platform, TokenSecretCheck::Required, report).await {
        Ok(deployment) => Ok(PlanOutcome::Deployment(Box::new(deployment))),
        Err(error) if error.exit() == Exit::Usage => Err(error),
        Err(error) => Ok(PlanOutcome::Blocked(blocking_finding(error)?)),
    }
}

fn blocking_finding(error: Error) -> Result<Finding> {
    let Some(code) = error.code() else { return Err(error) };
    let (category, name) = match code {
        MessageCode::ApiServerUnreachable | MessageCode::LoginFailed => return Err(error),
        MessageCode::ModelPvcNotFound => (Category::Storage, "pvc"),
        MessageCode::TokenSecretNotFound => (Category::Cache, "token-secret"),
        _ if error.exit() == Exit::Access => (Category::Access, "plan"),
        _ => (Category::Platform, "plan"),
    };
    let hint = error.hint().unwrap_or_default();
    let outcome =
        CheckResult::Failed(CheckProblem { code, text: error.to_string(), hint, exit: error.exit() });
    Ok(Finding { category, name, outcome })
}

/// Returns the pods that a change adds; none if its dry run fails, which `up` and `diff` report in detail.
async fn added_pods(
    cluster: &Cluster,
    deployment: &ResolvedDeployment,
    platform: &Platform,
) -> Vec<(String, u64)> {
    let changes = cluster.dry_run(&deployment.resources, ConflictPolicy::Fail).await;
    changes.map(|changes| confirm_change::added_pods(&changes, platform)).unwrap_or_default()
}

fn build_facts_request(subject: &PreflightInput<'_>) -> FactsRequest {
    let needs_gpus =
        subject.resources.is_empty() || component_requests(subject).iter().any(|one| one.total_gpus() > 0);
    let secret = subject.plan.and_then(|plan| plan.intent.token_secret.as_ref());
    FactsRequest {
        kubernetes: true,
        namespace: true,
        permissions: true,
        webhooks: true,
        nodes: needs_gpus,
        pods: needs_gpus || subject.pvc.is_some(),
        limits: true,
        storage: true,
        token_secret: secret.map(|secret| secret.name.clone()),
        ..FactsRequest::default()
    }
}
