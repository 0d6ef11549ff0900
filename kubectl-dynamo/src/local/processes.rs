//! A plan as processes: the plan's own commands, arguments and variables, and what this machine adds so that
//! they find each other through files and listen on loopback.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::LocalError;
use crate::intent::WorkerRole;
use crate::plan::{Component, EnvironmentValue, ServingPlan};

/// The only address anything listens on, as far as Dynamo lets us choose.
pub const LOOPBACK: &str = "127.0.0.1";

/// One process to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// `frontend`, `worker`, or `decode-2` where there are several.
    pub name: String,
    pub role: WorkerRole,
    pub program: PathBuf,
    pub args: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// Inherited variables it must not see: secrets it does not need, and settings of another runtime.
    pub without_environment: Vec<String>,
    pub working_directory: Option<PathBuf>,
}

/// Ports of one worker with a GPU: its KV events and its KV transfer.
pub const WORKER_PORTS: usize = 2;

/// What this machine gives to a plan.
#[derive(Debug, Clone)]
pub struct Ground<'a> {
    /// Stands where the plan says `python3`.
    pub interpreter: &'a Path,
    /// The deployment's own folder.
    pub folder: &'a Path,
    /// Ports of the frontends, the endpoint's first.
    pub frontend_ports: &'a [u16],
    /// [`WORKER_PORTS`] free ports for each worker.
    pub worker_ports: &'a [u16],
    /// Names of inherited variables to leave out besides [`NOT_INHERITED`].
    pub not_inherited: &'a [String],
}

/// Variables of the caller that no Dynamo process gets: the hub's token is for the fetcher alone, and another
/// Python's settings would reach into the environment.
pub const NOT_INHERITED: &[&str] = &[
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "HF_TOKEN_PATH",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "VIRTUAL_ENV",
];

/// Every process of a plan: frontends first.
pub fn processes(plan: &ServingPlan, ground: &Ground) -> Vec<Process> {
    let mut frontend_ports = ground.frontend_ports.iter();
    let mut worker_ports = ground.worker_ports.chunks_exact(WORKER_PORTS);
    let mut next_gpu = 0;
    let mut all = Vec::new();
    for component in &plan.components {
        for number in 1..=component.replicas {
            let mut process = base(component, number, ground);
            if component.role == WorkerRole::Frontend {
                let port = frontend_ports.next().copied().unwrap_or_default();
                process.args.extend(["--http-host".into(), LOOPBACK.into()]);
                process.args.extend(["--http-port".into(), port.to_string()]);
            } else {
                // Frontends from 1.4 on read the model's card from this server, at whatever port is free. Releases
                // before 1.6 read the number as 16 bits with a sign, so most free ports could not be named.
                process.environment.push(("DYN_SYSTEM_PORT".into(), "0".into()));
            }
            if let (1.., Some(&[events, transfer])) = (component.gpus, worker_ports.next()) {
                on_gpus(&mut process, next_gpu..next_gpu + component.gpus, events, transfer);
                next_gpu += component.gpus;
            }
            all.push(process);
        }
    }
    all
}

fn base(component: &Component, number: u32, ground: &Ground) -> Process {
    let name = match component.replicas {
        1 => component.name().to_owned(),
        _ => format!("{}-{number}", component.name()),
    };
    let mut environment = discovery(ground.folder);
    // A Secret is a cluster's; `--hf-token-secret` is refused with --local.
    environment.extend(component.environment.iter().filter_map(|variable| match &variable.value {
        EnvironmentValue::Literal(value) => Some((variable.name.clone(), value.clone())),
        EnvironmentValue::Secret { .. } => None,
    }));
    let (program, leading) = match component.command.split_first() {
        Some((program, leading)) if program == "python3" => (ground.interpreter.to_owned(), leading),
        Some((program, leading)) => (PathBuf::from(program), leading),
        None => (ground.interpreter.to_owned(), &[] as &[String]),
    };
    let not_inherited = NOT_INHERITED.iter().map(|name| (*name).to_owned());
    Process {
        name,
        role: component.role,
        program,
        args: leading.iter().chain(&component.args).cloned().collect(),
        environment,
        without_environment: not_inherited.chain(ground.not_inherited.iter().cloned()).collect(),
        working_directory: Some(
            component.working_directory.as_ref().map_or_else(|| ground.folder.to_owned(), PathBuf::from),
        ),
    }
}

/// How processes of one machine find each other, and where they keep what they write.
/// The event plane's own sockets stay on all addresses: Dynamo 1.6 lets nobody choose those.
fn discovery(folder: &Path) -> Vec<(String, String)> {
    let below = |name: &str| folder.join(name).display().to_string();
    [
        ("DYN_DISCOVERY_BACKEND", "file".into()),
        ("DYN_FILE_KV", below("discovery")),
        ("DYN_TCP_RPC_HOST", LOOPBACK.into()),
        // Releases before 1.6 take the name of an interface only.
        ("DYN_TCP_RESPONSE_STREAM_HOST", "lo".into()),
        ("DYN_EVENT_PLANE_HOST", LOOPBACK.into()),
        ("DYN_SYSTEM_HOST", LOOPBACK.into()),
        // Colours belong to a terminal, and this goes to a file.
        ("DYN_SDK_DISABLE_ANSI_LOGGING", "1".into()),
        ("HOME", below("home")),
        ("XDG_CACHE_HOME", below("home/.cache")),
        // The model's files are on this disk; nothing is to be asked of the hub.
        ("HF_HUB_OFFLINE", "1".into()),
        ("PYTHONUNBUFFERED", "1".into()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// Gives a worker its GPUs and ports of its own: in pods each worker has an address to itself.
fn on_gpus(process: &mut Process, gpus: std::ops::Range<u32>, events: u16, transfer: u16) {
    let devices: Vec<String> = gpus.map(|gpu| gpu.to_string()).collect();
    process.environment.extend([
        ("CUDA_VISIBLE_DEVICES".into(), devices.join(",")),
        ("VLLM_NIXL_SIDE_CHANNEL_HOST".into(), LOOPBACK.into()),
        ("VLLM_NIXL_SIDE_CHANNEL_PORT".into(), transfer.to_string()),
    ]);
    let announced = process.args.iter().position(|arg| arg == "--kv-events-config");
    if let Some(value) = announced.and_then(|at| process.args.get_mut(at + 1))
        && let Ok(mut config) = serde_json::from_str::<serde_json::Value>(value)
    {
        config["endpoint"] = format!("tcp://{LOOPBACK}:{events}").into();
        *value = config.to_string();
    }
}

/// Ports nobody listens on now. They are found together, so that they differ.
///
/// # Errors
/// A machine without loopback.
pub fn free_ports(count: usize) -> Result<Vec<u16>, LocalError> {
    let listeners: std::io::Result<Vec<TcpListener>> =
        (0..count).map(|_| TcpListener::bind((LOOPBACK, 0))).collect();
    listeners
        .and_then(|listeners| listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect())
        .map_err(LocalError::file("find a free port on", Path::new(LOOPBACK)))
}

/// Refuses a port that somebody listens on.
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
