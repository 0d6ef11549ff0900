//! The frames of SPDY/3.1 as far as a port-forward needs them; bytes in and out, no socket.
//!
//! Written after the public draft (<https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1>) and what
//! Kubernetes' own server reads. A header block is a zlib stream that lasts as long as the session; ours holds
//! stored blocks alone, so nothing is compressed, and headers that come back say nothing we need and are skipped.

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes before the payload of every frame.
pub(super) const HEAD: usize = 8;
/// Set in the flags of the last frame of a stream.
const FIN: u8 = 1;
const SYN_STREAM: u16 = 1;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GO_AWAY: u16 = 7;
/// "The creator of the stream does not want it any more."
const CANCEL: u32 = 5;
/// The beginning of a zlib stream without a preset dictionary.
const ZLIB: [u8; 2] = [0x78, 0x01];
/// An empty stored block: what is before it can be read without waiting for more.
const FLUSH: [u8; 5] = [0, 0, 0, 0xff, 0xff];

/// What the head of a frame announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    Data {
        stream: u32,
        last: bool,
        length: usize,
    },
    Reset {
        length: usize,
    },
    Ping {
        length: usize,
    },
    GoAway,
    /// Nothing that matters here.
    Other {
        length: usize,
    },
}

/// Reads the head of a frame.
pub(super) fn head(bytes: [u8; HEAD]) -> Frame {
    let [a, b, c, d, flags, e, f, g] = bytes;
    let length = usize::try_from(u32::from_be_bytes([0, e, f, g])).unwrap_or(usize::MAX);
    if a & 0x80 == 0 {
        return Frame::Data { stream: u32::from_be_bytes([a, b, c, d]), last: flags & FIN != 0, length };
    }
    match u16::from_be_bytes([c, d]) {
        RST_STREAM => Frame::Reset { length },
        PING => Frame::Ping { length },
        GO_AWAY => Frame::GoAway,
        _ => Frame::Other { length },
    }
}

/// Whether a side says that it will send no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    More,
    Last,
}

/// Opens the stream `id` with these headers. `first` is the first header block of its session.
pub(super) fn open(out: &mut BytesMut, id: u32, headers: &[(&str, &str)], says: Says, first: bool) {
    let mut block = BytesMut::new();
    block.put_u32(count(headers.len()));
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        block.put_u32(count(text.len()));
        block.put_slice(text.as_bytes());
    }
    let zlib = if first { &ZLIB[..] } else { &[] };
    control(
        out,
        SYN_STREAM,
        if says == Says::Last { FIN } else { 0 },
        10 + zlib.len() + 5 + block.len() + FLUSH.len(),
    );
    out.put_u32(id);
    // No stream it belongs to, the highest priority, no credential.
    out.put_slice(&[0; 6]);
    out.put_slice(zlib);
    let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
    out.put_u8(0);
    out.put_u16_le(length);
    out.put_u16_le(!length);
    out.put_slice(&block);
    out.put_slice(&FLUSH);
}

/// The head of a frame with this many bytes of the stream `id`.
pub(super) fn data_head(id: u32, length: usize, says: Says) -> [u8; HEAD] {
    let [a, b, c, d] = id.to_be_bytes();
    let [_, e, f, g] = count(length).to_be_bytes();
    [a, b, c, d, if says == Says::Last { FIN } else { 0 }, e, f, g]
}

/// Ends the stream `id` in both directions.
pub(super) fn reset(out: &mut BytesMut, id: u32) {
    control(out, RST_STREAM, 0, 8);
    out.put_u32(id);
    out.put_u32(CANCEL);
}

/// Asks for a sign of life, or answers such a question by repeating its id. Ours are odd.
pub(super) fn ping(out: &mut BytesMut, id: u32) {
    control(out, PING, 0, 4);
    out.put_u32(id);
}

/// The stream id or ping id that a payload begins with.
pub(super) fn id(payload: &Bytes) -> Option<u32> {
    payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes) & 0x7fff_ffff)
}

fn control(out: &mut BytesMut, kind: u16, flags: u8, length: usize) {
    out.put_u16(0x8003);
    out.put_u16(kind);
    out.put_u32(u32::from(flags) << 24 | count(length));
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head_of(bytes: &[u8]) -> Frame {
        head(*bytes.first_chunk().expect("a head"))
    }

    #[test]
    fn a_stream_is_opened_with_the_bytes_of_the_draft() {
        let mut out = BytesMut::new();
        open(&mut out, 3, &[("port", "80")], Says::Last, true);
        let expected: &[u8] = &[
            0x80, 3, 0, 1, 1, 0, 0, 40, // SYN_STREAM, FIN, 40 bytes
            0, 0, 0, 3, 0, 0, 0, 0, 0, 0, // stream 3
            0x78, 1, 0, 18, 0, 0xed, 0xff, // zlib, a stored block of 18 bytes
            0, 0, 0, 1, 0, 0, 0, 4, b'p', b'o', b'r', b't', 0, 0, 0, 2, b'8', b'0', //
            0, 0, 0, 0xff, 0xff,
        ];
        assert_eq!(out, expected);
        let first = out.len();
        open(&mut out, 5, &[("port", "80")], Says::More, false);
        assert_eq!(out.len(), 2 * first - ZLIB.len(), "the zlib stream begins once in a session");
    }

    #[test]
    fn heads_are_read_as_they_are_written() {
        assert_eq!(
            head(data_head(7, 65_537, Says::Last)),
            Frame::Data { stream: 7, last: true, length: 65_537 }
        );
        let mut out = BytesMut::new();
        reset(&mut out, 9);
        assert_eq!(head_of(&out), Frame::Reset { length: 8 });
        assert_eq!(id(&out.split_off(HEAD).freeze()), Some(9));
        let mut out = BytesMut::new();
        ping(&mut out, 11);
        assert_eq!(head_of(&out), Frame::Ping { length: 4 });
        assert_eq!(head([0x80, 3, 0, 7, 0, 0, 0, 8]), Frame::GoAway);
        assert_eq!(head([0x80, 3, 0, 2, 0, 0, 1, 0]), Frame::Other { length: 256 });
        assert_eq!(id(&Bytes::from_static(&[1, 2])), None);
    }
}
