//! Kubernetes and the Dynamo platform: definitions, operator, webhooks, and what a plan needs besides.

use super::demand::demand;
use super::{ClusterFacts, Fact, Operator, Outcome, Platform, Problem, Subject, Webhook};
use crate::error::Exit;
use crate::intent::Word;
use crate::resources::has_version_tag;

/// What the platform's chart asks for from the releases on that store the newer shape.
const OLDEST_KUBERNETES: (u32, u32) = (1, 30);
const SEE_OPERATOR: &str = "see its pods: kubectl get pods -A -l app.kubernetes.io/name=dynamo-operator";

fn platform(facts: &ClusterFacts) -> Option<&Platform> {
    facts.platform.known()?.as_ref()
}

/// Whether Kubernetes is new enough for the platform.
pub(super) fn kubernetes(facts: &ClusterFacts, _: &Subject<'_>) -> Option<Outcome> {
    let (major, minor) = match &facts.kubernetes {
        Fact::Known(version) => *version,
        Fact::Hidden(why) => return Some(Outcome::Skipped(why.clone())),
        Fact::Unasked => return None,
    };
    let wants = platform(facts).is_some_and(|platform| platform.serves_v1beta1_graph);
    Some(if wants && (major, minor) < OLDEST_KUBERNETES {
        let (oldest_major, oldest_minor) = OLDEST_KUBERNETES;
        Outcome::Warning(Problem::new(
            "KD0231",
            Exit::Platform,
            format!(
                "Kubernetes {major}.{minor} is older than the {oldest_major}.{oldest_minor} that the Dynamo platform asks for"
            ),
            "update the cluster, or use a release of the platform that is made for it",
        ))
    } else {
        Outcome::Passed(format!("Kubernetes {major}.{minor}"))
    })
}

/// Whether DynamoGraphDeployment is served, and in which shapes.
pub(super) fn definitions(facts: &ClusterFacts, _: &Subject<'_>) -> Option<Outcome> {
    Some(match &facts.platform {
        Fact::Known(Some(platform)) => {
            let stored = platform.graph_api.as_str();
            Outcome::Passed(match (platform.serves_v1beta1_graph, platform.serves_v1beta1) {
                (true, _) => format!("DynamoGraphDeployment is stored as {stored}, served as v1beta1 too"),
                (false, _) => format!("DynamoGraphDeployment is stored as {stored}"),
            })
        }
        Fact::Known(None) => Outcome::Failed(Problem::new(
            "KD0203",
            Exit::Platform,
            "the cluster has no Dynamo platform: DynamoGraphDeployment is not served",
            "install the dynamo-platform chart, then check: kubectl get crd dynamographdeployments.nvidia.com",
        )),
        Fact::Hidden(why) => Outcome::Skipped(why.clone()),
        Fact::Unasked => return None,
    })
}

/// Whether an operator is there and runs.
pub(super) fn operator(facts: &ClusterFacts, _: &Subject<'_>) -> Option<Outcome> {
    platform(facts)?;
    let operators = match &facts.operators {
        Fact::Known(operators) => operators,
        Fact::Hidden(why) => return Some(Outcome::Skipped(why.clone())),
        Fact::Unasked => return None,
    };
    let missing = |text: String, hint: String| Problem::new("KD0230", Exit::Platform, text, hint);
    Some(match (operators.iter().find(|one| one.ready > 0), operators.first()) {
        (Some(Operator { deployment, version, .. }), _) => {
            let version = version.as_deref().unwrap_or("of unknown version");
            Outcome::Passed(format!("deployment {deployment} {version} is ready"))
        }
        (None, Some(Operator { deployment, wanted: 0, .. })) => Outcome::Failed(missing(
            format!("the Dynamo operator is switched off: deployment {deployment} wants 0 pods"),
            scale_up(deployment),
        )),
        (None, Some(Operator { deployment, wanted, .. })) => Outcome::Waits(missing(
            format!("the Dynamo operator has no ready pod: deployment {deployment} 0/{wanted}"),
            SEE_OPERATOR.into(),
        )),
        (None, None) => match &facts.webhooks {
            Fact::Known(webhooks) if webhooks.is_empty() => Outcome::Failed(missing(
                "DynamoGraphDeployment is served, and no Dynamo operator is there to act on it".into(),
                "install the dynamo-platform chart; its operator: kubectl get deployments -A -l app.kubernetes.io/name=dynamo-operator".into(),
            )),
            Fact::Known(webhooks) => Outcome::Passed(format!(
                "runs under another name or elsewhere: it answers {}",
                webhooks.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ")
            )),
            Fact::Hidden(why) => Outcome::Skipped(format!("no deployment of it is seen, and {why}")),
            Fact::Unasked => Outcome::Skipped("no deployment of it is seen".into()),
        },
    })
}

fn scale_up(deployment: &str) -> String {
    let (namespace, name) = deployment.split_once('/').unwrap_or(("NAMESPACE", deployment));
    format!("start it: kubectl scale deployment {name} -n {namespace} --replicas=1")
}

/// Whether the operator knows the release that is to run.
pub(super) fn operator_version(facts: &ClusterFacts, subject: &Subject<'_>) -> Option<Outcome> {
    let plan = subject.plan?;
    let versions = facts.operators.known()?.iter().filter_map(|one| one.version.as_deref());
    let (text, operator) =
        versions.filter_map(|text| Some((text, minor(text)?))).max_by_key(|(_, found)| *found)?;
    let runtime = minor(&plan.version)?;
    Some(if runtime > operator {
        Outcome::Warning(Problem::new(
            "KD0232",
            Exit::Platform,
            format!("the runtime is Dynamo {}, and the operator is {text}, which is older", plan.version),
            format!("take a release that it knows: --release {}.{}", operator.0, operator.1),
        ))
    } else {
        Outcome::Passed(format!("operator {text} runs Dynamo {}", plan.version))
    })
}

/// Major and minor number of a version.
fn minor(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.trim_start_matches('v').split(['.', '-', '+']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Whether the operator's webhooks can answer.
pub(super) fn webhook(facts: &ClusterFacts, _: &Subject<'_>) -> Option<Outcome> {
    let webhooks = match &facts.webhooks {
        Fact::Known(webhooks) => webhooks,
        Fact::Hidden(why) => return Some(Outcome::Skipped(why.clone())),
        Fact::Unasked => return None,
    };
    let silent = |one: &&Webhook| one.ready == Fact::Known(0);
    if let Some(one) = webhooks.iter().find(|one| silent(one) && one.must_answer) {
        let service = one.service.as_deref().unwrap_or_default();
        return Some(Outcome::Failed(Problem::new(
            "KD0215",
            Exit::Platform,
            format!(
                "nothing answers behind service {service} of webhook {}, so no graph can be written",
                one.name
            ),
            SEE_OPERATOR,
        )));
    }
    let hidden = webhooks.iter().find_map(|one| match &one.ready {
        Fact::Hidden(why) => Some(why.clone()),
        _ => None,
    });
    let names: Vec<&str> = webhooks.iter().map(|one| one.name.as_str()).collect();
    Some(match (names.as_slice(), hidden) {
        ([], _) => {
            platform(facts)?;
            Outcome::Skipped("none is registered: the operator checks graphs after they are written".into())
        }
        (_, Some(why)) => Outcome::Skipped(why),
        (names, None) => Outcome::Passed(format!("{} can be asked", names.join(", "))),
    })
}

/// Whether something can start a worker that spans nodes.
pub(super) fn orchestrator(facts: &ClusterFacts, subject: &Subject<'_>) -> Option<Outcome> {
    let platform = platform(facts)?;
    let component = demand(subject).into_iter().find(|one| one.nodes > 1)?;
    Some(if platform.grove {
        Outcome::Passed(format!("Grove starts {} on {} nodes", component.name, component.nodes))
    } else if platform.leader_worker_sets && platform.volcano {
        Outcome::Passed(format!("LeaderWorkerSet starts {} on {} nodes", component.name, component.nodes))
    } else {
        let lacks = match (platform.leader_worker_sets, platform.volcano) {
            (true, _) => "has LeaderWorkerSet without Volcano, which the operator uses with it",
            _ => "has neither Grove nor LeaderWorkerSet",
        };
        Outcome::Failed(Problem::new(
            "KD0212",
            Exit::Platform,
            format!("{} spans {} nodes, and the cluster {lacks}", component.name, component.nodes),
            "install Grove (a cluster admin does), or keep each worker on one node: leave --nodes out",
        ))
    })
}

/// Whether the scheduler that the graph names a queue of is there.
pub(super) fn kai_scheduler(facts: &ClusterFacts, subject: &Subject<'_>) -> Option<Outcome> {
    const QUEUE: &str = "nvidia.com/kai-scheduler-queue";
    let platform = platform(facts)?;
    let annotations = |one: &crate::resources::Resource| {
        one.object["metadata"]["annotations"][QUEUE].as_str().map(String::from)
    };
    let queue = subject.resources.iter().find_map(annotations)?;
    Some(if platform.kai_scheduler {
        Outcome::Passed(format!("KAI schedules in queue {queue}"))
    } else {
        Outcome::Warning(Problem::new(
            "KD0233",
            Exit::Platform,
            format!("the graph names queue {queue} of the KAI scheduler, which the cluster does not have"),
            format!("install KAI, or leave --annotation {QUEUE} out"),
        ))
    })
}

/// Whether the operator can tell the runtime's version, which it renders pods by.
pub(super) fn image_tag(facts: &ClusterFacts, subject: &Subject<'_>) -> Option<Outcome> {
    // An operator that serves the first shape alone does not look at the tag.
    platform(facts).filter(|platform| platform.serves_v1beta1)?;
    let components = demand(subject);
    let first = components.first()?;
    let unread = components.iter().find(|one| !one.says_version && !has_version_tag(&one.image));
    Some(match unread {
        Some(one) => Outcome::Failed(Problem::new(
            "KD0234",
            Exit::Platform,
            format!("{} runs {}, whose tag is no version that the operator can read", one.name, one.image),
            "name the version in the graph: runtimeVersionOverride, or use an image with a tag such as those of the release",
        )),
        None if first.says_version => Outcome::Passed("the graph says the runtime's version itself".into()),
        None => Outcome::Passed(format!("the operator reads the version of {}", first.image)),
    })
}

/// Whether the pods' metrics are collected.
pub(super) fn pod_monitor(facts: &ClusterFacts, _: &Subject<'_>) -> Option<Outcome> {
    Some(if platform(facts)?.pod_monitors {
        Outcome::Passed("PodMonitor is served: the metrics of pods can be collected".into())
    } else {
        Outcome::Skipped("no PodMonitor: nothing here collects the metrics of pods".into())
    })
}

#[cfg(test)]
mod tests;
