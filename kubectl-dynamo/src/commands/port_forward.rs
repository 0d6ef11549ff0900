//! `port-forward`: a local address that leads to a deployment's frontend.

use std::net::{IpAddr, Ipv4Addr};

use clap::Args;

use super::interruption::unless_left;
use super::{Context, frontend, print_data};
use crate::error::{Exit, Explain, Result};

/// Forward a local port to a deployment's frontend until Ctrl-C
#[derive(Args)]
#[command(after_help = LIMITS)]
pub(super) struct PortForwardArgs {
    /// Name of the deployment
    pub name: String,
    /// Ports as in kubectl; a free local one is taken when only the frontend's is given
    #[arg(value_name = "[LOCAL:]PORT", default_value = "8000", value_parser = ports)]
    pub ports: (u16, u16),
    /// Address to listen on
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub address: IpAddr,
}

const LIMITS: &str = "\
The forward stays when its pod is replaced or the API server restarts: connections that are open then break, new
ones wait up to 30 s for a pod that is ready. What cannot be passed on is TCP only in part:
  - that a client has no more to say (half-close): the pod does not see it, so that its whole answer arrives
  - that a pod has no more to say: the connection ends as a whole, up to half a second later
  - UDP, urgent data, and the client's own address: the pod sees connections from its loopback";

pub(super) async fn run(args: PortForwardArgs, context: &Context) -> Result<Exit> {
    let found = frontend::find(&args.name, context).await?;
    let (local, remote) = args.ports;
    let mut target = frontend::target(&args.name);
    target.port = remote;
    let mut tunnel = found.cluster.tunnel(target, (args.address, local).into()).await?;
    print_data(&format!("Forwarding from {} -> {remote}\n", tunnel.local))?;
    let forwarding = async {
        while let Some(error) = tunnel.failure().await {
            context.report.warn(error.code(), error.to_string(), error.hint());
        }
    };
    Ok(unless_left(forwarding).await.map_or(Exit::Interrupted, |()| Exit::Failed))
}

/// Reads `REMOTE`, `LOCAL:REMOTE` or `:REMOTE`; a local port of 0 is a free one.
fn ports(text: &str) -> std::result::Result<(u16, u16), String> {
    let port = |text: &str| text.parse::<u16>().map_err(|_| format!("`{text}` is not a port"));
    match text.split_once(':') {
        Some(("", remote)) => Ok((0, port(remote)?)),
        Some((local, remote)) => Ok((port(local)?, port(remote)?)),
        None => Ok((0, port(text)?)),
    }
}
