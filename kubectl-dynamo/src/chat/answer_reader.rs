//! Reads the answer to a chat completion from the bytes of a response. It is the only place that decides whether an
//! answer is complete. It does no I/O, does not know the time, and does not print.
//!
//! What ends an answer, and how, is the table in [`end_for`]: anything that does not prove a complete answer is an
//! error. The bytes can be a stream of server-sent events, JSON lines, or one JSON object, whatever the content type
//! says.

mod framing;
#[cfg(test)]
mod fuzz_tests;

use std::time::Duration;

use serde_json::Value;

use super::chunk::{Chunk, ChunkScope, ParsedEvent, parse_event};
use super::error_message::{error_message, known_error, shorten};
use framing::{FrameTooLarge, Framer, MAX_FRAME_BYTES, ResponseFrame};

/// The longest answer, which bounds the memory of the callers that collect it.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// How an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AnswerEnd {
    /// The answer is complete.
    Complete,
    /// The endpoint reported an error, or the stream became unreadable. Contains the words.
    Failed(String),
    /// The connection was closed in the middle of the answer.
    Interrupted,
    /// The response is not a chat completion. Contains the reason.
    NotAnAnswer(String),
}

/// How the input ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InputEnd {
    /// The endpoint ended the response.
    Closed,
    /// The connection broke in the middle of the response.
    Broken,
    /// Nothing arrived for this time.
    Silent(Duration),
}

/// The event that ends an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cause {
    /// `[DONE]`
    DoneMarker,
    /// An error object, error event, error line, or a finish reason that is a failure.
    Error(String),
    /// An event that is not valid JSON.
    Unreadable(String),
    /// A frame or the answer is larger than the limit, in bytes.
    TooLarge(usize),
    Input(InputEnd),
}

/// What was received before an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Progress {
    #[default]
    Nothing,
    /// A part of the answer.
    Part,
    /// A finish reason, or a body with the complete answer.
    Finished,
}

/// The table of the ends.
fn end_for(cause: Cause, progress: Progress, unknown: Option<&str>) -> AnswerEnd {
    let not_an_answer = |text: Option<&str>| {
        let text = text.map(|text| format!(": {text}")).unwrap_or_default();
        AnswerEnd::NotAnAnswer(format!("the response does not contain an answer{text}"))
    };
    match (cause, progress) {
        (Cause::Error(words), _) => AnswerEnd::Failed(words),
        (Cause::TooLarge(limit), _) => {
            AnswerEnd::Failed(format!("the endpoint sent more than {} MiB at once", limit >> 20))
        }
        (Cause::Unreadable(text), Progress::Nothing) => {
            AnswerEnd::NotAnAnswer(format!("an event is not valid JSON: {text}"))
        }
        (Cause::Unreadable(text), _) => AnswerEnd::Failed(format!("an event is not valid JSON: {text}")),
        (Cause::DoneMarker | Cause::Input(_), Progress::Finished) => AnswerEnd::Complete,
        // Some servers do not send a finish reason. Then anything unknown can be the reason why the answer ended.
        (Cause::DoneMarker, Progress::Part) => match unknown {
            None => AnswerEnd::Complete,
            Some(text) => AnswerEnd::Failed(format!("the answer does not have a finish reason: {text}")),
        },
        (Cause::DoneMarker, Progress::Nothing) => not_an_answer(unknown),
        (Cause::Input(InputEnd::Closed), Progress::Nothing) if unknown.is_some() => not_an_answer(unknown),
        (Cause::Input(InputEnd::Closed | InputEnd::Broken), _) => AnswerEnd::Interrupted,
        (Cause::Input(InputEnd::Silent(time)), _) => {
            AnswerEnd::Failed(format!("no data for {} s", time.as_secs_f64()))
        }
    }
}

/// The state of one answer.
#[derive(Debug, Default)]
pub(super) struct AnswerReader {
    framer: Framer,
    progress: Progress,
    /// The first text or object that is neither a chunk nor an error.
    unknown: Option<String>,
    answer_bytes: usize,
    end: Option<AnswerEnd>,
    /// Whether `[DONE]` ended the answer.
    pub(super) has_done_marker: bool,
}

impl AnswerReader {
    /// Adds bytes of the response and returns the chunks that they complete. Bytes after the end are ignored.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Chunk> {
        let mut frames = Vec::new();
        if self.end.is_some() {
            return Vec::new();
        }
        let result = self.framer.push(bytes, &mut frames);
        let chunks = self.read_frames(frames, None);
        if result == Err(FrameTooLarge) {
            self.finish_with(Cause::TooLarge(MAX_FRAME_BYTES));
        }
        chunks
    }

    /// Reports the end of the response and returns the last chunks. The end of the answer is known after this.
    pub(super) fn finish(&mut self, input: InputEnd) -> Vec<Chunk> {
        let mut frames = Vec::new();
        let is_cut = self.end.is_none() && self.framer.finish(&mut frames);
        let chunks = self.read_frames(frames, Some(input));
        // A body that is cut off is not a complete response, also if the connection was closed in order.
        let input = if is_cut && input == InputEnd::Closed { InputEnd::Broken } else { input };
        self.finish_with(Cause::Input(input));
        chunks
    }

    /// How the answer ended; `None` while more bytes are expected.
    pub(super) fn end(&self) -> Option<&AnswerEnd> {
        self.end.as_ref()
    }

    /// Whether the endpoint reported a finish reason. Only statistics follow.
    pub(super) fn is_finished(&self) -> bool {
        self.progress == Progress::Finished
    }

    fn finish_with(&mut self, cause: Cause) {
        if self.end.is_none() {
            self.has_done_marker = cause == Cause::DoneMarker;
            self.end = Some(end_for(cause, self.progress, self.unknown.as_deref()));
        }
    }

    /// Reads frames. If the input has an `end`, the last event can be cut off.
    fn read_frames(&mut self, frames: Vec<ResponseFrame>, end: Option<InputEnd>) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        for frame in frames {
            if self.end.is_some() {
                break;
            }
            match frame {
                ResponseFrame::ErrorLine(text) => self.finish_with(Cause::Error(known_error(&text))),
                ResponseFrame::Event { name, data } if name == "error" => {
                    self.finish_with(Cause::Error(known_error(&data)));
                }
                ResponseFrame::Event { name, data } => {
                    if let Err(error) = self.read_event(&name, &data, &mut chunks)
                        && !(end.is_some() && error.is_eof())
                    {
                        self.finish_with(Cause::Unreadable(shorten(data.trim())));
                    }
                }
                ResponseFrame::Json(value) => self.read_unnamed_json(&value, &mut chunks),
                ResponseFrame::Other(text) => self.note_unknown(&text),
            }
        }
        chunks
    }

    /// Reads the data of an event: JSON values, `[DONE]`, or both. Events with a name of their own, such as Dynamo's
    /// annotations, can contain anything.
    fn read_event(&mut self, name: &str, data: &str, chunks: &mut Vec<Chunk>) -> serde_json::Result<()> {
        let data = data.trim();
        let (values, is_done) = match data.strip_suffix("[DONE]") {
            Some(values) => (values, true),
            None => (data, false),
        };
        let is_named = !["", "message"].contains(&name);
        for value in serde_json::Deserializer::from_str(values).into_iter::<Value>() {
            match value {
                Ok(value) if !is_named => self.read_unnamed_json(&value, chunks),
                Ok(value) if !value.is_object() => {}
                Ok(value) => _ = self.read_json(&value, chunks),
                Err(_) if is_named => break,
                Err(error) => return Err(error),
            }
            if self.end.is_some() {
                return Ok(());
            }
        }
        if is_done {
            self.finish_with(Cause::DoneMarker);
        }
        Ok(())
    }

    /// Reads one JSON value of an event without a name of its own, where every value means something.
    fn read_unnamed_json(&mut self, value: &Value, chunks: &mut Vec<Chunk>) {
        if !self.read_json(value, chunks) && !value.is_null() {
            self.note_unknown(&value.to_string());
        }
    }

    /// Reads one JSON value. Returns whether it is a chunk or an error.
    fn read_json(&mut self, value: &Value, chunks: &mut Vec<Chunk>) -> bool {
        if let Some(words) = error_message(value) {
            self.finish_with(Cause::Error(words));
            return true;
        }
        let Some(ParsedEvent { chunk, scope, error }) = parse_event(value) else { return false };
        self.progress = match (scope, &chunk.finish_reason) {
            (ChunkScope::Statistics, _) => self.progress,
            (ChunkScope::Whole, _) | (ChunkScope::Part, Some(_)) => Progress::Finished,
            (ChunkScope::Part, None) => self.progress.max(Progress::Part),
        };
        let texts = [&chunk.content, &chunk.reasoning].into_iter().flatten().map(String::len);
        let arguments = chunk.tool_calls.iter().map(|call| call.arguments.len());
        self.answer_bytes += texts.chain(arguments).sum::<usize>();
        // The text that came together with an error is a part of the answer.
        chunks.push(chunk);
        if let Some(words) = error {
            self.finish_with(Cause::Error(words));
        } else if self.answer_bytes > MAX_ANSWER_BYTES {
            self.finish_with(Cause::TooLarge(MAX_ANSWER_BYTES));
        }
        true
    }

    fn note_unknown(&mut self, text: &str) {
        self.unknown.get_or_insert_with(|| shorten(text.trim()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of the answer and its end.
    fn read(body: &str) -> (String, AnswerEnd) {
        read_until(body, InputEnd::Closed)
    }

    fn read_until(body: &str, input: InputEnd) -> (String, AnswerEnd) {
        let mut reader = AnswerReader::default();
        let mut chunks = reader.push(body.as_bytes());
        chunks.extend(reader.finish(input));
        let text = chunks.into_iter().filter_map(|chunk| chunk.content).collect();
        (text, reader.end().expect("the input has ended").clone())
    }

    fn failed(words: &str) -> AnswerEnd {
        AnswerEnd::Failed(words.into())
    }

    const HEL: &str =
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"},\"finish_reason\":null}]}\n\n";
    const STOP: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}\n\n";
    const DONE: &str = "data: [DONE]\n\n";

    #[test]
    fn every_end_of_an_answer_is_in_the_table() {
        let silent = InputEnd::Silent(Duration::from_millis(200));
        let no_answer = "the response does not contain an answer";
        for (received, done, closed, broken, silence) in [
            (
                "",
                AnswerEnd::NotAnAnswer(no_answer.into()),
                AnswerEnd::Interrupted,
                AnswerEnd::Interrupted,
                failed("no data for 0.2 s"),
            ),
            (
                "<html>a page</html>\n",
                AnswerEnd::NotAnAnswer(format!("{no_answer}: <html>a page</html>")),
                AnswerEnd::NotAnAnswer(format!("{no_answer}: <html>a page</html>")),
                AnswerEnd::Interrupted,
                failed("no data for 0.2 s"),
            ),
            (
                HEL,
                AnswerEnd::Complete,
                AnswerEnd::Interrupted,
                AnswerEnd::Interrupted,
                failed("no data for 0.2 s"),
            ),
            (
                &format!("{HEL}data: {{\"state\": \"lost\"}}\n\n"),
                failed("the answer does not have a finish reason: {\"state\":\"lost\"}"),
                AnswerEnd::Interrupted,
                AnswerEnd::Interrupted,
                failed("no data for 0.2 s"),
            ),
            (
                &format!("{HEL}{STOP}{USAGE}"),
                AnswerEnd::Complete,
                AnswerEnd::Complete,
                AnswerEnd::Complete,
                AnswerEnd::Complete,
            ),
        ] {
            assert_eq!(read(&format!("{received}{DONE}")).1, done, "{received}");
            assert_eq!(read_until(received, InputEnd::Closed).1, closed, "{received}");
            assert_eq!(read_until(received, InputEnd::Broken).1, broken, "{received}");
            assert_eq!(read_until(received, silent).1, silence, "{received}");
        }
    }

    #[test]
    fn every_form_of_an_error_fails_the_answer() {
        for (error, words) in [
            ("data: {\"error\":{\"message\":\"gone\",\"code\":500}}\n\n", "gone"),
            (
                "data: {\"error\":{\"code\":503,\"type\":\"overloaded_error\"}}\n\n",
                "overloaded_error (code 503)",
            ),
            ("data: {\"detail\":\"engine is dead\"}\n\n", "engine is dead"),
            ("data: {\"object\":\"error\",\"message\":\"pool is full\"}\n\n", "pool is full"),
            ("error: {\"code\":400,\"message\":\"context size\"}\n\n", "context size"),
            ("error: plain words", "plain words"),
            ("event: error\ndata: {\"message\":\"timed out\"}\n\n", "timed out"),
            ("event: error\ndata: plain words\n\n", "plain words"),
            ("event: error\n\n", "an error without a message"),
            ("{\"error\": {\"message\": \"not in an event\"}}", "not in an event"),
            (
                "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"error\"}]}\n\n",
                "the endpoint ended the answer with finish reason \"error\"",
            ),
            (
                "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"error\",\"error\":{\"message\":\"up\"}}]}\n\n",
                "up",
            ),
            ("data: Internal Server Error\n\n", "an event is not valid JSON: Internal Server Error"),
        ] {
            // The end of the stream does not matter after an error.
            for rest in ["", DONE, STOP, USAGE] {
                let answer = read(&format!("{HEL}{error}\n{rest}"));
                assert_eq!(answer, ("Hel".into(), failed(words)), "{error}{rest}");
            }
        }
        assert_eq!(read(&format!("{HEL}{STOP}data: {{\"error\":\"late\"}}\n\n{DONE}")).1, failed("late"));
    }

    #[test]
    fn answers_in_other_formats_are_read() {
        for (body, text) in [
            (format!(": OPENROUTER\n\n:\n\ndata:\n\ndata: \n\n{HEL}{STOP}{DONE}"), "Hel"),
            (format!("\u{feff}{HEL}{STOP}{USAGE}"), "Hel"),
            (format!("{HEL}{STOP}data: [DONE]"), "Hel"),
            (format!("{}{}", HEL.trim_end(), "\ndata: [DONE]"), "Hel"),
            (format!("event: annotation\ndata: any text\n\nevent: message\n{HEL}{STOP}"), "Hel"),
            (format!("{HEL}{STOP}{DONE}").replace('\n', "\r"), "Hel"),
            (format!("{HEL}{STOP}{DONE}").replace('\n', "\r\n").replace("data: ", "data:"), "Hel"),
            (HEL.replace("data: ", "") + &STOP.replace("data: ", ""), "Hel"),
            ("{\n  \"choices\": [{\"message\": {\"content\": \"Hello\"}}]\n}\n".into(), "Hello"),
            ("data: {\"choices\":[{\"message\":{\"refusal\":\"no\"}}]}\n\n".into(), "no"),
        ] {
            assert_eq!(read(&body), (text.into(), AnswerEnd::Complete), "{body}");
        }
    }

    #[test]
    fn incomplete_bodies_are_interrupted() {
        for body in ["{\"choices\": [{\"message\": {\"content\": \"Hel", &HEL[..HEL.len() - 20], "{"] {
            assert_eq!(read(body).1, AnswerEnd::Interrupted, "{body}");
        }
        assert_eq!(
            read("[GIN] 2026 | 502\n").1,
            AnswerEnd::NotAnAnswer("the response does not contain an answer: [GIN] 2026 | 502".into())
        );
    }

    #[test]
    fn endless_answers_end() {
        let mut reader = AnswerReader::default();
        let event = HEL.replace("Hel", &"a".repeat(1 << 20));
        let pushed = (0..100).take_while(|_| {
            reader.push(event.as_bytes());
            reader.end().is_none()
        });
        assert_eq!(pushed.count(), 64);
        assert_eq!(reader.end(), Some(&failed("the endpoint sent more than 64 MiB at once")));
        assert_eq!(reader.push(HEL.as_bytes()), []);
    }
}
