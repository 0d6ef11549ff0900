//! `port-forward`: forwards a local port to the frontend of a deployment until Ctrl-C. The tunnel itself is
//! in the cluster crate.

use std::net::{IpAddr, Ipv4Addr};

use clap::Args;

use crate::context::Context;
use crate::output::print_data;
use crate::signals::run_until_signal;
use crate::workflow::lookup;
use kubectl_dynamo_core::error::{Exit, Explain, Result};

#[derive(Args)]
#[command(after_help = LIMITATIONS)]
pub(super) struct PortForwardArgs {
    /// Name of the deployment
    pub name: String,
    /// Local port and frontend port (default local port: a free one)
    #[arg(value_name = "[LOCAL:]PORT", default_value = "8000", value_parser = parse_ports)]
    pub ports: (u16, u16),
    /// Local IP address to listen on
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub address: IpAddr,
}

const LIMITATIONS: &str = "\
The port-forward survives pod replacement and API server restarts. Open connections break, and new
ones wait up to 30 s for a ready pod. Limitations:
  - a half-close by the client is not forwarded, so the pod can finish its response
  - a half-close by the pod closes the whole connection, up to 0.5 s later
  - UDP, urgent data, and client addresses are not forwarded; the pod sees loopback connections";

pub(super) async fn run(args: PortForwardArgs, context: &Context) -> Result<Exit> {
    let found = lookup::get_deployment(&args.name, context).await?;
    let (local, remote) = args.ports;
    let mut target = lookup::frontend_target(&args.name);
    target.port = remote;
    let mut tunnel = found.cluster.port_forward(target, (args.address, local).into()).await?;
    print_data(&format!("Forwarding from {} -> {remote}\n", tunnel.local_address))?;
    let forwarding = async {
        while let Some(error) = tunnel.next_failure().await {
            context.report.warn(error.code(), error.to_string(), error.hint());
        }
    };
    Ok(run_until_signal(forwarding).await.map_or(Exit::Interrupted, |()| Exit::Failed))
}

/// A port that is not a number from 0 to 65535.
#[derive(Debug, thiserror::Error)]
#[error("\"{given}\" is not a port number")]
struct PortError {
    given: String,
}

/// Parses `REMOTE`, `LOCAL:REMOTE`, or `:REMOTE`. A local port of 0 selects a free one.
fn parse_ports(text: &str) -> std::result::Result<(u16, u16), PortError> {
    let port = |text: &str| text.parse::<u16>().map_err(|_| PortError { given: text.into() });
    match text.split_once(':') {
        Some(("", remote)) => Ok((0, port(remote)?)),
        Some((local, remote)) => Ok((port(local)?, port(remote)?)),
        None => Ok((0, port(text)?)),
    }
}
