//! Bodies: files in blocks, ranges of them, and the faults of a body.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::RANGE;
use hyper::{Request, Response, StatusCode};
use tokio::time::Instant;

use super::repository::{HubFile, Repository};
use super::server::Line;
use super::{FaultKind, State};

pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

const BLOCK_BYTES: u64 = 256 << 10;
/// At least so many blocks a second where the rate is limited.
const SLOW_BLOCKS_A_SECOND: u64 = 5;
/// How far a paced body may fall behind its rate and still catch up.
const LONGEST_BURST: Duration = Duration::from_millis(20);

/// A short answer.
pub(crate) fn text(status: u16, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer
}

/// Adds a header; one that cannot be written is left out.
pub(crate) fn with(mut answer: Answer, name: &'static str, value: impl AsRef<str>) -> Answer {
    if let Ok(value) = value.as_ref().parse() {
        answer.headers_mut().insert(name, value);
    }
    answer
}

/// The range of `Range: bytes=a-b` or `bytes=a-` within `size`.
pub(crate) fn wanted_range(header: Option<&str>, size: u64) -> Option<Range<u64>> {
    let (first, last) = header?.strip_prefix("bytes=")?.split_once('-')?;
    let first = first.parse().ok()?;
    let end = if last.is_empty() { size } else { last.parse::<u64>().ok()?.checked_add(1)?.min(size) };
    Some(first..end)
}

/// The content of every file of `repositories`.
pub(crate) fn read_all(repositories: &[Repository]) -> io::Result<HashMap<PathBuf, Bytes>> {
    let files = repositories.iter().flat_map(|repository| repository.commits.values().flatten());
    files.map(|file| Ok((file.place.clone(), std::fs::read(&file.place)?.into()))).collect()
}

/// A file, or the range of it that was asked for.
pub(crate) fn file(
    request: &Request<Incoming>,
    state: &Arc<State>,
    file: &HubFile,
    fault: Option<FaultKind>,
    line: &Line,
) -> Answer {
    let range = request.headers().get(RANGE).and_then(|value| value.to_str().ok());
    let mut wanted = wanted_range(range, file.size);
    if matches!(fault, Some(FaultKind::IgnoreRange)) {
        wanted = None;
    }
    if let Some(range) = wanted.as_ref().filter(|range| range.start >= file.size) {
        let answer = with(text(416, ""), "content-range", format!("bytes */{}", file.size));
        return with(answer, "x-asked-for", range.start.to_string());
    }
    let content = match state.memory.get(&file.place) {
        Some(bytes) => Content::Memory(bytes.clone()),
        None => match File::open(&file.place) {
            Ok(opened) => Content::Disk(opened),
            Err(_) => return text(500, "the file is gone"),
        },
    };
    let mut range = wanted.clone().unwrap_or(0..file.size);
    if matches!(fault, Some(FaultKind::OtherRange)) && range.end < file.size {
        range = range.start + 1..range.end + 1;
    }
    let claimed_end = range.end;
    if let Some(FaultKind::ShorterBody { by }) = fault {
        range.end = range.end.saturating_sub(by).max(range.start);
    }
    let promised = range.end - range.start;
    let longer = if let Some(FaultKind::LongerBody { by }) = fault { by } else { 0 };
    let body = blocks(state.clone(), content, range.start..range.end + longer, fault, line.clone());
    let mut answer = Response::new(body);
    if wanted.is_some() {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        // A body that is shorter than it should be still says that it is the whole range.
        let sent = format!("bytes {}-{}/{}", range.start, claimed_end - 1, file.size);
        answer = with(answer, "content-range", sent);
    }
    if longer == 0 {
        answer = with(answer, "content-length", promised.to_string());
    }
    with(answer, "accept-ranges", "bytes")
}

/// Where the bytes of a file come from.
enum Content {
    Disk(File),
    Memory(Bytes),
}

impl Content {
    /// `length` bytes from `position`; zeros beyond the end, for bodies that are longer than their file.
    fn block(&self, position: u64, length: u64) -> io::Result<Bytes> {
        let end = position + length;
        if let Content::Memory(bytes) = self
            && end <= bytes.len() as u64
        {
            return Ok(bytes.slice(position as usize..end as usize));
        }
        let mut block = vec![0; length as usize];
        match self {
            Content::Disk(file) => {
                file.read_at(&mut block, position)?;
            }
            Content::Memory(bytes) => {
                let held = bytes.get(position as usize..).unwrap_or_default();
                block[..held.len()].copy_from_slice(held);
            }
        }
        Ok(block.into())
    }
}

/// Where a body is, and what is to happen to it.
struct Sending {
    state: Arc<State>,
    content: Content,
    position: u64,
    start: u64,
    end: u64,
    fault: Option<FaultKind>,
    line: Line,
    /// When the next block may be sent, where the rate is limited.
    due: Instant,
}

fn blocks(
    state: Arc<State>,
    content: Content,
    range: Range<u64>,
    fault: Option<FaultKind>,
    line: Line,
) -> UnsyncBoxBody<Bytes, io::Error> {
    let sending = Sending {
        state,
        content,
        position: range.start,
        start: range.start,
        end: range.end,
        fault,
        line,
        due: Instant::now(),
    };
    let blocks = stream::unfold(sending, |mut sending| async move {
        let block = sending.next().await?;
        Some((block.map(Frame::data), sending))
    });
    BodyExt::boxed_unsync(StreamBody::new(blocks.fuse()))
}

impl Sending {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.position >= self.end {
            return None;
        }
        if let Some(failure) = self.interrupt().await {
            return Some(Err(failure));
        }
        let mut length = BLOCK_BYTES.min(self.end - self.position);
        if let Some(rate) = self.state.settings.connection_rate {
            // A slow body comes in small blocks, so that it is on its way at any moment.
            length = length.min(rate / SLOW_BLOCKS_A_SECOND).max(1);
        }
        if let Some(left) = self.left_before_fault() {
            length = length.min(left.max(1));
        }
        let mut block = match self.content.block(self.position, length) {
            Ok(block) => block,
            Err(error) => return Some(Err(error)),
        };
        if let Some(FaultKind::FlipByte { at }) = self.fault
            && (self.position..self.position + length).contains(&at)
        {
            let mut flipped = block.to_vec();
            flipped[(at - self.position) as usize] ^= 1;
            block = flipped.into();
        }
        self.position += length;
        self.state.count_sent(length);
        if let Some(rate) = self.state.settings.connection_rate {
            self.keep_to(rate, length).await;
        }
        Some(Ok(block))
    }

    /// Waits until `length` more bytes are due at `rate`. What a slow client missed is not made up for later.
    async fn keep_to(&mut self, rate: u64, length: u64) {
        let earliest = Instant::now().checked_sub(LONGEST_BURST).unwrap_or_else(Instant::now);
        self.due = self.due.max(earliest) + Duration::from_secs_f64(length as f64 / rate as f64);
        tokio::time::sleep_until(self.due).await;
    }

    fn left_before_fault(&self) -> Option<u64> {
        match self.fault {
            Some(
                FaultKind::Reset { after } | FaultKind::CloseEarly { after } | FaultKind::Stall { after, .. },
            ) => (self.start + after).checked_sub(self.position),
            _ => None,
        }
    }

    /// The fault that is due before the next block.
    async fn interrupt(&mut self) -> Option<io::Error> {
        let sent = self.position - self.start;
        match self.fault {
            Some(FaultKind::Reset { after }) if sent >= after => {
                self.line.reset_on_close();
                Some(io::Error::other("reset on request"))
            }
            Some(FaultKind::CloseEarly { after }) if sent >= after => {
                Some(io::Error::other("closed on request"))
            }
            Some(FaultKind::Stall { after, pause }) if sent >= after => {
                self.fault = None;
                tokio::time::sleep(pause).await;
                None
            }
            Some(FaultKind::Slow { pause }) => {
                tokio::time::sleep(pause).await;
                None
            }
            _ => None,
        }
    }
}
