//! `config`: reads and changes the settings in the user config and the project config, and prints the schema
//! of requests. It must not access a cluster.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::output_flag::output_parser;
use crate::context::Context;
use crate::output::{PrintFormat, TableFormat, TextFormat, print_data};
use crate::render::settings as screen;
use crate::settings::edit::{self, ConfigFile};
use crate::settings::{self, starter_kit};
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::intent::request::{MergedSettings, ResolvedSetting};

#[derive(Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    action: ConfigAction,
}

#[derive(Subcommand)]
enum ConfigAction {
    /// Print the value of a setting; exits 1 if it is not set
    Get {
        /// Path or flag of the field, such as router.mode or nodeSelector.pool
        field: String,
        /// Output format
        #[arg(short, long, value_parser = output_parser::<TextFormat>(), default_value = "text")]
        output: PrintFormat<TextFormat>,
    },
    /// Change a setting
    Set {
        /// Path or flag of the field, such as router.mode or nodeSelector.pool
        field: String,
        /// Value of the field
        value: String,
        /// Change the project config, which is created in the working folder if it does not exist
        #[arg(long)]
        project: bool,
    },
    /// Remove a setting
    Unset {
        /// Path or flag of the field, such as router.mode or nodeSelector.pool
        field: String,
        /// Change the project config
        #[arg(long)]
        project: bool,
    },
    /// Print every setting and its source
    List {
        /// Output format
        #[arg(short, long, value_parser = output_parser::<TableFormat>(), default_value = "table")]
        output: PrintFormat<TableFormat>,
    },
    /// Print the JSON schema of requests, or a table of their fields
    Schema {
        /// Output format
        #[arg(short, long, value_parser = output_parser::<TableFormat>(), default_value = "json")]
        output: PrintFormat<TableFormat>,
    },
    /// Print the path of the user config
    Path,
    /// Import the settings of the starter kit's config.json
    ImportKit {
        /// Path of the config.json
        file: PathBuf,
        /// Platform to import if the file has several
        #[arg(long, value_name = "k8s|eks")]
        platform: Option<String>,
    },
}

pub(super) fn run(args: &ConfigArgs, context: &Context) -> Result<Exit> {
    let file = |project: &bool| if *project { ConfigFile::Project } else { ConfigFile::User };
    match &args.action {
        ConfigAction::Get { field, output } => return get(field, output),
        ConfigAction::Set { field, value, project } => {
            let path = edit::set(field, value, file(project))?;
            context.report.info(format!("written: {}", path.display()));
        }
        ConfigAction::Unset { field, project } => {
            let path = edit::unset(field, file(project))?;
            context.report.info(format!("written: {}", path.display()));
        }
        ConfigAction::List { output } => {
            print_data(&screen::list(&MergedSettings::from_layers(settings::layers()?), output)?)?;
        }
        ConfigAction::Schema { output } => print_data(&screen::schema(output)?)?,
        ConfigAction::Path => print_data(&format!("{}\n", settings::user_path()?.display()))?,
        ConfigAction::ImportKit { file, platform } => import_kit(file, platform.as_deref(), context)?,
    }
    Ok(Exit::Ok)
}

fn get(name: &str, output: &PrintFormat<TextFormat>) -> Result<Exit> {
    let (field, key) = edit::find_setting(name)?;
    let merged = MergedSettings::from_layers(settings::layers()?);
    let is_requested = |found: &&ResolvedSetting| key.is_none() || found.setting.key == key;
    let found: Vec<&ResolvedSetting> = merged.all(field.path).filter(is_requested).collect();
    let line = |found: &&ResolvedSetting| screen::value(found, key.as_deref()) + "\n";
    if found.is_empty() {
        return Ok(Exit::Failed);
    }
    print_data(&output.text(
        || screen::document(found.iter().copied()),
        |TextFormat::Text| found.iter().map(line).collect(),
    )?)?;
    Ok(Exit::Ok)
}

fn import_kit(file: &Path, platform: Option<&str>, context: &Context) -> Result<()> {
    let imported = starter_kit::import(file, platform)?;
    for (name, value) in &imported.settings {
        context.report.info(format!("{name} = {value}"));
    }
    for reason in &imported.skipped {
        context.report.info(format!("skipped: {reason}"));
    }
    context.report.info(format!("written: {}", imported.path.display()));
    Ok(())
}
