//! Converts a serving plan into processes for this machine, with the commands, arguments, and variables of
//! the plan. It adds settings for discovery through files and for listening on loopback. It does not start a
//! process.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::LocalError;
use kubectl_dynamo_core::intent::WorkerRole;
use kubectl_dynamo_core::plan::{EnvironmentValue, PlanComponent, ServingPlan};
use kubectl_dynamo_core::resources::object_at;

/// The address that all configurable sockets listen on.
pub const LOOPBACK: &str = "127.0.0.1";

/// One process to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Process name: `frontend`, `worker`, or `decode-2` if there are several.
    pub name: String,
    pub role: WorkerRole,
    pub program: PathBuf,
    pub args: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// Inherited variables to remove: secrets that the process does not need, and settings of another
    /// runtime.
    #[serde(alias = "withoutEnvironment")]
    pub removed_environment: Vec<String>,
    pub working_directory: Option<PathBuf>,
    /// Port on loopback with the metrics at `/metrics`. Older records do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_port: Option<u16>,
}

impl Process {
    /// The base URL of a frontend, ending in `/v1`; `None` for a worker.
    pub(super) fn frontend_url(&self) -> Option<String> {
        let at = self.args.iter().position(|arg| arg == HTTP_PORT_FLAG)?;
        Some(format!("http://{LOOPBACK}:{}/v1", self.args.get(at + 1)?))
    }
}

/// The frontend's flag for its port.
const HTTP_PORT_FLAG: &str = "--http-port";

/// Number of ports for a worker with a GPU: one for KV events and one for KV transfer.
pub const WORKER_PORTS: usize = 2;

/// The local settings for the processes of a plan.
#[derive(Debug, Clone)]
pub struct LaunchEnvironment<'a> {
    /// Replaces `python3` in the commands of the plan.
    pub interpreter: &'a Path,
    /// The folder of the deployment.
    pub folder: &'a Path,
    /// Ports of the frontends; the first is the endpoint.
    pub frontend_ports: &'a [u16],
    /// [`WORKER_PORTS`] free ports for each worker.
    pub worker_ports: &'a [u16],
    /// A free port for the metrics of each worker.
    pub metrics_ports: &'a [u16],
    /// Names of inherited variables to remove in addition to [`NOT_INHERITED`].
    pub not_inherited: &'a [String],
}

/// Inherited variables that are removed for all Dynamo processes and for the predictor: only the fetcher needs the hub
/// token, and settings of another Python would affect the environment.
pub const NOT_INHERITED: &[&str] = &[
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "HF_TOKEN_PATH",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "VIRTUAL_ENV",
];

/// The processes of a plan, in the order of its components.
pub fn processes(plan: &ServingPlan, launch: &LaunchEnvironment) -> Vec<Process> {
    let mut frontend_ports = launch.frontend_ports.iter();
    let mut worker_ports = launch.worker_ports.chunks_exact(WORKER_PORTS);
    let mut metrics_ports = launch.metrics_ports.iter();
    let mut next_gpu = 0;
    let mut all = Vec::new();
    for component in &plan.components {
        for number in 1..=component.replicas {
            let mut process = base_process(component, number, launch);
            if component.role == WorkerRole::Frontend {
                let port = frontend_ports.next().copied().unwrap_or_default();
                process.args.extend(["--http-host".into(), LOOPBACK.into()]);
                process.args.extend([HTTP_PORT_FLAG.into(), port.to_string()]);
                process.metrics_port = Some(port);
            } else {
                // Frontends since 1.4 read the model card from this server. Port 0 selects a free port.
                process.metrics_port = metrics_ports.next().copied();
                let port = process.metrics_port.unwrap_or_default();
                process.environment.push(("DYN_SYSTEM_PORT".into(), port.to_string()));
                let ports = worker_ports.next();
                if let Some(&[events, transfer]) = ports.filter(|_| component.gpus > 0) {
                    assign_gpus(&mut process, next_gpu..next_gpu + component.gpus, events, transfer);
                    next_gpu += component.gpus;
                }
            }
            all.push(process);
        }
    }
    all
}

fn base_process(component: &PlanComponent, number: u32, launch: &LaunchEnvironment) -> Process {
    let name = match component.replicas {
        1 => component.name().to_owned(),
        _ => format!("{}-{number}", component.name()),
    };
    let mut environment = discovery_environment(launch.folder);
    // Secrets exist only in a cluster; `--hf-token-secret` is rejected with --local.
    environment.extend(component.environment.iter().filter_map(|variable| match &variable.value {
        EnvironmentValue::Literal(value) => Some((variable.name.clone(), value.clone())),
        EnvironmentValue::Secret { .. } => None,
    }));
    let (program, leading_args) = match component.command.split_first() {
        Some((program, leading_args)) if program == "python3" => {
            (launch.interpreter.to_owned(), leading_args)
        }
        Some((program, leading_args)) => (PathBuf::from(program), leading_args),
        None => (launch.interpreter.to_owned(), &[] as &[String]),
    };
    let not_inherited = NOT_INHERITED.iter().map(|name| (*name).to_owned());
    Process {
        name,
        role: component.role,
        program,
        args: leading_args.iter().chain(&component.args).cloned().collect(),
        environment,
        removed_environment: not_inherited.chain(launch.not_inherited.iter().cloned()).collect(),
        working_directory: Some(
            component.working_directory.as_ref().map_or_else(|| launch.folder.to_owned(), PathBuf::from),
        ),
        metrics_port: None,
    }
}

/// Variables for discovery through files, for listening on loopback, and for the home directory.
/// The sockets of the event plane still listen on all addresses: Dynamo 1.6 does not have a setting for them.
fn discovery_environment(folder: &Path) -> Vec<(String, String)> {
    let path_in_folder = |name: &str| folder.join(name).display().to_string();
    [
        ("DYN_DISCOVERY_BACKEND", "file".into()),
        ("DYN_FILE_KV", path_in_folder("discovery")),
        ("DYN_TCP_RPC_HOST", LOOPBACK.into()),
        // Releases before 1.6 only accept an interface name.
        ("DYN_TCP_RESPONSE_STREAM_HOST", "lo".into()),
        ("DYN_EVENT_PLANE_HOST", LOOPBACK.into()),
        ("DYN_SYSTEM_HOST", LOOPBACK.into()),
        // The output goes to a file, so it must not contain colors.
        ("DYN_SDK_DISABLE_ANSI_LOGGING", "1".into()),
        ("HOME", path_in_folder("home")),
        ("XDG_CACHE_HOME", path_in_folder("home/.cache")),
        // The model is on this disk, so the hub must not be used.
        ("HF_HUB_OFFLINE", "1".into()),
        ("PYTHONUNBUFFERED", "1".into()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// Assigns GPUs and unique ports to a worker. In a cluster, each worker has its own pod IP address.
fn assign_gpus(process: &mut Process, gpus: std::ops::Range<u32>, events: u16, transfer: u16) {
    let devices: Vec<String> = gpus.map(|gpu| gpu.to_string()).collect();
    process.environment.extend([
        ("CUDA_VISIBLE_DEVICES".into(), devices.join(",")),
        ("VLLM_NIXL_SIDE_CHANNEL_HOST".into(), LOOPBACK.into()),
        ("VLLM_NIXL_SIDE_CHANNEL_PORT".into(), transfer.to_string()),
    ]);
    let config_index = process.args.iter().position(|arg| arg == "--kv-events-config");
    if let Some(value) = config_index.and_then(|at| process.args.get_mut(at + 1))
        && let Ok(mut config) = serde_json::from_str::<serde_json::Value>(value)
    {
        object_at(&mut config, &[]).insert("endpoint".into(), format!("tcp://{LOOPBACK}:{events}").into());
        *value = config.to_string();
    }
}

/// Finds `count` different free ports on loopback.
///
/// # Errors
/// Loopback is not available.
pub fn free_ports(count: usize) -> Result<Vec<u16>, LocalError> {
    let listeners: std::io::Result<Vec<TcpListener>> =
        (0..count).map(|_| TcpListener::bind((LOOPBACK, 0))).collect();
    listeners
        .and_then(|listeners| listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect())
        .map_err(LocalError::file("find a free port on", Path::new(LOOPBACK)))
}

/// Ports that the kernel does not give to outgoing connections. Releases before 1.6 parse the port of the metrics as a
/// signed 16-bit number, so it cannot be higher.
const METRICS_PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Finds `count` different free ports on loopback for the metrics of workers.
///
/// # Errors
/// All of them are in use.
pub fn free_metrics_ports(count: usize) -> Result<Vec<u16>, LocalError> {
    // Another process starts at another port, because both could find the same free one at the same time.
    let size = METRICS_PORTS.end - METRICS_PORTS.start;
    let offset = u16::try_from(std::process::id() % u32::from(size)).unwrap_or_default();
    let candidates = (0..size).map(|at| METRICS_PORTS.start + (offset + at) % size);
    let free = candidates.filter(|port| TcpListener::bind((LOOPBACK, *port)).is_ok());
    let ports: Vec<u16> = free.take(count).collect();
    match ports.len() == count {
        true => Ok(ports),
        false => Err(LocalError::PortInUse { port: METRICS_PORTS.start }),
    }
}

/// Checks that a port on loopback is free.
///
/// # Errors
/// [`LocalError::PortInUse`].
pub fn check_port(port: u16) -> Result<(), LocalError> {
    match TcpListener::bind((LOOPBACK, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(LocalError::PortInUse { port }),
        Err(error) => Err(LocalError::file("listen on", Path::new(&format!("{LOOPBACK}:{port}")))(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kubectl_dynamo_core::intent::request::{MergedSettings, SettingSource, SettingsLayer};
    use kubectl_dynamo_core::intent::{Backend, Fallback, resolve};
    use kubectl_dynamo_core::plan::{ModelLocation, plan};
    use kubectl_dynamo_core::release::{DEFAULT_RELEASE, Release};

    /// The processes of a request on a machine with GPUs: port 1 for the frontend, and from port 10 on for the workers.
    fn processes_of(fields: &[&str]) -> Vec<Process> {
        let mut layer = SettingsLayer::new(SettingSource::Flag);
        for field in ["model=acme/tiny"].iter().chain(fields) {
            layer.set(field).expect("a valid setting");
        }
        let fallback = Fallback { model: None, backend: Backend::Vllm, max_name_length: 40 };
        let intent = resolve(&MergedSettings::from_layers([layer]), &fallback).expect("a complete request");
        let release = Release::find(DEFAULT_RELEASE).expect("the default release is in the catalog");
        let location = ModelLocation::Folder("/models/acme/tiny".into());
        let plan = plan(&intent, release, DEFAULT_RELEASE, location).expect("a valid plan");
        let launch = LaunchEnvironment {
            interpreter: Path::new("python3"),
            folder: Path::new("/state/tiny"),
            frontend_ports: &[1, 2],
            worker_ports: &[10, 11, 12, 13],
            metrics_ports: &[20, 21],
            not_inherited: &[],
        };
        processes(&plan, &launch)
    }

    fn variable<'a>(process: &'a Process, name: &str) -> Option<&'a str> {
        process.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn every_worker_has_its_own_gpus_and_ports() {
        for (fields, gpus) in [
            (&["worker.tensorParallelSize=2"][..], &[("worker", "0,1")][..]),
            (&["worker.replicas=2", "frontend.replicas=2"], &[("worker-1", "0"), ("worker-2", "1")]),
            (&["mode=disagg", "decode.tensorParallelSize=2"], &[("prefill", "0"), ("decode", "1,2")]),
        ] {
            let all = processes_of(fields);
            let workers: Vec<&Process> = all.iter().filter(|one| one.frontend_url().is_none()).collect();
            let assigned: Vec<_> = workers
                .iter()
                .map(|one| (one.name.as_str(), variable(one, "CUDA_VISIBLE_DEVICES")))
                .collect();
            let expected: Vec<_> = gpus.iter().map(|(name, gpus)| (*name, Some(*gpus))).collect();
            assert_eq!(assigned, expected, "{fields:?}");
            let ports: Vec<_> =
                workers.iter().map(|one| variable(one, "VLLM_NIXL_SIDE_CHANNEL_PORT")).collect();
            assert_eq!(ports, [Some("11"), Some("13")][..workers.len()], "{fields:?}");
        }
    }

    #[test]
    fn kv_events_of_every_worker_stay_on_loopback() {
        let all = processes_of(&["router.mode=kv", "worker.replicas=2"]);
        let events: Vec<&String> =
            all.iter().filter_map(|one| one.args.iter().find(|arg| arg.contains("\"endpoint\""))).collect();
        assert_eq!(events.len(), 2, "{all:#?}");
        for (value, port) in events.iter().zip([10, 12]) {
            assert!(value.contains(&format!("tcp://127.0.0.1:{port}")), "{value}");
        }
    }

    #[test]
    fn metrics_ports_are_different_and_fit_in_16_signed_bits() {
        let ports = free_metrics_ports(3).expect("three ports");
        assert!(ports.iter().all(|port| METRICS_PORTS.contains(port) && i16::try_from(*port).is_ok()));
        assert!(ports[0] != ports[1] && ports[1] != ports[2] && ports[0] != ports[2], "{ports:?}");
        let _listener = TcpListener::bind((LOOPBACK, ports[0])).expect("it is free");
        assert!(!free_metrics_ports(1).expect("a port").contains(&ports[0]), "a used port is not free");
    }
}
