//! The words that a container runs, whether they stand as a list or behind a shell's `-c`, and the flags among them.

use serde_json::Value;

use crate::intent::Backend;

/// The words that a component's container runs.
pub(super) struct CommandLine(Vec<String>);

impl CommandLine {
    /// Of a container.
    pub(super) fn of(container: &Value) -> Self {
        let list = |field: &str| container[field].as_array().into_iter().flatten().filter_map(Value::as_str);
        let words: Vec<String> = list("command").chain(list("args")).map(Into::into).collect();
        let shell = words.first().is_some_and(|first| first.ends_with("sh"));
        let script = words.iter().position(|word| shell && word.starts_with('-') && word.ends_with('c'));
        match script {
            // A script that no shell could read is shown as it is.
            Some(at) => Self(shell_words::split(&words[at + 1..].join(" ")).unwrap_or(words)),
            None => Self(words),
        }
    }

    /// The engine, or the name of the module that is none this program knows.
    pub(super) fn engine(&self) -> Result<Backend, String> {
        let module = self.0.iter().find_map(|word| word.strip_prefix("dynamo."));
        match module {
            Some("vllm") => Ok(Backend::Vllm),
            Some("mocker") => Ok(Backend::Mocker),
            Some(other) => Err(other.to_owned()),
            None => Err(self.0.join(" ")),
        }
    }

    /// The value of a flag; empty where another flag or nothing follows it.
    pub(super) fn value(&self, spellings: &[&str]) -> Option<&str> {
        self.0.iter().enumerate().find_map(|(at, word)| {
            let (name, value) = word.split_once('=').map_or((word.as_str(), None), |(n, v)| (n, Some(v)));
            spellings.contains(&name).then(|| {
                let next = self.0.get(at + 1).map(String::as_str).filter(|next| !next.starts_with('-'));
                value.or(next).unwrap_or_default()
            })
        })
    }

    /// All flags but these, each with its value.
    pub(super) fn flags_besides(&self, known: &[&str]) -> Vec<String> {
        let mut kept = Vec::new();
        let mut keeps = false;
        for word in &self.0 {
            if word.starts_with("--") || (word.starts_with('-') && word.len() > 2) {
                keeps = !known.contains(&word.split('=').next().unwrap_or(word));
            } else if word.starts_with('-') {
                keeps = false;
            }
            if keeps {
                kept.push(word.clone());
            }
        }
        kept
    }
}
