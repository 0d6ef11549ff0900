//! Server-sent events from bytes as they arrive. Several may share one read and one may need several, so lines
//! are cut from the bytes and only whole lines become text.

/// What has arrived and is not yet an event.
#[derive(Debug, Default)]
pub(super) struct EventStream {
    bytes: Vec<u8>,
    data: Option<String>,
}

impl EventStream {
    /// Takes bytes; gives the data of every event they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        self.bytes.extend_from_slice(bytes);
        let Some(end) = self.bytes.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let rest = self.bytes.split_off(end + 1);
        let whole = std::mem::replace(&mut self.bytes, rest);
        whole.split_inclusive(|byte| *byte == b'\n').filter_map(|line| self.line(line)).collect()
    }

    /// The event that the end of the stream completes, if its last line break was left out.
    pub(super) fn finish(mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.bytes);
        self.line(&rest).or(self.data)
    }

    fn line(&mut self, line: &[u8]) -> Option<String> {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches(['\n', '\r']);
        if text.is_empty() {
            return self.data.take();
        }
        // Comments keep the connection alive; names and ids of events say nothing here.
        if let Some(data) = text.strip_prefix("data:") {
            let data = data.strip_prefix(' ').unwrap_or(data);
            match &mut self.data {
                Some(before) => {
                    before.push('\n');
                    before.push_str(data);
                }
                None => self.data = Some(data.to_owned()),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(reads: &[&[u8]]) -> Vec<String> {
        let mut stream = EventStream::default();
        let mut all: Vec<String> = reads.iter().flat_map(|read| stream.push(read)).collect();
        all.extend(stream.finish());
        all
    }

    #[test]
    fn any_cut_of_the_bytes_gives_the_same_events() {
        let bytes = "data: {\"a\":\"ä…\"}\n\n:\n\ndata: [DONE]\r\n\r\n".as_bytes();
        let whole = events(&[bytes]);
        assert_eq!(whole, ["{\"a\":\"ä…\"}", "[DONE]"]);
        for cut in 0..bytes.len() {
            assert_eq!(events(&[&bytes[..cut], &bytes[cut..]]), whole, "cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(events(&single), whole);
    }

    #[test]
    fn lines_of_one_event_belong_together_and_the_last_break_may_lack() {
        assert_eq!(events(&[b"event: x\ndata: a\ndata: b\n\ndata:c"]), ["a\nb", "c"]);
    }
}
