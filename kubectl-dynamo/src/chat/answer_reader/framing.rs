//! Splits the bytes of a response into frames: server-sent events, error lines, and JSON values without an event
//! around them. It does not know what a frame means, and how the bytes are cut into reads does not matter.
//!
//! It differs from the specification of server-sent events where real endpoints do: `error:` is a field, a bare
//! JSON value is a frame, and the last event counts without the empty line after it.

use serde_json::Value;

/// The largest event, line, or JSON value. A streamed event has some hundred bytes.
pub(super) const MAX_FRAME_BYTES: usize = 16 << 20;

/// The byte order mark, which may precede a stream.
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// One unit of a response.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ResponseFrame {
    /// A server-sent event. The name is empty if the stream does not set one.
    Event { name: String, data: String },
    /// A line `error: …`, as llama.cpp writes it.
    ErrorLine(String),
    /// A JSON object or array that is not in an event.
    Json(Value),
    /// Text that is none of these, such as a line of a web page.
    Other(String),
}

/// A frame is larger than [`MAX_FRAME_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameTooLarge;

/// What the bytes at the current position belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Scope {
    /// The start of a line, where a JSON value can begin.
    #[default]
    LineStart,
    Line,
    JsonValue {
        depth: usize,
        in_string: bool,
        escaped: bool,
    },
}

/// The bytes of an incomplete frame.
#[derive(Debug, Default)]
pub(super) struct Framer {
    scope: Scope,
    /// The bytes of the current line or JSON value.
    buffer: Vec<u8>,
    /// The name and data lines of the current event.
    name: Option<String>,
    data: Option<String>,
    /// The last byte was a carriage return, so a line feed belongs to it.
    after_carriage_return: bool,
    /// How many bytes of the byte order mark were read; 3 after the start of the stream.
    mark_bytes: usize,
}

impl Framer {
    /// Adds bytes and appends the frames that they complete.
    ///
    /// # Errors
    /// A frame is too large. Nothing can be read after this.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        frames: &mut Vec<ResponseFrame>,
    ) -> Result<(), FrameTooLarge> {
        for byte in bytes {
            if self.mark_bytes < BYTE_ORDER_MARK.len() {
                if *byte == BYTE_ORDER_MARK[self.mark_bytes] {
                    self.mark_bytes += 1;
                    continue;
                }
                let start = &BYTE_ORDER_MARK[..self.mark_bytes];
                self.mark_bytes = BYTE_ORDER_MARK.len();
                for byte in start {
                    self.push_byte(*byte, frames);
                }
            }
            self.push_byte(*byte, frames);
            if self.buffer.len() + self.data.as_ref().map_or(0, String::len) > MAX_FRAME_BYTES {
                return Err(FrameTooLarge);
            }
        }
        Ok(())
    }

    /// Appends the frame that the end of the input completes. Returns whether a JSON value is cut off.
    pub(super) fn finish(&mut self, frames: &mut Vec<ResponseFrame>) -> bool {
        let is_cut = match self.scope {
            Scope::JsonValue { .. } => {
                let text = String::from_utf8_lossy(&self.buffer).into_owned();
                let is_cut = serde_json::from_str::<Value>(&text).is_err_and(|error| error.is_eof());
                if !is_cut {
                    frames.push(ResponseFrame::Other(text));
                }
                is_cut
            }
            Scope::LineStart | Scope::Line => {
                self.end_line(frames);
                false
            }
        };
        self.dispatch(frames);
        *self = Self::default();
        is_cut
    }

    fn push_byte(&mut self, byte: u8, frames: &mut Vec<ResponseFrame>) {
        let after_carriage_return = std::mem::take(&mut self.after_carriage_return);
        match &mut self.scope {
            Scope::JsonValue { depth, in_string, escaped } => {
                let ends = match byte {
                    _ if std::mem::take(escaped) => false,
                    b'\\' if *in_string => {
                        *escaped = true;
                        false
                    }
                    b'"' => {
                        *in_string = !*in_string;
                        false
                    }
                    b'{' | b'[' if !*in_string => {
                        *depth += 1;
                        false
                    }
                    b'}' | b']' if !*in_string => {
                        *depth -= 1;
                        *depth == 0
                    }
                    _ => false,
                };
                self.buffer.push(byte);
                if ends {
                    match serde_json::from_str(&String::from_utf8_lossy(&self.buffer)) {
                        Ok(value) => {
                            frames.push(ResponseFrame::Json(value));
                            self.buffer.clear();
                            self.scope = Scope::LineStart;
                        }
                        // It is text that begins with a bracket, up to the end of the line.
                        Err(_) => self.scope = Scope::Line,
                    }
                }
            }
            _ if byte == b'\n' && after_carriage_return => {}
            _ if byte == b'\n' || byte == b'\r' => {
                self.after_carriage_return = byte == b'\r';
                self.end_line(frames);
            }
            Scope::LineStart if byte == b'{' || byte == b'[' => {
                self.dispatch(frames);
                self.scope = Scope::JsonValue { depth: 1, in_string: false, escaped: false };
                self.buffer.push(byte);
            }
            _ => {
                self.scope = Scope::Line;
                self.buffer.push(byte);
            }
        }
    }

    /// Reads the line in the buffer. An empty line ends an event.
    fn end_line(&mut self, frames: &mut Vec<ResponseFrame>) {
        self.scope = Scope::LineStart;
        let line = std::mem::take(&mut self.buffer);
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            return self.dispatch(frames);
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "event" => self.name = Some(value.to_owned()),
            "error" => frames.push(ResponseFrame::ErrorLine(value.to_owned())),
            // A comment keeps the connection alive. Ids and reconnection times are not used.
            "" | "id" | "retry" => {}
            _ if line.trim().is_empty() => {}
            _ => frames.push(ResponseFrame::Other(line.into_owned())),
        }
    }

    fn dispatch(&mut self, frames: &mut Vec<ResponseFrame>) {
        let (name, data) = (self.name.take(), self.data.take());
        if name.is_some() || data.is_some() {
            frames.push(ResponseFrame::Event {
                name: name.unwrap_or_default(),
                data: data.unwrap_or_default(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn frames(bytes: &[u8]) -> Vec<ResponseFrame> {
        let (mut framer, mut frames) = (Framer::default(), Vec::new());
        framer.push(bytes, &mut frames).expect("the frames are small");
        framer.finish(&mut frames);
        frames
    }

    fn event(data: &str) -> ResponseFrame {
        ResponseFrame::Event { name: String::new(), data: data.into() }
    }

    #[test]
    fn every_line_ending_and_a_byte_order_mark_are_accepted() {
        for text in ["data: a\n\ndata: b", "data:a\r\n\r\ndata:b\r\n", "data: a\r\rdata: b\r\r"] {
            assert_eq!(frames(text.as_bytes()), [event("a"), event("b")], "{text:?}");
            assert_eq!(frames(format!("\u{feff}{text}").as_bytes()), [event("a"), event("b")], "{text:?}");
        }
        assert_eq!(frames(b"\xef\xbbx\n"), [ResponseFrame::Other("\u{fffd}x".into())]);
    }

    #[test]
    fn data_lines_of_one_event_are_joined() {
        assert_eq!(
            frames(b": comment\nid: 1\nevent: x\ndata: a\ndata\ndata: b\n\n"),
            [ResponseFrame::Event { name: "x".into(), data: "a\n\nb".into() }]
        );
    }

    #[test]
    fn error_lines_json_values_and_other_text_are_frames() {
        assert_eq!(
            frames(b"data: a\nerror: {\"code\":400}\n\n{\n \"b\": \"}\\\"\" }\n{\"c\":1} upstream failed\n"),
            [
                ResponseFrame::ErrorLine("{\"code\":400}".into()),
                event("a"),
                ResponseFrame::Json(json!({ "b": "}\"" })),
                ResponseFrame::Json(json!({ "c": 1 })),
                ResponseFrame::Other(" upstream failed".into()),
            ]
        );
        assert_eq!(
            frames(b"[1]{oops}"),
            [ResponseFrame::Json(json!([1])), ResponseFrame::Other("{oops}".into())]
        );
    }

    #[test]
    fn cut_json_is_recognized() {
        for (text, is_cut) in [("{\"a\": 1", true), ("[", true), ("{oops", false), ("data: a", false)] {
            let (mut framer, mut frames) = (Framer::default(), Vec::new());
            framer.push(text.as_bytes(), &mut frames).expect("the frames are small");
            assert_eq!(framer.finish(&mut frames), is_cut, "{text}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        for start in ["data: ", "x", "{\""] {
            let (mut framer, mut frames) = (Framer::default(), Vec::new());
            framer.push(start.as_bytes(), &mut frames).expect("the start is small");
            let block = vec![b'a'; 1 << 20];
            let failed = (0..20).find(|_| framer.push(&block, &mut frames).is_err());
            assert_eq!(failed, Some(15), "{start}");
        }
        let (mut framer, mut frames) = (Framer::default(), Vec::new());
        let line = format!("data: {}\n", "a".repeat(1 << 20));
        let failed = (0..20).find(|_| framer.push(line.as_bytes(), &mut frames).is_err());
        assert_eq!(failed, Some(15));
    }
}
