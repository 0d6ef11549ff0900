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

/// How long child names may grow, by the way the operator makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameBudget {
    /// Release 0.9.1 without Grove: the ServiceAccount's label ends the name at 41, debug Services name and
    /// component at 60 (seen on the real operator).
    DeploymentsWithDebugServices,
    /// Releases from 1.0 without Grove: workers carry an 8-digit hash, so name and worker end at 53, the
    /// frontend at 62 (seen on the real operator).
    DeploymentsWithHash,
    /// Grove, or unknown: name and component share 45 (the operator's own rule).
    Grove,
}

impl NameBudget {
    /// The longest name that fits with these components.
    pub fn longest_name(self, namespace: &str, components: &[&str]) -> usize {
        let longest = |limit: usize, of: &dyn Fn(&&&str) -> bool| {
            components.iter().filter(of).map(|c| limit.saturating_sub(c.len())).min().unwrap_or(limit)
        };
        let by_children = match self {
            Self::DeploymentsWithDebugServices => longest(60, &|_| true).min(41),
            Self::DeploymentsWithHash => longest(53, &|c| **c != "frontend").min(longest(62, &|_| true)),
            Self::Grove => longest(45, &|_| true),
        };
        by_children.min(NAMESPACE_AND_NAME.saturating_sub(namespace.len()))
    }

    /// Refuses a name over the budget, with the arithmetic and a shorter name.
    ///
    /// # Errors
    /// [`IntentError::NameTooLong`].
    pub fn check(self, name: &str, namespace: &str, components: &[&str]) -> Result<(), IntentError> {
        let longest = self.longest_name(namespace, components);
        if name.len() <= longest {
            return Ok(());
        }
        let component = components.iter().max_by_key(|c| c.len()).copied().unwrap_or_default();
        Err(IntentError::NameTooLong {
            name: name.into(),
            arithmetic: format!(
                "it has {} characters, and with component `{component}` in namespace `{namespace}` at most {longest} fit",
                name.len()
            ),
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
        let components = ["frontend", "worker"];
        assert_eq!(NameBudget::DeploymentsWithDebugServices.longest_name("dyn", &components), 41);
        assert_eq!(
            NameBudget::DeploymentsWithDebugServices.longest_name("dyn", &["a-component-of-20-ch"]),
            40
        );
        assert_eq!(NameBudget::DeploymentsWithHash.longest_name("dyn", &components), 47);
        assert_eq!(
            NameBudget::DeploymentsWithHash.longest_name("a-namespace-of-thirty-letters-", &components),
            32
        );
        assert_eq!(NameBudget::Grove.longest_name("dyn", &["frontend", "prefill"]), 37);
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
