//! Reads the log of a benchmark's pod: the progress of AIPerf, its files, and its output. It does not read from the
//! cluster. A log can be read again from its beginning: each measurement is reported once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// The beginning of a line of the driver. All other lines are AIPerf's output.
const MARK: &str = "@bench ";
/// The largest file that is accepted, in bytes: a level with 100,000 requests.
const MAX_FILE_BYTES: u64 = 512 << 20;

/// A line of the driver.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum DriverLine {
    Started { measurement: usize },
    Progress { measurement: usize, requests: u64 },
    File { measurement: usize, name: String, part: usize, parts: usize, sha256: String, data: String },
    Measured { measurement: usize, exit_code: i32 },
    Failed { reason: DriverFailure },
    Finished,
}

/// Why the driver did not start AIPerf, or stopped it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum DriverFailure {
    /// The image does not contain AIPerf.
    AiperfNotFound,
    TokenizerNotFound,
    /// The deadline is over, and AIPerf was stopped.
    DeadlineExceeded,
}

/// A file of AIPerf, as far as it was read.
struct PartialFile {
    sha256: String,
    parts: Vec<Option<String>>,
}

/// The files of a measurement.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MeasuredFiles {
    /// The position of the measurement in the run.
    pub(super) measurement: usize,
    /// The exit code of AIPerf.
    pub(super) exit_code: i32,
    /// Names and contents.
    pub(super) files: Vec<(String, Vec<u8>)>,
    /// Names of files of which the log does not contain every part.
    pub(super) lost: Vec<String>,
}

/// What a line reports.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LogUpdate {
    Started {
        measurement: usize,
    },
    /// The number of finished requests, including those of the warm-up.
    Progress {
        measurement: usize,
        requests: u64,
    },
    Measured(MeasuredFiles),
    Failed(DriverFailure),
    Finished,
    /// A line of AIPerf.
    Output(String),
}

/// The log of a pod, as far as it was read.
#[derive(Default)]
pub(super) struct JobLog {
    files: BTreeMap<(usize, String), PartialFile>,
    measured: BTreeSet<usize>,
}

impl JobLog {
    /// Reads a line. A part of a file, and a line about a measurement that is complete, report nothing.
    pub(super) fn read(&mut self, line: &str) -> Option<LogUpdate> {
        let Some(text) = line.strip_prefix(MARK) else { return Some(LogUpdate::Output(line.to_owned())) };
        match serde_json::from_str(text).ok()? {
            DriverLine::Started { measurement } if !self.measured.contains(&measurement) => {
                Some(LogUpdate::Started { measurement })
            }
            DriverLine::Progress { measurement, requests } if !self.measured.contains(&measurement) => {
                Some(LogUpdate::Progress { measurement, requests })
            }
            DriverLine::File { measurement, name, part, parts, sha256, data } => {
                if !self.measured.contains(&measurement) && part < parts {
                    let empty = || PartialFile { sha256, parts: vec![None; parts] };
                    let file = self.files.entry((measurement, name)).or_insert_with(empty);
                    if let Some(slot) = file.parts.get_mut(part) {
                        *slot = Some(data);
                    }
                }
                None
            }
            DriverLine::Measured { measurement, exit_code } if self.measured.insert(measurement) => {
                Some(LogUpdate::Measured(self.take(measurement, exit_code)))
            }
            DriverLine::Failed { reason } => Some(LogUpdate::Failed(reason)),
            DriverLine::Finished => Some(LogUpdate::Finished),
            _ => None,
        }
    }

    fn take(&mut self, measurement: usize, exit_code: i32) -> MeasuredFiles {
        let (mut files, mut lost) = (Vec::new(), Vec::new());
        let all = std::mem::take(&mut self.files);
        let (own, others) = all.into_iter().partition(|((of, _), _)| *of == measurement);
        self.files = others;
        let own: BTreeMap<(usize, String), PartialFile> = own;
        for ((_, name), file) in own {
            match file.content() {
                Some(content) => files.push((name, content)),
                None => lost.push(name),
            }
        }
        MeasuredFiles { measurement, exit_code, files, lost }
    }
}

impl PartialFile {
    /// The content, if every part is there and the hash is right.
    fn content(&self) -> Option<Vec<u8>> {
        let encoded: String =
            self.parts.iter().map(Option::as_deref).collect::<Option<Vec<&str>>>()?.concat();
        let compressed = STANDARD.decode(encoded).ok()?;
        let mut content = Vec::new();
        ZlibDecoder::new(compressed.as_slice()).take(MAX_FILE_BYTES).read_to_end(&mut content).ok()?;
        let hash: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        (hash == self.sha256).then_some(content)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use serde_json::{Value, json};

    use super::*;

    fn line(fields: &Value) -> String {
        format!("{MARK}{fields}")
    }

    /// The lines of a file in parts of `length` characters.
    fn file_lines(measurement: usize, name: &str, content: &[u8], length: usize) -> Vec<String> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).expect("writable");
        let encoded = STANDARD.encode(encoder.finish().expect("complete"));
        let hash: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        let parts: Vec<&[u8]> = encoded.as_bytes().chunks(length).collect();
        let of_part = |(part, data): (usize, &&[u8])| {
            line(&json!({ "event": "file", "measurement": measurement, "name": name, "part": part,
                "parts": parts.len(), "sha256": hash, "data": String::from_utf8_lossy(data) }))
        };
        parts.iter().enumerate().map(of_part).collect()
    }

    fn measured(measurement: usize, exit_code: i32) -> String {
        line(&json!({ "event": "measured", "measurement": measurement, "exitCode": exit_code }))
    }

    #[test]
    fn file_is_complete_after_its_last_part() {
        let mut log = JobLog::default();
        let content = b"{\"metadata\": {}}\n".repeat(40);
        for line in file_lines(1, "requests.jsonl", &content, 10) {
            assert_eq!(log.read(&line), None);
        }
        let expected = MeasuredFiles {
            measurement: 1,
            exit_code: 0,
            files: vec![("requests.jsonl".into(), content)],
            lost: Vec::new(),
        };
        assert_eq!(log.read(&measured(1, 0)), Some(LogUpdate::Measured(expected)));
    }

    #[test]
    fn log_that_is_read_again_reports_each_measurement_once() {
        let mut log = JobLog::default();
        let lines = || {
            let mut lines = vec![line(&json!({ "event": "started", "measurement": 0 }))];
            lines.extend(file_lines(0, "a", b"content", 4));
            lines.push(measured(0, 0));
            lines
        };
        let updates: Vec<LogUpdate> = lines().iter().filter_map(|line| log.read(line)).collect();
        assert_eq!(updates.len(), 2, "{updates:?}");
        assert!(lines().iter().all(|line| log.read(line).is_none()));
    }

    #[test]
    fn missing_and_changed_parts_are_reported_as_lost() {
        let lines = file_lines(0, "a", &[7; 600], 4);
        let changed = lines.iter().map(|line| line.replace("\"data\":\"", "\"data\":\"AAAA")).collect();
        for lines in [lines[1..].to_vec(), changed] {
            let mut log = JobLog::default();
            lines.iter().for_each(|line| assert_eq!(log.read(line), None));
            let Some(LogUpdate::Measured(MeasuredFiles { files, lost, .. })) = log.read(&measured(0, 1))
            else {
                panic!("a measurement")
            };
            assert!(files.is_empty());
            assert_eq!(lost, ["a"]);
        }
    }

    #[test]
    fn other_lines_are_the_output_of_aiperf() {
        let mut log = JobLog::default();
        assert_eq!(log.read("12:00 INFO done"), Some(LogUpdate::Output("12:00 INFO done".into())));
        let failed = line(&json!({ "event": "failed", "reason": "aiperfNotFound" }));
        assert_eq!(log.read(&failed), Some(LogUpdate::Failed(DriverFailure::AiperfNotFound)));
        let progress = line(&json!({ "event": "progress", "measurement": 0, "requests": 7 }));
        assert_eq!(log.read(&progress), Some(LogUpdate::Progress { measurement: 0, requests: 7 }));
        for broken in ["@bench {", "@bench {\"event\":\"later\"}"] {
            assert_eq!(log.read(broken), None);
        }
    }
}
