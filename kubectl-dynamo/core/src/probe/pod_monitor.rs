//! PodMonitors of the Prometheus operator: whether one selects a pod and one of its ports, and what does not match if
//! none does.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize;
use serde_json::Value;

/// The prefix of the labels that Dynamo's operator sets. A PodMonitor that selects one of them is meant for Dynamo.
const DYNAMO_LABELS: &str = "nvidia.com/";

/// The part of a PodMonitor that decides which pods and ports are scraped.
#[derive(Debug, Clone, PartialEq)]
pub struct PodMonitor {
    name: String,
    namespace: String,
    spec: MonitorSpec,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct MonitorSpec {
    selector: LabelSelector,
    namespace_selector: NamespaceSelector,
    pod_metrics_endpoints: Vec<MonitoredPort>,
}

/// The namespaces of the pods. Without a field, it is the namespace of the PodMonitor.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NamespaceSelector {
    any: bool,
    match_names: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct MonitoredPort {
    port: Option<String>,
    port_number: Option<i32>,
    target_port: Option<IntOrString>,
}

#[derive(Deserialize)]
struct MonitorDocument {
    metadata: MonitorMetadata,
    #[serde(default)]
    spec: MonitorSpec,
}

#[derive(Deserialize)]
struct MonitorMetadata {
    name: String,
    #[serde(default)]
    namespace: String,
}

/// What PodMonitors select by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MonitoredPod {
    pub namespace: String,
    pub labels: BTreeMap<String, String>,
    /// The ports of its containers, with the names that they have.
    pub ports: Vec<(Option<String>, i32)>,
}

/// How a PodMonitor fails to select a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SelectionMismatch {
    /// The PodMonitor that is closest to selecting the pod, as `NAMESPACE/NAME`.
    pub monitor: String,
    /// The label, namespace, or port that does not match.
    pub reason: String,
}

impl PodMonitor {
    /// Reads a PodMonitor; `None` if its fields have other types.
    pub fn parse(document: &Value) -> Option<Self> {
        let MonitorDocument { metadata, spec } = MonitorDocument::deserialize(document).ok()?;
        Some(Self { name: metadata.name, namespace: metadata.namespace, spec })
    }

    /// The name with its namespace.
    fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Whether it selects pods by a label of Dynamo's operator.
    fn is_for_dynamo(&self) -> bool {
        let labels = self.spec.selector.match_labels.iter().flatten().map(|(key, _)| key);
        let expressions = self.spec.selector.match_expressions.iter().flatten();
        labels.chain(expressions.map(|one| &one.key)).any(|key| key.starts_with(DYNAMO_LABELS))
    }

    /// The requirements that the pod does not fulfill.
    fn mismatches(&self, pod: &MonitoredPod) -> Vec<String> {
        let mut reasons = self.label_mismatches(pod);
        let NamespaceSelector { any, match_names } = &self.spec.namespace_selector;
        let selects_namespace = match match_names.is_empty() {
            true => self.namespace == pod.namespace,
            false => match_names.contains(&pod.namespace),
        };
        if !any && !selects_namespace {
            reasons.push(format!("it does not select namespace \"{}\"", pod.namespace));
        }
        let endpoints = &self.spec.pod_metrics_endpoints;
        if !endpoints.iter().any(|endpoint| endpoint.selects(pod)) {
            let selected: Vec<String> = endpoints.iter().filter_map(MonitoredPort::shown).collect();
            let ports: Vec<String> = pod.ports.iter().map(shown_port).collect();
            let (selected, ports) = (selected.join(", "), ports.join(", "));
            reasons.push(format!("it scrapes port {selected}, and the pod has {ports}"));
        }
        reasons
    }

    fn label_mismatches(&self, pod: &MonitoredPod) -> Vec<String> {
        let selector = &self.spec.selector;
        let equal = selector.match_labels.iter().flatten().filter_map(|(key, expected)| {
            label_problem(
                key,
                pod.labels.get(key),
                |value| value == Some(expected),
                &format!("\"{expected}\""),
            )
        });
        let expressions = selector.match_expressions.iter().flatten().filter_map(|one| {
            let values = one.values.clone().unwrap_or_default();
            let listed = |value: Option<&String>| value.is_some_and(|value| values.contains(value));
            let is_fulfilled = |value: Option<&String>| match one.operator.as_str() {
                "In" => listed(value),
                "NotIn" => !listed(value),
                "Exists" => value.is_some(),
                _ => value.is_none(),
            };
            let expected = format!("{} {}", one.operator, values.join(", "));
            label_problem(&one.key, pod.labels.get(&one.key), is_fulfilled, expected.trim())
        });
        equal.chain(expressions).collect()
    }
}

impl MonitoredPort {
    fn selects(&self, pod: &MonitoredPod) -> bool {
        let has_name = |name: &String| pod.ports.iter().any(|(own, _)| own.as_ref() == Some(name));
        let has_number = |number: i32| pod.ports.iter().any(|(_, own)| *own == number);
        self.port.as_ref().is_some_and(has_name)
            || self.port_number.is_some_and(has_number)
            || self.target_port.as_ref().is_some_and(|target| match target {
                IntOrString::Int(number) => has_number(*number),
                IntOrString::String(name) => has_name(name),
            })
    }

    fn shown(&self) -> Option<String> {
        let target = || match self.target_port.as_ref()? {
            IntOrString::Int(number) => Some(number.to_string()),
            IntOrString::String(name) => Some(name.clone()),
        };
        self.port.clone().or_else(|| Some(self.port_number?.to_string())).or_else(target)
    }
}

fn shown_port((name, number): &(Option<String>, i32)) -> String {
    name.as_ref().map_or_else(|| number.to_string(), |name| format!("{name} ({number})"))
}

/// What is wrong with one label; `None` if it fulfills the requirement.
fn label_problem(
    key: &str,
    value: Option<&String>,
    is_fulfilled: impl Fn(Option<&String>) -> bool,
    expected: &str,
) -> Option<String> {
    (!is_fulfilled(value)).then(|| match value {
        Some(value) => format!("label {key} is \"{value}\", expected {expected}"),
        None => format!("label {key} is not set, expected {expected}"),
    })
}

/// The PodMonitor that selects a pod.
///
/// # Errors
/// No PodMonitor selects the pod. The mismatch is of the closest PodMonitor for Dynamo; `None` if there is no such
/// PodMonitor.
pub(super) fn selecting_monitor<'a>(
    monitors: &'a [PodMonitor],
    pod: &MonitoredPod,
) -> Result<&'a str, Option<SelectionMismatch>> {
    let mut closest: Option<(usize, SelectionMismatch)> = None;
    for monitor in monitors {
        let mut reasons = monitor.mismatches(pod);
        if reasons.is_empty() {
            return Ok(&monitor.name);
        }
        let count = reasons.len();
        if monitor.is_for_dynamo() && closest.as_ref().is_none_or(|(least, _)| count < *least) {
            let reason = reasons.swap_remove(0);
            closest = Some((count, SelectionMismatch { monitor: monitor.full_name(), reason }));
        }
    }
    Err(closest.map(|(_, mismatch)| mismatch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn monitor(name: &str, spec: Value) -> PodMonitor {
        let metadata = json!({ "name": name, "namespace": "dynamo-system" });
        PodMonitor::parse(&json!({ "metadata": metadata, "spec": spec })).expect("a PodMonitor")
    }

    /// The PodMonitors of Dynamo's platform chart.
    fn monitors() -> Vec<PodMonitor> {
        vec![
            monitor(
                "dynamo-frontend",
                json!({
                    "selector": { "matchLabels": {
                        "nvidia.com/dynamo-component-type": "frontend", "nvidia.com/metrics-enabled": "true",
                    }},
                    "namespaceSelector": { "any": true },
                    "podMetricsEndpoints": [{ "port": "http", "path": "/metrics" }],
                }),
            ),
            monitor(
                "dynamo-worker",
                json!({
                    "selector": {
                        "matchLabels": { "nvidia.com/metrics-enabled": "true" },
                        "matchExpressions": [{
                            "key": "nvidia.com/dynamo-component-type", "operator": "In",
                            "values": ["worker", "decode", "prefill"],
                        }],
                    },
                    "namespaceSelector": { "any": true },
                    "podMetricsEndpoints": [{ "port": "system" }],
                }),
            ),
        ]
    }

    fn pod(role: &str, metrics_enabled: &str, port: &str) -> MonitoredPod {
        let labels =
            [("nvidia.com/dynamo-component-type", role), ("nvidia.com/metrics-enabled", metrics_enabled)];
        MonitoredPod {
            namespace: "serving".into(),
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            ports: vec![(Some(port.into()), 9090)],
        }
    }

    fn mismatch(monitors: &[PodMonitor], pod: &MonitoredPod) -> (String, String) {
        let mismatch = selecting_monitor(monitors, pod).expect_err("it does not match");
        mismatch.map(|one| (one.monitor, one.reason)).unwrap_or_default()
    }

    #[test]
    fn monitors_of_the_platform_select_pods_of_the_operator() {
        assert_eq!(selecting_monitor(&monitors(), &pod("frontend", "true", "http")), Ok("dynamo-frontend"));
        assert_eq!(selecting_monitor(&monitors(), &pod("prefill", "true", "system")), Ok("dynamo-worker"));
    }

    #[test]
    fn closest_monitor_names_what_does_not_match() {
        let stale = mismatch(&monitors(), &pod("decode", "false", "system"));
        assert_eq!(stale.0, "dynamo-system/dynamo-worker");
        assert_eq!(stale.1, "label nvidia.com/metrics-enabled is \"false\", expected \"true\"");
        let port = mismatch(&monitors(), &pod("decode", "true", "metrics"));
        assert_eq!(port.1, "it scrapes port system, and the pod has metrics (9090)");
        let role = mismatch(&monitors(), &pod("planner", "true", "system"));
        assert_eq!(
            role.1,
            "label nvidia.com/dynamo-component-type is \"planner\", expected In worker, decode, prefill"
        );
        let unlabeled = MonitoredPod { labels: BTreeMap::new(), ..pod("decode", "true", "system") };
        assert!(
            mismatch(&monitors()[1..], &unlabeled)
                .1
                .starts_with("label nvidia.com/metrics-enabled is not set")
        );
        assert_eq!(selecting_monitor(&[], &pod("decode", "true", "system")), Err(None));
    }

    #[test]
    fn namespaces_and_port_numbers_select_too() {
        let spec = |namespaces: Value| {
            json!({
                "selector": { "matchLabels": { "nvidia.com/metrics-enabled": "true" } },
                "namespaceSelector": namespaces,
                "podMetricsEndpoints": [{ "port": "other" }, { "portNumber": 9090 }],
            })
        };
        let worker = pod("worker", "true", "system");
        let own = mismatch(&[monitor("own", spec(json!({})))], &worker);
        assert_eq!(own.1, "it does not select namespace \"serving\"");
        let named = [monitor("named", spec(json!({ "matchNames": ["serving"] })))];
        assert_eq!(selecting_monitor(&named, &worker), Ok("named"));
        let target = json!({
            "selector": {}, "namespaceSelector": { "any": true }, "podMetricsEndpoints": [{ "targetPort": "system" }],
        });
        assert_eq!(selecting_monitor(&[monitor("all", target)], &worker), Ok("all"));
        // A PodMonitor of another program does not explain anything.
        let foreign = json!({ "selector": { "matchLabels": { "app": "db" } } });
        assert_eq!(selecting_monitor(&[monitor("db", foreign)], &worker), Err(None));
        assert_eq!(PodMonitor::parse(&json!({ "metadata": {}, "spec": 1 })), None);
    }
}
