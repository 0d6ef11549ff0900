//! What can go wrong between a hub and its clients.

use std::time::Duration;

use super::Host;
use super::content::{Answer, text, with};

/// A fault, where it happens and how often.
#[derive(Debug, Clone)]
pub struct Fault {
    pub host: Host,
    /// Part of the path, empty for every path.
    pub path: String,
    /// How many requests it befalls; `u32::MAX` for all.
    pub times: u32,
    /// How many requests of that path pass first.
    pub after: u32,
    pub kind: FaultKind,
}

/// The faults themselves. Those of a body count bytes from the start of the body that is sent.
#[derive(Debug, Clone)]
pub enum FaultKind {
    /// An answer of this status with these headers instead.
    Status(u16, Vec<(&'static str, String)>),
    /// Bytes, then a TCP reset.
    Reset { after: u64 },
    /// Bytes, then the end of the connection.
    CloseEarly { after: u64 },
    /// Bytes, then nothing for this long.
    Stall { after: u64, pause: Duration },
    /// One bit of the byte at this place of the file is another one.
    FlipByte { at: u64 },
    /// 200 and the whole file, whatever was asked for.
    IgnoreRange,
    /// 206 for a range that was not asked for.
    OtherRange,
    /// More bytes than promised.
    LongerBody { by: u64 },
    /// Fewer bytes than asked for, in an answer that is whole by its own account.
    ShorterBody { by: u64 },
    /// A redirect to this address.
    Redirect(String),
    /// Bytes trickle: this pause before each block.
    Slow { pause: Duration },
    /// The `next` page is the page itself.
    RepeatPage,
    /// Behind the last page there is always another one.
    EndlessPages,
}

impl FaultKind {
    /// The answer that stands in for the real one, for faults of that kind.
    pub(crate) fn answer(&self) -> Option<Answer> {
        match self {
            FaultKind::Status(status, headers) => {
                let answer = text(*status, r#"{"error":"a fault on request"}"#);
                Some(headers.iter().fold(answer, |answer, (name, value)| with(answer, name, value)))
            }
            FaultKind::Redirect(target) => Some(with(text(302, ""), "location", target)),
            _ => None,
        }
    }
}

impl Fault {
    /// A fault of the next request to `host` whose path holds `path`.
    pub fn once(host: Host, path: &str, kind: FaultKind) -> Self {
        Self { host, path: path.to_owned(), times: 1, after: 0, kind }
    }

    /// A fault of every such request.
    pub fn always(host: Host, path: &str, kind: FaultKind) -> Self {
        Self { times: u32::MAX, ..Self::once(host, path, kind) }
    }

    /// This fault, so often.
    pub fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    /// This fault, after so many such requests went well.
    pub fn after(self, after: u32) -> Self {
        Self { after, ..self }
    }

    pub(crate) fn is_due(&mut self, host: Host, path: &str) -> bool {
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
