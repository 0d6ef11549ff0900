//! What the processes of a deployment say: the end of it, or as it grows.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a growing log is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The most that is read of a log's end.
const TAIL_BYTES: u64 = 256 * 1024;

/// The last `lines` lines of a log; none when there is no such file.
pub fn tail(log: &Path, lines: usize) -> Vec<String> {
    let Ok(mut file) = std::fs::File::open(log) else { return Vec::new() };
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let start = length.saturating_sub(TAIL_BYTES);
    let mut bytes = Vec::new();
    if file.seek(SeekFrom::Start(start)).and_then(|_| file.read_to_end(&mut bytes)).is_err() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    let mut all: Vec<String> = text.lines().skip(usize::from(start > 0)).map(ToOwned::to_owned).collect();
    all.split_off(all.len().saturating_sub(lines))
}

/// Several logs, read on as they grow.
pub struct Followed {
    logs: Vec<Log>,
}

struct Log {
    source: String,
    path: PathBuf,
    read: u64,
    unfinished: Vec<u8>,
}

impl Followed {
    /// Follows these logs (name and file) from their beginning.
    pub fn from_start(logs: impl IntoIterator<Item = (String, PathBuf)>) -> Self {
        let log = |(source, path)| Log { source, path, read: 0, unfinished: Vec::new() };
        Self { logs: logs.into_iter().map(log).collect() }
    }

    /// Follows these logs from where they end now.
    pub fn from_end(logs: impl IntoIterator<Item = (String, PathBuf)>) -> Self {
        let mut followed = Self::from_start(logs);
        for log in &mut followed.logs {
            log.read = std::fs::metadata(&log.path).map_or(0, |metadata| metadata.len());
        }
        followed
    }

    /// The whole lines that were added since the last call, with the name of their log.
    pub fn new_lines(&mut self) -> Vec<(String, String)> {
        self.logs
            .iter_mut()
            .flat_map(|log| {
                let lines = log.new_lines();
                lines.into_iter().map(|line| (log.source.clone(), line)).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Hands every new line to `show` until dropped.
    pub async fn follow(&mut self, mut show: impl FnMut(&str, &str)) -> std::convert::Infallible {
        loop {
            self.new_lines().iter().for_each(|(source, line)| show(source, line));
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

impl Log {
    fn new_lines(&mut self) -> Vec<String> {
        let Ok(mut file) = std::fs::File::open(&self.path) else { return Vec::new() };
        let mut bytes = Vec::new();
        if file.seek(SeekFrom::Start(self.read)).and_then(|_| file.read_to_end(&mut bytes)).is_err() {
            return Vec::new();
        }
        self.read += bytes.len() as u64;
        self.unfinished.extend(bytes);
        let Some(end) = self.unfinished.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let rest = self.unfinished.split_off(end + 1);
        let whole = std::mem::replace(&mut self.unfinished, rest);
        String::from_utf8_lossy(&whole).lines().map(ToOwned::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn gives_whole_lines_as_they_come() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.log");
        let mut log = std::fs::File::create(&path).expect("writable");
        let mut followed = Followed::from_start([("a".to_owned(), path.clone())]);
        log.write_all("one\ntw".as_bytes()).expect("writable");
        assert_eq!(followed.new_lines(), [("a".to_owned(), "one".to_owned())]);
        log.write_all("ö\nthree\n".as_bytes()).expect("writable");
        let texts: Vec<String> = followed.new_lines().into_iter().map(|(_, line)| line).collect();
        assert_eq!(texts, ["twö", "three"]);
        assert_eq!(tail(&path, 2), ["twö", "three"]);
        assert_eq!(Followed::from_end([("a".to_owned(), path)]).new_lines(), []);
    }
}
