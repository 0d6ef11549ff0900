//! A hub to be started by other tests, for example inside a network namespace. Prints one line when it is ready.

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use kubectl_dynamo_tests::hub::{Access, Hub, Identity, Repository, Settings};

const USAGE: &str = "test-hub [--listen IP:PORT] [--cdn-listen IP:PORT] --repo ORG/NAME=FOLDER…
         [--gated ORG/NAME=TOKEN]… [--private ORG/NAME=TOKEN]… [--tls NAME,…] [--authority FILE]
         [--latency-ms N] [--connection-rate BYTES]
Prints `ready URL CDN-URL` and serves until it is ended.
";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let settings = settings(std::env::args().skip(1)).map_err(|reason| format!("{reason}\n{USAGE}"))?;
    let hub = Hub::start(settings).await?;
    writeln!(std::io::stdout().lock(), "ready {} {}", hub.url, hub.cdn_url)?;
    std::future::pending::<()>().await;
    Ok(())
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
            _ => return Err(format!("{flag} is no flag").into()),
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
