//! Data on stdout, and its formats. Progress goes to the report instead.

mod format;
mod printable;

use std::io::Write;

pub(crate) use format::{
    BenchFormat, DocumentCount, DocumentFormat, DocumentSeparator, EndpointFormat, FindingsFormat,
    GatewayConfigFormat, ListFormat, ObjectFormat, PreviewFormat, PrintFormat, RecommendFormat, TableFormat,
    TextFormat,
};
pub(crate) use printable::{PrintableText, escape_json, printable};

use kubectl_dynamo_core::error::{Exit, Result};

/// Writes data to stdout, without the control characters and escape sequences that text from elsewhere can contain.
pub(crate) fn print_data(text: &str) -> Result<()> {
    print_styled(&printable::printable_data(text))
}

/// Writes text with colors of this program to stdout. Its parts from elsewhere must be [`printable`]. A closed pipe
/// ends the program without an error, as users of `head` expect.
pub(crate) fn print_styled(text: &str) -> Result<()> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(Exit::Ok as i32),
        result => Ok(result?),
    }
}
