//! A hub to be started by other tests, for example inside a network namespace. Prints one line when it is ready, and
//! answers what it is asked on its input.

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kubectl_dynamo_tests::hub::{Access, ContentPlace, Host, Hub, Identity, Repository, Request, Settings};
use serde_json::json;

const USAGE: &str = "test-hub [--listen IP:PORT] [--cdn-listen IP:PORT] --repo ORG/NAME=FOLDER…
         [--gated ORG/NAME=TOKEN]… [--private ORG/NAME=TOKEN]… [--tls NAME,…] [--authority FILE]
         [--latency-ms N] [--connection-rate BYTES] [--path-prefix /PATH] [--content disk|memory]
Prints `ready URL CDN-URL` and serves until it is ended. A line `statistics` on its input prints what it sent and was
asked since the last line `forget`, as JSON.
";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let settings = settings(std::env::args().skip(1)).map_err(|reason| format!("{reason}\n{USAGE}"))?;
    let hub = Arc::new(Hub::start(settings).await?);
    writeln!(std::io::stdout().lock(), "ready {} {}", hub.url, hub.cdn_url)?;
    // A thread of its own: it may wait for a line for ever.
    let asked = hub.clone();
    std::thread::spawn(move || converse(&asked));
    std::future::pending::<()>().await;
    Ok(())
}

fn converse(hub: &Hub) {
    for line in std::io::stdin().lines().map_while(Result::ok) {
        match line.trim() {
            "statistics" => {
                // Whoever asked is gone if this cannot be written.
                let _ = writeln!(std::io::stdout().lock(), "{}", statistics(hub));
            }
            "forget" => hub.forget_requests(),
            _ => {}
        }
    }
}

fn statistics(hub: &Hub) -> serde_json::Value {
    let requests = hub.requests();
    let count = |wanted: &dyn Fn(&Request) -> bool| requests.iter().filter(|request| wanted(request)).count();
    json!({
        "bytes_sent": hub.bytes_sent(),
        "hub": count(&|request| request.host == Host::Hub),
        "cdn": count(&|request| request.host == Host::Cdn),
        "api": count(&|request| request.path.contains("/api/models/")),
        "resolve": count(&|request| request.path.contains("/resolve/")),
    })
}

fn settings(mut arguments: impl Iterator<Item = String>) -> Result<Settings, Box<dyn Error>> {
    let mut settings = Settings::default();
    let mut authority = None;
    let mut access = Vec::new();
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--listen" => settings.listen = value.parse::<SocketAddr>()?,
            "--cdn-listen" => settings.cdn_listen = value.parse::<SocketAddr>()?,
            "--repo" => {
                let (id, folder) = pair(&value)?;
                settings.repositories.push(Repository::from_folder(id, Path::new(folder))?);
            }
            "--gated" => {
                let (id, token) = pair(&value)?;
                access.push((id.to_owned(), Access::Gated { token: token.to_owned() }));
            }
            "--private" => {
                let (id, token) = pair(&value)?;
                access.push((id.to_owned(), Access::Private { token: token.to_owned() }));
            }
            "--tls" => settings.identity = Some(Identity::generate(&value.split(',').collect::<Vec<_>>())?),
            "--authority" => authority = Some(value),
            "--latency-ms" => settings.latency = Duration::from_millis(value.parse()?),
            "--connection-rate" => settings.connection_rate = Some(value.parse()?),
            "--path-prefix" => settings.path_prefix = value,
            "--content" if value == "disk" => settings.content = ContentPlace::Disk,
            "--content" if value == "memory" => settings.content = ContentPlace::Memory,
            _ => return Err(format!("{flag} {value} is no flag").into()),
        }
    }
    for (id, access) in access {
        let repository = settings.repositories.iter_mut().find(|repository| repository.id == id);
        repository.ok_or_else(|| format!("{id} is not served"))?.access = access;
    }
    if let (Some(place), Some(identity)) = (authority, &settings.identity) {
        std::fs::write(place, &identity.authority)?;
    }
    if settings.repositories.is_empty() {
        return Err("nothing to serve".into());
    }
    Ok(settings)
}

fn pair(value: &str) -> Result<(&str, &str), String> {
    value.split_once('=').ok_or_else(|| format!("{value:?} is not NAME=VALUE"))
}
