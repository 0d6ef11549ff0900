//! The command line and its environment. Everything a fetch reads from outside comes in here.

mod manual;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::contract::{DEFAULT_INTO, DEFAULT_REVISION, environment, exit};

use crate::options::{Existing, FetchOptions, HubAccess, Names, Xet};

/// Fetches Hugging Face models onto a volume and verifies every byte.
#[derive(Debug, Parser)]
#[command(name = "model-fetcher", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "`model-fetcher --help` prints the manual page.")]
pub struct CommandLine {
    #[command(subcommand)]
    pub verb: Verb,
}

impl CommandLine {
    /// Reads `arguments`, the program's name first. Help, version and mistakes are printed here; the code to end
    /// with comes back.
    pub fn read(arguments: &[OsString]) -> Result<Self, u8> {
        Self::try_parse_from(arguments).map_err(|error| {
            // Help and version are no failure; there is nobody to tell when the stream is gone.
            let _ = match asks_for_manual(arguments) {
                true => write!(std::io::stdout().lock(), "{}", manual::page(&mut Self::command())),
                false => error.print(),
            };
            if error.use_stderr() { exit::USAGE } else { exit::COMPLETE }
        })
    }
}

/// `--help` or `help` alone; after a verb they are about its options.
fn asks_for_manual(arguments: &[OsString]) -> bool {
    matches!(arguments, [_, only] if only == "--help" || only == "help")
}

/// An environment variable that is set to text.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Fetch what is missing of a model; nothing is asked of the network when nothing is
    Fetch(FetchArgs),
    /// Say by exit code whether a model is complete; reads the receipt, asks no network
    Check(CheckArgs),
    /// Hash every file of a model again
    Verify(VerifyArgs),
    /// Remove a model's folder; refused while a fetcher works in it
    Remove(RemoveArgs),
    /// Print the version
    Version,
}

/// Which model, and where.
#[derive(Debug, Args)]
pub struct ModelArgs {
    /// The repository, as the hub names it: ORG/NAME
    #[arg(value_name = "REPO", env = "MODEL_FETCHER_REPO")]
    pub repository: String,
    /// Branch, tag or commit
    #[arg(long, value_name = "REV", env = "MODEL_FETCHER_REVISION", default_value = DEFAULT_REVISION)]
    pub revision: String,
    /// Folder above the model's own, which is DIR/ORG/NAME
    #[arg(long, value_name = "DIR", env = "MODEL_FETCHER_INTO", default_value = DEFAULT_INTO)]
    pub into: PathBuf,
    /// How progress is shown on stderr
    #[arg(long, value_name = "HOW", env = environment::PROGRESS, default_value = "auto")]
    pub progress: ProgressMode,
    /// Where the last line and any error go as well, when it exists and can be written
    #[arg(long, value_name = "FILE", env = environment::TERMINATION_LOG,
          default_value = crate::contract::TERMINATION_LOG)]
    pub termination_log: PathBuf,
}

/// Which files of the model.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// Only files whose path matches (as for `hf download`: * crosses /); can be repeated
    #[arg(long, value_name = "GLOB", env = "MODEL_FETCHER_INCLUDE", value_delimiter = ',')]
    pub include: Vec<String>,
    /// No file whose path matches; can be repeated
    #[arg(long, value_name = "GLOB", env = "MODEL_FETCHER_EXCLUDE", value_delimiter = ',')]
    pub exclude: Vec<String>,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub filter: FilterArgs,
}

#[derive(Debug, Args)]
pub struct RemoveArgs {
    #[command(flatten)]
    pub model: ModelArgs,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Compare with the hub's listing instead of the receipt
    #[arg(long, env = "MODEL_FETCHER_ONLINE", value_parser = FalseyValueParser::new())]
    pub online: bool,
    #[command(flatten)]
    pub hub: HubArgs,
}

/// Which hub.
#[derive(Debug, Args)]
pub struct HubArgs {
    /// Address of the hub or a mirror [default: HF_ENDPOINT, else https://huggingface.co]
    #[arg(long, value_name = "URL", env = "MODEL_FETCHER_ENDPOINT")]
    pub endpoint: Option<String>,
    /// Give up when nothing arrives for so long
    #[arg(long, value_name = "D", env = "MODEL_FETCHER_STALL_TIMEOUT", default_value = "10m", value_parser = duration)]
    pub stall_timeout: Duration,
}

#[derive(Debug, Args)]
pub struct FetchArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub filter: FilterArgs,
    #[command(flatten)]
    pub hub: HubArgs,
    /// At most so many connections [default: chosen by memory and by what helps]
    #[arg(long, value_name = "N", env = "MODEL_FETCHER_CONNECTIONS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub connections: Option<u16>,
    /// Ask nothing of the network; also HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE
    #[arg(long, env = "MODEL_FETCHER_OFFLINE", value_parser = FalseyValueParser::new())]
    pub offline: bool,
    /// Ask the hub whether the revision moved, and replace a complete folder of another revision
    #[arg(long, env = "MODEL_FETCHER_UPDATE", value_parser = FalseyValueParser::new())]
    pub update: bool,
    /// Write each file in order by one connection, for volumes backed by object stores
    #[arg(long, env = "MODEL_FETCHER_SEQUENTIAL", value_parser = FalseyValueParser::new())]
    pub sequential: bool,
    /// Wait so long for another fetcher in the same folder
    #[arg(long, value_name = "D", env = "MODEL_FETCHER_LOCK_TIMEOUT", default_value = "1h", value_parser = duration)]
    pub lock_timeout: Duration,
    /// Take the folder over when its fetcher is silent for so long; one value for all pods of a volume
    #[arg(long, value_name = "D", env = "MODEL_FETCHER_LEASE_TIMEOUT", default_value = "60s", value_parser = duration)]
    pub lease_timeout: Duration,
    /// How files that are there already are taken
    #[arg(long, value_name = "HOW", env = "MODEL_FETCHER_EXISTING", default_value = "verify")]
    pub existing: ExistingMode,
    /// Which names of files are taken
    #[arg(long, value_name = "WHICH", env = "MODEL_FETCHER_NAMES", default_value = "any")]
    pub names: NamesMode,
    /// When xet is used
    #[arg(long, value_name = "WHEN", env = "MODEL_FETCHER_XET", default_value = "auto")]
    pub xet: XetMode,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    /// Bars on a terminal, lines elsewhere
    Auto,
    /// Bars
    Tty,
    /// One line each 10 seconds or 5 percent
    Plain,
    /// One JSON object a line
    Json,
    /// Only errors
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExistingMode {
    /// Hash them
    Verify,
    /// Believe them when their size is right
    Trust,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NamesMode {
    /// All that the volume tells apart
    Any,
    /// No two that differ in case only
    Portable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum XetMode {
    /// Plain HTTP; xet for a file above 50 GB that the hub gives in no other way
    Auto,
    /// Plain HTTP only; an error where the hub refuses that
    Never,
    /// Xet for every file that has it
    Always,
}

impl ModelArgs {
    fn options(&self) -> FetchOptions {
        let mut options = FetchOptions::new(self.repository.clone(), self.into.clone());
        options.revision = self.revision.clone();
        options
    }
}

impl RemoveArgs {
    pub fn options(&self) -> FetchOptions {
        self.model.options()
    }
}

impl CheckArgs {
    pub fn options(&self) -> FetchOptions {
        let Self { model, filter } = self;
        let mut options = model.options();
        options.include = filter.include.clone();
        options.exclude = filter.exclude.clone();
        options
    }
}

impl VerifyArgs {
    pub fn options(&self, variable: impl Fn(&str) -> Option<String>) -> FetchOptions {
        let mut options = self.model.options();
        self.hub.fill(&mut options, variable);
        options
    }
}

impl HubArgs {
    fn fill(&self, options: &mut FetchOptions, variable: impl Fn(&str) -> Option<String>) {
        options.hub = HubAccess::from_variables(&variable);
        if let Some(endpoint) = &self.endpoint {
            options.hub.endpoint = endpoint.trim_end_matches('/').to_owned();
        }
        options.stall_timeout = self.stall_timeout;
        let seconds =
            variable(environment::HF_HUB_DOWNLOAD_TIMEOUT).and_then(|text| text.trim().parse().ok());
        if let Some(seconds) = seconds {
            options.read_timeout = Duration::from_secs(seconds);
        }
    }
}

impl FetchArgs {
    /// The options of these arguments; `variable` looks up an environment variable.
    pub fn options(&self, variable: impl Fn(&str) -> Option<String>) -> FetchOptions {
        let Self {
            model,
            filter,
            hub,
            connections,
            offline,
            update,
            sequential,
            lock_timeout,
            lease_timeout,
            existing,
            names,
            xet,
        } = self;
        let set = |name: &str| variable(name).is_some_and(|value| is_true(&value));
        let mut options = model.options();
        hub.fill(&mut options, &variable);
        options.include = filter.include.clone();
        options.exclude = filter.exclude.clone();
        options.connections = connections.map(usize::from);
        options.offline =
            *offline || set(environment::HF_HUB_OFFLINE) || set(environment::TRANSFORMERS_OFFLINE);
        options.update = *update;
        options.sequential = *sequential;
        options.lock_timeout = *lock_timeout;
        options.lease_timeout = *lease_timeout;
        options.existing = match existing {
            ExistingMode::Verify => Existing::Verify,
            ExistingMode::Trust => Existing::Trust,
        };
        options.names = match names {
            NamesMode::Any => Names::Any,
            NamesMode::Portable => Names::Portable,
        };
        options.xet = match xet {
            XetMode::Auto if set(environment::HF_HUB_DISABLE_XET) => Xet::Never,
            XetMode::Auto => Xet::Auto,
            XetMode::Never => Xet::Never,
            XetMode::Always => Xet::Always,
        };
        options
    }
}

/// The ecosystem's words for yes.
fn is_true(value: &str) -> bool {
    matches!(value.trim().to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE")
}

/// Durations as in Go and Kubernetes: `90s`, `30m`, `1h30m`, `500ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let parsed: Result<jiff::SignedDuration, _> = text.parse();
    parsed
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| "write it as 90s, 30m or 1h30m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch_options(arguments: &[&str], variables: &[(&str, &str)]) -> FetchOptions {
        let words = ["model-fetcher", "fetch", "org/name"].iter().chain(arguments);
        let Verb::Fetch(fetch) = CommandLine::try_parse_from(words).unwrap().verb else {
            panic!("fetch was asked for");
        };
        fetch.options(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn every_flag_has_a_variable() {
        for verb in CommandLine::command().get_subcommands() {
            let own = |argument: &&clap::Arg| !matches!(argument.get_id().as_str(), "help" | "version");
            for argument in verb.get_arguments().filter(own) {
                let variable = argument.get_env().and_then(|name| name.to_str()).unwrap_or_default();
                assert!(variable.starts_with("MODEL_FETCHER_"), "{}", argument.get_id());
            }
        }
    }

    #[test]
    fn durations_are_written_as_in_go() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(duration("soon").is_err());
        assert!(duration("-5s").is_err());
    }

    #[test]
    fn the_words_of_the_ecosystem_are_understood() {
        let options = fetch_options(
            &["--endpoint", "http://flag/"],
            &[
                ("HF_ENDPOINT", "http://variable"),
                ("HF_HUB_OFFLINE", "1"),
                ("HF_HUB_DISABLE_XET", "1"),
                ("HF_HUB_DOWNLOAD_TIMEOUT", "7"),
            ],
        );
        assert_eq!(options.hub.endpoint, "http://flag");
        assert!(options.offline);
        assert_eq!(options.xet, Xet::Never);
        assert_eq!(options.read_timeout, Duration::from_secs(7));
        assert!(!fetch_options(&[], &[("HF_HUB_OFFLINE", "0")]).offline);
    }

    #[test]
    fn a_token_is_no_argument() {
        let words = ["model-fetcher", "fetch", "org/name", "--token", "hf_x"];
        assert!(CommandLine::try_parse_from(words).is_err());
    }
}
