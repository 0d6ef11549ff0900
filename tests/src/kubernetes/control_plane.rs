//! One Kubernetes control plane: etcd, API server with an audit log, controller manager, scheduler. Several
//! can run in one network namespace with different ports.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rcgen::KeyPair;
use serde_json::json;

use super::audit::AuditLog;
use super::authority::{CertificateAndKey, CertificateAuthority};
use super::definitions::{self, GraphGeneration};
use super::supervisor::ProgramSupervisor;
use super::{etcd, programs};
use crate::Outcome;

/// The user whose requests the audit log records: those of the code under test, not those of the test.
pub const AUDITED_USER: &str = "kubectl-dynamo-tester";
const SERVICE_RANGE: &str = "10.96.0.0/16";
const FIRST_SERVICE: &str = "10.96.0.1";

/// A running control plane.
#[derive(Clone)]
pub struct ControlPlane {
    /// The generation of Dynamo's CRDs that it has, if any.
    pub generation: Option<GraphGeneration>,
    folder: PathBuf,
    server: String,
    client: Client,
}

/// The ports of the control plane number `index` of a namespace.
#[derive(Debug, Clone, Copy)]
struct ControlPlanePorts {
    server: u16,
    etcd: u16,
    etcd_peer: u16,
    controllers: u16,
    scheduler: u16,
}

fn ports_for(index: u16) -> ControlPlanePorts {
    let base = 100 * index;
    ControlPlanePorts {
        server: 6443 + base,
        etcd: 2379 + base,
        etcd_peer: 2380 + base,
        controllers: 10257 + base,
        scheduler: 10259 + base,
    }
}

/// A control plane whose etcd and API server have been started but may not be ready yet.
pub(super) struct StartingControlPlane<'a> {
    generation: Option<GraphGeneration>,
    name: &'static str,
    paths: ControlPlaneFiles<'a>,
    ports: ControlPlanePorts,
    node: Option<Ipv4Addr>,
}

/// Starts etcd and the API server of the control plane number `index`. `node` is the address that pods and
/// kubelets use for it.
pub(super) fn start<'a>(
    supervisor: &mut ProgramSupervisor,
    authority: &'a CertificateAuthority,
    index: u16,
    generation: Option<GraphGeneration>,
    node: Option<Ipv4Addr>,
) -> Outcome<StartingControlPlane<'a>> {
    let name = generation.map_or("bare", GraphGeneration::version);
    let folder = supervisor.state().folder().join(name);
    std::fs::create_dir_all(&folder)?;
    let ports = ports_for(index);
    let paths =
        ControlPlaneFiles { folder, authority, server: format!("https://127.0.0.1:{}", ports.server) };
    paths.write_identities(node)?;
    let etcd_address = (Ipv4Addr::LOCALHOST, ports.etcd, ports.etcd_peer);
    etcd::start(supervisor, &format!("etcd-{name}"), &paths.folder.join("etcd"), etcd_address)?;
    start_server(supervisor, &paths, name, ports, node)?;
    Ok(StartingControlPlane { generation, name, paths, ports, node })
}

impl StartingControlPlane<'_> {
    /// Waits until the API server is ready, starts the other programs, and applies Dynamo's CRDs.
    pub(super) async fn finish(self, supervisor: &mut ProgramSupervisor) -> Outcome<ControlPlane> {
        let Self { generation, name, paths, ports, node } = self;
        let client =
            client_from_kubeconfig(&paths.write_kubeconfig("admin", Some("system:masters"))?).await?;
        wait_until_ready(supervisor, &client, &format!("kube-apiserver-{name}")).await?;
        start_controllers(supervisor, &paths, name, ports, node)?;
        start_scheduler(supervisor, &paths, name, ports)?;
        paths.write_kubeconfig(AUDITED_USER, Some("system:masters"))?;
        if let Some(generation) = generation {
            definitions::apply_all(&client, generation).await?;
        }
        Ok(ControlPlane { generation, folder: paths.folder, server: paths.server, client })
    }
}

impl ControlPlane {
    /// Returns a cluster-admin client that the audit log does not record.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Returns the URL of the API server inside the namespace.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Returns a cluster-admin kubeconfig that the audit log records, for the code under test.
    pub fn audited_kubeconfig(&self) -> PathBuf {
        kubeconfig_path(&self.folder, AUDITED_USER)
    }

    /// Returns a cluster-admin kubeconfig that the audit log does not record.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        kubeconfig_path(&self.folder, "admin")
    }

    /// Returns a kubeconfig of a user without groups, who has only the permissions of role bindings.
    pub fn write_user_kubeconfig(&self, authority: &CertificateAuthority, user: &str) -> Outcome<PathBuf> {
        let paths = ControlPlaneFiles { folder: self.folder.clone(), authority, server: self.server.clone() };
        paths.write_kubeconfig(user, None)
    }

    /// Returns the requests of the audited user so far.
    pub fn audit_log(&self) -> AuditLog {
        AuditLog::new(self.folder.join("audit.log"))
    }
}

/// Creates a client from a kubeconfig file.
pub async fn client_from_kubeconfig(kubeconfig: &Path) -> Outcome<Client> {
    let config = Kubeconfig::read_from(kubeconfig)?;
    Ok(Client::try_from(Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?)?)
}

fn kubeconfig_path(folder: &Path, user: &str) -> PathBuf {
    folder.join(format!("{user}.conf"))
}

struct ControlPlaneFiles<'a> {
    folder: PathBuf,
    authority: &'a CertificateAuthority,
    server: String,
}

impl ControlPlaneFiles<'_> {
    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn write_identities(&self, node: Option<Ipv4Addr>) -> Outcome {
        let node = node.map(|address| address.to_string());
        let mut hosts = vec!["localhost", "kubernetes.default.svc", "127.0.0.1", FIRST_SERVICE];
        hosts.extend(node.as_deref());
        std::fs::write(self.folder.join("ca.crt"), self.authority.certificate())?;
        self.authority.server_certificate("kube-apiserver", &hosts)?.write(&self.folder, "apiserver")?;
        self.authority
            .client_certificate("apiserver", Some("system:masters"))?
            .write(&self.folder, "apiserver-kubelet")?;
        let accounts = KeyPair::generate()?;
        CertificateAndKey { certificate: accounts.public_key_pem(), key: accounts.serialize_pem() }
            .write(&self.folder, "accounts")?;
        std::fs::write(self.folder.join("audit.json"), audit_policy().to_string())?;
        Ok(())
    }

    fn write_kubeconfig(&self, user: &str, group: Option<&str>) -> Outcome<PathBuf> {
        let identity = self.authority.client_certificate(user, group)?;
        let path = kubeconfig_path(&self.folder, user);
        std::fs::write(&path, self.authority.kubeconfig(&self.server, &identity).to_string())?;
        Ok(path)
    }
}

/// Returns a policy that logs complete requests and responses of the audited user and nothing else.
fn audit_policy() -> serde_json::Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "RequestResponse", "users": [AUDITED_USER]}, {"level": "None"}],
    })
}

fn start_server(
    supervisor: &mut ProgramSupervisor,
    plane: &ControlPlaneFiles<'_>,
    name: &str,
    ports: ControlPlanePorts,
    node: Option<Ipv4Addr>,
) -> Outcome {
    supervisor.start(
        &format!("kube-apiserver-{name}"),
        programs::compiled_program("kube-apiserver")?,
        &[
            format!("--etcd-servers=http://127.0.0.1:{}", ports.etcd),
            "--bind-address=0.0.0.0".to_owned(),
            // Required even without pods that use it; without a node nothing connects to it.
            format!("--advertise-address={}", node.unwrap_or(Ipv4Addr::new(10, 89, 0, 1))),
            format!("--secure-port={}", ports.server),
            format!("--cert-dir={}", plane.file("certificates")),
            format!("--client-ca-file={}", plane.file("ca.crt")),
            format!("--tls-cert-file={}", plane.file("apiserver.crt")),
            format!("--tls-private-key-file={}", plane.file("apiserver.key")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", plane.file("accounts.crt")),
            format!("--service-account-signing-key-file={}", plane.file("accounts.key")),
            format!("--service-cluster-ip-range={SERVICE_RANGE}"),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--allow-privileged".to_owned(),
            format!("--kubelet-client-certificate={}", plane.file("apiserver-kubelet.crt")),
            format!("--kubelet-client-key={}", plane.file("apiserver-kubelet.key")),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            format!("--audit-policy-file={}", plane.file("audit.json")),
            format!("--audit-log-path={}", plane.file("audit.log")),
            // A response is sent only after its line is in the log.
            "--audit-log-mode=blocking".to_owned(),
        ],
    )
}

fn start_controllers(
    supervisor: &mut ProgramSupervisor,
    plane: &ControlPlaneFiles<'_>,
    name: &str,
    ports: ControlPlanePorts,
    node: Option<Ipv4Addr>,
) -> Outcome {
    let kubeconfig = plane.write_kubeconfig("system:kube-controller-manager", None)?;
    supervisor.start(
        &format!("kube-controller-manager-{name}"),
        programs::compiled_program("kube-controller-manager")?,
        &[
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--cert-dir={}", plane.file("certificates")),
            format!("--service-account-private-key-file={}", plane.file("accounts.key")),
            format!("--root-ca-file={}", plane.file("ca.crt")),
            "--use-service-account-credentials".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", ports.controllers),
            "--leader-elect=false".to_owned(),
            // Without a node, the pod garbage collector would remove pods that a test binds to one after 40
            // s.
            match node {
                Some(_) => "--controllers=*".to_owned(),
                None => "--controllers=*,-pod-garbage-collector-controller".to_owned(),
            },
        ],
    )
}

fn start_scheduler(
    supervisor: &mut ProgramSupervisor,
    plane: &ControlPlaneFiles<'_>,
    name: &str,
    ports: ControlPlanePorts,
) -> Outcome {
    let kubeconfig = plane.write_kubeconfig("system:kube-scheduler", None)?;
    supervisor.start(
        &format!("kube-scheduler-{name}"),
        programs::compiled_program("kube-scheduler")?,
        &[
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--cert-dir={}", plane.file("certificates")),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", ports.scheduler),
            "--leader-elect=false".to_owned(),
        ],
    )
}

async fn wait_until_ready(supervisor: &mut ProgramSupervisor, client: &Client, program: &str) -> Outcome {
    let limit = Instant::now() + Duration::from_secs(180);
    loop {
        let request = http::Request::get("/readyz").body(Vec::new())?;
        let response = match client.request_text(request).await {
            Ok(text) if text == "ok" => return Ok(()),
            Ok(text) => text,
            Err(error) => error.to_string(),
        };
        supervisor.ensure_running(program)?;
        if Instant::now() > limit {
            return Err(format!("{program} is not ready: {response}").into());
        }
        // A server that is not ready does not send an event to wait for.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
