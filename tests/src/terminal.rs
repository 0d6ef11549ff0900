//! A program in a pseudo-terminal, and somebody who types.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longest time until a program says what is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running program. Its terminal is made by `script`, which every Debian has.
pub struct Terminal {
    child: Child,
    keyboard: Option<ChildStdin>,
    screen: Receiver<(Instant, String)>,
    began: Instant,
    seen: String,
    /// When each piece of `seen` came.
    moments: Vec<(Duration, String)>,
    /// Up to where `seen` was waited for.
    read: usize,
}

impl Terminal {
    /// Starts a command line in a terminal of 80 columns and 24 lines, with these variables and no others.
    ///
    /// # Errors
    /// `script` cannot be run.
    pub fn start(line: &str, folder: &Path, variables: &[(&str, &str)]) -> std::io::Result<Self> {
        Self::start_sized((80, 24), line, folder, variables)
    }

    /// The same, in a terminal of so many columns and lines.
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
                if sender.send((Instant::now(), take_text(&mut rest))).is_err() {
                    break;
                }
            }
        });
        let keyboard = child.stdin.take();
        let began = Instant::now();
        Ok(Self { child, keyboard, screen, began, seen: String::new(), moments: Vec::new(), read: 0 })
    }

    /// Waits until the program says `words`, after what was waited for before.
    ///
    /// # Errors
    /// It ends or stays silent for a minute; with all that was seen.
    pub fn wait_for(&mut self, words: &str) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.seen[self.read..].find(words) {
                self.read += found + words.len();
                return Ok(());
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.screen.recv_timeout(left) {
                Ok(more) => self.take(more),
                Err(_) => return Err(format!("`{words}` was not said:\n{}", self.seen)),
            }
        }
    }

    /// Types a line.
    ///
    /// # Errors
    /// The program is gone.
    pub fn type_line(&mut self, line: &str) -> Result<(), String> {
        self.type_keys(&format!("{line}\r"))
    }

    /// Types keys, such as `\u{3}` for Ctrl-C.
    ///
    /// # Errors
    /// The program is gone.
    pub fn type_keys(&mut self, keys: &str) -> Result<(), String> {
        let keyboard = self.keyboard.as_mut().ok_or("the keyboard is gone")?;
        keyboard.write_all(keys.as_bytes()).and_then(|()| keyboard.flush()).map_err(|error| error.to_string())
    }

    fn take(&mut self, (at, more): (Instant, String)) {
        self.seen.push_str(&more);
        self.moments.push((at.saturating_duration_since(self.began), more));
    }

    /// Waits for the end; how it ended, and everything that was on the screen.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn end(self) -> Result<(ExitStatus, String), String> {
        let (status, moments) = self.end_in_moments()?;
        Ok((status, moments.into_iter().map(|(_, text)| text).collect()))
    }

    /// The same, with when each piece came.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn end_in_moments(mut self) -> Result<(ExitStatus, Vec<(Duration, String)>), String> {
        while let Ok(more) = self.screen.recv_timeout(PATIENCE) {
            self.take(more);
        }
        drop(self.keyboard.take());
        let status = self.child.wait().map_err(|error| error.to_string())?;
        Ok((status, self.moments))
    }
}

/// Takes whole letters off the beginning of what came; what cannot be one is shown as such.
fn take_text(bytes: &mut Vec<u8>) -> String {
    let whole = match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Ok(_) | Err(_) => bytes.len(),
    };
    let rest = bytes.split_off(whole);
    String::from_utf8_lossy(&std::mem::replace(bytes, rest)).into_owned()
}
