//! The program: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    model_fetcher::program::run(std::env::args_os())
}
