//! Which rights of the Kubernetes API each verb uses: one table, from which RBAC objects are made and messages
//! tell what to ask for. A test compares it with what the verbs really ask an API server.

mod manifest;
pub(crate) mod table;

use std::collections::{BTreeMap, BTreeSet};

use crate::intent::Word;
pub use manifest::{Reach, Subject, generate_command, is_outside, manifest, rules};
pub use table::TABLE;

/// Who uses the program; each may do all that those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Persona {
    /// Looks, and changes nothing.
    Viewer,
    /// Deploys models and talks to them.
    Deployer,
    /// Looks after the platform, in every namespace.
    Platform,
}

impl Word for Persona {
    const ALL: &'static [Self] = &[Self::Viewer, Self::Deployer, Self::Platform];

    fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Deployer => "deployer",
            Self::Platform => "platform",
        }
    }
}

/// What a verb does without a right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Uses it where another verb's persona gave it, and says what is left out where not; its own persona does not
    /// give it.
    Borrowed,
    /// Goes on, and says what is left out.
    Optional,
    /// Refuses.
    Required,
}

/// Calls of one resource.
#[derive(Debug, Clone, Copy)]
pub struct Calls {
    /// As kubectl spells it: plural and group, or with the subresource: `jobs.batch`, `pods/log`.
    pub resource: &'static str,
    /// RBAC's verbs.
    pub verbs: &'static [&'static str],
    pub need: Need,
}

/// What one verb of this program uses.
#[derive(Debug, Clone, Copy)]
pub struct VerbRights {
    /// As it is typed: `up`, `cache rm`.
    pub verb: &'static str,
    /// The least one that has all of it.
    pub persona: Persona,
    pub calls: &'static [&'static [Calls]],
}

/// One RBAC verb on one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    pub resource: &'static str,
    pub verb: &'static str,
}

impl std::fmt::Display for Right {
    /// As `kubectl auth can-i` takes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)
    }
}

impl Right {
    /// The API group, which is empty for the core, and the resource with its subresource: `jobs.batch` is `jobs` of the
    /// group `batch`.
    pub fn group_and_resource(&self) -> (&'static str, &'static str) {
        match self.resource.split_once('.') {
            Some((plural, group)) => (group, plural),
            None => ("", self.resource),
        }
    }
}

impl VerbRights {
    /// Each right with how much it is needed.
    pub fn rights(&self) -> BTreeMap<Right, Need> {
        let mut rights = BTreeMap::new();
        for calls in self.calls.iter().copied().flatten() {
            for verb in calls.verbs {
                let need = rights.entry(Right { resource: calls.resource, verb }).or_insert(calls.need);
                *need = calls.need.max(*need);
            }
        }
        rights
    }

    fn has(&self, verb: &str, resource: &str) -> bool {
        self.rights()
            .iter()
            .any(|(right, need)| right.verb == verb && right.resource == resource && *need != Need::Borrowed)
    }
}

/// What a verb of this program uses; nothing for one that asks no cluster.
pub fn of_verb(verb: &str) -> Option<&'static VerbRights> {
    TABLE.iter().find(|row| row.verb == verb)
}

/// All rights of a persona.
pub fn of_persona(persona: Persona) -> BTreeSet<Right> {
    let rows = TABLE.iter().filter(|row| row.persona <= persona);
    let given = rows.flat_map(VerbRights::rights).filter(|(_, need)| *need != Need::Borrowed);
    given.map(|(right, _)| right).collect()
}

/// The persona that has a right, and with it all that this program's verb needs; nothing where none has it.
pub fn persona_with(program_verb: &str, verb: &str, resource: &str) -> Option<Persona> {
    let own = of_verb(program_verb).filter(|row| row.has(verb, resource)).map(|row| row.persona);
    let least = TABLE.iter().filter(|row| row.has(verb, resource)).map(|row| row.persona).min();
    own.or(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verb_has_one_row_and_each_right_one_spelling() {
        let verbs: BTreeSet<&str> = TABLE.iter().map(|row| row.verb).collect();
        assert_eq!(verbs.len(), TABLE.len());
        for row in TABLE {
            assert!(!row.rights().is_empty(), "{} asks nothing: leave it out", row.verb);
            for right in row.rights().keys() {
                let known = ["get", "list", "watch", "create", "patch", "delete"];
                assert!(known.contains(&right.verb), "{}: {right}", row.verb);
            }
        }
    }

    #[test]
    fn a_persona_may_do_what_those_before_it_may() {
        let [viewer, deployer, platform] =
            [Persona::Viewer, Persona::Deployer, Persona::Platform].map(of_persona);
        assert!(viewer.is_subset(&deployer) && deployer.is_subset(&platform));
    }

    #[test]
    fn a_viewer_changes_nothing_and_reads_no_secret() {
        for right in of_persona(Persona::Viewer) {
            assert!(["get", "list", "watch"].contains(&right.verb), "{right}");
            assert!(!["secrets", "pods/portforward", "pods/exec"].contains(&right.resource), "{right}");
        }
    }

    #[test]
    fn the_persona_of_the_verb_that_runs_is_the_one_to_ask_for() {
        assert_eq!(persona_with("up", "list", "pods"), Some(Persona::Deployer));
        assert_eq!(persona_with("status", "list", "pods"), Some(Persona::Viewer));
        assert_eq!(persona_with("status", "create", "pods/portforward"), Some(Persona::Deployer));
        assert_eq!(persona_with("status", "delete", "nodes"), None);
    }
}
