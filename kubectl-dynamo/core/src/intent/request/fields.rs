//! The fields of a request: the path in a file, the flag, the type, and the help text of each. The table is
//! the only place that defines a field; flags, JSON schema, environment variables, and config files are
//! derived from it.

mod table;

use crate::intent::StringEnum;
pub use table::GROUPS;

/// Type of a field's value.
#[derive(Debug, Clone, Copy)]
pub enum FieldType {
    String,
    /// A Kubernetes quantity, such as `20Gi`.
    Quantity,
    /// A whole number.
    Integer,
    /// A number of at least 0.
    Number,
    Bool,
    /// One of a fixed set of values.
    Enum(fn() -> Vec<&'static str>),
    /// A list of strings; the flag is repeated for each element.
    List,
    /// Engine arguments. Flags of a layer with higher precedence replace flags with the same name.
    Args,
    /// A map from strings to strings.
    Map,
}

impl PartialEq for FieldType {
    /// Compares only the variant, not the set of values.
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// Value of `--mode`: aggregated workers, or separate prefill and decode workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopologyMode {
    Aggregated,
    Disaggregated,
}

impl StringEnum for TopologyMode {
    const ALL: &'static [Self] = &[Self::Aggregated, Self::Disaggregated];

    fn as_str(self) -> &'static str {
        match self {
            Self::Aggregated => "agg",
            Self::Disaggregated => "disagg",
        }
    }
}

/// Heading of a field in help and documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heading {
    Model,
    Topology,
    Routing,
    KvOffload,
    Cache,
    Placement,
}

impl Heading {
    /// Text of the heading. `None` for flags that appear first, without a heading.
    pub fn title(self) -> Option<&'static str> {
        match self {
            Self::Model => None,
            Self::Topology => Some("Topology"),
            Self::Routing => Some("Routing"),
            Self::KvOffload => Some("KV offload"),
            Self::Cache => Some("Cache"),
            Self::Placement => Some("Placement"),
        }
    }
}

/// A field of a request.
#[derive(Debug, PartialEq)]
pub struct Field {
    /// Path in a file.
    pub path: &'static str,
    /// The flag in messages, with its hyphens. If the flag has two forms, the short one.
    pub flag: &'static str,
    /// The long form, if the flag has two forms.
    pub long_flag: Option<&'static str>,
    pub kind: FieldType,
    pub heading: Heading,
    /// Placeholder for the value in help. Empty for booleans.
    pub value_name: &'static str,
    pub about: &'static str,
    /// An example value. Empty if the possible values are listed.
    pub example: &'static str,
}

impl Field {
    /// Environment variable of the field. For `router.overlapWeight`: `KUBECTL_DYNAMO_ROUTER_OVERLAP_WEIGHT`.
    pub fn environment_variable(&self) -> String {
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

const fn field(path: &'static str, flag: &'static str, kind: FieldType, about: &'static str) -> Field {
    let heading = Heading::Model;
    Field { path, flag, long_flag: None, kind, heading, value_name: "", about, example: "" }
}

impl Field {
    const fn with_value(mut self, value_name: &'static str, example: &'static str) -> Self {
        self.value_name = value_name;
        self.example = example;
        self
    }

    const fn with_heading(mut self, heading: Heading) -> Self {
        self.heading = heading;
        self
    }

    const fn with_long_flag(mut self, flag: &'static str) -> Self {
        self.long_flag = Some(flag);
        self
    }
}

fn enum_values<T: StringEnum>() -> Vec<&'static str> {
    T::ALL.iter().map(|value| value.as_str()).collect()
}

/// The namespace setting. It is not part of a request: it comes from kubectl's flag, the environment, or a
/// config file.
pub static NAMESPACE: Field = field(
    "namespace",
    "--namespace",
    FieldType::String,
    "Namespace [default: that of the kubeconfig context]",
)
.with_value("NAME", "serving");

/// All fields.
pub fn fields() -> impl Iterator<Item = &'static Field> {
    GROUPS.iter().copied().flatten()
}

/// Finds a field by its path, or by its flag without hyphens.
pub fn find_field(path_or_flag: &str) -> Option<&'static Field> {
    let by_flag = |field: &&Field| {
        [Some(field.flag), field.long_flag]
            .into_iter()
            .flatten()
            .any(|flag| flag.trim_start_matches('-') == path_or_flag)
    };
    let all_fields = || fields().chain([&NAMESPACE]);
    all_fields()
        .find(|field| field.path == path_or_flag)
        .or_else(|| all_fields().find(by_flag).filter(|_| !path_or_flag.is_empty()))
}

/// The most similar path of a field or of a group of fields.
pub fn nearest_path(path: &str) -> &'static str {
    let path = path.to_lowercase();
    let last_segment = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let groups = fields().filter_map(|field| field.path.split_once('.')).map(|(group, _)| group);
    fields()
        .map(|field| field.path)
        .chain(groups)
        .min_by_key(|known| {
            let lower = known.to_lowercase();
            let path_distance = strsim::levenshtein(&lower, &path);
            (
                path_distance.min(1 + strsim::levenshtein(&last_segment(&lower), &last_segment(&path))),
                path_distance,
            )
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_variables_are_unique() {
        let mut paths: Vec<&str> = fields().map(|field| field.path).collect();
        let mut variables: Vec<String> = fields().map(Field::environment_variable).collect();
        let count = paths.len();
        paths.sort_unstable();
        paths.dedup();
        variables.sort_unstable();
        variables.dedup();
        assert_eq!((paths.len(), variables.len()), (count, count));
        // These variables set local folders and the progress format.
        for reserved in ["CACHE", "STATE", "PROGRESS", "CONFIG", "COMPLETE", "IMAGE_CHECK"] {
            assert!(!variables.contains(&format!("KUBECTL_DYNAMO_{reserved}")), "{reserved}");
        }
    }

    #[test]
    fn finds_fields_by_path_and_by_flag() {
        for (path_or_flag, path) in [
            ("router.mode", "router.mode"),
            ("storage-class", "cache.storageClass"),
            ("decode-tensor-parallel-size", "decode.tensorParallelSize"),
            ("tp", "worker.tensorParallelSize"),
            ("namespace", "namespace"),
        ] {
            assert_eq!(find_field(path_or_flag).map(|field| field.path), Some(path), "{path_or_flag}");
        }
        assert!(find_field("").is_none() && find_field("rooter.mode").is_none());
    }

    #[test]
    fn suggests_nearest_path_for_a_typo() {
        for (typed, path) in [
            ("router.mod", "router.mode"),
            ("decode.replica", "decode.replicas"),
            ("storageClass", "cache.storageClass"),
            ("kvoffload.cpu", "kvOffload.cpu"),
            ("nodeselector", "nodeSelector"),
        ] {
            assert_eq!(nearest_path(typed), path, "{typed}");
        }
    }
}
