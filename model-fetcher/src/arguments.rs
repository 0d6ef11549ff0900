//! Parses the command line and the environment, and prints usage errors.
//! The operations of the library must not read arguments or the environment.

mod duration;
mod manual;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use model_fetcher_contract::{DEFAULT_INTO, DEFAULT_REVISION, environment, exit, weights::LoadFormat};

use self::duration::{InvalidDuration, parse_duration};
use crate::options::{ExistingFilePolicy, FetchOptions, NamePolicy, Xet};

/// Fetch Hugging Face models to a volume and verify every byte
#[derive(Debug, Parser)]
#[command(name = "model-fetcher", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "`model-fetcher --help` prints the manual page.")]
pub struct FetcherCli {
    #[command(subcommand)]
    pub verb: FetcherVerb,
}

impl FetcherCli {
    /// Parses `arguments`, which start with the program's name. Help, version, and usage errors are printed
    /// here.
    ///
    /// # Errors
    /// Returns the exit code after printing.
    pub fn from_arguments(arguments: &[OsString]) -> Result<Self, u8> {
        Self::try_parse_from(arguments).map_err(|error| {
            // Printing help and the version is not a failure. Write errors are ignored: the stream may be
            // closed.
            let _ = match is_manual_requested(arguments) {
                true => write!(std::io::stdout().lock(), "{}", manual::render_page(&mut Self::command())),
                false => error.print(),
            };
            if error.use_stderr() { exit::USAGE } else { exit::COMPLETE }
        })
    }
}

/// Returns whether the manual is requested: `--help` or `help` without a verb. After a verb they print its
/// options.
fn is_manual_requested(arguments: &[OsString]) -> bool {
    matches!(arguments, [_, only] if only == "--help" || only == "help")
}

/// Returns the value of an environment variable if it is valid UTF-8.
pub fn env_variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[derive(Debug, Subcommand)]
pub enum FetcherVerb {
    /// Download missing files; makes no network request if the model is complete
    Fetch(FetchArgs),
    /// Check a model against its receipt without network access; the exit code is the result
    Check(CheckModelArgs),
    /// Hash every file of a model again
    Verify(VerifyModelArgs),
    /// Remove a model folder, unless a fetcher is using it
    Remove(RemoveArgs),
    /// Print the version
    Version,
}

/// Which model to use and where it is stored.
#[derive(Debug, Args)]
pub struct ModelLocationArgs {
    /// Repository on the hub, as ORG/NAME
    #[arg(value_name = "REPO", env = "MODEL_FETCHER_REPO")]
    pub repository: String,
    /// Branch, tag, or commit
    #[arg(long, value_name = "REV", env = "MODEL_FETCHER_REVISION", default_value = DEFAULT_REVISION)]
    pub revision: String,
    /// Root folder; the model is in DIR/ORG/NAME
    #[arg(long, value_name = "DIR", env = "MODEL_FETCHER_INTO", default_value = DEFAULT_INTO)]
    pub into: PathBuf,
    /// Progress format on stderr
    #[arg(long, value_name = "FORMAT", env = environment::PROGRESS, default_value = "auto")]
    pub progress: ProgressFormat,
    /// File for the last line and any error; written only if it exists
    #[arg(long, value_name = "FILE", env = environment::TERMINATION_LOG,
          default_value = model_fetcher_contract::TERMINATION_LOG)]
    pub termination_log: PathBuf,
}

/// Which files of the model to select.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// Select exactly the matching paths, as for `hf download` (`*` matches `/`); repeatable
    #[arg(long, value_name = "GLOB", env = "MODEL_FETCHER_INCLUDE", value_delimiter = ',')]
    pub include: Vec<String>,
    /// Exclude matching paths; repeatable
    #[arg(long, value_name = "GLOB", env = "MODEL_FETCHER_EXCLUDE", value_delimiter = ',')]
    pub exclude: Vec<String>,
    /// Copy of the weights to select without --include: auto, mistral, pt, npcache, or gguf, as for vLLM
    #[arg(long, value_name = "FORMAT", env = environment::LOAD_FORMAT, default_value = "auto")]
    pub load_format: String,
}

impl FilterArgs {
    fn apply_to(&self, options: &mut FetchOptions) {
        (options.include, options.exclude) = (self.include.clone(), self.exclude.clone());
        options.load_format = LoadFormat::parse(&self.load_format);
    }
}

#[derive(Debug, Args)]
pub struct CheckModelArgs {
    #[command(flatten)]
    pub model: ModelLocationArgs,
    #[command(flatten)]
    pub filter: FilterArgs,
}

#[derive(Debug, Args)]
pub struct RemoveArgs {
    #[command(flatten)]
    pub model: ModelLocationArgs,
    #[command(flatten)]
    pub lease: LeaseArgs,
}

/// When to take over the folder of another fetcher.
#[derive(Debug, Args)]
pub struct LeaseArgs {
    /// Take over the folder after this long without a heartbeat; same value for all pods
    #[arg(long, value_name = "DURATION", env = "MODEL_FETCHER_LEASE_TIMEOUT",
        default_value = "60s", value_parser = parse_lease_timeout)]
    pub lease_timeout: Duration,
}

#[derive(Debug, Args)]
pub struct VerifyModelArgs {
    #[command(flatten)]
    pub model: ModelLocationArgs,
    /// Compare with the hub's listing instead of the receipt
    #[arg(long, env = "MODEL_FETCHER_ONLINE", value_parser = FalseyValueParser::new())]
    pub online: bool,
    #[command(flatten)]
    pub hub: HubArgs,
}

/// Which hub to use.
#[derive(Debug, Args)]
pub struct HubArgs {
    /// Base URL of the hub or a mirror [default: HF_ENDPOINT, else https://huggingface.co]
    #[arg(long, value_name = "URL", env = "MODEL_FETCHER_ENDPOINT")]
    pub endpoint: Option<String>,
    /// Abort after this long without data
    #[arg(long, value_name = "DURATION", env = "MODEL_FETCHER_STALL_TIMEOUT",
        default_value = "10m", value_parser = parse_duration)]
    pub stall_timeout: Duration,
}

#[derive(Debug, Args)]
pub struct FetchArgs {
    #[command(flatten)]
    pub model: ModelLocationArgs,
    #[command(flatten)]
    pub filter: FilterArgs,
    #[command(flatten)]
    pub hub: HubArgs,
    /// Maximum number of connections [default: based on memory and measured throughput]
    #[arg(long, value_name = "N", env = "MODEL_FETCHER_CONNECTIONS",
        value_parser = clap::value_parser!(u16).range(1..=256))]
    pub connections: Option<u16>,
    /// Disable network access; also HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE
    #[arg(long, env = "MODEL_FETCHER_OFFLINE", value_parser = FalseyValueParser::new())]
    pub offline: bool,
    /// Check the hub for a new commit, and replace a complete folder of another revision
    #[arg(long, env = "MODEL_FETCHER_UPDATE", value_parser = FalseyValueParser::new())]
    pub update: bool,
    /// Write each file in order over one connection, for volumes backed by object storage
    #[arg(long, env = "MODEL_FETCHER_SEQUENTIAL", value_parser = FalseyValueParser::new())]
    pub sequential: bool,
    /// Maximum time to wait for another fetcher in the same folder
    #[arg(long, value_name = "DURATION", env = "MODEL_FETCHER_LOCK_TIMEOUT", default_value = "1h",
        value_parser = parse_duration)]
    pub lock_timeout: Duration,
    #[command(flatten)]
    pub lease: LeaseArgs,
    /// How to treat files that already exist
    #[arg(long, value_name = "POLICY", env = "MODEL_FETCHER_EXISTING", default_value = "verify")]
    pub existing: ExistingMode,
    /// Which file names to allow
    #[arg(long, value_name = "POLICY", env = "MODEL_FETCHER_NAMES", default_value = "any")]
    pub names: NamesMode,
    /// When to use xet
    #[arg(long, value_name = "WHEN", env = "MODEL_FETCHER_XET", default_value = "auto")]
    pub xet: XetMode,
}

/// Progress format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressFormat {
    /// Bars on a terminal, otherwise plain lines
    Auto,
    /// Progress bars
    Tty,
    /// One line every 10 seconds or 5 percent
    Plain,
    /// One JSON object per line
    Json,
    /// Only errors
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExistingMode {
    /// Hash them
    Verify,
    /// Accept them if their size matches
    Trust,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NamesMode {
    /// All names that the volume supports
    Any,
    /// Reject names that differ only in case, and names that Windows cannot store
    Portable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum XetMode {
    /// Plain HTTP; xet for files above 50 GB that the hub serves in no other way
    Auto,
    /// Plain HTTP only; fail if the hub refuses it
    Never,
    /// Xet for every file stored there
    Always,
}

impl ModelLocationArgs {
    fn to_options(&self) -> FetchOptions {
        let mut options = FetchOptions::new(self.repository.clone(), self.into.clone());
        options.revision = self.revision.clone();
        options
    }
}

impl RemoveArgs {
    pub fn to_options(&self) -> FetchOptions {
        let mut options = self.model.to_options();
        options.lease_timeout = self.lease.lease_timeout;
        options
    }
}

impl CheckModelArgs {
    pub fn to_options(&self) -> FetchOptions {
        let mut options = self.model.to_options();
        self.filter.apply_to(&mut options);
        options
    }
}

impl VerifyModelArgs {
    pub fn to_options(&self, variable: impl Fn(&str) -> Option<String>) -> FetchOptions {
        let mut options = self.model.to_options();
        self.hub.apply_to(&mut options, variable);
        options
    }
}

impl HubArgs {
    fn apply_to(&self, options: &mut FetchOptions, variable: impl Fn(&str) -> Option<String>) {
        options.apply_variables(variable);
        if let Some(endpoint) = &self.endpoint {
            options.hub.endpoint = endpoint.as_str().into();
        }
        options.stall_timeout = self.stall_timeout;
    }
}

impl FetchArgs {
    /// Converts the arguments to options. `variable` looks up an environment variable.
    pub fn to_options(&self, variable: impl Fn(&str) -> Option<String>) -> FetchOptions {
        let Self {
            model,
            filter,
            hub,
            connections,
            offline,
            update,
            sequential,
            lock_timeout,
            lease,
            existing,
            names,
            xet,
        } = self;
        let mut options = model.to_options();
        hub.apply_to(&mut options, variable);
        filter.apply_to(&mut options);
        options.connections = connections.map(usize::from);
        options.offline |= *offline;
        options.update = *update;
        options.sequential = *sequential;
        options.lock_timeout = *lock_timeout;
        options.lease_timeout = lease.lease_timeout;
        options.existing = match existing {
            ExistingMode::Verify => ExistingFilePolicy::Verify,
            ExistingMode::Trust => ExistingFilePolicy::Trust,
        };
        options.name_policy = match names {
            NamesMode::Any => NamePolicy::Any,
            NamesMode::Portable => NamePolicy::Portable,
        };
        options.xet = match xet {
            // HF_HUB_DISABLE_XET may be set.
            XetMode::Auto => options.xet,
            XetMode::Never => Xet::Never,
            XetMode::Always => Xet::Always,
        };
        options
    }
}

/// Parses a duration that is not zero: heartbeats are a part of it.
fn parse_lease_timeout(text: &str) -> Result<Duration, InvalidDuration> {
    parse_duration(text).and_then(|duration| match duration.is_zero() {
        true => Err(InvalidDuration::Zero),
        false => Ok(duration),
    })
}

#[cfg(test)]
mod tests;
