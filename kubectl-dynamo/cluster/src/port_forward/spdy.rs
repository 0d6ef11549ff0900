//! Encodes and parses the SPDY/3.1 frames that a port-forward uses. It does no I/O.
//!
//! Written from the public draft (<https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1>) and
//! the server in Kubernetes. Header blocks form one zlib stream for the whole session. Ours uses only stored
//! blocks, so nothing is compressed. Headers from the server are skipped because a port-forward does not need
//! them.

use bytes::{BufMut, Bytes, BytesMut};

/// Length of a frame header in bytes.
pub(super) const HEADER_LEN: usize = 8;
/// `FLAG_FIN`: the last frame of a stream in one direction.
const FIN: u8 = 1;
const SYN_STREAM: u16 = 1;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GO_AWAY: u16 = 7;
/// Status code of RST_STREAM: the creator of the stream does not need it anymore.
const CANCEL: u32 = 5;
/// Header of a zlib stream without a preset dictionary.
const ZLIB_HEADER: [u8; 2] = [0x78, 0x01];
/// An empty stored block (a sync flush), so that the receiver can decode everything before it.
const ZLIB_FLUSH: [u8; 5] = [0, 0, 0, 0xff, 0xff];

/// A parsed frame header. Lengths are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    Data {
        stream: u32,
        fin: Fin,
        length: usize,
    },
    Reset {
        length: usize,
    },
    Ping {
        length: usize,
    },
    GoAway,
    /// A frame that a port-forward ignores.
    Other {
        length: usize,
    },
}

/// Parses a frame header.
pub(super) fn parse_header(bytes: [u8; HEADER_LEN]) -> Frame {
    let [a, b, c, d, flags, e, f, g] = bytes;
    let length = usize::try_from(u32::from_be_bytes([0, e, f, g])).unwrap_or(usize::MAX);
    if a & 0x80 == 0 {
        let fin = if flags & FIN != 0 { Fin::Set } else { Fin::Unset };
        return Frame::Data { stream: u32::from_be_bytes([a, b, c, d]), fin, length };
    }
    match u16::from_be_bytes([c, d]) {
        RST_STREAM => Frame::Reset { length },
        PING => Frame::Ping { length },
        GO_AWAY => Frame::GoAway,
        _ => Frame::Other { length },
    }
}

/// Whether `FLAG_FIN` is set: this side sends no more data on the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fin {
    Unset,
    Set,
}

/// The bytes before a header block: all blocks of a session are one zlib stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderBlock {
    /// The first of the session, with the header of the zlib stream.
    First,
    Next,
}

/// Appends a SYN_STREAM frame with these headers to `out`.
pub(super) fn syn_stream(
    out: &mut BytesMut,
    id: u32,
    headers: &[(&str, &str)],
    fin: Fin,
    position: HeaderBlock,
) {
    let mut block = BytesMut::new();
    block.put_u32(to_u32(headers.len()));
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        block.put_u32(to_u32(text.len()));
        block.put_slice(text.as_bytes());
    }
    let zlib = if position == HeaderBlock::First { &ZLIB_HEADER[..] } else { &[] };
    control_header(
        out,
        SYN_STREAM,
        if fin == Fin::Set { FIN } else { 0 },
        10 + zlib.len() + 5 + block.len() + ZLIB_FLUSH.len(),
    );
    out.put_u32(id);
    // No associated stream, the highest priority, and no credential slot.
    out.put_slice(&[0; 6]);
    out.put_slice(zlib);
    let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
    out.put_u8(0);
    out.put_u16_le(length);
    out.put_u16_le(!length);
    out.put_slice(&block);
    out.put_slice(&ZLIB_FLUSH);
}

/// The header of a data frame with `length` bytes for the stream `id`.
pub(super) fn data_header(id: u32, length: usize, fin: Fin) -> [u8; HEADER_LEN] {
    let [a, b, c, d] = id.to_be_bytes();
    let [_, e, f, g] = to_u32(length).to_be_bytes();
    [a, b, c, d, if fin == Fin::Set { FIN } else { 0 }, e, f, g]
}

/// Appends an RST_STREAM frame to `out`, which ends the stream `id` in both directions.
pub(super) fn rst_stream(out: &mut BytesMut, id: u32) {
    control_header(out, RST_STREAM, 0, 8);
    out.put_u32(id);
    out.put_u32(CANCEL);
}

/// Appends a PING frame to `out`. A response repeats the id of the request; ids of the client are odd.
pub(super) fn ping(out: &mut BytesMut, id: u32) {
    control_header(out, PING, 0, 4);
    out.put_u32(id);
}

/// The stream id or ping id at the start of a payload.
pub(super) fn payload_id(payload: &Bytes) -> Option<u32> {
    payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes) & 0x7fff_ffff)
}

fn control_header(out: &mut BytesMut, kind: u16, flags: u8, length: usize) {
    out.put_u16(0x8003);
    out.put_u16(kind);
    out.put_u32(u32::from(flags) << 24 | to_u32(length));
}

fn to_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_header_of(bytes: &[u8]) -> Frame {
        parse_header(*bytes.first_chunk().expect("a complete header"))
    }

    #[test]
    fn syn_stream_matches_the_draft() {
        let mut out = BytesMut::new();
        syn_stream(&mut out, 3, &[("port", "80")], Fin::Set, HeaderBlock::First);
        let expected: &[u8] = &[
            0x80, 3, 0, 1, 1, 0, 0, 40, // SYN_STREAM, FIN, 40 bytes
            0, 0, 0, 3, 0, 0, 0, 0, 0, 0, // stream 3
            0x78, 1, 0, 18, 0, 0xed, 0xff, // zlib, a stored block of 18 bytes
            0, 0, 0, 1, 0, 0, 0, 4, b'p', b'o', b'r', b't', 0, 0, 0, 2, b'8', b'0', //
            0, 0, 0, 0xff, 0xff,
        ];
        assert_eq!(out, expected);
        let first = out.len();
        syn_stream(&mut out, 5, &[("port", "80")], Fin::Unset, HeaderBlock::Next);
        assert_eq!(
            out.len(),
            2 * first - ZLIB_HEADER.len(),
            "only the first header block has the zlib header"
        );
    }

    #[test]
    fn headers_round_trip() {
        assert_eq!(
            parse_header(data_header(7, 65_537, Fin::Set)),
            Frame::Data { stream: 7, fin: Fin::Set, length: 65_537 }
        );
        let mut out = BytesMut::new();
        rst_stream(&mut out, 9);
        assert_eq!(parse_header_of(&out), Frame::Reset { length: 8 });
        assert_eq!(payload_id(&out.split_off(HEADER_LEN).freeze()), Some(9));
        let mut out = BytesMut::new();
        ping(&mut out, 11);
        assert_eq!(parse_header_of(&out), Frame::Ping { length: 4 });
        assert_eq!(parse_header([0x80, 3, 0, 7, 0, 0, 0, 8]), Frame::GoAway);
        assert_eq!(parse_header([0x80, 3, 0, 2, 0, 0, 1, 0]), Frame::Other { length: 256 });
        assert_eq!(payload_id(&Bytes::from_static(&[1, 2])), None);
    }
}
