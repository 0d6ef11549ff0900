//! Prompts that no one sent before, so that no part of them is in a cache.

use std::time::SystemTime;

/// The prompts of one probe. They differ from their first words on.
pub(super) struct NewPrompts {
    run: u128,
}

impl NewPrompts {
    pub(super) fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { run: since_epoch.as_nanos() }
    }

    /// A prompt with this many words. The same name is the same prompt.
    pub(super) fn prompt(&self, name: &str, words: u64) -> String {
        const WORDS: [&str; 8] = ["river", "stone", "cloud", "paper", "green", "seven", "quiet", "market"];
        let text = (0..words as usize).map(|at| WORDS[(at + name.len() + at / WORDS.len()) % WORDS.len()]);
        format!("{name} {} {}", self.run, text.collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_differ_from_the_start_and_have_the_requested_length() {
        let prompts = NewPrompts::new();
        let (first, second) = (prompts.prompt("first", 16), prompts.prompt("second", 16));
        assert_eq!((first.split(' ').count(), prompts.prompt("first", 16)), (18, first.clone()));
        assert_ne!(first.split(' ').next(), second.split(' ').next());
        assert_ne!(first, NewPrompts::new().prompt("first", 16));
    }
}
