//! Faults between a hub and its clients.
//! It describes faults; the hosts apply them.

use std::time::Duration;

use super::HubHost;
use super::content::{HubResponse, text_response, with_header};

/// A fault, where it occurs, and how often.
#[derive(Debug, Clone)]
pub struct Fault {
    pub host: HubHost,
    /// Substring of the path; empty for every path.
    pub path: String,
    /// Number of affected requests; `u32::MAX` for all.
    pub times: u32,
    /// Number of matching requests that succeed first.
    pub after: u32,
    pub kind: FaultKind,
}

/// Kinds of faults. Offsets of body faults count from the start of the sent body.
#[derive(Debug, Clone)]
pub enum FaultKind {
    /// A response with this status and these headers instead.
    Status(u16, Vec<(&'static str, String)>),
    /// A response with this status, these headers, and this body instead.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// This `Link` header on a page that is not the last one; `{next}` is the URL of the next page.
    Link(&'static str),
    /// The body is compressed although the request does not allow it.
    Gzip,
    /// 416 for every range.
    RefuseRange,
    /// 206 without `Content-Range`.
    WithoutContentRange,
    /// Bytes, then a TCP reset.
    Reset { after: u64 },
    /// Bytes, then the connection is closed.
    CloseEarly { after: u64 },
    /// Bytes, then no data for this long.
    Stall { after: u64, pause: Duration },
    /// One bit of the byte at this offset of the file is flipped.
    FlipByte { at: u64 },
    /// 200 with the whole file, ignoring the range.
    IgnoreRange,
    /// 206 with a different range than requested.
    OtherRange,
    /// More bytes than announced.
    LongerBody { by: u64 },
    /// Fewer bytes than requested, in a response that is complete according to its headers.
    ShorterBody { by: u64 },
    /// A redirect to this URL.
    Redirect(String),
    /// Slow transfer: this pause before each block.
    Slow { pause: Duration },
    /// The `next` link of the page points to itself.
    RepeatPage,
    /// The last page is always followed by another one.
    EndlessPages,
}

impl FaultKind {
    /// Returns the response that replaces the real one, for faults of that kind.
    pub(crate) fn replacement_response(&self) -> Option<HubResponse> {
        match self {
            FaultKind::Status(status, headers) => {
                Some(with_headers(text_response(*status, r#"{"error":"a fault on request"}"#), headers))
            }
            FaultKind::Answer(status, headers, body) => {
                Some(with_headers(text_response(*status, body.clone()), headers))
            }
            FaultKind::Redirect(target) => Some(with_header(text_response(302, ""), "location", target)),
            _ => None,
        }
    }
}

impl Fault {
    /// Creates a fault for the next request to `host` whose path contains `path`.
    pub fn once(host: HubHost, path: &str, kind: FaultKind) -> Self {
        Self { host, path: path.to_owned(), times: 1, after: 0, kind }
    }

    /// Creates a fault for every such request.
    pub fn always(host: HubHost, path: &str, kind: FaultKind) -> Self {
        Self { times: u32::MAX, ..Self::once(host, path, kind) }
    }

    /// Sets the number of affected requests.
    pub fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    /// Sets the number of requests that succeed first.
    pub fn after(self, after: u32) -> Self {
        Self { after, ..self }
    }

    pub(crate) fn is_due(&mut self, host: HubHost, path: &str) -> bool {
        if self.times == 0 || self.host != host || !path.contains(&self.path) {
            return false;
        }
        if self.after > 0 {
            self.after -= 1;
            return false;
        }
        true
    }
}

fn with_headers(response: HubResponse, headers: &[(&'static str, String)]) -> HubResponse {
    headers.iter().fold(response, |response, (name, value)| with_header(response, name, value))
}
