//! Every field a request can have: its path in a file, its flag, what it takes, and what it means. This table is
//! the only place where a field is made known; flags, schema, environment and config follow it.

mod table;

use crate::intent::Word;
pub use table::GROUPS;

/// What a field takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Text,
    /// A Kubernetes quantity, such as `20Gi`.
    Quantity,
    /// A whole number.
    Count,
    /// A number from 0 on.
    Number,
    Switch,
    /// One of a closed set.
    Words(fn() -> Vec<&'static str>),
    /// Texts, each given by a flag of its own.
    List,
    /// Arguments of the engine: the flags of a stronger layer replace those of the same name.
    Arguments,
    /// Texts by key.
    Map,
}

impl PartialEq for Kind {
    /// Closed sets are alike; which words one has is asked of its field.
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// How the work is split, as `--mode` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Aggregated,
    Disaggregated,
}

impl Word for Shape {
    const ALL: &'static [Self] = &[Self::Aggregated, Self::Disaggregated];

    fn as_str(self) -> &'static str {
        match self {
            Self::Aggregated => "agg",
            Self::Disaggregated => "disagg",
        }
    }
}

/// Under which heading help and page show a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heading {
    Model,
    Shape,
    Routing,
    KvOffload,
    Cache,
    Placement,
}

impl Heading {
    /// Its words; none for the flags that stand first.
    pub fn words(self) -> Option<&'static str> {
        match self {
            Self::Model => None,
            Self::Shape => Some("Shape"),
            Self::Routing => Some("Routing"),
            Self::KvOffload => Some("KV offload"),
            Self::Cache => Some("Cache"),
            Self::Placement => Some("Placement"),
        }
    }
}

/// One field.
#[derive(Debug, PartialEq)]
pub struct Field {
    /// Where it stands in a file.
    pub path: &'static str,
    /// The flag as messages name it, with its hyphens; the short form where it has two.
    pub flag: &'static str,
    /// The long form, where it has two.
    pub long_flag: Option<&'static str>,
    pub kind: Kind,
    pub heading: Heading,
    /// What stands for the value in help; empty for switches and closed sets.
    pub value_name: &'static str,
    pub about: &'static str,
    /// A value that can be typed.
    pub example: &'static str,
}

impl Field {
    /// The variable that says it: `router.overlapWeight` is `KUBECTL_DYNAMO_ROUTER_OVERLAP_WEIGHT`.
    pub fn variable(&self) -> String {
        let mut name = String::from("KUBECTL_DYNAMO_");
        for c in self.path.chars() {
            match c {
                '.' => name.push('_'),
                c if c.is_ascii_uppercase() => name.extend(['_', c]),
                c => name.push(c.to_ascii_uppercase()),
            }
        }
        name
    }
}

const fn field(path: &'static str, flag: &'static str, kind: Kind, about: &'static str) -> Field {
    let heading = Heading::Model;
    Field { path, flag, long_flag: None, kind, heading, value_name: "", about, example: "" }
}

impl Field {
    const fn takes(mut self, value_name: &'static str, example: &'static str) -> Self {
        self.value_name = value_name;
        self.example = example;
        self
    }

    const fn under(mut self, heading: Heading) -> Self {
        self.heading = heading;
        self
    }

    const fn long(mut self, flag: &'static str) -> Self {
        self.long_flag = Some(flag);
        self
    }
}

fn words<T: Word>() -> Vec<&'static str> {
    T::ALL.iter().map(|word| word.as_str()).collect()
}

/// The namespace is no part of a request: it is said by kubectl's own flag, the environment or a config file.
pub static NAMESPACE: Field =
    field("namespace", "--namespace", Kind::Text, "Namespace, before that of the kubeconfig's context")
        .takes("NAME", "serving");

/// All fields.
pub fn fields() -> impl Iterator<Item = &'static Field> {
    GROUPS.iter().copied().flatten()
}

/// The field of a path, or of a flag written without its hyphens.
pub fn find(word: &str) -> Option<&'static Field> {
    let by_flag = |field: &&Field| {
        [Some(field.flag), field.long_flag]
            .into_iter()
            .flatten()
            .any(|flag| flag.trim_start_matches('-') == word)
    };
    let all = || fields().chain([&NAMESPACE]);
    all().find(|field| field.path == word).or_else(|| all().find(by_flag).filter(|_| !word.is_empty()))
}

/// The path that is spelled most like this one: of a field, or of a group of fields.
pub fn nearest(path: &str) -> &'static str {
    let path = path.to_lowercase();
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let groups = fields().filter_map(|field| field.path.split_once('.')).map(|(group, _)| group);
    fields()
        .map(|field| field.path)
        .chain(groups)
        .min_by_key(|known| {
            let lower = known.to_lowercase();
            let whole = strsim::levenshtein(&lower, &path);
            (whole.min(1 + strsim::levenshtein(&last(&lower), &last(&path))), whole)
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_variables_are_told_apart() {
        let mut paths: Vec<&str> = fields().map(|field| field.path).collect();
        let mut variables: Vec<String> = fields().map(Field::variable).collect();
        let count = paths.len();
        paths.sort_unstable();
        paths.dedup();
        variables.sort_unstable();
        variables.dedup();
        assert_eq!((paths.len(), variables.len()), (count, count));
        // These mean folders of this machine and how progress is shown.
        for taken in ["CACHE", "STATE", "PROGRESS", "CONFIG", "COMPLETE"] {
            assert!(!variables.contains(&format!("KUBECTL_DYNAMO_{taken}")), "{taken}");
        }
    }

    #[test]
    fn a_field_is_found_by_path_and_by_flag() {
        for (word, path) in [
            ("router.mode", "router.mode"),
            ("storage-class", "cache.storageClass"),
            ("decode-tensor-parallel-size", "decode.tensorParallelSize"),
            ("tp", "worker.tensorParallelSize"),
            ("namespace", "namespace"),
        ] {
            assert_eq!(find(word).map(|field| field.path), Some(path), "{word}");
        }
        assert!(find("").is_none() && find("rooter.mode").is_none());
    }

    #[test]
    fn a_mistyped_path_has_a_nearest_one() {
        for (typed, path) in [
            ("router.mod", "router.mode"),
            ("decode.replica", "decode.replicas"),
            ("storageClass", "cache.storageClass"),
            ("kvoffload.cpu", "kvOffload.cpu"),
            ("nodeselector", "nodeSelector"),
        ] {
            assert_eq!(nearest(typed), path, "{typed}");
        }
    }
}
