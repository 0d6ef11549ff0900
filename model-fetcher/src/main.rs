//! Entry point of the program. All code is in the library.
//! It must not contain logic.

use std::process::ExitCode;

fn main() -> ExitCode {
    model_fetcher::program::run(std::env::args_os())
}
