//! Layers of what was said, each with its source, and their merge: leaf by leaf the strongest wins, and every value
//! remembers who said it.

use std::fmt;

use serde_json::Value;

use super::{Field, Kind, Leaf, RequestError, document, find, nearest};

/// Who said something, strongest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Flag,
    Set,
    /// A file given with `-f`, by its path.
    File(String),
    /// The deployment that is there, by its name.
    Live(String),
    Environment,
    UserConfig(String),
    /// Weaker than the user's own settings, since somebody else may have written it.
    ProjectFile(String),
    Detected,
    Default,
}

/// The rank of a source; a greater one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Strength(u8);

impl Source {
    /// Its rank.
    pub fn strength(&self) -> Strength {
        Strength(match self {
            Self::Default => 0,
            Self::Detected => 1,
            Self::ProjectFile(_) => 2,
            Self::UserConfig(_) => 3,
            Self::Environment => 4,
            Self::Live(_) => 5,
            Self::File(_) => 6,
            Self::Set => 7,
            Self::Flag => 8,
        })
    }

    /// Whether it means this one deployment. The others are settings for any, so what does not apply to this one
    /// is left out instead of refused.
    pub fn is_of_this_deployment(&self) -> bool {
        match self {
            Self::Flag | Self::Set | Self::File(_) | Self::Live(_) => true,
            Self::Environment
            | Self::UserConfig(_)
            | Self::ProjectFile(_)
            | Self::Detected
            | Self::Default => false,
        }
    }

    /// How a value of this source was said, so that it can be found and changed.
    pub fn wording(&self, field: &Field, key: Option<&str>) -> String {
        let path = field.path;
        match (self, key) {
            (Self::Flag, Some(name)) if field.kind == Kind::Map => format!("{} {name}", field.flag),
            (Self::Flag, _) => field.flag.into(),
            (Self::Set, _) => format!("--set {path}"),
            (Self::Environment, _) => field.variable(),
            (Self::Live(name), _) => format!("{path} of the deployment {name}"),
            (Self::File(place) | Self::UserConfig(place) | Self::ProjectFile(place), _) => {
                format!("{path} in {place}")
            }
            (Self::Detected | Self::Default, _) => path.into(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "flag",
            Self::Set => "--set",
            Self::File(path) => return write!(f, "file {path}"),
            Self::Live(_) => "live object",
            Self::Environment => "environment",
            Self::UserConfig(_) => "user config",
            Self::ProjectFile(_) => "project file",
            Self::Detected => "detected",
            Self::Default => "default",
        })
    }
}

/// All that one source said.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    pub source: Source,
    pub leaves: Vec<Leaf>,
}

impl Layer {
    /// A source that has said nothing yet.
    pub fn of(source: Source) -> Self {
        Self { source, leaves: Vec::new() }
    }

    /// Adds a value as a flag, a variable or `--set` writes it. For lists and maps that is one element, or
    /// several with commas between, or JSON; for engine arguments words apart by spaces, or JSON.
    ///
    /// # Errors
    /// [`RequestError::Value`].
    pub fn say(&mut self, field: &'static Field, text: &str) -> Result<(), RequestError> {
        let value = document::value_of(field, text).map_err(|reason| self.refuse(field, reason))?;
        self.put(field, &value)
    }

    /// Adds one element of a list, one `KEY=VALUE` or a whole value, with nothing in it read as a separator.
    ///
    /// # Errors
    /// [`RequestError::Value`].
    pub fn say_one(&mut self, field: &'static Field, text: &str) -> Result<(), RequestError> {
        match field.kind {
            Kind::List => self.put(field, &Value::from(vec![text])),
            Kind::Map => {
                let (key, value) = text
                    .split_once('=')
                    .filter(|(key, _)| !key.is_empty())
                    .ok_or_else(|| self.refuse(field, "expected KEY=VALUE".into()))?;
                self.put(field, &serde_json::json!({ key: value }))
            }
            _ => self.say(field, text),
        }
    }

    /// Adds a value of a file.
    ///
    /// # Errors
    /// [`RequestError::Value`].
    pub fn put(&mut self, field: &'static Field, value: &Value) -> Result<(), RequestError> {
        let leaves = document::leaves(field, value).map_err(|reason| self.refuse(field, reason))?;
        for leaf in leaves {
            self.leaves.retain(|known| known.field != leaf.field || known.key != leaf.key);
            self.leaves.push(leaf);
        }
        Ok(())
    }

    /// Reads `PATH=VALUE`, where a path may go on into a map (`labels.team=search`) and `null` takes back what
    /// weaker sources say.
    ///
    /// # Errors
    /// [`RequestError::UnknownField`] with the nearest path, and values that cannot be read.
    pub fn set(&mut self, assignment: &str) -> Result<(), RequestError> {
        let (path, text) = assignment
            .split_once('=')
            .filter(|(path, _)| !path.is_empty())
            .ok_or_else(|| RequestError::NoAssignment { given: assignment.into() })?;
        if let Some(field) = find(path).filter(|field| *field != &super::NAMESPACE) {
            return self.say(field, text);
        }
        let into_map = path.match_indices('.').find_map(|(dot, _)| {
            let field = find(&path[..dot]).filter(|field| field.kind == Kind::Map)?;
            Some((field, path[dot + 1..].replace("\\.", ".")))
        });
        match into_map {
            Some((field, key)) if text == "null" => {
                self.leaves.push(Leaf { field, key: Some(key), value: Value::Null });
                Ok(())
            }
            Some((field, key)) => self.put(field, &serde_json::json!({ key: text })),
            None => Err(RequestError::UnknownField {
                path: path.into(),
                place: "--set".into(),
                nearest: nearest(path),
            }),
        }
    }

    fn refuse(&self, field: &Field, reason: String) -> RequestError {
        let said = self.source.wording(field, None);
        let example = match &self.source {
            Source::Flag if field.flag == "--" => format!("-- {}", field.example),
            Source::Flag => format!("{}={}", field.flag, document::example(field)),
            Source::Environment => format!("{}={}", field.variable(), document::example(field)),
            _ => format!("{}={}", field.path, document::example(field)),
        };
        match field.kind {
            Kind::Quantity => RequestError::Quantity { said, reason, example },
            _ => RequestError::Value { said, reason, example },
        }
    }
}

/// The leaves of several layers as one, the strongest of each.
pub fn together(layers: impl IntoIterator<Item = Layer>) -> Vec<Leaf> {
    Merged::of(layers).found.into_iter().map(|found| found.leaf).collect()
}

/// A leaf and who said it.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub leaf: Leaf,
    pub source: Source,
}

impl Found {
    /// How it was said.
    pub fn wording(&self) -> String {
        self.source.wording(self.leaf.field, self.leaf.key.as_deref())
    }

    /// Its text; empty where it is none.
    pub fn text(&self) -> &str {
        self.leaf.value.as_str().unwrap_or_default()
    }

    /// Whether it is meant although `decider` says that it cannot apply: it was said of this very deployment, by a
    /// source at least as strong.
    pub fn insists(&self, decider: Option<&Self>) -> bool {
        self.source.is_of_this_deployment() && decider.is_none_or(|decider| self.outweighs(decider))
    }

    /// Whether it was said by a source at least as strong.
    pub fn outweighs(&self, other: &Self) -> bool {
        self.source.strength() >= other.source.strength()
    }
}

/// All layers as one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Merged {
    found: Vec<Found>,
    overruled: Vec<Found>,
}

impl Merged {
    /// Merges layers, in any order.
    pub fn of(layers: impl IntoIterator<Item = Layer>) -> Self {
        let mut layers: Vec<Layer> = layers.into_iter().collect();
        layers.sort_by_key(|layer| layer.source.strength());
        let mut merged = Self::default();
        for Layer { source, leaves } in layers {
            for leaf in leaves {
                merged.take(Found { leaf, source: source.clone() });
            }
        }
        merged
    }

    fn take(&mut self, new: Found) {
        let Leaf { field, key, value } = &new.leaf;
        let is_same = |known: &Found| known.leaf.field == *field && known.leaf.key == *key;
        if value.is_null() {
            self.found
                .retain(|known| known.leaf.field != *field || (key.is_some() && known.leaf.key != *key));
            return;
        }
        match self.found.iter_mut().find(|known| is_same(known)) {
            Some(known) => {
                let weaker = std::mem::replace(known, new);
                self.overruled.push(weaker);
            }
            None => self.found.push(new),
        }
    }

    /// The value of a field that is neither list nor map.
    pub fn get(&self, path: &str) -> Option<&Found> {
        self.found.iter().find(|found| found.leaf.field.path == path)
    }

    /// Every element of a field.
    pub fn all<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Found> {
        self.found.iter().filter(move |found| found.leaf.field.path == path)
    }

    /// Everything that was said.
    pub fn iter(&self) -> impl Iterator<Item = &Found> {
        self.found.iter()
    }

    /// Leaves out what `of` says of a field.
    pub fn forget(&mut self, path: &str) {
        self.found.retain(|found| found.leaf.field.path != path);
    }

    /// What the live deployment keeps although a weaker source says another value: the kept one and the other.
    pub fn kept(&self) -> Vec<(&Found, &Found)> {
        let live = self.found.iter().filter(|found| matches!(found.source, Source::Live(_)));
        live.filter_map(|kept| {
            let is_other = |other: &&Found| {
                other.leaf.field == kept.leaf.field
                    && other.leaf.key == kept.leaf.key
                    && other.leaf.value != kept.leaf.value
            };
            Some((kept, self.overruled.iter().rev().find(is_other)?))
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(source: Source, said: &[&str]) -> Layer {
        let mut layer = Layer::of(source);
        for assignment in said {
            layer.set(assignment).expect("a field and a value");
        }
        layer
    }

    fn live() -> Source {
        Source::Live("qwen".into())
    }

    #[test]
    fn the_strongest_wins_leaf_by_leaf_in_any_order() {
        let merged = Merged::of([
            layer(Source::Flag, &["decode.replicas=2", "labels.team=a"]),
            layer(Source::Environment, &["router.mode=kv", "labels.team=c", "labels.stage=test"]),
            layer(live(), &["decode.replicas=1", "router.mode=random", "mode=disagg"]),
        ]);
        let of = |path: &str| {
            merged.get(path).map(|found| (found.leaf.value.to_string(), found.source.to_string()))
        };
        assert_eq!(of("decode.replicas"), Some(("2".into(), "flag".into())));
        assert_eq!(of("router.mode"), Some(("\"random\"".into(), "live object".into())));
        let labels: Vec<String> =
            merged.all("labels").map(|found| format!("{} {}", found.leaf.path(), found.text())).collect();
        assert_eq!(labels, ["labels.team a", "labels.stage test"]);
        let kept = merged.kept();
        assert_eq!(kept.len(), 1);
        assert_eq!((kept[0].0.text(), kept[0].1.text()), ("random", "kv"));
    }

    #[test]
    fn an_engine_flag_is_changed_and_the_others_stay() {
        let merged = Merged::of([
            layer(Source::Flag, &["decode.args=--max-model-len=900000"]),
            layer(live(), &["decode.args=--seed 1 --max-model-len 8192", "engineArgs=--quantization fp8"]),
        ]);
        let args: Vec<String> = merged.all("decode.args").map(|found| found.leaf.value.to_string()).collect();
        assert_eq!(args, [r#"["--seed","1"]"#, r#"["--max-model-len=900000"]"#]);
    }

    #[test]
    fn null_takes_back_what_weaker_sources_say() {
        let weaker = ["priorityClass=low", "labels.a=1", "labels.b=2", "decode.args=--seed 1"];
        let merged = Merged::of([
            layer(Source::Set, &["priorityClass=null", "labels.a=null", "decode.args=null"]),
            layer(live(), &weaker),
        ]);
        let left: Vec<String> = merged.iter().map(|found| found.leaf.path()).collect();
        assert_eq!(left, ["labels.b"]);
    }

    #[test]
    fn a_label_with_dots_is_one_key() {
        let merged = Merged::of([layer(Source::Set, &["labels.example\\.com/team=a"])]);
        let found = merged.get("labels").expect("it was said");
        assert_eq!(found.leaf.key.as_deref(), Some("example.com/team"));
        assert_eq!(found.leaf.path(), "labels.example\\.com/team");
    }

    #[test]
    fn what_cannot_be_read_is_named_as_it_was_said() {
        let refused = |source: Source, path: &str, text: &str| {
            let field = find(path).expect("a field");
            Layer::of(source).say(field, text).expect_err("it cannot be read").to_string()
        };
        assert_eq!(
            refused(Source::Flag, "decode.tensorParallelSize", "two"),
            "--decode-tp: `two` is not a whole number"
        );
        assert_eq!(
            refused(Source::Environment, "router.mode", "best"),
            "KUBECTL_DYNAMO_ROUTER_MODE: `best` is not one of round-robin, random, kv"
        );
        let unknown = Layer::of(Source::Set).set("rooter.mode=kv").expect_err("no such field");
        assert_eq!(unknown.to_string(), "there is no field `rooter.mode` (in --set)");
        assert!(crate::error::Explain::hint(&unknown).expect("a hint").contains("router.mode"));
    }
}
