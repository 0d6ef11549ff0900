//! Runs a program in a pseudo-terminal and types into it.
//! It does not interpret escape sequences.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::plugin::IMAGE_CHECK;

/// Maximum time to wait for expected output.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(60);

/// A running program. `script`, which every Debian has, provides its terminal.
pub struct TestTerminal {
    child: Child,
    keyboard: Option<ChildStdin>,
    screen: Receiver<(Instant, String)>,
    started: Instant,
    output: String,
    /// When each chunk of `output` arrived.
    chunks: Vec<(Duration, String)>,
    /// Offset in `output` after the last match.
    search_start: usize,
}

impl TestTerminal {
    /// Starts a command line in a terminal of 80 columns and 24 lines, with only these variables.
    ///
    /// # Errors
    /// `script` cannot be run.
    pub fn start(line: &str, folder: &Path, variables: &[(&str, &str)]) -> std::io::Result<Self> {
        Self::start_sized((80, 24), line, folder, variables)
    }

    /// Starts a command line in a terminal of the given columns and lines.
    ///
    /// # Errors
    /// `script` cannot be run.
    pub fn start_sized(
        (columns, lines): (u16, u16),
        line: &str,
        folder: &Path,
        variables: &[(&str, &str)],
    ) -> std::io::Result<Self> {
        let mut child = Command::new("script")
            .args(["--quiet", "--flush", "--return", "--command"])
            .arg(format!("stty cols {columns} rows {lines}; exec {line}"))
            .arg("/dev/null")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env(IMAGE_CHECK, "off")
            .envs(variables.iter().copied())
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut output = child.stdout.take().ok_or_else(|| std::io::Error::other("no output"))?;
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let (mut buffer, mut rest) = ([0; 4096], Vec::new());
            while let Ok(read @ 1..) = output.read(&mut buffer) {
                rest.extend_from_slice(&buffer[..read]);
                if sender.send((Instant::now(), drain_text(&mut rest))).is_err() {
                    break;
                }
            }
        });
        let keyboard = child.stdin.take();
        let started = Instant::now();
        Ok(Self {
            child,
            keyboard,
            screen,
            started,
            output: String::new(),
            chunks: Vec::new(),
            search_start: 0,
        })
    }

    /// Waits until the program prints `words` after the last match.
    ///
    /// # Errors
    /// The program exits or prints nothing for a minute; contains all output.
    pub fn wait_for(&mut self, text: &str) -> Result<(), String> {
        let deadline = Instant::now() + OUTPUT_TIMEOUT;
        loop {
            if let Some(found) = self.output[self.search_start..].find(text) {
                self.search_start += found + text.len();
                return Ok(());
            }
            let remaining = deadline.saturating_duration_since(Instant::now());
            match self.screen.recv_timeout(remaining) {
                Ok(more) => self.record(more),
                Err(_) => return Err(format!("`{text}` was not printed:\n{}", self.output)),
            }
        }
    }

    /// Types a line.
    ///
    /// # Errors
    /// The program has exited.
    pub fn type_line(&mut self, line: &str) -> Result<(), String> {
        self.type_keys(&format!("{line}\r"))
    }

    /// Types keys, such as `\u{3}` for Ctrl-C.
    ///
    /// # Errors
    /// The program has exited.
    pub fn type_keys(&mut self, keys: &str) -> Result<(), String> {
        let keyboard = self.keyboard.as_mut().ok_or("stdin is closed")?;
        keyboard.write_all(keys.as_bytes()).and_then(|()| keyboard.flush()).map_err(|error| error.to_string())
    }

    fn record(&mut self, (at, more): (Instant, String)) {
        self.output.push_str(&more);
        self.chunks.push((at.saturating_duration_since(self.started), more));
    }

    /// Waits for the exit; returns the exit status and all output.
    ///
    /// # Errors
    /// Waiting fails.
    pub fn finish(self) -> Result<(ExitStatus, String), String> {
        let (status, chunks) = self.finish_with_chunks()?;
        Ok((status, chunks.into_iter().map(|(_, text)| text).collect()))
    }

    /// Waits for the exit; returns the exit status and the output chunks with their times.
    ///
    /// # Errors
    /// Waiting fails.
    pub fn finish_with_chunks(mut self) -> Result<(ExitStatus, Vec<(Duration, String)>), String> {
        while let Ok(more) = self.screen.recv_timeout(OUTPUT_TIMEOUT) {
            self.record(more);
        }
        drop(self.keyboard.take());
        let status = self.child.wait().map_err(|error| error.to_string())?;
        Ok((status, self.chunks))
    }
}

/// Removes complete characters from the start of `bytes`; invalid bytes are replaced.
fn drain_text(bytes: &mut Vec<u8>) -> String {
    let complete = match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Ok(_) | Err(_) => bytes.len(),
    };
    let rest = bytes.split_off(complete);
    String::from_utf8_lossy(&std::mem::replace(bytes, rest)).into_owned()
}
