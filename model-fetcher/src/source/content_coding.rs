//! Reads compressed bodies. Requests ask for none (`Accept-Encoding: identity`), but some proxies compress anyway.
//! A body is decoded in small blocks, so that a small compressed body cannot fill the memory.

use std::io::Write;

use bytes::Bytes;
use flate2::write::{MultiGzDecoder, ZlibDecoder};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use reqwest::header::{CONTENT_ENCODING, HeaderMap};

use super::BodyError;

/// Number of compressed bytes that are decoded at once: at most about 16 MiB result from them.
const BLOCK_BYTES: usize = 16 << 10;

/// The compression of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ContentCoding {
    Identity,
    Gzip,
    Deflate,
    /// One that this program does not read, by its name.
    Unknown(String),
}

impl ContentCoding {
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        let mut names = Vec::new();
        for value in headers.get_all(CONTENT_ENCODING) {
            let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
            names.extend(text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned));
        }
        names.retain(|name| name != "identity");
        match names.as_slice() {
            [] => ContentCoding::Identity,
            [one] if one == "gzip" || one == "x-gzip" => ContentCoding::Gzip,
            [one] if one == "deflate" => ContentCoding::Deflate,
            _ => ContentCoding::Unknown(names.join(", ")),
        }
    }
}

type Segments = BoxStream<'static, Result<Bytes, BodyError>>;

/// Returns the decoded body. A body with an unknown coding is returned as it is.
pub(crate) fn decode(coding: &ContentCoding, segments: Segments) -> Segments {
    let decoder = match coding {
        ContentCoding::Identity | ContentCoding::Unknown(_) => return segments,
        ContentCoding::Gzip => Decoder::Gzip(MultiGzDecoder::new(Vec::new())),
        ContentCoding::Deflate => Decoder::Deflate(ZlibDecoder::new(Vec::new())),
    };
    let body = CompressedBody { segments, pending: Bytes::new(), decoder, has_ended: false };
    stream::unfold(body, |mut body| async move { Some((body.next().await?, body)) }).boxed()
}

enum Decoder {
    Gzip(MultiGzDecoder<Vec<u8>>),
    Deflate(ZlibDecoder<Vec<u8>>),
}

impl Decoder {
    fn decode(&mut self, block: &[u8]) -> std::io::Result<Vec<u8>> {
        let writer: &mut dyn Write = match self {
            Decoder::Gzip(decoder) => decoder,
            Decoder::Deflate(decoder) => decoder,
        };
        writer.write_all(block)?;
        writer.flush()?;
        Ok(self.take_decoded())
    }

    fn finish(&mut self) -> std::io::Result<Vec<u8>> {
        match self {
            Decoder::Gzip(decoder) => decoder.try_finish()?,
            Decoder::Deflate(decoder) => decoder.try_finish()?,
        }
        Ok(self.take_decoded())
    }

    fn take_decoded(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Decoder::Gzip(decoder) => decoder.get_mut(),
            Decoder::Deflate(decoder) => decoder.get_mut(),
        })
    }
}

struct CompressedBody {
    segments: Segments,
    pending: Bytes,
    decoder: Decoder,
    has_ended: bool,
}

impl CompressedBody {
    /// Returns the next decoded bytes, or `None` at the end.
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            if self.has_ended {
                return None;
            }
            let decoded = if self.pending.is_empty() {
                match self.segments.next().await {
                    Some(Ok(segment)) => {
                        self.pending = segment;
                        continue;
                    }
                    Some(Err(error)) => {
                        self.has_ended = true;
                        return Some(Err(error));
                    }
                    None => {
                        self.has_ended = true;
                        self.decoder.finish()
                    }
                }
            } else {
                let block = self.pending.split_to(BLOCK_BYTES.min(self.pending.len()));
                self.decoder.decode(&block)
            };
            match decoded {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Some(Ok(bytes.into())),
                Err(error) => {
                    self.has_ended = true;
                    return Some(Err(BodyError::InvalidCompression(error)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    fn coding(values: &[&'static str]) -> ContentCoding {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_ENCODING, (*value).parse().unwrap());
        }
        ContentCoding::from_headers(&headers)
    }

    #[test]
    fn coding_is_read_from_headers() {
        assert_eq!(coding(&[]), ContentCoding::Identity);
        assert_eq!(coding(&["identity"]), ContentCoding::Identity);
        assert_eq!(coding(&["GZIP"]), ContentCoding::Gzip);
        assert_eq!(coding(&["x-gzip"]), ContentCoding::Gzip);
        assert_eq!(coding(&["deflate"]), ContentCoding::Deflate);
        assert_eq!(coding(&["br"]), ContentCoding::Unknown("br".into()));
        assert_eq!(coding(&["gzip", "br"]), ContentCoding::Unknown("gzip, br".into()));
    }

    async fn decoded(coding: ContentCoding, body: Vec<u8>) -> Result<Vec<u8>, BodyError> {
        let segments: Vec<Result<Bytes, BodyError>> =
            body.chunks(1000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let parts: Vec<Result<Bytes, BodyError>> =
            decode(&coding, stream::iter(segments).boxed()).collect().await;
        Ok(parts.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
    }

    #[tokio::test]
    async fn bodies_are_decoded() {
        let content: Vec<u8> = (0..200_000u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&content).unwrap();
        let gzip = gzip.finish().unwrap();
        assert!(decoded(ContentCoding::Gzip, gzip.clone()).await.unwrap() == content);
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(&content).unwrap();
        assert!(decoded(ContentCoding::Deflate, zlib.finish().unwrap()).await.unwrap() == content);
        assert!(decoded(ContentCoding::Identity, content.clone()).await.unwrap() == content);
        let truncated = decoded(ContentCoding::Gzip, gzip[..gzip.len() / 2].to_vec()).await;
        assert!(truncated.is_err(), "{:?}", truncated.map(|bytes| bytes.len()));
        let invalid = decoded(ContentCoding::Gzip, b"not gzip".to_vec()).await;
        assert!(matches!(invalid, Err(BodyError::InvalidCompression(_))), "{invalid:?}");
    }
}
