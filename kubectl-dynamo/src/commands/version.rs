//! `version`: prints the version of the plugin and the supported Dynamo releases. It does not contact a
//! cluster.

use clap::Args;
use serde_json::json;

use super::output_flag::output_parser;
use crate::output::{PrintFormat, TextFormat, print_data};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::plan::model_cache::{FETCHER_IMAGE, IS_RELEASED};
use kubectl_dynamo_core::release::{CATALOG, DEFAULT_RELEASE};

#[derive(Args)]
pub(super) struct VersionArgs {
    /// Output format
    #[arg(short, long, value_parser = output_parser::<TextFormat>(), default_value = "text")]
    output: PrintFormat<TextFormat>,
}

pub(super) fn run(args: &VersionArgs) -> Result<Exit> {
    let version = env!("CARGO_PKG_VERSION");
    let releases: Vec<_> = CATALOG.iter().map(|release| release.version).collect();
    let document = || {
        json!({
            "apiVersion": "kubectl-dynamo.dev/v1", "kind": "Version", "version": version,
            "dynamoReleases": releases, "defaultRelease": DEFAULT_RELEASE,
            "fetcherImage": FETCHER_IMAGE, "isReleased": IS_RELEASED,
        })
    };
    let unreleased = if IS_RELEASED {
        String::new()
    } else {
        format!(" (unreleased build: the image may not exist, see {})", MessageCode::UnreleasedBuild)
    };
    print_data(&args.output.text(document, |TextFormat::Text| {
        format!(
            "kubectl dynamo {version}\nDynamo {}, default {DEFAULT_RELEASE}\nFetcher image {FETCHER_IMAGE}{unreleased}\n",
            releases.join(" ")
        )
    })?)?;
    Ok(Exit::Ok)
}
