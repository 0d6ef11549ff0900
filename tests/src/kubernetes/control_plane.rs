//! One Kubernetes control plane: etcd, API server with an audit log, controller manager, scheduler.
//! Several stand side by side in one network namespace, told apart by their ports.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rcgen::KeyPair;
use serde_json::json;

use super::audit::Audit;
use super::authority::{Authority, Identity};
use super::definitions::{self, GraphGeneration};
use super::programs;
use super::supervisor::Supervisor;
use crate::Outcome;

/// The user whose requests the audit log holds: what is under test, and nothing of the test's own.
pub const AUDITED_USER: &str = "kubectl-dynamo-tester";
const SERVICE_RANGE: &str = "10.96.0.0/16";
const FIRST_SERVICE: &str = "10.96.0.1";

/// A running control plane.
#[derive(Clone)]
pub struct ControlPlane {
    /// Which of Dynamo's definitions it has, if any.
    pub generation: Option<GraphGeneration>,
    folder: PathBuf,
    server: String,
    client: Client,
}

/// The ports of the control plane number `index` of a namespace.
#[derive(Debug, Clone, Copy)]
struct Ports {
    server: u16,
    etcd: u16,
    etcd_peer: u16,
    controllers: u16,
    scheduler: u16,
}

fn ports(index: u16) -> Ports {
    let base = 100 * index;
    Ports {
        server: 6443 + base,
        etcd: 2379 + base,
        etcd_peer: 2380 + base,
        controllers: 10257 + base,
        scheduler: 10259 + base,
    }
}

/// A control plane whose etcd and API server were started and may not answer yet.
pub(super) struct Starting<'a> {
    generation: Option<GraphGeneration>,
    name: &'static str,
    paths: Paths<'a>,
    ports: Ports,
    node: Option<Ipv4Addr>,
}

/// Starts etcd and the API server of the control plane number `index`.
/// `node` is the address under which pods and kubelets reach it.
pub(super) fn start<'a>(
    supervisor: &mut Supervisor,
    authority: &'a Authority,
    index: u16,
    generation: Option<GraphGeneration>,
    node: Option<Ipv4Addr>,
) -> Outcome<Starting<'a>> {
    let name = generation.map_or("bare", GraphGeneration::version);
    let folder = supervisor.state().folder().join(name);
    std::fs::create_dir_all(&folder)?;
    let ports = ports(index);
    let paths = Paths { folder, authority, server: format!("https://127.0.0.1:{}", ports.server) };
    paths.write_identities(node)?;
    start_etcd(supervisor, &paths.folder, name, ports)?;
    start_server(supervisor, &paths, name, ports, node)?;
    Ok(Starting { generation, name, paths, ports, node })
}

impl Starting<'_> {
    /// Waits until the API server answers, starts the rest, and applies Dynamo's definitions.
    pub(super) async fn finish(self, supervisor: &mut Supervisor) -> Outcome<ControlPlane> {
        let Self { generation, name, paths, ports, node } = self;
        let client = client(&paths.write_kubeconfig("admin", Some("system:masters"))?).await?;
        wait_until_ready(supervisor, &client, &format!("kube-apiserver-{name}")).await?;
        start_controllers(supervisor, &paths, name, ports, node)?;
        start_scheduler(supervisor, &paths, name, ports)?;
        paths.write_kubeconfig(AUDITED_USER, Some("system:masters"))?;
        if let Some(generation) = generation {
            definitions::apply(&client, generation).await?;
        }
        Ok(ControlPlane { generation, folder: paths.folder, server: paths.server, client })
    }
}

impl ControlPlane {
    /// A client with every right, which the audit log does not record.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The address of the API server, inside the namespace.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// A kubeconfig file with every right, whose requests the audit log holds: for what is under test.
    pub fn kubeconfig(&self) -> PathBuf {
        kubeconfig_path(&self.folder, AUDITED_USER)
    }

    /// A kubeconfig file with every right, left out of the audit log.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        kubeconfig_path(&self.folder, "admin")
    }

    /// A kubeconfig file of a user of no group, who has only the rights that bindings give.
    pub fn kubeconfig_of(&self, authority: &Authority, user: &str) -> Outcome<PathBuf> {
        let paths = Paths { folder: self.folder.clone(), authority, server: self.server.clone() };
        paths.write_kubeconfig(user, None)
    }

    /// What the audited user asked of the API server so far.
    pub fn audit(&self) -> Audit {
        Audit::new(self.folder.join("audit.log"))
    }
}

/// A client from a kubeconfig file.
pub async fn client(kubeconfig: &Path) -> Outcome<Client> {
    let config = Kubeconfig::read_from(kubeconfig)?;
    Ok(Client::try_from(Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?)?)
}

fn kubeconfig_path(folder: &Path, user: &str) -> PathBuf {
    folder.join(format!("{user}.conf"))
}

struct Paths<'a> {
    folder: PathBuf,
    authority: &'a Authority,
    server: String,
}

impl Paths<'_> {
    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn write_identities(&self, node: Option<Ipv4Addr>) -> Outcome {
        let node = node.map(|address| address.to_string());
        let mut hosts = vec!["localhost", "kubernetes.default.svc", "127.0.0.1", FIRST_SERVICE];
        hosts.extend(node.as_deref());
        std::fs::write(self.folder.join("ca.crt"), self.authority.certificate())?;
        self.authority.server("kube-apiserver", &hosts)?.write(&self.folder, "apiserver")?;
        self.authority
            .client("apiserver", Some("system:masters"))?
            .write(&self.folder, "apiserver-kubelet")?;
        let accounts = KeyPair::generate()?;
        Identity { certificate: accounts.public_key_pem(), key: accounts.serialize_pem() }
            .write(&self.folder, "accounts")?;
        std::fs::write(self.folder.join("audit.json"), audit_policy().to_string())?;
        Ok(())
    }

    fn write_kubeconfig(&self, user: &str, group: Option<&str>) -> Outcome<PathBuf> {
        let identity = self.authority.client(user, group)?;
        let path = kubeconfig_path(&self.folder, user);
        std::fs::write(&path, self.authority.kubeconfig(&self.server, &identity).to_string())?;
        Ok(path)
    }
}

/// Whole requests and answers of the audited user, nothing of anyone else.
fn audit_policy() -> serde_json::Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "RequestResponse", "users": [AUDITED_USER]}, {"level": "None"}],
    })
}

fn start_etcd(supervisor: &mut Supervisor, folder: &Path, name: &str, ports: Ports) -> Outcome {
    let (client, peer) =
        (format!("http://127.0.0.1:{}", ports.etcd), format!("http://127.0.0.1:{}", ports.etcd_peer));
    supervisor.start(
        &format!("etcd-{name}"),
        programs::compiled("etcd")?,
        &[
            format!("--data-dir={}", folder.join("etcd").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            // Nothing of a test's etcd is worth keeping over a power cut.
            "--unsafe-no-fsync".to_owned(),
        ],
    )
}

fn start_server(
    supervisor: &mut Supervisor,
    plane: &Paths<'_>,
    name: &str,
    ports: Ports,
    node: Option<Ipv4Addr>,
) -> Outcome {
    supervisor.start(
        &format!("kube-apiserver-{name}"),
        programs::compiled("kube-apiserver")?,
        &[
            format!("--etcd-servers=http://127.0.0.1:{}", ports.etcd),
            "--bind-address=0.0.0.0".to_owned(),
            // Needed even where no pod asks for it; without a node nothing ever connects to it.
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
            // A request is answered only once its line is in the log.
            "--audit-log-mode=blocking".to_owned(),
        ],
    )
}

fn start_controllers(
    supervisor: &mut Supervisor,
    plane: &Paths<'_>,
    name: &str,
    ports: Ports,
    node: Option<Ipv4Addr>,
) -> Outcome {
    let kubeconfig = plane.write_kubeconfig("system:kube-controller-manager", None)?;
    supervisor.start(
        &format!("kube-controller-manager-{name}"),
        programs::compiled("kube-controller-manager")?,
        &[
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--cert-dir={}", plane.file("certificates")),
            format!("--service-account-private-key-file={}", plane.file("accounts.key")),
            format!("--root-ca-file={}", plane.file("ca.crt")),
            "--use-service-account-credentials".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", ports.controllers),
            "--leader-elect=false".to_owned(),
            // Where there is no node, the collector of lost pods would take after 40 s what a test put on one.
            match node {
                Some(_) => "--controllers=*".to_owned(),
                None => "--controllers=*,-pod-garbage-collector-controller".to_owned(),
            },
        ],
    )
}

fn start_scheduler(supervisor: &mut Supervisor, plane: &Paths<'_>, name: &str, ports: Ports) -> Outcome {
    let kubeconfig = plane.write_kubeconfig("system:kube-scheduler", None)?;
    supervisor.start(
        &format!("kube-scheduler-{name}"),
        programs::compiled("kube-scheduler")?,
        &[
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--cert-dir={}", plane.file("certificates")),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", ports.scheduler),
            "--leader-elect=false".to_owned(),
        ],
    )
}

async fn wait_until_ready(supervisor: &mut Supervisor, client: &Client, program: &str) -> Outcome {
    let limit = Instant::now() + Duration::from_secs(180);
    loop {
        let request = http::Request::get("/readyz").body(Vec::new())?;
        let said = match client.request_text(request).await {
            Ok(text) if text == "ok" => return Ok(()),
            Ok(text) => text,
            Err(error) => error.to_string(),
        };
        supervisor.check(program)?;
        if Instant::now() > limit {
            return Err(format!("{program} is not ready: {said}").into());
        }
        // A server that does not answer yet sends no event to wait for.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
