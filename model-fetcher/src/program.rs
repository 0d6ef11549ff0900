//! The program: arguments to verb to exit code. Errors are printed here and nowhere else.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::{
    CheckArgs, CommandLine, FetchArgs, ModelArgs, RemoveArgs, Verb, VerifyArgs, variable,
};
use crate::check::{check, verify};
use crate::contract::{ProgressEvent, Receipt, exit};
use crate::digest::VERIFIES;
use crate::error::Error;
use crate::fetch::{complete_without_network, fetch};
use crate::options::{FetchOptions, Xet};
use crate::progress::{Progress, words};
use crate::remove::remove;
use crate::{certificates, fetch as fetching};

/// Threads for connections; hashing needs no more than the cores there are.
const FEWEST_THREADS: usize = 2;
const MOST_THREADS: usize = 8;

/// Runs the command line `arguments` (the program's name first) and returns its exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let command_line = match CommandLine::read(&arguments) {
        Ok(command_line) => command_line,
        Err(code) => return ExitCode::from(code),
    };
    let code = match command_line.verb {
        Verb::Fetch(fetch) => run_fetch(&fetch, arguments),
        Verb::Check(check) => run_check(&check),
        Verb::Verify(verify) => run_verify(&verify, arguments),
        Verb::Remove(remove) => run_remove(&remove),
        Verb::Version => print_version(),
    };
    ExitCode::from(code)
}

/// Shows events, and leaves the last of them where Kubernetes looks.
struct Reporter<'a> {
    progress: Progress,
    model: &'a ModelArgs,
}

impl<'a> Reporter<'a> {
    fn new(model: &'a ModelArgs) -> Self {
        Self { progress: Progress::new(model.progress), model }
    }

    fn show(&mut self, event: &ProgressEvent) {
        self.progress.show(event);
        if matches!(event, ProgressEvent::Complete { .. } | ProgressEvent::Failed { .. }) {
            write_last_words(&self.model.termination_log, &words(event).unwrap_or_default());
        }
    }

    /// Shows how it ended; returns the exit code.
    fn end(&mut self, outcome: Result<(), Error>) -> u8 {
        let Err(error) = outcome else {
            return exit::COMPLETE;
        };
        let exit_code = error.exit_code();
        self.show(&ProgressEvent::Failed { exit_code, error: error.to_string(), hint: error.hint() });
        exit_code
    }
}

/// Only a file that is there already: outside Kubernetes nothing is made.
fn write_last_words(place: &Path, text: &str) {
    if let Ok(mut file) = File::options().write(true).truncate(true).open(place) {
        // The same words are on stderr already.
        let _ = writeln!(file, "{text}");
    }
}

fn run_fetch(arguments: &FetchArgs, words: Vec<OsString>) -> u8 {
    let options = arguments.options(variable);
    let mut reporter = Reporter::new(&arguments.model);
    if !VERIFIES {
        let text = "this build verifies nothing: it is for benchmarks only".to_owned();
        reporter.show(&ProgressEvent::Warning { text });
    }
    if options.xet == Xet::Always && !cfg!(feature = "xet") {
        return reporter.end(Err(Error::Usage {
            what: "this build has no xet".into(),
            hint: "leave out `--xet always`: plain HTTP gives the same bytes, verified".into(),
        }));
    }
    // A complete folder costs neither certificates nor a runtime.
    match complete_without_network(&options, &mut |event| reporter.show(event)) {
        Ok(Some(_)) => return exit::COMPLETE,
        Ok(None) => {}
        Err(error) => return reporter.end(Err(error)),
    }
    let outcome = certificates::ensure(words, variable)
        .map_err(|error| Error::Client { reason: format!("no certificates: {error}") })
        .and_then(|()| runtime())
        .map(|runtime| runtime.block_on(fetch_until_signal(&options, &mut reporter)));
    match outcome {
        Ok(code) => code,
        Err(error) => reporter.end(Err(error)),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    let cores = std::thread::available_parallelism().map_or(FEWEST_THREADS, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.clamp(FEWEST_THREADS, MOST_THREADS))
        .enable_all()
        .build()
        .map_err(|error| Error::Client { reason: error.to_string() })
}

async fn fetch_until_signal(options: &FetchOptions, reporter: &mut Reporter<'_>) -> u8 {
    let handlers =
        signal(SignalKind::interrupt()).and_then(|first| Ok((first, signal(SignalKind::terminate())?)));
    let (mut interrupt, mut terminate) = match handlers {
        Ok(handlers) => handlers,
        Err(error) => return reporter.end(Err(Error::Client { reason: error.to_string() })),
    };
    let mut observe = |event: &ProgressEvent| reporter.show(event);
    let (exit_code, name) = tokio::select! {
        outcome = fetch(options, &mut observe) => return reporter.end(outcome.map(drop)),
        _ = interrupt.recv() => (exit::INTERRUPTED, "SIGINT"),
        _ = terminate.recv() => (exit::TERMINATED, "SIGTERM"),
    };
    reporter.show(&ProgressEvent::Failed {
        exit_code,
        error: format!("ended by {name}; what is here is kept"),
        hint: Some("run the same command again: it continues".into()),
    });
    exit_code
}

fn run_check(arguments: &CheckArgs) -> u8 {
    let options = arguments.options();
    let mut reporter = Reporter::new(&arguments.model);
    let outcome = check(&options).map(|receipt| reporter.show(&found_complete(&options, &receipt)));
    reporter.end(outcome)
}

fn run_remove(arguments: &RemoveArgs) -> u8 {
    let mut reporter = Reporter::new(&arguments.model);
    let outcome = remove(&arguments.options()).map(|removed| reporter.show(&removed));
    reporter.end(outcome)
}

fn run_verify(arguments: &VerifyArgs, words: Vec<OsString>) -> u8 {
    let options = arguments.options(variable);
    let mut reporter = Reporter::new(&arguments.model);
    let outcome = match arguments.online {
        false => verify(&options, &mut |path, bytes| {
            reporter.show(&ProgressEvent::FileVerified { path: path.to_owned(), bytes });
        }),
        true => verify_online(&options, words),
    };
    let outcome = outcome.map(|receipt| reporter.show(&found_complete(&options, &receipt)));
    reporter.end(outcome)
}

fn verify_online(options: &FetchOptions, words: Vec<OsString>) -> Result<Receipt, Error> {
    certificates::ensure(words, variable)
        .map_err(|error| Error::Client { reason: format!("no certificates: {error}") })?;
    let listing = runtime()?.block_on(fetching::listing(options))?;
    crate::check::verify_against(options, &listing)
}

fn found_complete(options: &FetchOptions, receipt: &Receipt) -> ProgressEvent {
    ProgressEvent::Complete {
        folder: options.folder(),
        commit: receipt.commit.clone(),
        files: receipt.files.len(),
        bytes: receipt.files.iter().map(|file| file.size).sum(),
        bytes_fetched: 0,
        seconds: 0.0,
    }
}

fn print_version() -> u8 {
    // A version nobody reads is no failure.
    let _ = writeln!(std::io::stdout().lock(), "model-fetcher {}", env!("CARGO_PKG_VERSION"));
    exit::COMPLETE
}
