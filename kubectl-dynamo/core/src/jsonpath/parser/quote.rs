//! Parses quoted text with the escape sequences of Go: `\n`, `\t`, `\"`, `\x41`, `\101`, `\u00e9`, and others.

use super::super::SyntaxProblem;
use super::scanner::Scanner;
use super::{Parsed, error};

/// Parses quoted text, at whose first quote the scanner is.
pub(super) fn text(scanner: &mut Scanner) -> Parsed<String> {
    let start = scanner.position();
    let unclosed = || error(start, SyntaxProblem::UnclosedQuote);
    let quote = scanner.next().ok_or_else(unclosed)?;
    // Escapes can be bytes of one character.
    let mut bytes = Vec::new();
    loop {
        let position = scanner.position();
        match scanner.next() {
            None | Some('\n') => return Err(unclosed()),
            Some('\\') => {
                let escaped = escape(scanner, quote, &mut bytes);
                escaped.ok_or_else(|| error(position, SyntaxProblem::InvalidEscape))?;
            }
            Some(letter) if letter == quote => break,
            Some(letter) => push(letter, &mut bytes),
        }
    }
    String::from_utf8(bytes).map_err(|_| error(start, SyntaxProblem::InvalidEscape))
}

/// Reads an escape sequence after its backslash. `None` if it is invalid.
fn escape(scanner: &mut Scanner, quote: char, bytes: &mut Vec<u8>) -> Option<()> {
    match scanner.next()? {
        'a' => bytes.push(7),
        'b' => bytes.push(8),
        'f' => bytes.push(12),
        'n' => bytes.push(b'\n'),
        'r' => bytes.push(b'\r'),
        't' => bytes.push(b'\t'),
        'v' => bytes.push(11),
        '\\' => bytes.push(b'\\'),
        letter if letter == quote => push(letter, bytes),
        'x' => bytes.push(u8::try_from(digits(scanner, 2, 16)?).ok()?),
        'u' => push(char::from_u32(digits(scanner, 4, 16)?)?, bytes),
        'U' => push(char::from_u32(digits(scanner, 8, 16)?)?, bytes),
        first => {
            let rest = digits(scanner, 2, 8)?;
            bytes.push(u8::try_from(first.to_digit(8)? * 64 + rest).ok()?);
        }
    }
    Some(())
}

fn digits(scanner: &mut Scanner, count: usize, radix: u32) -> Option<u32> {
    (0..count).try_fold(0u32, |value, _| {
        let digit = scanner.next()?.to_digit(radix)?;
        value.checked_mul(radix)?.checked_add(digit)
    })
}

fn push(letter: char, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
}
