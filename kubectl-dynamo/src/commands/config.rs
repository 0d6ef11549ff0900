//! `config`: settings that hold for every deployment of a person or a project, and the schema of requests.

mod error;
mod kit;
pub(super) mod settings;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use toml_edit::{DocumentMut, Item};

use super::plan_view::{PlanFormat, shown};
use super::table::table;
use super::{Context, print_data, words};
use crate::error::{Exit, Result};
use crate::intent::request::{
    API_VERSION, Field, Found, Kind, Layer, Merged, NAMESPACE, RequestError, Source, find, json_schema,
    nearest,
};
use error::ConfigError;

/// Show and change settings, which every deployment falls back to
///
/// Settings are fields of a request, and the namespace. A project's file (.kubectl-dynamo.toml in the working folder
/// or above) is weaker than the user's own, and both are weaker than KUBECTL_DYNAMO_… variables, a live deployment,
/// files and flags.
#[derive(Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Print a setting's value; exit code 1 where there is none
    Get { field: String },
    /// Change a setting
    Set {
        field: String,
        value: String,
        /// In the project's file, which is made in the working folder if there is none
        #[arg(long)]
        project: bool,
    },
    /// Remove a setting
    Unset {
        field: String,
        /// From the project's file
        #[arg(long)]
        project: bool,
    },
    /// Print every setting and where it comes from
    List {
        /// Output format
        #[arg(short, long, value_parser = words::<PlanFormat>(), default_value = "table")]
        output: PlanFormat,
    },
    /// Print the JSON schema of requests, or a table of their fields
    Schema {
        /// Output format
        #[arg(short, long, value_parser = words::<PlanFormat>(), default_value = "json")]
        output: PlanFormat,
    },
    /// Print the path of the user's config file
    Path,
    /// Take over the settings of the starter kit's config.json
    ImportKit {
        file: PathBuf,
        /// Which of the file's platforms, where it has several
        #[arg(long, value_name = "k8s|eks")]
        platform: Option<String>,
    },
}

pub(super) fn run(args: &ConfigArgs, context: &Context) -> Result<Exit> {
    match &args.action {
        Action::Get { field } => get(field),
        Action::Set { field, value, project } => {
            let (path, source) = place(*project)?;
            let layer = said(field, value, source)?;
            write(&path, |document| put_all(document, &layer))?;
            context.report.detail(format!("written: {}", path.display()));
            Ok(Exit::Ok)
        }
        Action::Unset { field, project } => {
            let (path, _) = place(*project)?;
            let (field, key) = known(field)?;
            write(&path, |document| remove(document, field, key.as_deref()))?;
            context.report.detail(format!("written: {}", path.display()));
            Ok(Exit::Ok)
        }
        Action::List { output } => list(*output),
        Action::Schema { output } => schema(*output),
        Action::Path => {
            print_data(&format!("{}\n", settings::user_path()?.display()))?;
            Ok(Exit::Ok)
        }
        Action::ImportKit { file, platform } => kit::import(file, platform.as_deref(), context),
    }
}

/// A field by its path, which may go on to a key of a map, as in `nodeSelector.pool`.
fn known(name: &str) -> Result<(&'static Field, Option<String>)> {
    let of_map = || {
        let dots = name.match_indices('.');
        dots.filter_map(|(dot, _)| Some((find(&name[..dot])?, Some(name[dot + 1..].replace("\\.", ".")))))
            .find(|(field, _)| field.kind == Kind::Map)
    };
    let found = find(name).map(|field| (field, None)).or_else(of_map);
    Ok(found.ok_or_else(|| RequestError::UnknownField {
        path: name.into(),
        place: String::new(),
        nearest: nearest(name),
    })?)
}

/// Who says what a file of this path says.
type SourceOf = fn(String) -> Source;

/// The file that is changed.
fn place(project: bool) -> Result<(PathBuf, SourceOf)> {
    if !project {
        return Ok((settings::user_path()?, Source::UserConfig));
    }
    let path = settings::project_path().unwrap_or_else(|| PathBuf::from(settings::PROJECT_FILE));
    Ok((path, Source::ProjectFile))
}

/// A value as its file would say it.
fn said(name: &str, value: &str, source: SourceOf) -> Result<Layer> {
    let mut layer = Layer::of(source("the config file".into()));
    match known(name)? {
        (field, None) => layer.say(field, value)?,
        (field, Some(key)) => layer.put(field, &json!({ key: value }))?,
    }
    Ok(layer)
}

/// Changes a file in place: comments and order stay. What comes out must be readable before it is written.
fn write(path: &Path, change: impl FnOnce(&mut DocumentMut)) -> Result<()> {
    let mut document = settings::read(path)?;
    change(&mut document);
    settings::layer_of(&document, path, Source::UserConfig)?;
    let unwritable = |source| ConfigError::Unwritable { path: path.into(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(unwritable)?;
    }
    // Another run reads the old file or the new one, never half of one.
    let beside = path.with_extension("toml.new");
    std::fs::write(&beside, document.to_string())
        .and_then(|()| std::fs::rename(&beside, path))
        .map_err(unwritable)?;
    Ok(())
}

/// Writes what a layer says: one key of a map beside the others, and anything else whole.
fn put_all(document: &mut DocumentMut, layer: &Layer) {
    for leaf in &layer.leaves {
        let mut parts: Vec<&str> = leaf.field.path.split('.').collect();
        let value = match (leaf.field.kind, &leaf.key) {
            (Kind::Map, Some(key)) => {
                parts.push(key);
                leaf.value.clone()
            }
            _ => value_in(leaf.field, layer),
        };
        put(document, &parts, &value);
    }
}

fn put(document: &mut DocumentMut, parts: &[&str], value: &Value) {
    let (last, parents) = parts.split_last().expect("a path has a part");
    let mut place: &mut Item = document.as_item_mut();
    for part in parents {
        place = place.as_table_like_mut().expect("fields of fields are tables").entry(part).or_insert_with(
            || {
                let mut table = toml_edit::Table::new();
                table.set_implicit(true);
                Item::Table(table)
            },
        );
        if !place.is_table_like() {
            *place = Item::Table(toml_edit::Table::new());
        }
    }
    place[last] = match place.get(last).and_then(Item::as_value) {
        // What stands behind the old value, such as a comment, stays behind the new one.
        Some(old) => {
            let decor = old.decor().clone();
            let mut new = toml_of(value);
            *new.decor_mut() = decor;
            Item::Value(new)
        }
        None => toml_edit::value(toml_of(value)),
    };
}

/// The whole value that a layer says of a field.
fn value_in(field: &Field, layer: &Layer) -> Value {
    let leaves = layer.leaves.iter().filter(|leaf| leaf.field == field);
    match field.kind {
        Kind::List => leaves.map(|leaf| leaf.value.clone()).collect(),
        Kind::Arguments => {
            leaves.flat_map(|leaf| leaf.value.as_array().cloned().unwrap_or_default()).collect()
        }
        _ => leaves.map(|leaf| leaf.value.clone()).next().unwrap_or_default(),
    }
}

fn toml_of(value: &Value) -> toml_edit::Value {
    match value {
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().unwrap_or_default().into(),
        },
        Value::Array(list) => list.iter().map(toml_of).collect(),
        Value::Object(pairs) => {
            let table: toml_edit::InlineTable =
                pairs.iter().map(|(key, value)| (key.as_str(), toml_of(value))).collect();
            table.into()
        }
        Value::String(text) => text.as_str().into(),
        Value::Null => "".into(),
    }
}

fn remove(document: &mut DocumentMut, field: &Field, key: Option<&str>) {
    let parts: Vec<&str> = field.path.split('.').chain(key).collect();
    let (last, parents) = parts.split_last().expect("a path has a part");
    let parent = parents.iter().try_fold(document.as_item_mut(), |item, part| item.get_mut(part));
    if let Some(table) = parent.and_then(Item::as_table_like_mut) {
        table.remove(last);
    }
}

fn get(name: &str) -> Result<Exit> {
    let (field, key) = known(name)?;
    let merged = Merged::of(settings::layers()?);
    let found = merged.all(field.path).filter(|found| key.is_none() || found.leaf.key == key);
    let values: Vec<String> = match key {
        Some(_) => found.map(|found| shown(&found.leaf.value)).collect(),
        None => found.map(value_of).collect(),
    };
    if values.is_empty() {
        return Ok(Exit::Failed);
    }
    print_data(&format!("{}\n", values.join("\n")))?;
    Ok(Exit::Ok)
}

fn value_of(found: &Found) -> String {
    match &found.leaf.key {
        Some(key) if found.leaf.field.kind == Kind::Map => format!("{key}={}", shown(&found.leaf.value)),
        _ => shown(&found.leaf.value),
    }
}

fn list(output: PlanFormat) -> Result<Exit> {
    let merged = Merged::of(settings::layers()?);
    let place = |source: &Source| match source {
        Source::UserConfig(path) | Source::ProjectFile(path) => format!("{source} {path}"),
        other => other.to_string(),
    };
    print_data(&match output {
        PlanFormat::Table => {
            let row = |found: &Found| vec![found.leaf.path(), shown(&found.leaf.value), place(&found.source)];
            table(&["FIELD", "VALUE", "SOURCE"], merged.iter().map(row).collect())
        }
        PlanFormat::Json => {
            let one = |found: &Found| json!({ "field": found.leaf.path(), "value": found.leaf.value, "source": place(&found.source) });
            let settings: Vec<Value> = merged.iter().map(one).collect();
            format!("{:#}\n", json!({ "apiVersion": API_VERSION, "kind": "Settings", "settings": settings }))
        }
    })?;
    Ok(Exit::Ok)
}

fn schema(output: PlanFormat) -> Result<Exit> {
    print_data(&match output {
        PlanFormat::Json => format!("{:#}\n", json_schema()),
        PlanFormat::Table => {
            let flag = |field: &Field| match field.path {
                _ if *field == NAMESPACE => "-n, --namespace".to_owned(),
                "engineArgs" => "-- …".into(),
                "kvOffload.disk" => "--kv-offload".into(),
                _ => field.flag.into(),
            };
            let rows = settings::all_fields()
                .map(|field| vec![field.path.into(), flag(field), takes(field), field.variable()]);
            table(&["FIELD", "FLAG", "TAKES", "VARIABLE"], rows.collect())
        }
    })?;
    Ok(Exit::Ok)
}

fn takes(field: &Field) -> String {
    match field.kind {
        Kind::Text => "text".into(),
        Kind::Quantity => "quantity".into(),
        Kind::Count => "whole number".into(),
        Kind::Number => "number".into(),
        Kind::Switch => "true|false".into(),
        Kind::Words(known) => known().join("|"),
        Kind::List => "list of texts".into(),
        Kind::Arguments => "list of arguments".into(),
        Kind::Map => "texts by key".into(),
    }
}
