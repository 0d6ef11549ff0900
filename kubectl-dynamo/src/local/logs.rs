//! Reads the log files of a local deployment: the last lines, or new lines as they are written.
//! It does not print.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Polling interval for a followed log.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Maximum number of bytes read from the end of a log.
const TAIL_BYTES: u64 = 256 * 1024;

/// The last `lines` lines of a log; empty if the file does not exist.
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

/// Merges the last `last` lines of each log by timestamp. Dynamo starts its lines with an RFC 3339 timestamp.
/// A line without one, such as a line of a traceback, stays after the previous line.
pub fn merge_by_time(logs: Vec<(String, Vec<String>)>, last: usize) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (source, mut lines) in logs {
        let mut time = String::new();
        for line in lines.split_off(lines.len().saturating_sub(last)) {
            if let Some(timestamp) = line.split_whitespace().next().filter(|text| is_time(text)) {
                time = timestamp.to_owned();
            }
            all.push((time.clone(), (source.clone(), line)));
        }
    }
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all.into_iter().map(|(_, line)| line).collect()
}

fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 20 && bytes[4] == b'-' && bytes[10] == b'T' && bytes[..4].iter().all(u8::is_ascii_digit)
}

/// Follows several log files.
pub struct LogFollower {
    logs: Vec<FollowedLog>,
}

struct FollowedLog {
    source: String,
    path: PathBuf,
    read: u64,
    unfinished: Vec<u8>,
}

impl LogFollower {
    /// Follows these logs (name and file) from the start.
    pub fn from_start(logs: impl IntoIterator<Item = (String, PathBuf)>) -> Self {
        let log = |(source, path)| FollowedLog { source, path, read: 0, unfinished: Vec::new() };
        Self { logs: logs.into_iter().map(log).collect() }
    }

    /// The complete lines added to each log since the last call.
    pub fn new_lines(&mut self) -> Vec<(String, Vec<String>)> {
        self.logs.iter_mut().map(|log| (log.source.clone(), log.new_lines())).collect()
    }

    /// Calls `show` for every new line, until the future is dropped.
    pub async fn follow(&mut self, mut show: impl FnMut(&str, &str)) -> std::convert::Infallible {
        loop {
            let new = merge_by_time(self.new_lines(), usize::MAX);
            new.iter().for_each(|(source, line)| show(source, line));
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

impl FollowedLog {
    fn new_lines(&mut self) -> Vec<String> {
        let Ok(mut file) = std::fs::File::open(&self.path) else { return Vec::new() };
        let mut bytes = Vec::new();
        if file.seek(SeekFrom::Start(self.read)).and_then(|_| file.read_to_end(&mut bytes)).is_err() {
            return Vec::new();
        }
        self.read += bytes.len() as u64;
        self.unfinished.extend(bytes);
        let Some(end) = self.unfinished.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let incomplete = self.unfinished.split_off(end + 1);
        let complete = std::mem::replace(&mut self.unfinished, incomplete);
        String::from_utf8_lossy(&complete).lines().map(ToOwned::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn merges_logs_by_timestamp() {
        let lines = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let merged = merge_by_time(
            vec![
                ("a".into(), lines(&["no time", "2026-11-23T09:25:46.836635Z second", "  its rest"])),
                ("b".into(), lines(&["2026-11-23T09:25:45.1Z first", "2026-11-23T09:25:47.1Z third"])),
            ],
            usize::MAX,
        );
        let texts: Vec<&str> =
            merged.iter().map(|(_, line)| line.split(' ').next_back().unwrap_or("")).collect();
        assert_eq!(texts, ["time", "first", "second", "rest", "third"]);
    }

    #[test]
    fn follower_returns_complete_lines() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.log");
        let mut log = std::fs::File::create(&path).expect("writable");
        let mut follower = LogFollower::from_start([("a".to_owned(), path.clone())]);
        log.write_all("one\ntw".as_bytes()).expect("writable");
        assert_eq!(follower.new_lines(), [("a".to_owned(), vec!["one".to_owned()])]);
        log.write_all("ö\nthree\n".as_bytes()).expect("writable");
        let new = follower.new_lines();
        assert_eq!(new, [("a".to_owned(), vec!["twö".to_owned(), "three".to_owned()])]);
        assert_eq!(merge_by_time(new, 1), [("a".to_owned(), "three".to_owned())]);
        assert_eq!(tail(&path, 2), ["twö", "three"]);
    }
}
