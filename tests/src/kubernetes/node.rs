//! The node of a cluster: a bridge with its address, containerd, kubelet, kube-proxy, and its images.
//! It must not affect other containers or kubelets of the machine.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};

use super::authority::CertificateAuthority;
use super::control_plane::ControlPlane;
use super::programs;
use super::supervisor::ProgramSupervisor;
use crate::Outcome;
use crate::images::Image;

/// Address of the node. Pods use it to reach servers that a test runs inside the namespace, such as a hub.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 89, 0, 1);
/// Name of the node.
pub const NAME: &str = "node0";
const POD_RANGE: &str = "10.244.0.0/24";
const PAUSE: &str = "registry.k8s.io/pause:3.10";

/// Creates the bridge with the node's address in the calling thread's namespace (`dummy` links need a kernel
/// module).
pub(super) fn create_network() -> io::Result<()> {
    let address = format!("{ADDRESS}/24");
    for arguments in [
        &["link", "add", NAME, "type", "bridge"][..],
        &["addr", "add", &address, "dev", NAME],
        &["link", "set", NAME, "up"],
        &["route", "add", "default", "dev", NAME],
    ] {
        let output = Command::new("ip").args(arguments).output()?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!("ip {}: {}", arguments.join(" "), stderr.trim())));
        }
    }
    Ok(())
}

/// Starts the node's programs and waits until the node is ready.
pub(super) async fn start(
    supervisor: &mut ProgramSupervisor,
    authority: &CertificateAuthority,
    plane: &ControlPlane,
) -> Outcome {
    let folder = supervisor.state().folder().to_owned();
    start_containerd(supervisor, &folder).await?;
    import_pause_image(&folder)?;
    start_kubelet(supervisor, &folder, authority, plane)?;
    start_proxy(supervisor, &folder, authority, plane)?;
    let nodes: Api<Node> = Api::all(plane.client());
    let ready = await_condition(nodes, NAME, |node: Option<&Node>| node.is_some_and(is_ready));
    match tokio::time::timeout(std::time::Duration::from_secs(180), ready).await {
        Ok(node) => {
            node?;
            Ok(())
        }
        Err(_) => {
            supervisor.ensure_running("kubelet")?;
            supervisor.ensure_running("containerd")?;
            Err(format!("the node is not ready; see {}", folder.join("log").display()).into())
        }
    }
}

/// Sets the node's number of GPUs, so that pods that request GPUs are scheduled; 0 means none.
pub async fn set_gpus(plane: &ControlPlane, count: u32) -> Outcome {
    let nodes: Api<Node> = Api::all(plane.client());
    let patch = json!({"status": {"capacity": {"nvidia.com/gpu": count.to_string()}}});
    nodes.patch_status(NAME, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// Imports the image archive on the node with the names in the archive.
pub fn import_image(cluster_folder: &Path, archive: &Path) -> Outcome {
    let output = Command::new("ctr")
        .arg("--address")
        .arg(containerd_socket(cluster_folder))
        .args(["--namespace", "k8s.io", "image", "import"])
        .arg(archive)
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ctr image import {}: {}", archive.display(), String::from_utf8_lossy(&output.stderr).trim())
        .into())
}

/// Returns whether the node is ready and schedulable.
pub fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn containerd_socket(folder: &Path) -> std::path::PathBuf {
    folder.join("containerd.sock")
}

async fn start_containerd(supervisor: &mut ProgramSupervisor, folder: &Path) -> Outcome {
    let networks = folder.join("networks");
    std::fs::create_dir_all(&networks)?;
    std::fs::write(networks.join("10-bridge.conflist"), network_config().to_string())?;
    let settings = folder.join("containerd.toml");
    std::fs::write(&settings, containerd_settings(folder))?;
    supervisor.start(
        "containerd",
        which::which("containerd")?,
        &[format!("--config={}", settings.display())],
    )?;
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        supervisor.ensure_running("containerd")?;
        let output =
            Command::new("ctr").arg("--address").arg(containerd_socket(folder)).arg("version").output()?;
        if output.status.success() {
            return Ok(());
        }
        if std::time::Instant::now() > limit {
            return Err(format!("containerd: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
        }
        // A daemon that does not listen yet does not send an event to wait for.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

fn network_config() -> Value {
    let addresses = json!({
        "type": "host-local",
        "ranges": [[{"subnet": POD_RANGE}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    });
    json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {"type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false, "ipam": addresses},
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

fn containerd_settings(folder: &Path) -> String {
    let folder = folder.display();
    let plugins = programs::NETWORK_PLUGINS;
    format!(
        r#"version = 2
root = "{folder}/containerd/root"
state = "{folder}/containerd/state"
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # runc cannot lower oom_score_adj without CAP_SYS_RESOURCE.
  restrict_oom_score_adj = true
  # Below the state folder, so that leftovers of an interrupted run are found and removed.
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{folder}/networks"
"#
    )
}

fn import_pause_image(folder: &Path) -> Outcome {
    let root = folder.join("pause");
    std::fs::create_dir_all(&root)?;
    std::fs::copy(programs::compiled_program("pause")?, root.join("pause"))?;
    let archive = folder.join("pause.tar");
    Image::new(PAUSE).entrypoint(&["/pause"]).write(&[&root], &archive)?;
    import_image(folder, &archive)
}

fn start_kubelet(
    supervisor: &mut ProgramSupervisor,
    folder: &Path,
    authority: &CertificateAuthority,
    plane: &ControlPlane,
) -> Outcome {
    let pki = folder.join("pki");
    authority
        .server_certificate(NAME, &[NAME, &ADDRESS.to_string(), "127.0.0.1"])?
        .write(&pki, "kubelet-server")?;
    std::fs::write(pki.join("ca.crt"), authority.certificate())?;
    let kubeconfig = folder.join("kubelet.conf");
    let identity = authority.client_certificate(&format!("system:node:{NAME}"), Some("system:nodes"))?;
    std::fs::write(&kubeconfig, authority.kubeconfig(plane.server(), &identity).to_string())?;
    let control_group = supervisor.state().control_group()?;
    let settings = folder.join("kubelet.json");
    std::fs::write(&settings, kubelet_settings(folder, &control_group).to_string())?;
    supervisor.start(
        "kubelet",
        programs::compiled_program("kubelet")?,
        &[
            format!("--config={}", settings.display()),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--hostname-override={NAME}"),
            format!("--node-ip={ADDRESS}"),
            format!("--root-dir={}", folder.join("kubelet").display()),
            format!("--cert-dir={}", pki.display()),
        ],
    )
}

fn kubelet_settings(folder: &Path, control_group: &str) -> Value {
    let file = |name: &str| folder.join(name).display().to_string();
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{}", containerd_socket(folder).display()),
        "cgroupDriver": "cgroupfs",
        // A separate cgroup: another kubelet on this machine does not affect these pods, and the reverse.
        "cgroupRoot": control_group,
        "failCgroupV1": false,
        "failSwapOn": false,
        "address": ADDRESS.to_string(),
        "healthzBindAddress": "127.0.0.1",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": file("pki/ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": file("pki/kubelet-server.crt"),
        "tlsPrivateKeyFile": file("pki/kubelet-server.key"),
        "clusterDNS": ["10.96.0.10"],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "podLogsDir": file("pod-logs"),
        "volumePluginDir": file("volume-plugins"),
        "maxPods": 200,
        // Other work uses this machine's disk and memory too; test pods must not be evicted because of it.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
    })
}

fn start_proxy(
    supervisor: &mut ProgramSupervisor,
    folder: &Path,
    authority: &CertificateAuthority,
    plane: &ControlPlane,
) -> Outcome {
    let kubeconfig = folder.join("kube-proxy.conf");
    let identity = authority.client_certificate("system:kube-proxy", None)?;
    std::fs::write(&kubeconfig, authority.kubeconfig(plane.server(), &identity).to_string())?;
    supervisor.start(
        "kube-proxy",
        programs::compiled_program("kube-proxy")?,
        &[
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--hostname-override={NAME}"),
            "--proxy-mode=iptables".to_owned(),
            format!("--cluster-cidr={POD_RANGE}"),
            "--healthz-bind-address=127.0.0.1:10256".to_owned(),
            "--metrics-bind-address=127.0.0.1:10249".to_owned(),
            "--conntrack-max-per-core=0".to_owned(),
        ],
    )
}

/// Creates the storage classes of the cases. They do not provision: `manual` binds immediately, `late` with
/// the first pod.
pub async fn create_storage_classes(plane: &ControlPlane) -> Outcome {
    let classes: Api<StorageClass> = Api::all(plane.client());
    for (name, mode) in [("manual", "Immediate"), ("late", "WaitForFirstConsumer")] {
        let class = serde_json::from_value(json!({
            "metadata": {"name": name},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": mode,
        }))?;
        classes.create(&PostParams::default(), &class).await?;
    }
    Ok(())
}
