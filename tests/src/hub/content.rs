//! Response bodies: files in blocks, ranges, and body faults.
//! Faults of a body are injected here, between two blocks.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream::{self, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, RANGE};
use hyper::{Request, Response, StatusCode};
use tokio::time::Instant;

use super::repository::{HubFile, Repository};
use super::server::ConnectionHandle;
use super::{FaultKind, HubState};

pub(crate) type HubResponse = Response<UnsyncBoxBody<Bytes, io::Error>>;

const BLOCK_BYTES: u64 = 256 << 10;
/// Minimum number of blocks per second if the rate is limited.
const SLOW_BLOCKS_A_SECOND: u64 = 5;
/// How far a paced body may fall behind its rate and still catch up.
const LONGEST_BURST: Duration = Duration::from_millis(20);

/// Returns a short text response.
pub(crate) fn text_response(status: u16, body: impl Into<Bytes>) -> HubResponse {
    let mut response = Response::new(Full::new(body.into()).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// Adds a header; an invalid one is dropped.
pub(crate) fn with_header(
    mut response: HubResponse,
    name: &'static str,
    value: impl AsRef<str>,
) -> HubResponse {
    if let Ok(value) = value.as_ref().parse() {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Returns the response with a compressed body.
pub(crate) async fn compressed(response: HubResponse) -> HubResponse {
    let (mut parts, body) = response.into_parts();
    let content = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(&content);
    let body = encoder.finish().unwrap_or_default();
    parts.headers.remove(CONTENT_LENGTH);
    let response =
        Response::from_parts(parts, Full::new(body.into()).map_err(|never| match never {}).boxed_unsync());
    with_header(response, "content-encoding", "gzip")
}

/// Parses `Range: bytes=a-b` or `bytes=a-` within `size`.
pub(crate) fn requested_range(header: Option<&str>, size: u64) -> Option<Range<u64>> {
    let (first, last) = header?.strip_prefix("bytes=")?.split_once('-')?;
    let first = first.parse().ok()?;
    let end = if last.is_empty() { size } else { last.parse::<u64>().ok()?.checked_add(1)?.min(size) };
    Some(first..end)
}

/// Reads the content of every file of `repositories`.
pub(crate) fn read_all(repositories: &[Repository]) -> io::Result<HashMap<PathBuf, Bytes>> {
    let files = repositories.iter().flat_map(|repository| repository.commits.values().flatten());
    files.map(|file| Ok((file.disk_path.clone(), std::fs::read(&file.disk_path)?.into()))).collect()
}

/// Returns a response with a file or the requested range of it.
pub(crate) fn file_response(
    request: &Request<Incoming>,
    state: &Arc<HubState>,
    file: &HubFile,
    fault: Option<FaultKind>,
    connection: &ConnectionHandle,
) -> HubResponse {
    let range = request.headers().get(RANGE).and_then(|value| value.to_str().ok());
    let mut requested = requested_range(range, file.size);
    if matches!(fault, Some(FaultKind::IgnoreRange)) {
        requested = None;
    }
    let is_refused = matches!(fault, Some(FaultKind::RefuseRange));
    if let Some(range) = requested.as_ref().filter(|range| is_refused || range.start >= file.size) {
        let response = with_header(text_response(416, ""), "content-range", format!("bytes */{}", file.size));
        return with_header(response, "x-asked-for", range.start.to_string());
    }
    let content = match state.cached_content.get(&file.disk_path) {
        Some(bytes) => FileContent::Memory(bytes.clone()),
        None => match File::open(&file.disk_path) {
            Ok(opened) => FileContent::Disk(opened),
            Err(_) => return text_response(500, "the file was removed"),
        },
    };
    let mut range = requested.clone().unwrap_or(0..file.size);
    if matches!(fault, Some(FaultKind::OtherRange)) && range.end < file.size {
        range = range.start + 1..range.end + 1;
    }
    let declared_end = range.end;
    if let Some(FaultKind::ShorterBody { by }) = fault {
        range.end = range.end.saturating_sub(by).max(range.start);
    }
    let declared_length = range.end - range.start;
    let has_content_range = !matches!(fault, Some(FaultKind::WithoutContentRange));
    let extra_bytes = if let Some(FaultKind::LongerBody { by }) = fault { by } else { 0 };
    let body =
        body_stream(state.clone(), content, range.start..range.end + extra_bytes, fault, connection.clone());
    let mut response = Response::new(body);
    if requested.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        // A body that is too short still reports the complete range.
        let sent = format!("bytes {}-{}/{}", range.start, declared_end - 1, file.size);
        if has_content_range {
            response = with_header(response, "content-range", sent);
        }
    }
    if extra_bytes == 0 {
        response = with_header(response, "content-length", declared_length.to_string());
    }
    with_header(response, "accept-ranges", "bytes")
}

/// Source of the bytes of a file.
enum FileContent {
    Disk(File),
    Memory(Bytes),
}

impl FileContent {
    /// Returns `length` bytes from `position`; zeros beyond the end, for bodies that are longer than their
    /// file.
    fn block(&self, position: u64, length: u64) -> io::Result<Bytes> {
        let end = position + length;
        if let FileContent::Memory(bytes) = self
            && end <= bytes.len() as u64
        {
            return Ok(bytes.slice(position as usize..end as usize));
        }
        let mut block = vec![0; length as usize];
        match self {
            FileContent::Disk(file) => {
                file.read_at(&mut block, position)?;
            }
            FileContent::Memory(bytes) => {
                let available = bytes.get(position as usize..).unwrap_or_default();
                block[..available.len()].copy_from_slice(available);
            }
        }
        Ok(block.into())
    }
}

/// Position in a body and its pending fault.
struct BodyStream {
    state: Arc<HubState>,
    content: FileContent,
    position: u64,
    start: u64,
    end: u64,
    fault: Option<FaultKind>,
    connection: ConnectionHandle,
    /// When the next block may be sent, if the rate is limited.
    next_block_at: Instant,
}

fn body_stream(
    state: Arc<HubState>,
    content: FileContent,
    range: Range<u64>,
    fault: Option<FaultKind>,
    connection: ConnectionHandle,
) -> UnsyncBoxBody<Bytes, io::Error> {
    let body = BodyStream {
        state,
        content,
        position: range.start,
        start: range.start,
        end: range.end,
        fault,
        connection,
        next_block_at: Instant::now(),
    };
    let blocks = stream::unfold(body, |mut body| async move {
        let block = body.next_block().await?;
        Some((block.map(Frame::data), body))
    });
    BodyExt::boxed_unsync(StreamBody::new(blocks.fuse()))
}

impl BodyStream {
    async fn next_block(&mut self) -> Option<io::Result<Bytes>> {
        if self.position >= self.end {
            return None;
        }
        if let Some(failure) = self.apply_due_fault().await {
            return Some(Err(failure));
        }
        let mut length = BLOCK_BYTES.min(self.end - self.position);
        if let Some(rate) = self.state.settings.connection_rate {
            // A slow body is sent in small blocks, so that it is in transit at any time.
            length = length.min(rate / SLOW_BLOCKS_A_SECOND).max(1);
        }
        if let Some(remaining) = self.bytes_before_fault() {
            length = length.min(remaining.max(1));
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
        self.state.add_sent_bytes(length);
        if let Some(rate) = self.state.settings.connection_rate {
            self.wait_for_rate(rate, length).await;
        }
        Some(Ok(block))
    }

    /// Waits until `length` more bytes are due at `rate`. Time lost to a slow client is not made up later.
    async fn wait_for_rate(&mut self, rate: u64, length: u64) {
        let earliest = Instant::now().checked_sub(LONGEST_BURST).unwrap_or_else(Instant::now);
        self.next_block_at =
            self.next_block_at.max(earliest) + Duration::from_secs_f64(length as f64 / rate as f64);
        tokio::time::sleep_until(self.next_block_at).await;
    }

    fn bytes_before_fault(&self) -> Option<u64> {
        match self.fault {
            Some(
                FaultKind::Reset { after } | FaultKind::CloseEarly { after } | FaultKind::Stall { after, .. },
            ) => (self.start + after).checked_sub(self.position),
            _ => None,
        }
    }

    /// Returns the fault before the next block, if any.
    async fn apply_due_fault(&mut self) -> Option<io::Error> {
        let sent = self.position - self.start;
        match self.fault {
            Some(FaultKind::Reset { after }) if sent >= after => {
                self.connection.reset_on_close();
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
