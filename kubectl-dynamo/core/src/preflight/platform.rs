//! Checks of Kubernetes and the Dynamo platform: version, CRDs, operator, webhooks, and optional components
//! such as Grove and KAI.

use super::requests::component_requests;
use super::{
    CheckProblem, CheckResult, ClusterFacts, Fact, OperatorFacts, Platform, PreflightInput, Webhook,
};
use crate::code::MessageCode;
use crate::command::{Fix, SuggestedCommand, UNKNOWN_NAME, UNKNOWN_NAMESPACE};
use crate::intent::StringEnum;
use crate::release::{OperatorGeneration, major_minor, newest_release_for};
use crate::resources::has_version_tag;

/// Minimum Kubernetes version of the dynamo-platform chart for releases that store graphs as v1beta1.
const OLDEST_KUBERNETES: (u32, u32) = (1, 30);
const OPERATOR_LABEL: &str = "app.kubernetes.io/name=dynamo-operator";

fn platform(facts: &ClusterFacts) -> Option<&Platform> {
    facts.platform.known()?.as_ref()
}

/// Checks that Kubernetes is recent enough for the platform.
pub(super) fn kubernetes(facts: &ClusterFacts, _: &PreflightInput<'_>) -> Option<CheckResult> {
    let (major, minor) = match &facts.kubernetes {
        Fact::Known(version) => *version,
        Fact::Unavailable(reason) => return Some(CheckResult::Skipped(reason.clone())),
        Fact::NotQueried => return None,
    };
    let requires_recent_kubernetes = platform(facts).is_some_and(|platform| platform.serves_v1beta1_graph);
    Some(if requires_recent_kubernetes && (major, minor) < OLDEST_KUBERNETES {
        let (oldest_major, oldest_minor) = OLDEST_KUBERNETES;
        CheckResult::Warning(CheckProblem::new(
            MessageCode::KubernetesTooOld,
            format!(
                "Kubernetes {major}.{minor} is older than {oldest_major}.{oldest_minor}, the minimum of the Dynamo platform"
            ),
            "upgrade the cluster, or use a release of the platform that supports it",
        ))
    } else {
        CheckResult::Passed(format!("Kubernetes {major}.{minor}"))
    })
}

/// Checks that the API server serves DynamoGraphDeployment, and reports its API versions.
pub(super) fn custom_resource_definitions(
    facts: &ClusterFacts,
    _: &PreflightInput<'_>,
) -> Option<CheckResult> {
    Some(match &facts.platform {
        Fact::Known(Some(platform)) => {
            let stored = platform.graph_api.as_str();
            CheckResult::Passed(match (platform.serves_v1beta1_graph, platform.serves_v1beta1) {
                (true, _) => format!("DynamoGraphDeployment is stored as {stored}, served as v1beta1"),
                (false, _) => format!("DynamoGraphDeployment is stored as {stored}"),
            })
        }
        Fact::Known(None) => CheckResult::Failed(CheckProblem::new(
            MessageCode::PlatformNotInstalled,
            "the Dynamo platform is not installed: the API server does not serve DynamoGraphDeployment",
            SuggestedCommand::kubectl("get crd dynamographdeployments.nvidia.com")
                .cluster_scoped()
                .after("install the dynamo-platform chart, then verify with "),
        )),
        Fact::Unavailable(reason) => CheckResult::Skipped(reason.clone()),
        Fact::NotQueried => return None,
    })
}

/// Checks that a Dynamo operator is installed and ready.
pub(super) fn operator(facts: &ClusterFacts, _: &PreflightInput<'_>) -> Option<CheckResult> {
    platform(facts)?;
    let operators = match &facts.operators {
        Fact::Known(operators) => operators,
        Fact::Unavailable(reason) => return Some(CheckResult::Skipped(reason.clone())),
        Fact::NotQueried => return None,
    };
    if let Some((problem, can_recover)) = operator_problem(facts) {
        return Some(if can_recover { CheckResult::Pending(problem) } else { CheckResult::Failed(problem) });
    }
    Some(match operators.iter().find(|one| one.ready > 0) {
        Some(OperatorFacts { deployment, version, .. }) => {
            let version = version.as_deref().unwrap_or("(unknown version)");
            CheckResult::Passed(format!("deployment \"{deployment}\" {version} is ready"))
        }
        None => match &facts.webhooks {
            Fact::Known(webhooks) if webhooks.is_empty() => CheckResult::Failed(not_ready(
                "no Dynamo operator found, although DynamoGraphDeployment is served".into(),
                SuggestedCommand::kubectl("get deployments")
                    .flag("-A")
                    .flag("-l")
                    .flag(OPERATOR_LABEL)
                    .after("install the dynamo-platform chart, then verify with "),
            )),
            Fact::Known(webhooks) => CheckResult::Passed(format!(
                "runs under a different name or outside of the cluster: it serves webhook {}",
                webhooks.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ")
            )),
            Fact::Unavailable(reason) => {
                CheckResult::Skipped(format!("no operator deployment found: {reason}"))
            }
            Fact::NotQueried => CheckResult::Skipped("no operator deployment found".into()),
        },
    })
}

fn not_ready(text: String, hint: Fix) -> CheckProblem {
    CheckProblem::new(MessageCode::OperatorNotReady, text, hint)
}

/// Returns why none of the installed operators runs, and whether it may start without user action. Returns `None` if one
/// is ready, or none is found.
pub fn operator_problem(facts: &ClusterFacts) -> Option<(CheckProblem, bool)> {
    let operators = facts.operators.known()?;
    if operators.iter().any(|one| one.ready > 0) {
        return None;
    }
    let OperatorFacts { deployment, desired, .. } = operators.first()?;
    Some(match desired {
        0 => {
            let text =
                format!("the Dynamo operator is scaled to zero: deployment \"{deployment}\" has 0 replicas");
            (not_ready(text, scale_up_hint(deployment)), false)
        }
        desired => {
            let text = format!(
                "the Dynamo operator is not ready: deployment \"{deployment}\" has 0/{desired} ready pods"
            );
            (not_ready(text, inspect_operator()), true)
        }
    })
}

fn inspect_operator() -> Fix {
    SuggestedCommand::kubectl("get pods")
        .flag("-A")
        .flag("-l")
        .flag(OPERATOR_LABEL)
        .after("inspect its pods with ")
}

fn scale_up_hint(deployment: &str) -> Fix {
    let (namespace, name) = deployment.split_once('/').unwrap_or((UNKNOWN_NAMESPACE, deployment));
    let scale =
        SuggestedCommand::kubectl("scale deployment").operand(name, UNKNOWN_NAME).in_namespace(namespace);
    scale.flag("--replicas=1").after("start it with ")
}

/// Checks that the operator supports the runtime release of the plan.
pub(super) fn operator_version(facts: &ClusterFacts, input: &PreflightInput<'_>) -> Option<CheckResult> {
    let plan = input.plan?;
    let text = newest_operator_version(&facts.operators)?;
    if major_minor(&plan.version)? <= major_minor(text)? {
        return Some(CheckResult::Passed(format!("operator {text} supports Dynamo {}", plan.version)));
    }
    let upgrade = "ask an administrator to upgrade the operator";
    let supported = newest_release_for(OperatorGeneration::StoresBeta, Some(text));
    let is_new = input.starting_pods.is_none();
    // Another release of an existing deployment replaces the image of every pod.
    let hint = match is_new && major_minor(supported) <= major_minor(text) {
        true => format!("use a release that the operator supports with --release {supported}, or {upgrade}"),
        false => upgrade.into(),
    };
    Some(CheckResult::Warning(CheckProblem::new(
        MessageCode::RuntimeNewerThanOperator,
        format!("operator {text} is older than the runtime, Dynamo {}", plan.version),
        hint,
    )))
}

/// Returns the newest version of the operators, without those whose image tag is not a version.
pub fn newest_operator_version(operators: &Fact<Vec<OperatorFacts>>) -> Option<&str> {
    let versions = operators.known()?.iter().filter_map(|one| one.version.as_deref());
    versions.filter(|text| major_minor(text).is_some()).max_by_key(|text| major_minor(text))
}

/// Checks that the operator's admission webhooks are reachable.
pub(super) fn webhook(facts: &ClusterFacts, _: &PreflightInput<'_>) -> Option<CheckResult> {
    let webhooks = match &facts.webhooks {
        Fact::Known(webhooks) => webhooks,
        Fact::Unavailable(reason) => return Some(CheckResult::Skipped(reason.clone())),
        Fact::NotQueried => return None,
    };
    let is_unreachable = |one: &&Webhook| one.ready == Fact::Known(0);
    if let Some(one) = webhooks.iter().find(|one| is_unreachable(one) && one.is_required) {
        let service = one.service.as_deref().unwrap_or_default();
        return Some(CheckResult::Failed(CheckProblem::new(
            MessageCode::OperatorWebhookUnavailable,
            format!(
                "Service \"{service}\" of webhook \"{}\" does not have ready endpoints, so writes of graphs fail",
                one.name
            ),
            inspect_operator(),
        )));
    }
    let unavailable = webhooks.iter().find_map(|one| match &one.ready {
        Fact::Unavailable(reason) => Some(reason.clone()),
        _ => None,
    });
    let names: Vec<&str> = webhooks.iter().map(|one| one.name.as_str()).collect();
    Some(match (names.as_slice(), unavailable) {
        ([], _) => {
            platform(facts)?;
            CheckResult::Skipped(
                "no webhook registered: the operator validates graphs after the write".into(),
            )
        }
        (_, Some(reason)) => CheckResult::Skipped(reason),
        (names, None) => CheckResult::Passed(format!("{} reachable", names.join(", "))),
    })
}

/// Checks that the cluster can run workers that span several nodes.
pub(super) fn orchestrator(facts: &ClusterFacts, input: &PreflightInput<'_>) -> Option<CheckResult> {
    let platform = platform(facts)?;
    let component = component_requests(input).into_iter().find(|one| one.nodes > 1)?;
    Some(if platform.grove {
        CheckResult::Passed(format!("Grove runs \"{}\" on {} nodes", component.name, component.nodes))
    } else if platform.can_span_nodes() {
        CheckResult::Passed(format!(
            "LeaderWorkerSet runs \"{}\" on {} nodes",
            component.name, component.nodes
        ))
    } else {
        let deficiency = match (platform.leader_worker_sets, platform.volcano) {
            (true, _) => "has LeaderWorkerSet without Volcano, which the operator requires",
            _ => "has neither Grove nor LeaderWorkerSet",
        };
        CheckResult::Failed(CheckProblem::new(
            MessageCode::MultinodeOrchestratorMissing,
            format!(
                "component \"{}\" spans {} nodes, but the cluster {deficiency}",
                component.name, component.nodes
            ),
            "ask an administrator to install Grove, or run each worker on one node: omit --nodes",
        ))
    })
}

/// Checks that the KAI scheduler is installed if the graph names one of its queues.
pub(super) fn kai_scheduler(facts: &ClusterFacts, input: &PreflightInput<'_>) -> Option<CheckResult> {
    const QUEUE: &str = "nvidia.com/kai-scheduler-queue";
    let platform = platform(facts)?;
    let queue = input.resources.iter().find_map(|one| one.view().annotation(QUEUE))?;
    Some(if platform.kai_scheduler {
        CheckResult::Passed(format!("KAI scheduler uses queue \"{queue}\""))
    } else {
        CheckResult::Warning(CheckProblem::new(
            MessageCode::KaiSchedulerNotInstalled,
            format!("KAI scheduler not found, but the graph uses its queue \"{queue}\""),
            format!("install the KAI scheduler, or omit --annotation {QUEUE}"),
        ))
    })
}

/// Checks that the operator can determine the runtime version, which it needs to render pods.
pub(super) fn image_tag(facts: &ClusterFacts, input: &PreflightInput<'_>) -> Option<CheckResult> {
    // An operator that serves only v1alpha1 does not evaluate the tag.
    platform(facts).filter(|platform| platform.serves_v1beta1)?;
    let components = component_requests(input);
    let first = components.first()?;
    let untagged = components.iter().find(|one| !one.has_runtime_version && !has_version_tag(&one.image));
    Some(match untagged {
        Some(one) => CheckResult::Failed(CheckProblem::new(
            MessageCode::RuntimeVersionUnknown,
            format!("component \"{}\" uses image \"{}\", whose tag is not a version", one.name, one.image),
            "set runtimeVersionOverride in the graph, or use an image with a version tag",
        )),
        None if first.has_runtime_version => CheckResult::Passed("the graph sets the runtime version".into()),
        None => CheckResult::Passed(format!("the image tag of \"{}\" is a version", first.image)),
    })
}

/// Checks that the metrics of the pods can be collected with a PodMonitor.
pub(super) fn pod_monitor(facts: &ClusterFacts, _: &PreflightInput<'_>) -> Option<CheckResult> {
    Some(if platform(facts)?.pod_monitors {
        CheckResult::Passed("PodMonitor is served: pod metrics can be collected".into())
    } else {
        CheckResult::Skipped("PodMonitor is not served: pod metrics are not collected".into())
    })
}

#[cfg(test)]
mod tests;
