//! Runs the program: arguments to verb to exit code. Errors are printed only here, except usage errors (`arguments`).
//! It must not contain the logic of a verb.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::{
    CheckModelArgs, FetchArgs, FetcherCli, FetcherVerb, ModelLocationArgs, RemoveArgs, VerifyModelArgs,
    env_variable,
};
use crate::check::{check, verify};
use crate::digest::HASHING_ENABLED;
use crate::error::FetcherError;
use crate::fetch::{completion_event, fetch, try_without_network};
use crate::options::{FetchOptions, Xet};
use crate::progress::{ProgressPrinter, event_text};
use crate::remove::remove;
use crate::{certificates, fetch as fetching};
use model_fetcher_contract::weights::LoadFormat;
use model_fetcher_contract::{FailureReason, ProgressEvent, Receipt, exit};

/// Minimum number of runtime threads, for connections. Hashing uses at most one thread per core.
const MIN_THREADS: usize = 2;
const MAX_THREADS: usize = 8;

/// Runs the command line `arguments`, which start with the program's name, and returns its exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let command_line = match FetcherCli::from_arguments(&arguments) {
        Ok(command_line) => command_line,
        Err(code) => return ExitCode::from(code),
    };
    let code = match command_line.verb {
        FetcherVerb::Fetch(fetch) => run_fetch(&fetch, arguments),
        FetcherVerb::Check(check) => run_check(&check),
        FetcherVerb::Verify(verify) => run_verify(&verify, arguments),
        FetcherVerb::Remove(remove) => run_remove(&remove),
        FetcherVerb::Version => print_version(),
    };
    ExitCode::from(code)
}

/// Prints events and writes the final one to the termination log.
struct Reporter<'a> {
    printer: ProgressPrinter,
    model: &'a ModelLocationArgs,
}

impl<'a> Reporter<'a> {
    fn new(model: &'a ModelLocationArgs) -> Self {
        Self { printer: ProgressPrinter::new(model.progress), model }
    }

    fn show(&mut self, event: &ProgressEvent) {
        self.printer.show(event);
        if matches!(event, ProgressEvent::Complete { .. } | ProgressEvent::Failed { .. }) {
            write_termination_message(&self.model.termination_log, &termination_message(event));
        }
    }

    /// Reports the outcome and returns the exit code.
    fn finish(&mut self, outcome: Result<(), FetcherError>) -> u8 {
        let Err(error) = outcome else {
            return exit::COMPLETE;
        };
        let exit_code = error.exit_code();
        self.show(&ProgressEvent::Failed {
            exit_code,
            error: error.to_string(),
            hint: error.hint(),
            reason: Some(error.reason()),
        });
        exit_code
    }
}

/// Formats the final event as text, followed by the failure reason on its own line. Kubernetes truncates the
/// start of a long message, so the reason is last.
fn termination_message(event: &ProgressEvent) -> String {
    let text = event_text(event).unwrap_or_default();
    match event {
        ProgressEvent::Failed { reason: Some(reason), .. } => {
            format!("{text}\n{}", reason.termination_line())
        }
        _ => text,
    }
}

/// Writes the termination message if its file exists. Outside Kubernetes no file is created.
fn write_termination_message(path: &Path, text: &str) {
    if let Ok(mut file) = File::options().write(true).truncate(true).open(path) {
        // Errors are ignored: the same text is on stderr.
        let _ = writeln!(file, "{text}");
    }
}

fn run_fetch(arguments: &FetchArgs, argv: Vec<OsString>) -> u8 {
    let options = arguments.to_options(env_variable);
    let mut reporter = Reporter::new(&arguments.model);
    if !HASHING_ENABLED {
        let text = "this build does not verify files; use it for benchmarks only".to_owned();
        reporter.show(&ProgressEvent::Warning { text });
    }
    let load_format = &arguments.filter.load_format;
    if LoadFormat::parse_known(load_format).is_none() {
        let text = format!("load format {load_format:?} is not known, so the files for `auto` are fetched");
        reporter.show(&ProgressEvent::Warning { text });
    }
    if options.xet == Xet::Always && !cfg!(feature = "xet") {
        return reporter.finish(Err(FetcherError::Usage {
            what: "this build does not include xet".into(),
            hint: "remove `--xet always`: plain HTTP fetches the same bytes, verified".into(),
        }));
    }
    // A complete folder needs neither certificates nor a runtime.
    match try_without_network(&options, &mut |event| reporter.show(event)) {
        Ok(Some(_)) => return exit::COMPLETE,
        Ok(None) => {}
        Err(error) => return reporter.finish(Err(error)),
    }
    let outcome = certificates::ensure(argv, env_variable)
        .map_err(|error| FetcherError::Client { reason: format!("cannot load certificates: {error}") })
        .and_then(|()| build_runtime())
        .map(|runtime| runtime.block_on(fetch_until_signal(&options, &mut reporter)));
    match outcome {
        Ok(code) => code,
        Err(error) => reporter.finish(Err(error)),
    }
}

fn build_runtime() -> Result<tokio::runtime::Runtime, FetcherError> {
    let cores = std::thread::available_parallelism().map_or(MIN_THREADS, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.clamp(MIN_THREADS, MAX_THREADS))
        .enable_all()
        .build()
        .map_err(|error| FetcherError::Client { reason: error.to_string() })
}

async fn fetch_until_signal(options: &FetchOptions, reporter: &mut Reporter<'_>) -> u8 {
    let handlers =
        signal(SignalKind::interrupt()).and_then(|first| Ok((first, signal(SignalKind::terminate())?)));
    let (mut interrupt, mut terminate) = match handlers {
        Ok(handlers) => handlers,
        Err(error) => return reporter.finish(Err(FetcherError::Client { reason: error.to_string() })),
    };
    let mut observe = |event: &ProgressEvent| reporter.show(event);
    let (exit_code, signal_name) = tokio::select! {
        outcome = fetch(options, &mut observe) => return reporter.finish(outcome.map(drop)),
        _ = interrupt.recv() => (exit::INTERRUPTED, "SIGINT"),
        _ = terminate.recv() => (exit::TERMINATED, "SIGTERM"),
    };
    reporter.show(&ProgressEvent::Failed {
        exit_code,
        error: format!("interrupted by {signal_name}; partial files were kept"),
        hint: Some("run the same command again to resume".into()),
        reason: Some(FailureReason::Interrupted),
    });
    exit_code
}

fn run_check(arguments: &CheckModelArgs) -> u8 {
    let options = arguments.to_options();
    let mut reporter = Reporter::new(&arguments.model);
    let outcome = check(&options)
        .map(|receipt| reporter.show(&completion_event(&options, &receipt, 0, Duration::ZERO)));
    reporter.finish(outcome)
}

fn run_remove(arguments: &RemoveArgs) -> u8 {
    let mut reporter = Reporter::new(&arguments.model);
    let outcome = remove(&arguments.to_options()).map(|removed| reporter.show(&removed));
    reporter.finish(outcome)
}

fn run_verify(arguments: &VerifyModelArgs, argv: Vec<OsString>) -> u8 {
    let options = arguments.to_options(env_variable);
    let mut reporter = Reporter::new(&arguments.model);
    let outcome = match arguments.online {
        false => verify(&options, &mut |path, bytes| {
            reporter.show(&ProgressEvent::FileVerified { path: path.to_owned(), bytes });
        }),
        true => verify_online(&options, argv),
    };
    let outcome =
        outcome.map(|receipt| reporter.show(&completion_event(&options, &receipt, 0, Duration::ZERO)));
    reporter.finish(outcome)
}

fn verify_online(options: &FetchOptions, argv: Vec<OsString>) -> Result<Receipt, FetcherError> {
    certificates::ensure(argv, env_variable)
        .map_err(|error| FetcherError::Client { reason: format!("cannot load certificates: {error}") })?;
    let listing = build_runtime()?.block_on(fetching::listing(options))?;
    crate::check::verify_against(options, &listing)
}

fn print_version() -> u8 {
    // Write errors are ignored: the stream may be closed.
    let _ = writeln!(std::io::stdout().lock(), "model-fetcher {}", env!("CARGO_PKG_VERSION"));
    exit::COMPLETE
}
