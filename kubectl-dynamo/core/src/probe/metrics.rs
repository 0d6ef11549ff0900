//! The probe of metrics: every frontend and worker answers on its metrics port, and Prometheus would find it.

use super::pod_monitor::{MonitoredPod, PodMonitor, selecting_monitor};
use super::{AnswerFailure, ProbePlace, failed, warning};
use crate::code::MessageCode;
use crate::command::{Fix, SuggestedCommand};
use crate::finding::CheckResult;

/// One frontend or worker, and what its metrics port answered.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbedProcess {
    /// The pod or the process.
    pub name: String,
    /// `frontend`, `worker`, `prefill`, or `decode`.
    pub role: String,
    /// The number of series.
    pub series: Result<usize, AnswerFailure>,
    /// What a PodMonitor selects by; `None` on this machine.
    pub pod: Option<MonitoredPod>,
}

/// The PodMonitors of the cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum PodMonitorList {
    /// The cluster does not have the CRD, or there is no cluster.
    NotInstalled,
    /// They cannot be listed. Contains the reason.
    Unknown(String),
    Listed(Vec<PodMonitor>),
}

/// Judges whether every metrics port answers and a PodMonitor selects its pod.
pub fn judge_metrics(
    processes: &[ProbedProcess],
    monitors: &PodMonitorList,
    place: &ProbePlace,
) -> CheckResult {
    if processes.is_empty() {
        return CheckResult::Skipped("no metrics port is known".into());
    }
    let silent: Vec<(&ProbedProcess, String)> = processes.iter().filter_map(silence).collect();
    if let Some((process, reason)) = silent.first() {
        let text = format!(
            "{} of {} metrics ports answer; {} {} does not: {reason}",
            processes.len() - silent.len(),
            processes.len(),
            process.role,
            process.name
        );
        return failed(MessageCode::MetricsPortSilent, text, place.logs_command(&process.role));
    }
    let counts = format!("{} answer ({})", ports(processes.len()), series_by_role(processes));
    match monitors {
        PodMonitorList::NotInstalled => CheckResult::Passed(counts),
        PodMonitorList::Unknown(reason) => {
            CheckResult::Passed(format!("{counts}; PodMonitors are not checked: {reason}"))
        }
        PodMonitorList::Listed(monitors) => monitor_verdict(processes, monitors, counts),
    }
}

fn silence(process: &ProbedProcess) -> Option<(&ProbedProcess, String)> {
    match &process.series {
        Ok(0) => Some((process, "the response does not contain a series".into())),
        Ok(_) => None,
        Err(failure) => Some((process, failure.to_string())),
    }
}

fn ports(count: usize) -> String {
    if count == 1 { "1 metrics port".into() } else { format!("{count} metrics ports") }
}

/// Text such as `frontend 210 series, worker 80 series`: one process of each role.
fn series_by_role(processes: &[ProbedProcess]) -> String {
    let mut roles: Vec<(&str, usize)> = Vec::new();
    for process in processes {
        let count = process.series.as_ref().copied().unwrap_or_default();
        if !roles.iter().any(|(role, _)| *role == process.role) {
            roles.push((&process.role, count));
        }
    }
    roles.iter().map(|(role, count)| format!("{role} {count} series")).collect::<Vec<_>>().join(", ")
}

fn monitor_verdict(processes: &[ProbedProcess], monitors: &[PodMonitor], counts: String) -> CheckResult {
    let mut selecting = Vec::new();
    for process in processes {
        let Some(pod) = &process.pod else { continue };
        match selecting_monitor(monitors, pod) {
            Ok(name) if selecting.contains(&name) => {}
            Ok(name) => selecting.push(name),
            Err(Some(mismatch)) => {
                let text = format!(
                    "no PodMonitor selects {} {}; PodMonitor {}: {}",
                    process.role, process.name, mismatch.monitor, mismatch.reason
                );
                let labels = SuggestedCommand::kubectl("get pods")
                    .flag(&process.name)
                    .in_namespace(&pod.namespace)
                    .flag("--show-labels");
                let hint = labels.after("correct the PodMonitor or the label; the labels of the pod: ");
                return failed(MessageCode::PodMonitorMismatch, text, hint);
            }
            Err(None) => {
                let text = format!(
                    "{counts}, but no PodMonitor is for Dynamo, so Prometheus does not scrape {}",
                    process.name
                );
                let hint = Fix::from(
                    "let Dynamo's platform chart create its PodMonitors: set dynamo.metrics.podMonitors.enabled=true",
                );
                return warning(MessageCode::PodMonitorMismatch, text, hint);
            }
        }
    }
    let plural = if selecting.len() == 1 { "PodMonitor" } else { "PodMonitors" };
    CheckResult::Passed(format!("{counts}; selected by {plural} {}", selecting.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn process(name: &str, role: &str, series: usize) -> ProbedProcess {
        let labels = [("nvidia.com/dynamo-component-type".to_owned(), role.to_owned())];
        let pod = MonitoredPod {
            namespace: "serving".into(),
            labels: labels.into(),
            ports: vec![(Some("system".into()), 9090)],
        };
        ProbedProcess { name: name.into(), role: role.into(), series: Ok(series), pod: Some(pod) }
    }

    fn monitor(role: &str) -> PodMonitor {
        let selector = json!({ "matchLabels": { "nvidia.com/dynamo-component-type": role } });
        let endpoints = json!([{ "port": "system" }]);
        PodMonitor::parse(&json!({
            "metadata": { "name": format!("dynamo-{role}"), "namespace": "serving" },
            "spec": { "selector": selector, "podMetricsEndpoints": endpoints },
        }))
        .expect("a PodMonitor")
    }

    fn judge(processes: &[ProbedProcess], monitors: &PodMonitorList) -> CheckResult {
        judge_metrics(processes, monitors, &ProbePlace::Local { name: "tiny".into() })
    }

    #[test]
    fn answering_ports_pass_with_the_monitors_that_select_them() {
        let processes =
            [process("f", "frontend", 200), process("w-1", "worker", 80), process("w-2", "worker", 81)];
        let monitors = PodMonitorList::Listed(vec![monitor("frontend"), monitor("worker")]);
        let counts = "3 metrics ports answer (frontend 200 series, worker 80 series)";
        assert_eq!(judge(&processes, &PodMonitorList::NotInstalled), CheckResult::Passed(counts.into()));
        assert_eq!(
            judge(&processes, &monitors),
            CheckResult::Passed(format!("{counts}; selected by PodMonitors dynamo-frontend, dynamo-worker"))
        );
        let denied = judge(&processes, &PodMonitorList::Unknown("no permission".into()));
        assert_eq!(
            denied,
            CheckResult::Passed(format!("{counts}; PodMonitors are not checked: no permission"))
        );
        assert!(matches!(judge(&[], &monitors), CheckResult::Skipped(_)));
    }

    #[test]
    fn silent_ports_and_unselected_pods_are_problems() {
        let refused = AnswerFailure::Unreachable { cause: "connection refused".into() };
        let silent = ProbedProcess { series: Err(refused), ..process("w-2", "worker", 0) };
        let processes = [process("f", "frontend", 200), silent];
        let result = judge(&processes, &PodMonitorList::NotInstalled);
        let problem = result.problem().expect("a port is silent");
        assert_eq!(problem.code, MessageCode::MetricsPortSilent);
        assert_eq!(
            problem.text,
            "1 of 2 metrics ports answer; worker w-2 does not: the endpoint cannot be reached: connection refused"
        );
        let empty = judge(&[process("w", "worker", 0)], &PodMonitorList::NotInstalled);
        assert!(empty.problem().is_some_and(|problem| problem.text.ends_with("does not contain a series")));
        let stale = judge(&[process("w", "worker", 9)], &PodMonitorList::Listed(vec![monitor("backend")]));
        let CheckResult::Failed(problem) = &stale else { panic!("{stale:?}") };
        assert_eq!(problem.code, MessageCode::PodMonitorMismatch);
        assert_eq!(
            problem.text,
            "no PodMonitor selects worker w; PodMonitor serving/dynamo-backend: label \
             nvidia.com/dynamo-component-type is \"worker\", expected \"backend\""
        );
        let none = judge(&[process("w", "worker", 9)], &PodMonitorList::Listed(Vec::new()));
        assert!(
            matches!(&none, CheckResult::Warning(problem) if problem.code == MessageCode::PodMonitorMismatch)
        );
    }
}
