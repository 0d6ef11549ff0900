//! What the namespace itself allows: that it is there, its quotas, and its ranges for one container.

use std::collections::BTreeMap;

use super::demand::{ComponentDemand, GPU, demand, thousandths};
use super::{ClusterFacts, Fact, LimitRange, Outcome, Problem, Quota, Subject};
use crate::error::Exit;

/// Whether the namespace is there to stay.
pub(super) fn namespace(facts: &ClusterFacts, _: &Subject<'_>) -> Option<Outcome> {
    let name = &facts.namespace;
    Some(match &facts.namespace_phase {
        Fact::Known(Some(phase)) if phase == "Terminating" => Outcome::Failed(Problem::new(
            "KD0107",
            Exit::Failed,
            format!("namespace {name} is being deleted"),
            "use another one: -n NAMESPACE",
        )),
        Fact::Known(Some(_)) => Outcome::Passed(format!("namespace {name} is there")),
        Fact::Known(None) => Outcome::Failed(Problem::new(
            "KD0107",
            Exit::Failed,
            format!("namespace {name} does not exist"),
            format!("create it: kubectl create namespace {name}"),
        )),
        Fact::Hidden(why) => Outcome::Skipped(why.clone()),
        Fact::Unasked => return None,
    })
}

/// Whether the pods that will start and the claim that is made have room in every quota.
pub(super) fn quota(facts: &ClusterFacts, subject: &Subject<'_>) -> Option<Outcome> {
    let quotas = match &facts.quotas {
        Fact::Known(quotas) => quotas,
        Fact::Hidden(why) => return Some(Outcome::Skipped(why.clone())),
        Fact::Unasked => return None,
    };
    if quotas.is_empty() {
        return Some(Outcome::Passed(format!("namespace {} has no quota", facts.namespace)));
    }
    let (components, namespace) = (demand(subject), &facts.namespace);
    let asked = amounts(&components, subject);
    for quota in quotas.iter().filter(|quota| !quota.scoped) {
        if let Some((resource, text)) = overrun(quota, &asked) {
            return Some(Outcome::Failed(Problem::new(
                "KD0310",
                Exit::DoesNotFit,
                format!("quota {} of namespace {namespace} has no room: {text}", quota.name),
                match resource.as_str() {
                    "requests.nvidia.com/gpu" | "limits.nvidia.com/gpu" => format!(
                        "ask for fewer: --replicas or --tp; see what uses it: kubectl describe quota -n {namespace}"
                    ),
                    _ => format!("see what uses it: kubectl describe quota -n {namespace}"),
                },
            )));
        }
        if let Some((component, wants)) = unsaid(quota, &components, facts.limit_ranges.known()) {
            return Some(Outcome::Failed(Problem::new(
                "KD0314",
                Exit::DoesNotFit,
                format!(
                    "quota {} counts {wants}, and the pods of {component} have none, so they are refused",
                    quota.name
                ),
                format!(
                    "have a LimitRange with a default made; see: kubectl describe quota {} -n {namespace}",
                    quota.name
                ),
            )));
        }
    }
    let names: Vec<&str> = quotas.iter().map(|quota| quota.name.as_str()).collect();
    Some(Outcome::Passed(format!("there is room in quota {}", names.join(", "))))
}

/// What will be asked of the namespace on top of what is used, in the words of quotas.
fn amounts(components: &[ComponentDemand], subject: &Subject<'_>) -> BTreeMap<String, u128> {
    let mut asked: BTreeMap<String, u128> = BTreeMap::new();
    for component in components.iter().filter(|one| one.pods > 0) {
        let pods = u128::from(component.pods);
        for name in ["pods", "count/pods"] {
            *asked.entry(name.into()).or_default() += pods * 1000;
        }
        let mut add = |name: String, amount: &str| {
            *asked.entry(name).or_default() += thousandths(amount).unwrap_or(0) * pods;
        };
        for (resource, amount) in &component.requests {
            add(format!("requests.{resource}"), amount);
            add(resource.clone(), amount);
        }
        for (resource, amount) in &component.limits {
            add(format!("limits.{resource}"), amount);
            // Where a pod says only a limit of it, Kubernetes takes that as the request too.
            if resource == GPU && !component.requests.contains_key(GPU) {
                add(format!("requests.{resource}"), amount);
            }
        }
    }
    let claims = subject
        .resources
        .iter()
        .filter(|one| one.kind() == "PersistentVolumeClaim" && subject.claim.is_none());
    for claim in claims {
        *asked.entry("persistentvolumeclaims".into()).or_default() += 1000;
        let size = claim.object["spec"]["resources"]["requests"]["storage"].as_str().and_then(thousandths);
        *asked.entry("requests.storage".into()).or_default() += size.unwrap_or(0);
    }
    asked
}

/// The first resource of which more is asked than is left, with the arithmetic.
fn overrun(quota: &Quota, asked: &BTreeMap<String, u128>) -> Option<(String, String)> {
    quota.hard.iter().find_map(|(resource, hard)| {
        let wanted = asked.get(resource).copied().filter(|wanted| *wanted > 0)?;
        let used = quota.used.get(resource).map_or("0", String::as_str);
        (thousandths(used)? + wanted > thousandths(hard)?).then(|| {
            let text = format!(
                "{resource} {used} of {hard} is used, and {} more is needed",
                shown(resource, wanted)
            );
            (resource.clone(), text)
        })
    })
}

fn shown(resource: &str, thousandths: u128) -> String {
    let whole = thousandths.div_ceil(1000);
    match resource.rsplit(['.', '/']).next() {
        Some("memory" | "storage") => gibibytes(whole),
        _ if thousandths.is_multiple_of(1000) => whole.to_string(),
        _ => format!("{thousandths}m"),
    }
}

fn gibibytes(bytes: u128) -> String {
    format!("{}Gi", bytes.div_ceil(1 << 30))
}

/// A limit that a quota counts and the pods do not have: Kubernetes then refuses every pod.
fn unsaid(
    quota: &Quota,
    components: &[ComponentDemand],
    ranges: Option<&Vec<LimitRange>>,
) -> Option<(String, String)> {
    let counted = quota.hard.keys().filter_map(|name| name.strip_prefix("limits."));
    let counted = counted.filter(|name| matches!(*name, "cpu" | "memory"));
    // Where the ranges may not be seen a default may be there.
    let ranges = ranges?;
    counted.into_iter().find_map(|name| {
        let by_default = ranges.iter().any(|range| range.default_limit.contains_key(name));
        let lacks = components.iter().find(|one| one.pods > 0 && !one.limits.contains_key(name))?;
        (!by_default).then(|| (lacks.name.clone(), format!("limits.{name}")))
    })
}

/// Whether one container may be as large as it is.
pub(super) fn limit_range(facts: &ClusterFacts, subject: &Subject<'_>) -> Option<Outcome> {
    let ranges = match &facts.limit_ranges {
        Fact::Known(ranges) => ranges,
        Fact::Hidden(why) => return Some(Outcome::Skipped(why.clone())),
        Fact::Unasked => return None,
    };
    let namespace = &facts.namespace;
    let Some(first) = ranges.first() else {
        return Some(Outcome::Passed(format!("namespace {namespace} has no LimitRange")));
    };
    let problem = |code, range: &LimitRange, text: String| {
        let hint = format!("see it: kubectl describe limitrange {} -n {namespace}", range.name);
        Problem::new(code, Exit::DoesNotFit, text, hint)
    };
    let components = demand(subject);
    let all = || ranges.iter().flat_map(|range| components.iter().map(move |one| (range, one)));
    if let Some((range, text)) = all().find_map(|(range, one)| Some((range, outside(range, one)?))) {
        return Some(Outcome::Failed(problem("KD0312", range, text)));
    }
    if let Some((range, text)) = all().find_map(|(range, one)| Some((range, bounded(range, one)?))) {
        return Some(Outcome::Warning(problem("KD0315", range, text)));
    }
    Some(Outcome::Passed(format!("containers keep to LimitRange {}", first.name)))
}

/// How a container is larger or smaller than a range allows.
fn outside(range: &LimitRange, one: &ComponentDemand) -> Option<String> {
    let more = |amount: &str, bound: &str| Some(thousandths(amount)? > thousandths(bound)?);
    let given = |resource: &str| one.limits.get(resource).or_else(|| one.requests.get(resource));
    let too_large = range.max.iter().find_map(|(resource, max)| {
        let amount = given(resource)?;
        more(amount, max)?.then(|| {
            format!(
                "LimitRange {} allows a container {max} of {resource}, and {} asks for {amount}",
                range.name, one.name
            )
        })
    });
    let too_small = || {
        range.min.iter().find_map(|(resource, min)| {
            let amount = one.requests.get(resource)?;
            more(min, amount)?.then(|| {
                format!(
                    "LimitRange {} wants at least {min} of {resource}, and {} asks for {amount}",
                    range.name, one.name
                )
            })
        })
    };
    let crossed = || {
        range.default_limit.iter().find_map(|(resource, limit)| {
            let amount = one.requests.get(resource).filter(|_| !one.limits.contains_key(resource))?;
            more(amount, limit)?.then(|| {
                format!(
                    "LimitRange {} limits a container to {limit} of {resource} by default, and {} asks for {amount}",
                    range.name, one.name
                )
            })
        })
    };
    too_large.or_else(too_small).or_else(crossed)
}

/// A limit of memory that a range puts on a container that has none.
fn bounded(range: &LimitRange, one: &ComponentDemand) -> Option<String> {
    let limit = range.default_limit.get("memory").filter(|_| !one.limits.contains_key("memory"))?;
    (one.gpus > 0).then(|| {
        format!("LimitRange {} ends {} where it uses more than {limit} of memory", range.name, one.name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Resource;
    use serde_json::json;

    fn worker() -> Vec<Resource> {
        let component = json!({ "name": "worker", "replicas": 2, "podTemplate": { "spec": { "containers": [
            { "name": "main", "resources": {
                "requests": { "cpu": "1", "memory": "8Gi" }, "limits": { "nvidia.com/gpu": "2" } } },
        ] } } });
        let graph = json!({ "kind": "DynamoGraphDeployment", "spec": { "components": [component] } });
        let claim = json!({ "kind": "PersistentVolumeClaim", "spec": {
            "resources": { "requests": { "storage": "100Gi" } } } });
        vec![Resource { object: claim }, Resource { object: graph }]
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn of_quota(hard: &[(&str, &str)], used: &[(&str, &str)], ranges: Vec<LimitRange>) -> Outcome {
        let facts = ClusterFacts {
            namespace: "n".into(),
            quotas: Fact::Known(vec![Quota {
                name: "q".into(),
                hard: map(hard),
                used: map(used),
                scoped: false,
            }]),
            limit_ranges: Fact::Known(ranges),
            ..ClusterFacts::default()
        };
        let resources = worker();
        quota(&facts, &Subject { resources: &resources, ..Subject::default() }).expect("it was asked")
    }

    #[test]
    fn what_is_used_and_what_is_needed_are_added() {
        for (hard, used, says) in [
            (
                ("requests.nvidia.com/gpu", "8"),
                ("requests.nvidia.com/gpu", "5"),
                Some("5 of 8 is used, and 4 more"),
            ),
            (("requests.nvidia.com/gpu", "8"), ("requests.nvidia.com/gpu", "4"), None),
            (
                ("requests.memory", "20Gi"),
                ("requests.memory", "5Gi"),
                Some("5Gi of 20Gi is used, and 16Gi more"),
            ),
            (("pods", "1"), ("pods", "0"), Some("pods 0 of 1 is used, and 2 more")),
            (("persistentvolumeclaims", "1"), ("persistentvolumeclaims", "1"), Some("1 more is needed")),
            (("requests.storage", "100Gi"), ("requests.storage", "1Gi"), Some("100Gi more")),
            (
                ("requests.cpu", "1500m"),
                ("requests.cpu", "0"),
                Some("requests.cpu 0 of 1500m is used, and 2 more"),
            ),
            (("count/secrets", "1"), ("count/secrets", "1"), None),
        ] {
            match (of_quota(&[hard], &[used], Vec::new()), says) {
                (Outcome::Passed(_), None) => {}
                (Outcome::Failed(problem), Some(says)) => {
                    assert!(problem.text.contains(says), "{problem}");
                    assert_eq!((problem.code, problem.exit), ("KD0310", Exit::DoesNotFit));
                }
                (outcome, _) => panic!("{hard:?}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn a_limit_that_is_counted_must_be_there() {
        let Outcome::Failed(problem) = of_quota(&[("limits.memory", "1Ti")], &[], Vec::new()) else {
            panic!("the pods would be refused")
        };
        assert_eq!(problem.code, "KD0314");
        let default = LimitRange { default_limit: map(&[("memory", "64Gi")]), ..LimitRange::default() };
        assert!(matches!(of_quota(&[("limits.memory", "1Ti")], &[], vec![default]), Outcome::Passed(_)));
    }

    #[test]
    fn a_range_is_kept_to() {
        let of = |range: LimitRange| {
            let facts = ClusterFacts { limit_ranges: Fact::Known(vec![range]), ..ClusterFacts::default() };
            let resources = worker();
            let outcome = limit_range(&facts, &Subject { resources: &resources, ..Subject::default() });
            outcome.expect("it was asked").problem().map(|problem| (problem.code, problem.text.clone()))
        };
        let range = LimitRange::default;
        assert_eq!(of(range()), None);
        for (range, code, says) in [
            (
                LimitRange { max: map(&[("memory", "4Gi")]), ..range() },
                "KD0312",
                "4Gi of memory, and worker asks for 8Gi",
            ),
            (LimitRange { max: map(&[("nvidia.com/gpu", "1")]), ..range() }, "KD0312", "asks for 2"),
            (LimitRange { min: map(&[("cpu", "2")]), ..range() }, "KD0312", "at least 2 of cpu"),
            (LimitRange { default_limit: map(&[("memory", "1Gi")]), ..range() }, "KD0312", "by default"),
            (LimitRange { default_limit: map(&[("memory", "16Gi")]), ..range() }, "KD0315", "more than 16Gi"),
        ] {
            let (found, text) = of(range).expect(says);
            assert_eq!(found, code);
            assert!(text.contains(says), "{text}");
        }
    }

    #[test]
    fn a_namespace_is_there_goes_or_is_not() {
        let of = |phase: Option<&str>| {
            let facts = ClusterFacts {
                namespace: "n".into(),
                namespace_phase: Fact::Known(phase.map(Into::into)),
                ..ClusterFacts::default()
            };
            namespace(&facts, &Subject::default())
                .expect("it was asked")
                .problem()
                .map(|problem| problem.text.clone())
        };
        assert_eq!(of(Some("Active")), None);
        assert_eq!(of(Some("Terminating")).as_deref(), Some("namespace n is being deleted"));
        assert_eq!(of(None).as_deref(), Some("namespace n does not exist"));
    }
}
