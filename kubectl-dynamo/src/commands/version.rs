//! `version`: which program this is, and which Dynamo releases it knows.

use clap::Args;
use serde_json::json;

use super::{print_data, words};
use crate::error::{Exit, Result};
use crate::intent::Word;
use crate::release::{CATALOG, DEFAULT};

/// Show the version of this plugin and the Dynamo releases it knows
#[derive(Args)]
pub(super) struct VersionArgs {
    /// Output format
    #[arg(short, long, value_parser = words::<Format>(), default_value = "text")]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

impl Word for Format {
    const ALL: &'static [Self] = &[Self::Text, Self::Json];

    fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

pub(super) fn run(args: &VersionArgs) -> Result<Exit> {
    let version = env!("CARGO_PKG_VERSION");
    let releases: Vec<_> = CATALOG.iter().map(|release| release.version).collect();
    print_data(&match args.output {
        Format::Text => {
            format!("kubectl dynamo {version}\nDynamo {}, default {DEFAULT}\n", releases.join(" "))
        }
        Format::Json => {
            let document = json!({
                "apiVersion": "kubectl-dynamo.dev/v1", "kind": "Version", "version": version,
                "dynamoReleases": releases, "defaultRelease": DEFAULT,
            });
            format!("{document:#}\n")
        }
    })?;
    Ok(Exit::Ok)
}
