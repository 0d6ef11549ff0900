//! Parses durations on the command line and in environment variables.

use std::time::Duration;

/// A text that is not an accepted duration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidDuration {
    #[error("expected a duration such as 90s, 30m, or 1h30m")]
    Syntax,
    #[error("expected more than 0s")]
    Zero,
}

/// Parses a duration as in Go and Kubernetes: `90s`, `30m`, `1h30m`, `500ms`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    let parsed: Result<jiff::SignedDuration, _> = text.parse();
    parsed.ok().and_then(|duration| Duration::try_from(duration).ok()).ok_or(InvalidDuration::Syntax)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_go_style_durations() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(parse_duration("soon").is_err());
        assert!(parse_duration("-5s").is_err());
    }
}
