//! Parses numbers as vLLM's command line does: `8192`, `8k`, `25.6k`, `8K`, `-1`, and `auto`.

/// Why a text is not a number of tokens or bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenCountError {
    #[error("expected a number such as 8192, 25.6k, or 32K")]
    Syntax,
    #[error("expected at least one token")]
    Zero,
    #[error("decimals are not allowed with this suffix; use {0} for a multiple of 1000")]
    DecimalOfBinary(String),
}

/// The maximum request length that a user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RequestedLength {
    /// Not set: the length that vLLM derives from the model.
    #[default]
    ModelDefault,
    /// `auto` or `-1`: the longest that fits, up to the model's length.
    LongestThatFits,
    /// This many tokens.
    Tokens(u64),
}

impl RequestedLength {
    /// Parses a value of `--max-model-len`.
    ///
    /// # Errors
    /// [`TokenCountError`].
    pub fn parse(text: &str) -> Result<Self, TokenCountError> {
        let text = text.trim();
        if text == "-1" || text.eq_ignore_ascii_case("auto") {
            return Ok(Self::LongestThatFits);
        }
        match parse_token_count(text)? {
            0 => Err(TokenCountError::Zero),
            tokens => Ok(Self::Tokens(tokens)),
        }
    }
}

/// Parses a count in vLLM's notation: `8192`, `8k` (8 × 1000), `25.6k`, or `8K` (8 × 1024).
///
/// # Errors
/// [`TokenCountError`].
pub fn parse_token_count(text: &str) -> Result<u64, TokenCountError> {
    let text = text.trim();
    let (number, multiplier) = match text.char_indices().next_back().filter(|(_, last)| last.is_alphabetic())
    {
        Some((at, suffix)) => (&text[..at], multiplier(suffix).ok_or(TokenCountError::Syntax)?),
        None => (text, Multiplier::Binary(1)),
    };
    let number = without_separators(number, multiplier).ok_or(TokenCountError::Syntax)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || (number.contains('.') && !is_number(fraction)) {
        return Err(TokenCountError::Syntax);
    }
    match multiplier {
        Multiplier::Binary(_) if !fraction.is_empty() => {
            Err(TokenCountError::DecimalOfBinary(text.to_lowercase()))
        }
        Multiplier::Binary(factor) => {
            let product = whole.parse::<u64>().ok().and_then(|whole| whole.checked_mul(factor));
            product.ok_or(TokenCountError::Syntax)
        }
        // As in Python, the product is rounded down. The cast saturates.
        Multiplier::Decimal(factor) => {
            let product = number.parse::<f64>().map(|number| (number * factor as f64) as u64);
            product.map_err(|_| TokenCountError::Syntax)
        }
    }
}

#[derive(Clone, Copy)]
enum Multiplier {
    Decimal(u64),
    Binary(u64),
}

fn multiplier(suffix: char) -> Option<Multiplier> {
    let power = "kmgt".find(suffix.to_ascii_lowercase())? as u32 + 1;
    Some(match suffix.is_ascii_lowercase() {
        true => Multiplier::Decimal(1000_u64.pow(power)),
        false => Multiplier::Binary(1024_u64.pow(power)),
    })
}

/// Removes what Python's `int` also accepts in a number without a suffix: a plus sign and single underscores
/// between digits.
fn without_separators(number: &str, multiplier: Multiplier) -> Option<String> {
    if !matches!(multiplier, Multiplier::Binary(1)) {
        return Some(number.to_owned());
    }
    let digits = number.strip_prefix('+').unwrap_or(number);
    let is_misplaced = digits.starts_with('_') || digits.ends_with('_') || digits.contains("__");
    (!is_misplaced && !digits.contains('.')).then(|| digits.replace('_', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_numbers_as_vllm_does() {
        for (text, expected) in [
            ("8192", Some(8192)),
            ("8k", Some(8000)),
            ("8K", Some(8192)),
            ("25.6k", Some(25_600)),
            (" 25.6k ", Some(25_600)),
            ("1m", Some(1_000_000)),
            ("1M", Some(1_048_576)),
            ("1.5m", Some(1_500_000)),
            ("2g", Some(2_000_000_000)),
            ("1G", Some(1 << 30)),
            ("1t", Some(1_000_000_000_000)),
            ("0.1k", Some(100)),
            ("1_000", Some(1000)),
            ("+5", Some(5)),
            ("25.6K", None),
            ("25.6", None),
            ("k", None),
            (".5k", None),
            ("5.k", None),
            ("1e5", None),
            ("-5", None),
            ("", None),
            ("8kk", None),
            ("8 k", None),
            ("8b", None),
            ("٣k", None),
            ("1__0", None),
            ("999999999999T", None),
        ] {
            assert_eq!(parse_token_count(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn automatic_length_has_two_spellings() {
        for text in ["auto", "AUTO", "-1", " -1 "] {
            assert_eq!(RequestedLength::parse(text), Ok(RequestedLength::LongestThatFits), "{text:?}");
        }
        assert_eq!(RequestedLength::parse("25.6k"), Ok(RequestedLength::Tokens(25_600)));
        for text in ["0", "-2", "automatic"] {
            assert!(RequestedLength::parse(text).is_err(), "{text:?}");
        }
    }
}
