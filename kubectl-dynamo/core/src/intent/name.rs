//! Deployment names: validation, the default name of a model, and the length limits of the child objects that
//! Dynamo's operators derive from a name. It does not query a cluster; the caller chooses the [`NameBudget`].

use super::IntentError;

/// Maximum length of namespace and name: `<namespace>-<name>` is a label value of every pod (63 characters).
const NAMESPACE_AND_NAME_LIMIT: usize = 62;

/// Checks that a name is a DNS-1035 label, because Services are named after it.
///
/// # Errors
/// [`IntentError::Name`] with the violated rule.
pub fn check_dns1035_label(name: &str) -> Result<(), IntentError> {
    let reason = if name.is_empty() {
        "it must not be empty"
    } else if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        "it must start with a lowercase letter"
    } else if name.ends_with('-') {
        "it must not end with a hyphen"
    } else if !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
        "only lowercase letters, digits, and hyphens are allowed"
    } else {
        return Ok(());
    };
    Err(IntentError::Name { name: name.into(), reason })
}

/// Whether a string is a DNS-1123 label, as required for names of volumes and namespaces.
pub fn is_dns1123_label(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len())
        && name.chars().all(allowed)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Whether a string is a DNS-1123 subdomain, as required for names of most objects.
pub fn is_dns1123_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_dns1123_label)
}

/// Whether a key and a value are a valid Kubernetes label: an optional DNS prefix, then at most 63 letters,
/// digits, `-`, `_`, and `.` with a letter or digit at both ends.
pub fn is_label(key: &str, value: &str) -> bool {
    let is_label_part = |text: &str| {
        text.len() <= 63
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    let (prefix, name) = key.rsplit_once('/').unwrap_or(("prefix", key));
    prefix.len() <= 253
        && prefix.split('.').all(is_dns1123_label)
        && is_label_part(name)
        && (value.is_empty() || is_label_part(value))
}

/// A component, reduced to what determines the names of its child objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedComponent<'a> {
    pub name: &'a str,
    /// Whether a replica uses several nodes. Grove then also appends the name of the leader.
    pub spans_nodes: bool,
}

impl<'a> NamedComponent<'a> {
    /// A component whose replicas use one node each.
    pub fn single_node(name: &'a str) -> Self {
        Self { name, spans_nodes: false }
    }
}

/// Suffix that Grove appends to the component name for the leader of a multi-node replica.
const LEADER_SUFFIX: &str = "-ldr";

/// Length limits for child names, by the way the operator builds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameBudget {
    /// Release 0.9.1 without Grove: the ServiceAccount's label limits the name to 41 characters, and debug
    /// Services limit name and component to 60 (measured with the real operator).
    DeploymentsWithDebugServices,
    /// Releases from 1.0 without Grove: worker names contain an 8-digit hash, so the limit for name and
    /// component is 53 for workers and 62 for the frontend (measured with the real operator).
    DeploymentsWithHash,
    /// Grove, or unknown: name, component, and the leader's name of a multi-node component share 45
    /// characters (the operator's validation rule).
    Grove,
}

/// A length limit for the name, and the arithmetic behind it.
struct NameLimit {
    max_length: usize,
    explanation: String,
}

impl NameBudget {
    /// Maximum length of a name with these components.
    pub fn max_name_length(self, namespace: &str, components: &[NamedComponent<'_>]) -> usize {
        self.tightest_limit(namespace, components).max_length
    }

    fn tightest_limit(self, namespace: &str, components: &[NamedComponent<'_>]) -> NameLimit {
        let namespace_limit = NameLimit {
            max_length: NAMESPACE_AND_NAME_LIMIT.saturating_sub(namespace.len()),
            explanation: format!(
                "{NAMESPACE_AND_NAME_LIMIT} minus {} for namespace \"{namespace}\"",
                namespace.len()
            ),
        };
        let account_limit =
            NameLimit { max_length: 41, explanation: "41 because a ServiceAccount is named after it".into() };
        let account_limit = (self == Self::DeploymentsWithDebugServices).then_some(account_limit);
        let component_limits = components.iter().map(|component| self.component_limit(*component));
        let all = component_limits.chain(account_limit).chain([namespace_limit]);
        all.min_by_key(|limit| limit.max_length).expect("the namespace always sets a limit")
    }

    fn component_limit(self, NamedComponent { name, spans_nodes }: NamedComponent<'_>) -> NameLimit {
        let limit: usize = match self {
            Self::DeploymentsWithDebugServices => 60,
            Self::DeploymentsWithHash if name == "frontend" => 62,
            Self::DeploymentsWithHash => 53,
            Self::Grove => 45,
        };
        let leader_length =
            if self == Self::Grove && spans_nodes { name.len() + LEADER_SUFFIX.len() } else { 0 };
        let mut explanation = format!("{limit} minus {} for component \"{name}\"", name.len());
        if leader_length > 0 {
            explanation += &format!(" and {leader_length} for its leader \"{name}{LEADER_SUFFIX}\"");
        }
        NameLimit { max_length: limit.saturating_sub(name.len() + leader_length), explanation }
    }

    /// Rejects a name over the limit. The error contains the arithmetic and a shorter name.
    ///
    /// # Errors
    /// [`IntentError::NameTooLong`].
    pub fn check(
        self,
        name: &str,
        namespace: &str,
        components: &[NamedComponent<'_>],
    ) -> Result<(), IntentError> {
        let NameLimit { max_length, explanation } = self.tightest_limit(namespace, components);
        if name.len() <= max_length {
            return Ok(());
        }
        Err(IntentError::NameTooLong {
            name: name.into(),
            arithmetic: format!(
                "it has {} characters, at most {max_length} are allowed ({explanation})",
                name.len()
            ),
            suggestion: shorten(name, max_length),
        })
    }
}

/// Default name of a deployment: the model's short name as a DNS label, shortened at a hyphen to fit.
pub fn default_name(short_model_name: &str, max_length: usize) -> String {
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
    shorten(label.trim_end_matches('-'), max_length)
}

/// Names for a further deployment, such as `qwen-2`, that have at most this length.
pub fn numbered_names(name: &str, max_length: usize) -> impl Iterator<Item = String> {
    (2..100).map(move |number| {
        let suffix = format!("-{number}");
        format!("{}{suffix}", shorten(name, max_length.saturating_sub(suffix.len())))
    })
}

fn shorten(name: &str, max_length: usize) -> String {
    if name.len() <= max_length {
        return name.into();
    }
    let cut = &name[..max_length];
    let cut_at_hyphen = cut.rfind('-').filter(|&at| at >= max_length / 2).map_or(cut, |at| &cut[..at]);
    cut_at_hyphen.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_budgets_match_operator_behavior() {
        let single_node_components = |names: &[&'static str]| -> Vec<NamedComponent<'static>> {
            names.iter().map(|name| NamedComponent::single_node(name)).collect()
        };
        let components = single_node_components(&["frontend", "worker"]);
        let debug = NameBudget::DeploymentsWithDebugServices;
        assert_eq!(debug.max_name_length("dyn", &components), 41);
        assert_eq!(debug.max_name_length("dyn", &single_node_components(&["a-component-of-20-ch"])), 40);
        assert_eq!(NameBudget::DeploymentsWithHash.max_name_length("dyn", &components), 47);
        assert_eq!(
            NameBudget::DeploymentsWithHash.max_name_length("a-namespace-of-thirty-letters-", &components),
            32
        );
        assert_eq!(
            NameBudget::Grove.max_name_length("dyn", &single_node_components(&["frontend", "prefill"])),
            37
        );
    }

    #[test]
    fn grove_budget_includes_leader_of_multi_node_components() {
        // The example in the operator's rule: a ten-letter component and its leader leave 21 characters.
        let spanning = NamedComponent { name: "ten-letter", spans_nodes: true };
        assert_eq!(NameBudget::Grove.max_name_length("dyn", &[spanning]), 21);
        assert_eq!(NameBudget::DeploymentsWithHash.max_name_length("dyn", &[spanning]), 43);
        let refused = NameBudget::Grove.check("a-name-of-twenty-two-c", "dyn", &[spanning]);
        let message = refused.expect_err("one character too long").to_string();
        let arithmetic = "22 characters, at most 21 are allowed (45 minus 10 for component \"ten-letter\" and 14 for its leader";
        assert!(message.contains(arithmetic), "{message}");
    }

    #[test]
    fn default_names_are_dns_labels_cut_at_a_hyphen() {
        assert_eq!(default_name("Qwen3-30B-A3B-Instruct-2507-FP8", 45), "qwen3-30b-a3b-instruct-2507-fp8");
        assert_eq!(default_name("DeepSeek-R1-Distill-Qwen-1.5B", 20), "deepseek-r1-distill");
        assert_eq!(default_name("4bit__model", 45), "m-4bit-model");
        assert_eq!(default_name("..x..", 45), "x");
    }

    #[test]
    fn numbered_names_fit_the_limit() {
        let first = |name: &str, max_length: usize| numbered_names(name, max_length).next();
        assert_eq!(first("qwen", 41).as_deref(), Some("qwen-2"));
        assert_eq!(first("qwen3-instruct", 14).as_deref(), Some("qwen3-instru-2"));
        assert_eq!(numbered_names("q", 9).nth(8).as_deref(), Some("q-10"));
    }

    #[test]
    fn is_label_follows_kubernetes_rules() {
        for (key, value) in [("team", "a"), ("example.com/team", "A_1.b"), ("team", "")] {
            assert!(is_label(key, value), "{key}={value}");
        }
        for (key, value) in [("bad label", "x"), ("team", "x y"), ("/team", "x"), ("a/b/c", "x"), ("-a", "x")]
        {
            assert!(!is_label(key, value), "{key}={value}");
        }
    }

    #[test]
    fn rejects_invalid_service_names() {
        for name in ["", "1a", "A", "a.b", "a_b", "a-", "-a"] {
            assert!(check_dns1035_label(name).is_err(), "{name}");
        }
        assert!(check_dns1035_label("a-1").is_ok());
    }
}
