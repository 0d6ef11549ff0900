//! The PVCs, Secrets, and images that a document refers to, at any depth.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::object::ObjectView;

/// The names of the PVCs, Secrets, and images that a document refers to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References<'a> {
    pub pvcs: BTreeSet<&'a str>,
    /// The Secrets, each with whether it is required. Pods start without an optional Secret.
    pub secrets: BTreeMap<&'a str, bool>,
    pub images: BTreeSet<&'a str>,
}

impl<'a> References<'a> {
    /// Collects the references of a document.
    pub fn of_value(value: &'a Value) -> Self {
        let mut references = Self::default();
        references.collect(value);
        references
    }

    fn collect(&mut self, value: &'a Value) {
        match value {
            Value::Object(fields) => {
                for (field, value) in fields {
                    match (field.as_str(), value) {
                        ("claimName", Value::String(name)) => drop(self.pvcs.insert(name)),
                        ("image", Value::String(name)) => drop(self.images.insert(name)),
                        ("envFromSecret", Value::String(name)) => drop(self.secrets.insert(name, true)),
                        ("secretKeyRef" | "secretRef", value) => self.add_secret(ObjectView::new(value)),
                        (_, value) => self.collect(value),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.collect(item)),
            _ => {}
        }
    }

    fn add_secret(&mut self, reference: ObjectView<'a>) {
        let Some(name) = reference.text("/name") else { return };
        let is_required = reference.document().get("optional") != Some(&Value::Bool(true));
        *self.secrets.entry(name).or_default() |= is_required;
    }
}
