//! Text that is safe to print and to store: URLs without passwords, and names without control characters.

/// Removes the user name and the password of every URL in `text`. What may be a password is removed
/// too.
pub fn redact_userinfo(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("//") {
        let (before, after) = rest.split_at(at + 2);
        redacted.push_str(before);
        let end = after.find(|character: char| character.is_whitespace() || "\"'`<>".contains(character));
        let (url, more) = after.split_at(end.unwrap_or(after.len()));
        redacted.push_str(&url[userinfo_length(url)..]);
        rest = more;
    }
    // A URL without a scheme: `user:password@host`.
    let is_bare = text == rest && !text.contains(char::is_whitespace);
    redacted.push_str(if is_bare { &rest[rest.rfind('@').map_or(0, |at| at + 1)..] } else { rest });
    redacted
}

/// Returns the length of `user:password@` at the start of a URL without its scheme. A password may contain `/`
/// although it should not, so everything before the last `@` counts. A path without a host has no password.
fn userinfo_length(url: &str) -> usize {
    if url.starts_with('/') { 0 } else { url.rfind('@').map_or(0, |at| at + 1) }
}

/// Escapes characters that a terminal interprets or that change the order of a line: control characters and
/// Unicode's direction marks, except those in `kept`.
fn escape(text: &str, kept: &[char]) -> String {
    let is_direction_mark = |character| matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            _ if kept.contains(&character) => escaped.push(character),
            _ if character.is_control() || is_direction_mark(character) => {
                escaped.extend(character.escape_default());
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

/// Returns a name in one line that a terminal prints as it is.
pub fn printable_name(name: &str) -> String {
    escape(name, &[])
}

/// Returns text of several lines that a terminal prints as it is.
pub fn printable_text(text: &str) -> String {
    escape(text, &['\n'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn userinfo_is_removed_from_urls() {
        let cases = [
            ("http://user:s3cret@host:81/path", "http://host:81/path"),
            ("https://token@host", "https://host"),
            ("http://user:p@ss@host/", "http://host/"),
            ("http://user:p/s3cret@host/x", "http://host/x"),
            ("http://user:12/s3cret@host/x", "http://host/x"),
            ("http://us/er:p?#@host", "http://host"),
            ("https://host/a", "https://host/a"),
            ("file:///mnt/a@b", "file:///mnt/a@b"),
            ("http://u:p@[::1]:80/", "http://[::1]:80/"),
            ("user:s3cret@host", "host"),
            ("//user:s3cret@host/x", "//host/x"),
            (
                "cannot read \"http://u:p@a/x\" and http://u:p@b, sorry",
                "cannot read \"http://a/x\" and http://b, sorry",
            ),
            ("mail me@example.com", "mail me@example.com"),
            ("file:///opt/models", "file:///opt/models"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(redact_userinfo(text), expected, "{text}");
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable_name("Icon\r"), "Icon\\r");
        assert_eq!(printable_name("a\u{1b}[2Jb\u{9b}c\n"), "a\\u{1b}[2Jb\\u{9b}c\\n");
        assert_eq!(printable_name("a\u{202e}txt.exe"), "a\\u{202e}txt.exe");
        assert_eq!(printable_name("模型 é.txt"), "模型 é.txt");
        assert_eq!(printable_text("a\nb\u{7}"), "a\nb\\u{7}");
    }
}
