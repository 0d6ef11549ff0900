//! A hub that other tests start, for example in a network namespace. Prints one line when it is ready, and
//! answers commands on stdin.

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kubectl_dynamo_tests::hub::{
    ContentStorage, Hub, HubHost, HubRequest, HubSettings, Repository, RepositoryAccess, TlsIdentity,
};
use serde_json::json;

const USAGE: &str = "test-hub [--listen IP:PORT] [--cdn-listen IP:PORT] --repo ORG/NAME=FOLDER…
         [--gated ORG/NAME=TOKEN]… [--private ORG/NAME=TOKEN]… [--tls NAME,…] [--authority FILE]
         [--latency-ms N] [--connection-rate BYTES] [--path-prefix /PATH] [--content disk|memory]
Prints `ready URL CDN-URL` and serves until it is stopped. A line `statistics` on stdin prints the bytes sent and the
requests since the last line `forget`, as JSON.
";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let settings = settings(std::env::args().skip(1)).map_err(|reason| format!("{reason}\n{USAGE}"))?;
    let hub = Arc::new(Hub::start(settings).await?);
    writeln!(std::io::stdout().lock(), "ready {} {}", hub.url, hub.cdn_url)?;
    // A separate thread: it may wait for a line forever.
    let shared_hub = hub.clone();
    std::thread::spawn(move || serve_commands(&shared_hub));
    std::future::pending::<()>().await;
    Ok(())
}

fn serve_commands(hub: &Hub) {
    for line in std::io::stdin().lines().map_while(Result::ok) {
        match line.trim() {
            "statistics" => {
                // If this cannot be written, the caller has exited.
                let _ = writeln!(std::io::stdout().lock(), "{}", statistics(hub));
            }
            "forget" => hub.reset_statistics(),
            _ => {}
        }
    }
}

fn statistics(hub: &Hub) -> serde_json::Value {
    let requests = hub.requests();
    let count =
        |matches: &dyn Fn(&HubRequest) -> bool| requests.iter().filter(|request| matches(request)).count();
    json!({
        "bytes_sent": hub.bytes_sent(),
        "hub": count(&|request| request.host == HubHost::Hub),
        "cdn": count(&|request| request.host == HubHost::Cdn),
        "api": count(&|request| request.path.contains("/api/models/")),
        "resolve": count(&|request| request.path.contains("/resolve/")),
    })
}

fn settings(mut arguments: impl Iterator<Item = String>) -> Result<HubSettings, Box<dyn Error>> {
    let mut settings = HubSettings::default();
    let mut authority = None;
    let mut access = Vec::new();
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--listen" => settings.listen = value.parse::<SocketAddr>()?,
            "--cdn-listen" => settings.cdn_listen = value.parse::<SocketAddr>()?,
            "--repo" => {
                let (id, folder) = split_pair(&value)?;
                settings.repositories.push(Repository::from_folder(id, Path::new(folder))?);
            }
            "--gated" => {
                let (id, token) = split_pair(&value)?;
                access.push((id.to_owned(), RepositoryAccess::Gated { token: token.to_owned() }));
            }
            "--private" => {
                let (id, token) = split_pair(&value)?;
                access.push((id.to_owned(), RepositoryAccess::Private { token: token.to_owned() }));
            }
            "--tls" => {
                settings.identity = Some(TlsIdentity::generate(&value.split(',').collect::<Vec<_>>())?)
            }
            "--authority" => authority = Some(value),
            "--latency-ms" => settings.latency = Duration::from_millis(value.parse()?),
            "--connection-rate" => settings.connection_rate = Some(value.parse()?),
            "--path-prefix" => settings.path_prefix = value,
            "--content" if value == "disk" => settings.content = ContentStorage::Disk,
            "--content" if value == "memory" => settings.content = ContentStorage::Memory,
            _ => return Err(format!("unknown flag {flag} {value}").into()),
        }
    }
    for (id, access) in access {
        let repository = settings.repositories.iter_mut().find(|repository| repository.id == id);
        repository.ok_or_else(|| format!("{id} is not served"))?.access = access;
    }
    if let (Some(path), Some(identity)) = (authority, &settings.identity) {
        std::fs::write(path, &identity.authority)?;
    }
    if settings.repositories.is_empty() {
        return Err("nothing to serve".into());
    }
    Ok(settings)
}

fn split_pair(value: &str) -> Result<(&str, &str), String> {
    value.split_once('=').ok_or_else(|| format!("{value:?} is not NAME=VALUE"))
}
