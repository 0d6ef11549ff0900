//! The flags of `up` and `render` that describe the deployment, generated from the table of request fields.
//! This module only collects values. The `intent` module resolves them.

mod subset;

use clap::builder::{NonEmptyStringValueParser, PossibleValue, PossibleValuesParser};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::workflow::serving_input::ServingInput;
use kubectl_dynamo_core::intent::request::{Field, FieldType, fields, find_field};
pub(super) use subset::{FetchFlags, MemoryFlags};

/// Dynamo engines that the plugin does not support. They are parsed, so that the error can name the supported
/// ones.
const UNSUPPORTED_BACKENDS: [&str; 3] = ["sglang", "trtllm", "tensorrt-llm"];
const TARGET: &str = "target";
const FILE: &str = "file";
const SET: &str = "set";
const NO_KV_EVENTS: &str = "no-router-kv-events";

fn field(path: &str) -> &'static Field {
    find_field(path).expect("every path in this file is in the field table")
}

impl Args for ServingInput {
    fn augment_args(command: Command) -> Command {
        let target = Arg::new(TARGET)
            .value_name("MODEL|NAME")
            .help("Model to serve (hub ID org/name[@revision], or path), or deployment to update");
        let command = command.arg(target).next_help_heading(None::<&str>);
        let command = fields()
            .filter(|field| has_flag(field))
            .fold(command, |command, field| command.arg(to_arg(field)));
        command
            .arg(
                Arg::new(NO_KV_EVENTS)
                    .long(NO_KV_EVENTS)
                    .action(ArgAction::SetTrue)
                    .overrides_with("router.kvEvents")
                    .help_heading("Routing")
                    .help("Predict cached blocks from routed requests instead of using worker events")
                    .hide_short_help(true),
            )
            .arg(
                Arg::new(FILE)
                    .short('f')
                    .long("filename")
                    .value_name("FILE")
                    .help_heading("Flow")
                    .help("Request file or DynamoGraphDeployment manifest; `-` reads stdin"),
            )
            .arg(
                Arg::new(SET)
                    .long("set")
                    .value_name("PATH=VALUE")
                    .action(ArgAction::Append)
                    .help_heading("Flow")
                    .help("Set a request field by its path, such as router.mode=kv (repeatable)"),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The size of the disk tier does not have its own flag: it is part of `--kv-offload`.
fn has_flag(field: &Field) -> bool {
    field.path != "kvOffload.disk"
}

fn to_arg(field: &'static Field) -> Arg {
    let arg = Arg::new(field.path).help(field.about).help_heading(field.heading.title());
    let arg = match (field.flag, field.long_flag) {
        ("--", _) => arg.last(true).num_args(0..).value_name(field.value_name).help_heading(None::<&str>),
        (short, Some(long)) => {
            arg.long(long.trim_start_matches('-')).visible_alias(short.trim_start_matches('-'))
        }
        (flag, None) => arg.long(flag.trim_start_matches('-')),
    };
    let arg = match field.path {
        "model" => arg.conflicts_with(TARGET),
        _ => arg,
    };
    match field.kind {
        FieldType::Bool => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("BOOL")
            .value_parser(["true", "false"])
            .hide_possible_values(true),
        FieldType::Enum(known) => {
            let others: &[&'static str] = if field.path == "backend" { &UNSUPPORTED_BACKENDS } else { &[] };
            let others = others.iter().map(|other| PossibleValue::new(*other).hide(true));
            arg.value_name(field.value_name).value_parser(PossibleValuesParser::new(
                known().into_iter().map(PossibleValue::new).chain(others),
            ))
        }
        FieldType::List | FieldType::Map => arg.value_name(field.value_name).action(ArgAction::Append),
        FieldType::Args if field.flag != "--" => {
            arg.value_name(field.value_name).action(ArgAction::Append).allow_hyphen_values(true)
        }
        FieldType::Args => arg,
        FieldType::String => arg.value_name(field.value_name).value_parser(NonEmptyStringValueParser::new()),
        FieldType::Quantity | FieldType::Integer | FieldType::Number => arg.value_name(field.value_name),
    }
}

fn string_values(matches: &ArgMatches, id: &str) -> Vec<String> {
    matches.get_many::<String>(id).into_iter().flatten().cloned().collect()
}

/// Returns the typed values of the fields that a command has.
fn typed_values(matches: &ArgMatches, has: impl Fn(&Field) -> bool) -> Vec<(&'static Field, Vec<String>)> {
    fields()
        .filter(|field| has(field))
        .map(|field| (field, string_values(matches, field.path)))
        .filter(|(_, texts)| !texts.is_empty())
        .collect()
}

impl FromArgMatches for ServingInput {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        let mut values = typed_values(matches, has_flag);
        if matches.get_flag(NO_KV_EVENTS) {
            values.push((field("router.kvEvents"), vec!["false".into()]));
        }
        Ok(Self {
            target: matches.get_one::<String>(TARGET).cloned(),
            file: matches.get_one::<String>(FILE).cloned(),
            flag_values: values,
            assignments: string_values(matches, SET),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> std::result::Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
