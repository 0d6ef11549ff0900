//! `version`: prints the version of the plugin and the supported Dynamo releases. It does not contact a
//! cluster.

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::output::print_data;
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::release::{CATALOG, DEFAULT_RELEASE};

/// Print the version of the plugin and the supported Dynamo releases
#[derive(Args)]
pub(super) struct VersionArgs {
    /// Output format
    #[arg(short, long, default_value = "text")]
    output: VersionFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum VersionFormat {
    Text,
    Json,
}

pub(super) fn run(args: &VersionArgs) -> Result<Exit> {
    let version = env!("CARGO_PKG_VERSION");
    let releases: Vec<_> = CATALOG.iter().map(|release| release.version).collect();
    print_data(&match args.output {
        VersionFormat::Text => {
            format!("kubectl dynamo {version}\nDynamo {}, default {DEFAULT_RELEASE}\n", releases.join(" "))
        }
        VersionFormat::Json => {
            let document = json!({
                "apiVersion": "kubectl-dynamo.dev/v1", "kind": "Version", "version": version,
                "dynamoReleases": releases, "defaultRelease": DEFAULT_RELEASE,
            });
            format!("{document:#}\n")
        }
    })?;
    Ok(Exit::Ok)
}
