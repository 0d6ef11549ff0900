//! Splits a shell script into its simple commands, as words. It does not run anything and does not expand variables:
//! `$NAME`, `${NAME}`, and `$(command)` stay in their words.
//!
//! It reads what container commands consist of: quotes, line continuations, comments, redirections, here-documents,
//! lists, pipes, and nested commands. A script that it cannot read has no commands.

use std::iter::Peekable;
use std::str::Chars;

/// The depth to which command substitutions are read.
const MAX_DEPTH: usize = 16;

/// Returns the words of every simple command, or `None` if the script is not complete.
pub(super) fn simple_commands(script: &str) -> Option<Vec<Vec<String>>> {
    let mut reader = ScriptReader { letters: script.chars().peekable(), depth: 0 };
    reader.read_commands(None)
}

struct ScriptReader<'a> {
    letters: Peekable<Chars<'a>>,
    depth: usize,
}

/// What happens to tabs at the start of a here-document's lines.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Indentation {
    Keep,
    /// `<<-`.
    StripTabs,
}

/// The word that is read, and whether the next word is the target of a redirection.
#[derive(Default)]
struct WordState {
    word: Option<String>,
    words: Vec<String>,
    commands: Vec<Vec<String>>,
    is_redirection: bool,
    /// The end markers of here-documents that begin after the line.
    here_documents: Vec<(String, Indentation)>,
    next_is_marker: Option<Indentation>,
}

impl WordState {
    fn push(&mut self, letter: char) {
        self.word.get_or_insert_default().push(letter);
    }

    fn push_str(&mut self, text: &str) {
        self.word.get_or_insert_default().push_str(text);
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        if let Some(indentation) = self.next_is_marker.take() {
            self.here_documents.push((word, indentation));
        } else if !std::mem::take(&mut self.is_redirection) {
            self.words.push(word);
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        self.is_redirection = false;
        if !self.words.is_empty() {
            self.commands.push(std::mem::take(&mut self.words));
        }
    }
}

impl ScriptReader<'_> {
    /// Reads commands up to `end`, or to the end of the script.
    fn read_commands(&mut self, end: Option<char>) -> Option<Vec<Vec<String>>> {
        let mut state = WordState::default();
        // Parentheses of subshells and of `case` patterns.
        let mut open = 0_usize;
        while let Some(letter) = self.letters.next() {
            match letter {
                ')' if end == Some(')') && open == 0 => {
                    state.end_command();
                    return Some(state.commands);
                }
                '\n' => {
                    state.end_command();
                    for (marker, indentation) in std::mem::take(&mut state.here_documents) {
                        self.skip_here_document(&marker, indentation)?;
                    }
                }
                ' ' | '\t' | '\r' => state.end_word(),
                '#' if state.word.is_none() => while self.letters.next_if(|next| *next != '\n').is_some() {},
                '&' if self.letters.peek() == Some(&'>') => {}
                // `2>&1`: the target of a redirection.
                '&' if state.is_redirection && state.word.is_none() => state.push('&'),
                ';' | '|' | '&' => state.end_command(),
                '(' => {
                    open += 1;
                    state.end_command();
                }
                ')' => {
                    open = open.saturating_sub(1);
                    state.end_command();
                }
                '<' | '>' => self.read_redirection(letter, &mut state),
                '\\' => match self.letters.next()? {
                    '\n' => {}
                    escaped => state.push(escaped),
                },
                '\'' => {
                    state.push_str("");
                    self.read_until('\'', &mut state)?;
                }
                '"' => {
                    state.push_str("");
                    self.read_double_quoted(&mut state)?;
                }
                '$' | '`' => self.read_expansion(letter, &mut state)?,
                letter => state.push(letter),
            }
        }
        if end.is_some() || !state.here_documents.is_empty() {
            return None;
        }
        state.end_command();
        Some(state.commands)
    }

    fn read_until(&mut self, end: char, state: &mut WordState) -> Option<()> {
        loop {
            match self.letters.next()? {
                letter if letter == end => return Some(()),
                letter => state.push(letter),
            }
        }
    }

    fn read_double_quoted(&mut self, state: &mut WordState) -> Option<()> {
        loop {
            match self.letters.next()? {
                '"' => return Some(()),
                '\\' => match self.letters.next()? {
                    '\n' => {}
                    escaped @ ('$' | '`' | '"' | '\\') => state.push(escaped),
                    other => {
                        state.push('\\');
                        state.push(other);
                    }
                },
                letter @ ('$' | '`') => self.read_expansion(letter, state)?,
                letter => state.push(letter),
            }
        }
    }

    /// Reads a variable or a nested command as a part of the word.
    fn read_expansion(&mut self, first: char, state: &mut WordState) -> Option<()> {
        state.push(first);
        if first == '`' {
            loop {
                match self.letters.next()? {
                    '`' => break,
                    '\\' => drop(self.letters.next()?),
                    _ => {}
                }
            }
            state.push('`');
            return Some(());
        }
        if self.letters.next_if_eq(&'(').is_some() {
            if self.depth >= MAX_DEPTH {
                return None;
            }
            self.depth += 1;
            self.read_commands(Some(')'))?;
            self.depth -= 1;
            state.push_str("()");
        } else if self.letters.next_if_eq(&'{').is_some() {
            state.push('{');
            self.read_until('}', state)?;
            state.push('}');
        }
        Some(())
    }

    fn read_redirection(&mut self, operator: char, state: &mut WordState) {
        // The number of a file descriptor belongs to the operator.
        if state.word.as_ref().is_some_and(|word| word.chars().all(|letter| letter.is_ascii_digit())) {
            state.word = None;
        }
        state.end_word();
        state.is_redirection = true;
        if operator == '<' && self.letters.next_if_eq(&'<').is_some() {
            if self.letters.next_if_eq(&'<').is_none() {
                state.next_is_marker = Some(match self.letters.next_if_eq(&'-') {
                    Some(_) => Indentation::StripTabs,
                    None => Indentation::Keep,
                });
                state.is_redirection = false;
            }
            return;
        }
        while self.letters.next_if(|next| matches!(next, '>' | '|')).is_some() {}
    }

    fn skip_here_document(&mut self, marker: &str, indentation: Indentation) -> Option<()> {
        loop {
            let mut line = String::new();
            let is_last = loop {
                match self.letters.next() {
                    Some('\n') => break false,
                    Some(letter) => line.push(letter),
                    None => break true,
                }
            };
            let text = match indentation {
                Indentation::StripTabs => line.trim_start_matches('\t'),
                Indentation::Keep => line.as_str(),
            };
            if text == marker {
                return Some(());
            }
            if is_last {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(script: &str) -> Option<Vec<String>> {
        Some(simple_commands(script)?.iter().map(|words| words.join("|")).collect())
    }

    #[test]
    fn splits_scripts_into_commands_and_words() {
        for (script, expected) in [
            ("exec python3 -m x \\\n  --a b \\\n  --c\n", &["exec|python3|-m|x|--a|b|--c"][..]),
            (
                "set -e; cd /w && run --a 'b c' \"d $E\" | tee log",
                &["set|-e", "cd|/w", "run|--a|b c|d $E", "tee|log"],
            ),
            ("run --json '{\"a\": 1}' --v \"{\\\"b\\\": 2}\"", &["run|--json|{\"a\": 1}|--v|{\"b\": 2}"]),
            ("# it's a comment\nrun # don't\nnext", &["run", "next"]),
            ("run a#b >out 2>&1 &\nwait $!", &["run|a#b", "wait|$!"]),
            ("run &> log < in >> more --a", &["run|--a"]),
            ("A=$(cat <<'E'\nit's } )\nE\n)\nrun \"$A\"", &["A=$()", "run|$A"]),
            ("cat <<-E\n\tit's\n\tE\nrun", &["cat", "run"]),
            (
                "x=`date '+%s'`; (run -a) ; if [ -n \"${X:-a b}\" ]; then run -b; fi",
                &["x=``", "run|-a", "if|[|-n|${X:-a b}|]", "then|run|-b", "fi"],
            ),
            ("run '' \"\" a\\ b", &["run|||a b"]),
            ("", &[]),
        ] {
            let expected: Vec<String> = expected.iter().map(|words| (*words).to_owned()).collect();
            assert_eq!(commands(script), Some(expected), "{script}");
        }
    }

    #[test]
    fn incomplete_scripts_have_no_commands() {
        for script in ["run 'a", "run \"a", "run $(a", "run ${a", "run `a", "cat <<E\na", "run \\"] {
            assert_eq!(commands(script), None, "{script}");
        }
        assert_eq!(commands(&"$(".repeat(100_000)), None);
    }
}
