//! Checks of the namespace: its phase, its ResourceQuotas, and its LimitRanges for containers.

use std::collections::BTreeMap;

use super::requests::{ComponentRequests, component_requests, parse_milli};
use super::{CheckProblem, CheckResult, ClusterFacts, Fact, LimitRange, PreflightInput, Quota};
use crate::code::MessageCode;
use crate::command::{SuggestedCommand, UNKNOWN_NAME};

/// Checks that the namespace exists and is not being deleted.
pub(super) fn namespace(facts: &ClusterFacts, _: &PreflightInput<'_>) -> Option<CheckResult> {
    let name = &facts.namespace;
    Some(match &facts.namespace_phase {
        Fact::Known(Some(phase)) if phase == "Terminating" => CheckResult::Failed(CheckProblem::new(
            MessageCode::NamespaceNotFound,
            format!("namespace \"{name}\" is being deleted"),
            "use another namespace with -n NAMESPACE",
        )),
        Fact::Known(Some(_)) => CheckResult::Passed(format!("namespace \"{name}\" exists")),
        Fact::Known(None) => CheckResult::Failed(CheckProblem::new(
            MessageCode::NamespaceNotFound,
            format!("namespace \"{name}\" not found"),
            SuggestedCommand::kubectl("create namespace")
                .operand(name, UNKNOWN_NAME)
                .cluster_scoped()
                .after("create it with "),
        )),
        Fact::Unavailable(reason) => CheckResult::Skipped(reason.clone()),
        Fact::NotQueried => return None,
    })
}

/// Checks that the starting pods and the new PVC fit into every quota.
pub(super) fn quota(facts: &ClusterFacts, input: &PreflightInput<'_>) -> Option<CheckResult> {
    let quotas = match &facts.quotas {
        Fact::Known(quotas) => quotas,
        Fact::Unavailable(reason) => return Some(CheckResult::Skipped(reason.clone())),
        Fact::NotQueried => return None,
    };
    if quotas.is_empty() {
        return Some(CheckResult::Passed(format!("namespace \"{}\" does not have a quota", facts.namespace)));
    }
    let (components, namespace) = (component_requests(input), &facts.namespace);
    let requested = requested_amounts(&components, input);
    let describe = |kind: &str| {
        SuggestedCommand::kubectl("describe").operand(kind, UNKNOWN_NAME).in_namespace(namespace)
    };
    for quota in quotas.iter().filter(|quota| !quota.scoped) {
        if let Some((resource, text)) = exceeded_resource(quota, &requested) {
            return Some(CheckResult::Failed(CheckProblem::new(
                MessageCode::QuotaTooSmall,
                format!("quota \"{}\" in namespace \"{namespace}\" would be exceeded: {text}", quota.name),
                match resource.as_str() {
                    "requests.nvidia.com/gpu" | "limits.nvidia.com/gpu" => describe("quota")
                        .after("request fewer GPUs with --replicas or --tp; show the usage with "),
                    _ => describe("quota").after("show the usage with "),
                },
            )));
        }
        if let Some((component, counted_limit)) =
            missing_limit(quota, &components, facts.limit_ranges.known())
        {
            return Some(CheckResult::Failed(CheckProblem::new(
                MessageCode::QuotaRequiresLimit,
                format!(
                    "quota \"{}\" requires {counted_limit}, but the pods of component \"{component}\" do not set it",
                    quota.name
                ),
                describe("quota")
                    .operand(&quota.name, UNKNOWN_NAME)
                    .after("create a LimitRange with a default limit; show the quota with "),
            )));
        }
    }
    let names: Vec<&str> = quotas.iter().map(|quota| quota.name.as_str()).collect();
    Some(CheckResult::Passed(format!("fits into quota {}", names.join(", "))))
}

/// Returns the additional amounts that the plan requests, by quota resource name, in thousandths.
fn requested_amounts(components: &[ComponentRequests], input: &PreflightInput<'_>) -> BTreeMap<String, u128> {
    let mut requested: BTreeMap<String, u128> = BTreeMap::new();
    for component in components.iter().filter(|one| one.pods > 0) {
        let pods = u128::from(component.pods);
        for name in ["pods", "count/pods"] {
            *requested.entry(name.into()).or_default() += pods * 1000;
        }
        let mut add = |name: String, amount: &str| {
            *requested.entry(name).or_default() += parse_milli(amount).unwrap_or(0) * pods;
        };
        for (resource, amount) in &component.requests {
            add(format!("requests.{resource}"), amount);
            add(resource.clone(), amount);
        }
        for (resource, amount) in &component.limits {
            add(format!("limits.{resource}"), amount);
        }
    }
    let pvcs =
        input.resources.iter().filter(|one| one.kind() == "PersistentVolumeClaim" && input.pvc.is_none());
    for pvc in pvcs {
        *requested.entry("persistentvolumeclaims".into()).or_default() += 1000;
        let size = pvc.view().text("/spec/resources/requests/storage").and_then(parse_milli);
        *requested.entry("requests.storage".into()).or_default() += size.unwrap_or(0);
    }
    requested
}

/// Returns the first resource that exceeds the quota and the text that shows the arithmetic.
fn exceeded_resource(quota: &Quota, requested: &BTreeMap<String, u128>) -> Option<(String, String)> {
    quota.hard.iter().find_map(|(resource, hard)| {
        let requested_amount =
            requested.get(resource).copied().filter(|requested_amount| *requested_amount > 0)?;
        let used = quota.used.get(resource).map_or("0", String::as_str);
        (parse_milli(used)? + requested_amount > parse_milli(hard)?).then(|| {
            let text = format!(
                "{resource}: {used} of {hard} used, {} more needed",
                display_amount(resource, requested_amount)
            );
            (resource.clone(), text)
        })
    })
}

fn display_amount(resource: &str, milli: u128) -> String {
    let units = milli.div_ceil(1000);
    match resource.rsplit(['.', '/']).next() {
        Some("memory" | "storage") => gibibytes(units),
        _ if milli.is_multiple_of(1000) => units.to_string(),
        _ => format!("{milli}m"),
    }
}

fn gibibytes(bytes: u128) -> String {
    format!("{}Gi", bytes.div_ceil(1 << 30))
}

/// Returns a limit that the quota counts and the pods do not set. Kubernetes rejects such pods.
fn missing_limit(
    quota: &Quota,
    components: &[ComponentRequests],
    ranges: Option<&Vec<LimitRange>>,
) -> Option<(String, String)> {
    let counted = quota.hard.keys().filter_map(|name| name.strip_prefix("limits."));
    let counted = counted.filter(|name| matches!(*name, "cpu" | "memory"));
    // If the LimitRanges are unavailable, one of them may set a default.
    let ranges = ranges?;
    counted.into_iter().find_map(|name| {
        let has_default = ranges.iter().any(|range| range.default_limit.contains_key(name));
        let component = components.iter().find(|one| one.pods > 0 && !one.limits.contains_key(name))?;
        (!has_default).then(|| (component.name.clone(), format!("limits.{name}")))
    })
}

/// Checks that the containers comply with all LimitRanges.
pub(super) fn limit_range(facts: &ClusterFacts, input: &PreflightInput<'_>) -> Option<CheckResult> {
    let ranges = match &facts.limit_ranges {
        Fact::Known(ranges) => ranges,
        Fact::Unavailable(reason) => return Some(CheckResult::Skipped(reason.clone())),
        Fact::NotQueried => return None,
    };
    let namespace = &facts.namespace;
    let Some(first) = ranges.first() else {
        return Some(CheckResult::Passed(format!("namespace \"{namespace}\" does not have a LimitRange")));
    };
    let problem = |code, range: &LimitRange, text: String| {
        let describe = SuggestedCommand::kubectl("describe limitrange").operand(&range.name, UNKNOWN_NAME);
        CheckProblem::new(code, text, describe.in_namespace(namespace).after("show it with "))
    };
    let components = component_requests(input);
    let all = || ranges.iter().flat_map(|range| components.iter().map(move |one| (range, one)));
    if let Some((range, text)) = all().find_map(|(range, one)| Some((range, range_violation(range, one)?))) {
        return Some(CheckResult::Failed(problem(MessageCode::LimitRangeViolation, range, text)));
    }
    if let Some((range, text)) =
        all().find_map(|(range, one)| Some((range, default_memory_limit(range, one)?)))
    {
        return Some(CheckResult::Warning(problem(MessageCode::DefaultMemoryLimit, range, text)));
    }
    Some(CheckResult::Passed(format!("containers comply with LimitRange \"{}\"", first.name)))
}

/// Returns how a container violates a LimitRange.
fn range_violation(range: &LimitRange, one: &ComponentRequests) -> Option<String> {
    let exceeds = |amount: &str, bound: &str| Some(parse_milli(amount)? > parse_milli(bound)?);
    let amount_of = |resource: &str| one.limits.get(resource).or_else(|| one.requests.get(resource));
    let too_large = range.max.iter().find_map(|(resource, max)| {
        let amount = amount_of(resource)?;
        exceeds(amount, max)?.then(|| {
            format!(
                "LimitRange \"{}\" allows {max} of {resource} per container, but \"{}\" requests {amount}",
                range.name, one.name
            )
        })
    });
    let too_small = || {
        range.min.iter().find_map(|(resource, min)| {
            let amount = one.requests.get(resource)?;
            exceeds(min, amount)?.then(|| {
                format!(
                    "LimitRange \"{}\" requires at least {min} of {resource}, but \"{}\" requests {amount}",
                    range.name, one.name
                )
            })
        })
    };
    let exceeds_default = || {
        range.default_limit.iter().find_map(|(resource, limit)| {
            let amount = one.requests.get(resource).filter(|_| !one.limits.contains_key(resource))?;
            exceeds(amount, limit)?.then(|| {
                format!(
                    "LimitRange \"{}\" sets a default limit of {limit} of {resource}, but \"{}\" requests {amount}",
                    range.name, one.name
                )
            })
        })
    };
    too_large.or_else(too_small).or_else(exceeds_default)
}

/// Returns a warning if a LimitRange sets a default memory limit on a GPU container.
fn default_memory_limit(range: &LimitRange, one: &ComponentRequests) -> Option<String> {
    let limit = range.default_limit.get("memory").filter(|_| !one.limits.contains_key("memory"))?;
    (one.gpus > 0).then(|| {
        format!("LimitRange \"{}\" limits \"{}\" to {limit} of memory by default", range.name, one.name)
    })
}

#[cfg(test)]
mod tests;
