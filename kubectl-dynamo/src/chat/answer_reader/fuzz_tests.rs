//! Random responses: how the bytes are cut into reads does not matter, nothing panics, and an answer that contains an
//! error is never complete. `PROPTEST_CASES` sets the number of cases.

use proptest::prelude::*;

use super::{AnswerEnd, AnswerReader, InputEnd};
use crate::chat::chunk::Chunk;

/// Pieces of responses, valid and invalid.
const PIECES: [&str; 28] = [
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hä\u{1f600}\"}}]}",
    "data: {\"choices\":[{\"delta\":{\"content\":[{\"type\":\"text\",\"text\":\"part\"}]}}]}",
    "data: {\"choices\":[{\"delta\":{\"reasoning\":\"hm\"}}]}",
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}",
    "{\"choices\":[{\"message\":{\"content\":\"whole {\\\"}\"}}]}",
    "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"f\"}}]}}]}",
    "data: [DONE]",
    "data:",
    "data",
    "event: annotation",
    "event: message",
    "id: 7",
    "retry: 1000",
    ": comment",
    "\u{feff}",
    "{",
    "}",
    "[",
    "\"",
    "\\",
    "<html>",
    "data: {\"type\":\"ping\"}",
    "data: null",
    " ",
    "data: {",
    "data: }",
    "null",
];
const ERRORS: [&str; 8] = [
    "data: {\"error\":{\"message\":\"gone\"}}",
    "data: {\"error\":{\"code\":503}}",
    "data: {\"detail\":\"dead\"}",
    "error: {\"message\":\"gone\"}",
    "event: error\ndata: gone",
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"error\"}]}",
    "data: {\"object\":\"error\",\"message\":\"full\"}",
    "{\"error\":\"bare\"}",
];
const LINE_ENDS: [&str; 6] = ["\n\n", "\r\n\r\n", "\r\r", "\n", "\r\n", ""];

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::sample::select(&PIECES[..]).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::sample::select(&ERRORS[..]).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ]
}

fn response() -> impl Strategy<Value = Vec<u8>> {
    let line = (piece(), prop::sample::select(&LINE_ENDS[..]));
    prop::collection::vec(line, 0..12).prop_map(|lines| {
        lines.into_iter().flat_map(|(piece, end)| [piece, end.as_bytes().to_vec()]).flatten().collect()
    })
}

fn read(reads: &[&[u8]], input: InputEnd) -> (Vec<Chunk>, AnswerEnd) {
    let mut reader = AnswerReader::default();
    let mut chunks: Vec<Chunk> = reads.iter().flat_map(|bytes| reader.push(bytes)).collect();
    chunks.extend(reader.finish(input));
    (chunks, reader.end().expect("the input has ended").clone())
}

proptest! {
    #[test]
    fn reads_do_not_matter(bytes in response(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let whole = read(&[&bytes], InputEnd::Closed);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let (mut reads, mut start) = (Vec::new(), 0);
        for cut in cuts {
            reads.push(&bytes[start..cut]);
            start = cut;
        }
        reads.push(&bytes[start..]);
        prop_assert_eq!(&read(&reads, InputEnd::Closed), &whole);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(read(&single, InputEnd::Closed), whole);
    }

    #[test]
    fn an_answer_with_an_error_is_not_complete(
        before in prop::collection::vec(prop::sample::select(&PIECES[..7]), 0..5),
        error in prop::sample::select(&ERRORS[..]),
        after in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..5),
        end in prop::sample::select(&LINE_ENDS[..3]),
    ) {
        let error = error.replace('\n', &end[..end.len() / 2]);
        let lines = before.into_iter().chain([error.as_str()]).chain(after);
        let body: String = lines.map(|line| format!("{line}{end}")).collect();
        let (_, answer_end) = read(&[body.as_bytes()], InputEnd::Closed);
        prop_assert_ne!(answer_end, AnswerEnd::Complete, "{}", body);
    }

    #[test]
    fn without_a_finish_reason_the_end_of_the_input_is_not_complete(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..3]), 0..5),
        input in prop::sample::select(&[InputEnd::Closed, InputEnd::Broken][..]),
    ) {
        let body: String = pieces.into_iter().map(|line| format!("{line}\n\n")).collect();
        prop_assert_eq!(read(&[body.as_bytes()], input).1, AnswerEnd::Interrupted);
    }
}
