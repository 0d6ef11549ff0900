//! `gateway`: puts LiteLLM in front of deployments: its configuration, its entries, and a request through it.

mod access_flags;
mod apply_flags;
mod config;
mod list;
mod test;

use clap::Subcommand;

use crate::context::Context;
use kubectl_dynamo_core::error::{Exit, Result};

#[derive(Subcommand)]
pub(super) enum GatewayVerb {
    Config(Box<config::GatewayConfigArgs>),
    List(Box<list::GatewayListArgs>),
    Test(Box<test::GatewayTestArgs>),
}

impl GatewayVerb {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Config(_) => "gateway config",
            Self::List(_) => "gateway list",
            Self::Test(_) => "gateway test",
        }
    }
}

pub(super) async fn run(verb: GatewayVerb, context: &Context) -> Result<Exit> {
    match verb {
        GatewayVerb::Config(args) => config::run(*args, context).await,
        GatewayVerb::List(args) => list::run(*args, context).await,
        GatewayVerb::Test(args) => test::run(*args, context).await,
    }
}
