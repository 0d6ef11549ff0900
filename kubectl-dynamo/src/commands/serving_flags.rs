//! The flags of `up` and `render` that say what to serve, made from the table of fields. They are only collected
//! here; what they mean together is worked out in `intent`.

mod part;

use clap::builder::{NonEmptyStringValueParser, PossibleValue, PossibleValuesParser};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::error::Result;
use crate::intent::request::{Field, Kind, Layer, RequestError, Source, fields, find};
pub(super) use part::{FetchFlags, MemoryFlags};

/// Engines of Dynamo that are known by name, to be refused with the names of those that work.
const OTHER_BACKENDS: [&str; 3] = ["sglang", "trtllm", "tensorrt-llm"];
const TARGET: &str = "target";
const FILE: &str = "file";
const SET: &str = "set";
const NO_KV_EVENTS: &str = "no-router-kv-events";

/// What to serve and how, as it was typed.
#[derive(Debug, Default)]
pub(super) struct ServingFlags {
    /// A model, or the name of a deployment.
    pub target: Option<String>,
    /// The file of `-f`; `-` is standard input.
    pub file: Option<String>,
    typed: Vec<(&'static Field, Vec<String>)>,
    set: Vec<String>,
}

impl ServingFlags {
    /// Adds a flag as if it had been typed.
    pub(super) fn add(&mut self, field: &'static Field, texts: Vec<String>) {
        self.typed.push((field, texts));
    }

    /// What the flags say, and what `--set` says.
    ///
    /// # Errors
    /// Values and paths that cannot be read.
    pub(super) fn layers(&self) -> Result<[Layer; 2]> {
        let mut flags = Layer::of(Source::Flag);
        for (field, texts) in &self.typed {
            for text in texts {
                match field.path {
                    "kvOffload.cpu" => say_offload(&mut flags, text)?,
                    "engineArgs" | "prefill.args" | "decode.args" => {}
                    _ => flags.say_one(field, text)?,
                }
            }
            if field.kind == Kind::Arguments {
                flags.put(field, &texts.clone().into())?;
            }
        }
        let mut set = Layer::of(Source::Set);
        for assignment in &self.set {
            set.set(assignment)?;
        }
        Ok([flags, set])
    }
}

/// Reads `cpu=QUANTITY[,disk=QUANTITY]`, or `none`.
fn say_offload(layer: &mut Layer, text: &str) -> std::result::Result<(), RequestError> {
    let refuse = |reason: &str| RequestError::Value {
        said: "--kv-offload".into(),
        reason: format!("`{text}`: {reason}"),
        example: "--kv-offload cpu=20Gi,disk=200Gi".into(),
    };
    let (cpu, disk) = (field("kvOffload.cpu"), field("kvOffload.disk"));
    if text == "none" {
        return layer.say(cpu, text);
    }
    if !text.split(',').any(|tier| tier.starts_with("cpu=")) {
        return Err(refuse("a CPU tier comes first, as cpu=QUANTITY"));
    }
    for tier in text.split(',') {
        match tier.split_once('=') {
            Some(("cpu", size)) => layer.say(cpu, size)?,
            Some(("disk", size)) => layer.say(disk, size)?,
            _ => return Err(refuse("there are the tiers cpu and disk, each with =QUANTITY")),
        }
    }
    Ok(())
}

fn field(path: &str) -> &'static Field {
    find(path).expect("the table has every path that is written here")
}

impl Args for ServingFlags {
    fn augment_args(command: Command) -> Command {
        let target = Arg::new(TARGET).value_name("MODEL|NAME").help(
            "Model to serve: a hub id (org/name, optionally @revision) or a path; or a deployment to change",
        );
        let command = command.arg(target).next_help_heading(None::<&str>);
        let command = fields()
            .filter(|field| has_flag(field))
            .fold(command, |command, field| command.arg(argument(field)));
        command
            .arg(
                Arg::new(NO_KV_EVENTS)
                    .long(NO_KV_EVENTS)
                    .action(ArgAction::SetTrue)
                    .overrides_with("router.kvEvents")
                    .help_heading("Routing")
                    .help("The KV router predicts what workers hold, from what it sent them")
                    .hide_short_help(true),
            )
            .arg(
                Arg::new(FILE).short('f').long("filename").value_name("FILE").help_heading("Flow").help(
                    "Read the request from a file, or any DynamoGraphDeployment as it is; `-` is stdin",
                ),
            )
            .arg(
                Arg::new(SET)
                    .long("set")
                    .value_name("PATH=VALUE")
                    .action(ArgAction::Append)
                    .help_heading("Flow")
                    .help("Set a field of the request by its path, as in router.mode=kv; may be given again"),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The size of the disk tier is said together with that of the CPU tier.
fn has_flag(field: &Field) -> bool {
    field.path != "kvOffload.disk"
}

fn argument(field: &'static Field) -> Arg {
    let arg = Arg::new(field.path).help(field.about).help_heading(field.heading.words());
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
        Kind::Switch => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("BOOL")
            .value_parser(["true", "false"])
            .hide_possible_values(true),
        Kind::Words(known) => {
            let others: &[&'static str] = if field.path == "backend" { &OTHER_BACKENDS } else { &[] };
            let others = others.iter().map(|other| PossibleValue::new(*other).hide(true));
            arg.value_parser(PossibleValuesParser::new(
                known().into_iter().map(PossibleValue::new).chain(others),
            ))
        }
        Kind::List | Kind::Map => arg.value_name(field.value_name).action(ArgAction::Append),
        Kind::Arguments if field.flag != "--" => {
            arg.value_name(field.value_name).action(ArgAction::Append).allow_hyphen_values(true)
        }
        Kind::Arguments => arg,
        Kind::Text => arg.value_name(field.value_name).value_parser(NonEmptyStringValueParser::new()),
        Kind::Quantity | Kind::Count | Kind::Number => arg.value_name(field.value_name),
    }
}

fn texts(matches: &ArgMatches, id: &str) -> Vec<String> {
    matches.get_many::<String>(id).into_iter().flatten().cloned().collect()
}

/// What was typed for the fields of a verb.
fn typed(matches: &ArgMatches, has: impl Fn(&Field) -> bool) -> Vec<(&'static Field, Vec<String>)> {
    fields()
        .filter(|field| has(field))
        .map(|field| (field, texts(matches, field.path)))
        .filter(|(_, texts)| !texts.is_empty())
        .collect()
}

impl FromArgMatches for ServingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        let mut typed = typed(matches, has_flag);
        if matches.get_flag(NO_KV_EVENTS) {
            typed.push((field("router.kvEvents"), vec!["false".into()]));
        }
        Ok(Self {
            target: matches.get_one::<String>(TARGET).cloned(),
            file: matches.get_one::<String>(FILE).cloned(),
            typed,
            set: texts(matches, SET),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> std::result::Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
