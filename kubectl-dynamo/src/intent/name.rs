//! Names of deployments: which are valid, which default is made from a model, and the budgets of the objects
//! that Dynamo's operators derive from them.

use super::IntentError;

/// `<namespace>-<name>` is a label value of every pod, and those end at 63 characters.
const NAMESPACE_AND_NAME: usize = 62;

/// Checks that a name is a DNS-1035 label: Services are named after it.
///
/// # Errors
/// The rule that is broken.
pub fn check_label(name: &str) -> Result<(), IntentError> {
    let reason = if name.is_empty() {
        "it is empty"
    } else if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        "it must begin with a lower-case letter"
    } else if name.ends_with('-') {
        "it must not end with a hyphen"
    } else if !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
        "only lower-case letters, digits and hyphens are allowed"
    } else {
        return Ok(());
    };
    Err(IntentError::Name { name: name.into(), reason })
}

/// Whether a text is a DNS-1123 label, as names of volumes and namespaces are.
pub fn is_object_label(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len())
        && name.chars().all(allowed)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Whether a text is a DNS-1123 subdomain, as names of most objects are.
pub fn is_object_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_object_label)
}

/// Whether a key and a value can be a Kubernetes label: an optional DNS prefix, then at most 63 letters, digits,
/// `-`, `_` and `.` with a letter or digit at both ends.
pub fn is_label(key: &str, value: &str) -> bool {
    let part = |text: &str| {
        text.len() <= 63
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    let (prefix, name) = key.rsplit_once('/').unwrap_or(("prefix", key));
    prefix.len() <= 253
        && prefix.split('.').all(is_object_label)
        && part(name)
        && (value.is_empty() || part(value))
}

/// A component as far as names go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedPart<'a> {
    pub name: &'a str,
    /// Whether it spans nodes: Grove then puts the name of its leader behind its own.
    pub spans_nodes: bool,
}

impl<'a> NamedPart<'a> {
    /// A component whose pods each stand alone.
    pub fn alone(name: &'a str) -> Self {
        Self { name, spans_nodes: false }
    }
}

/// What Grove appends to the name of a component that spans nodes.
const LEADER: &str = "-ldr";

/// How long child names may grow, by the way the operator makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameBudget {
    /// Release 0.9.1 without Grove: the ServiceAccount's label ends the name at 41, debug Services name and
    /// component at 60 (seen on the real operator).
    DeploymentsWithDebugServices,
    /// Releases from 1.0 without Grove: workers carry an 8-digit hash, so name and worker end at 53, the
    /// frontend at 62 (seen on the real operator).
    DeploymentsWithHash,
    /// Grove, or unknown: name and component share 45, and so does the leader's name of a component that spans
    /// nodes (the operator's own rule).
    Grove,
}

/// One rule that ends a name, and what else counts towards it.
struct Limit {
    longest: usize,
    beside: String,
}

impl NameBudget {
    /// The longest name that fits with these components.
    pub fn longest_name(self, namespace: &str, components: &[NamedPart<'_>]) -> usize {
        self.tightest(namespace, components).longest
    }

    fn tightest(self, namespace: &str, components: &[NamedPart<'_>]) -> Limit {
        let of_namespace = Limit {
            longest: NAMESPACE_AND_NAME.saturating_sub(namespace.len()),
            beside: format!(
                "{NAMESPACE_AND_NAME} less {} of namespace `{namespace}`, with which it is one label",
                namespace.len()
            ),
        };
        let of_account = Limit { longest: 41, beside: "41, since a ServiceAccount is named after it".into() };
        let of_account = (self == Self::DeploymentsWithDebugServices).then_some(of_account);
        let of_components = components.iter().map(|part| self.limit_beside(*part));
        let all = of_components.chain(of_account).chain([of_namespace]);
        all.min_by_key(|limit| limit.longest).expect("the namespace always sets a limit")
    }

    fn limit_beside(self, NamedPart { name, spans_nodes }: NamedPart<'_>) -> Limit {
        let limit: usize = match self {
            Self::DeploymentsWithDebugServices => 60,
            Self::DeploymentsWithHash if name == "frontend" => 62,
            Self::DeploymentsWithHash => 53,
            Self::Grove => 45,
        };
        let leader = if self == Self::Grove && spans_nodes { name.len() + LEADER.len() } else { 0 };
        let mut beside = format!("{limit} less {} of component `{name}`", name.len());
        if leader > 0 {
            beside += &format!(" and {leader} of its leader `{name}{LEADER}`");
        }
        Limit { longest: limit.saturating_sub(name.len() + leader), beside }
    }

    /// Refuses a name over the budget, with the arithmetic and a shorter name.
    ///
    /// # Errors
    /// [`IntentError::NameTooLong`].
    pub fn check(self, name: &str, namespace: &str, components: &[NamedPart<'_>]) -> Result<(), IntentError> {
        let Limit { longest, beside } = self.tightest(namespace, components);
        if name.len() <= longest {
            return Ok(());
        }
        Err(IntentError::NameTooLong {
            name: name.into(),
            arithmetic: format!("it has {} characters, and at most {longest} fit: {beside}", name.len()),
            suggestion: shortened(name, longest),
        })
    }
}

/// A deployment's default name: the model's short name as a DNS label, cut at a hyphen to fit.
pub fn default_name(short_model_name: &str, longest: usize) -> String {
    let mut label = String::new();
    for c in short_model_name.to_lowercase().chars() {
        let c = if c.is_ascii_alphanumeric() { c } else { '-' };
        if !(c == '-' && label.ends_with('-')) {
            label.push(c);
        }
    }
    let label = label.trim_matches('-');
    let label = if label.starts_with(|c: char| c.is_ascii_lowercase()) {
        label.to_owned()
    } else {
        format!("m-{label}")
    };
    shortened(label.trim_end_matches('-'), longest)
}

fn shortened(name: &str, longest: usize) -> String {
    if name.len() <= longest {
        return name.into();
    }
    let cut = &name[..longest];
    let at_hyphen = cut.rfind('-').filter(|&at| at >= longest / 2).map_or(cut, |at| &cut[..at]);
    at_hyphen.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_those_seen_on_the_real_operators() {
        let alone = |names: &[&'static str]| -> Vec<NamedPart<'static>> {
            names.iter().map(|name| NamedPart::alone(name)).collect()
        };
        let components = alone(&["frontend", "worker"]);
        let debug = NameBudget::DeploymentsWithDebugServices;
        assert_eq!(debug.longest_name("dyn", &components), 41);
        assert_eq!(debug.longest_name("dyn", &alone(&["a-component-of-20-ch"])), 40);
        assert_eq!(NameBudget::DeploymentsWithHash.longest_name("dyn", &components), 47);
        assert_eq!(
            NameBudget::DeploymentsWithHash.longest_name("a-namespace-of-thirty-letters-", &components),
            32
        );
        assert_eq!(NameBudget::Grove.longest_name("dyn", &alone(&["frontend", "prefill"])), 37);
    }

    #[test]
    fn grove_counts_the_leader_of_what_spans_nodes() {
        // The example of the operator's own rule: ten letters and their leader leave 21.
        let spanning = NamedPart { name: "ten-letter", spans_nodes: true };
        assert_eq!(NameBudget::Grove.longest_name("dyn", &[spanning]), 21);
        assert_eq!(NameBudget::DeploymentsWithHash.longest_name("dyn", &[spanning]), 43);
        let refused = NameBudget::Grove.check("a-name-of-twenty-two-c", "dyn", &[spanning]);
        let said = refused.expect_err("one too long").to_string();
        let sum =
            "22 characters, and at most 21 fit: 45 less 10 of component `ten-letter` and 14 of its leader";
        assert!(said.contains(sum), "{said}");
    }

    #[test]
    fn default_names_are_labels_and_are_cut_at_a_hyphen() {
        assert_eq!(default_name("Qwen3-30B-A3B-Instruct-2507-FP8", 45), "qwen3-30b-a3b-instruct-2507-fp8");
        assert_eq!(default_name("DeepSeek-R1-Distill-Qwen-1.5B", 20), "deepseek-r1-distill");
        assert_eq!(default_name("4bit__model", 45), "m-4bit-model");
        assert_eq!(default_name("..x..", 45), "x");
    }

    #[test]
    fn labels_are_those_of_kubernetes() {
        for (key, value) in [("team", "a"), ("example.com/team", "A_1.b"), ("team", "")] {
            assert!(is_label(key, value), "{key}={value}");
        }
        for (key, value) in [("bad label", "x"), ("team", "x y"), ("/team", "x"), ("a/b/c", "x"), ("-a", "x")]
        {
            assert!(!is_label(key, value), "{key}={value}");
        }
    }

    #[test]
    fn refuses_names_that_no_service_can_have() {
        for name in ["", "1a", "A", "a.b", "a_b", "a-", "-a"] {
            assert!(check_label(name).is_err(), "{name}");
        }
        assert!(check_label("a-1").is_ok());
    }
}
