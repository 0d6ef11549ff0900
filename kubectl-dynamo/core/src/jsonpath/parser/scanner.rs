//! A cursor in a template, or in a part of it. Positions always count from the start of the template.

/// A cursor in the part of a template between its place and `end`.
#[derive(Debug, Clone)]
pub(super) struct Scanner<'t> {
    template: &'t str,
    /// The text that was not read yet, as bytes of the template.
    start: usize,
    end: usize,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(template: &'t str) -> Self {
        Self { template, start: 0, end: template.len() }
    }

    /// Returns the text that was not read yet.
    pub(super) fn rest(&self) -> &'t str {
        self.template.get(self.start..self.end).unwrap_or_default()
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest().is_empty()
    }

    /// Returns the number of the next character in the template, from 1.
    pub(super) fn position(&self) -> usize {
        self.template.get(..self.start).unwrap_or_default().chars().count() + 1
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.start += letter.len_utf8();
        Some(letter)
    }

    /// Reads this text if it is next, and returns whether it was.
    pub(super) fn skip(&mut self, text: &str) -> bool {
        let is_next = self.rest().starts_with(text);
        self.start += if is_next { text.len() } else { 0 };
        is_next
    }

    /// Reads the longest text of such characters.
    pub(super) fn take_while(&mut self, is_part: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let length = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
        self.take(length).rest()
    }

    /// Reads a number of bytes, and returns a scanner of them. The number must end at a character.
    pub(super) fn take(&mut self, length: usize) -> Self {
        let end = (self.start + length).min(self.end);
        let taken = Self { end, ..*self };
        self.start = end;
        taken
    }

    /// Returns the scanner without the spaces around its text.
    pub(super) fn trimmed(&self) -> Self {
        let rest = self.rest();
        let start = self.end - rest.trim_start_matches(' ').len();
        let end = start + rest.trim_matches(' ').len();
        Self { start, end, ..*self }
    }
}
