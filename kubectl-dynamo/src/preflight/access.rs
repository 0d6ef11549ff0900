//! What a person may do: the rights that `up` needs, by the API server's own list of them.

use super::{Authorizer, ClusterFacts, Fact, Outcome, Problem, Subject};
use crate::error::Exit;
use crate::intent::Cache;
use crate::resources::GraphApi;

/// A right, and what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    pub verb: &'static str,
    /// With its subresource: `pods/log`.
    pub resource: &'static str,
    pub group: &'static str,
    pub need: Need,
}

/// When a right is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Always,
    /// To make a deployment that is not there yet.
    NewGraph,
    /// To make the claim for models.
    MakeClaim,
    /// To make the Job that fetches the model.
    FetchJob,
    /// To know that a deployment is ready where its operator is of the older shape.
    OlderShape,
    /// To ask for a completion at the end.
    SmokeTest,
    /// To show what is going on.
    Show,
}

const fn right(verb: &'static str, resource: &'static str, group: &'static str, need: Need) -> Right {
    Right { verb, resource, group, need }
}

const DYNAMO: &str = "nvidia.com";
const GRAPHS: &str = "dynamographdeployments";
const COMPONENTS: &str = "dynamocomponentdeployments";
const CLAIMS: &str = "persistentvolumeclaims";

/// What `up` asks of an API server in the namespace of a deployment.
pub const RIGHTS: &[Right] = &[
    right("get", GRAPHS, DYNAMO, Need::Always),
    right("create", GRAPHS, DYNAMO, Need::NewGraph),
    right("patch", GRAPHS, DYNAMO, Need::Always),
    right("list", GRAPHS, DYNAMO, Need::Always),
    right("watch", GRAPHS, DYNAMO, Need::Always),
    right("get", CLAIMS, "", Need::Always),
    right("create", CLAIMS, "", Need::MakeClaim),
    right("patch", CLAIMS, "", Need::MakeClaim),
    right("get", "jobs", "batch", Need::FetchJob),
    right("create", "jobs", "batch", Need::FetchJob),
    right("patch", "jobs", "batch", Need::FetchJob),
    right("list", "jobs", "batch", Need::FetchJob),
    right("watch", "jobs", "batch", Need::FetchJob),
    right("list", COMPONENTS, DYNAMO, Need::OlderShape),
    right("watch", COMPONENTS, DYNAMO, Need::OlderShape),
    right("list", "pods", "", Need::SmokeTest),
    right("create", "pods/portforward", "", Need::SmokeTest),
    right("watch", "pods", "", Need::Show),
    right("get", "pods/log", "", Need::Show),
    right("list", "events", "", Need::Show),
    right("watch", "events", "", Need::Show),
    right("list", "deployments", "apps", Need::Show),
    right("watch", "deployments", "apps", Need::Show),
];

impl std::fmt::Display for Right {
    /// As `kubectl auth can-i` takes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, ".{}", self.group) }
    }
}

impl Authorizer {
    fn allows(&self, right: &Right) -> bool {
        let any_or = |all: &[String], one: &str| all.iter().any(|given| given == "*" || given == one);
        self.rules.iter().any(|rule| {
            let subresource = right.resource.split_once('/').map(|(_, part)| format!("*/{part}"));
            any_or(&rule.verbs, right.verb)
                && any_or(&rule.groups, right.group)
                && (any_or(&rule.resources, right.resource)
                    || subresource.is_some_and(|any| rule.resources.contains(&any)))
        })
    }
}

/// Whether the person may do what `up` has to.
pub(super) fn rights(facts: &ClusterFacts, subject: &Subject<'_>) -> Option<Outcome> {
    let older = facts.platform.known()?.as_ref().is_some_and(|one| one.graph_api == GraphApi::V1Alpha1);
    let makes = |kind: &str| subject.resources.iter().any(|resource| resource.kind() == kind);
    let cluster_alone = subject.resources.is_empty();
    let makes_claim = subject.claim.is_none()
        && subject
            .plan
            .and_then(|plan| plan.cache.as_ref())
            .is_none_or(|cache| matches!(cache.cache, Cache::Made { .. }));
    let needed = |right: &&Right| match right.need {
        Need::Always | Need::SmokeTest => true,
        Need::NewGraph => subject.starts.is_none(),
        Need::MakeClaim => cluster_alone || (makes("PersistentVolumeClaim") && makes_claim),
        Need::FetchJob => cluster_alone || makes("Job"),
        Need::OlderShape => older,
        Need::Show => false,
    };
    judged(facts, needed, "up", |missing, namespace| {
        let first = missing.split(", ").next().unwrap_or_default();
        Outcome::Failed(Problem::new(
            "KD0105",
            Exit::Access,
            format!("no right in namespace {namespace} to {missing}"),
            format!("ask for it, then check: kubectl auth can-i {first} -n {namespace}"),
        ))
    })
}

/// Whether the person may see what is going on.
pub(super) fn rights_to_watch(facts: &ClusterFacts, _: &Subject<'_>) -> Option<Outcome> {
    judged(
        facts,
        |right| right.need == Need::Show,
        "watching",
        |missing, namespace| {
            let first = missing.split(", ").next().unwrap_or_default();
            Outcome::Warning(Problem::new(
                "KD0115",
                Exit::Access,
                format!("no right in namespace {namespace} to {missing}: less can be shown"),
                format!("ask for it, then check: kubectl auth can-i {first} -n {namespace}"),
            ))
        },
    )
}

fn judged(
    facts: &ClusterFacts,
    needed: impl Fn(&&Right) -> bool,
    what: &str,
    lacking: impl Fn(&str, &str) -> Outcome,
) -> Option<Outcome> {
    let authorizer = match &facts.rights {
        Fact::Known(authorizer) => authorizer,
        Fact::Hidden(why) => return Some(Outcome::Skipped(why.clone())),
        Fact::Unasked => return None,
    };
    let namespace = &facts.namespace;
    let missing: Vec<String> = RIGHTS
        .iter()
        .filter(needed)
        .filter(|right| !authorizer.allows(right))
        .map(ToString::to_string)
        .collect();
    Some(match missing.as_slice() {
        [] => Outcome::Passed(format!("all rights that {what} needs in namespace {namespace}")),
        // The rules of such a cluster are not all the rights there are.
        _ if authorizer.incomplete => {
            Outcome::Skipped("the API server cannot list all rights of this user".into())
        }
        missing => lacking(&missing.join(", "), namespace),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::{Platform, Rule};

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str]) -> Rule {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Rule { verbs: owned(verbs), groups: owned(groups), resources: owned(resources) }
    }

    fn facts(rules: Vec<Rule>, incomplete: bool) -> ClusterFacts {
        let platform = Platform { graph_api: GraphApi::V1Beta1, ..Platform::default() };
        ClusterFacts {
            namespace: "n".into(),
            platform: Fact::Known(Some(platform)),
            rights: Fact::Known(Authorizer { rules, incomplete }),
            ..ClusterFacts::default()
        }
    }

    #[test]
    fn who_may_do_everything_may_do_this() {
        let facts = facts(vec![rule(&["*"], &["*"], &["*"])], false);
        for check in [rights, rights_to_watch] {
            assert!(matches!(check(&facts, &Subject::default()), Some(Outcome::Passed(_))));
        }
    }

    #[test]
    fn every_right_that_is_missing_is_named_at_once() {
        let rules = vec![
            rule(&["get", "list", "watch"], &["*"], &["*"]),
            rule(
                &["create", "patch"],
                &["nvidia.com", ""],
                &["dynamographdeployments", "persistentvolumeclaims"],
            ),
            rule(&["*"], &[""], &["*/portforward"]),
        ];
        let Some(Outcome::Failed(problem)) = rights(&facts(rules, false), &Subject::default()) else {
            panic!("nothing is missing")
        };
        assert_eq!(problem.text, "no right in namespace n to create jobs.batch, patch jobs.batch");
        assert!(problem.hint.ends_with("kubectl auth can-i create jobs.batch -n n"), "{}", problem.hint);
        assert_eq!((problem.code, problem.exit), ("KD0105", Exit::Access));
    }

    #[test]
    fn what_only_shows_more_is_a_warning() {
        let rules = vec![rule(&["*"], &["*"], &["pods", "pods/log", "deployments"])];
        let Some(Outcome::Warning(problem)) = rights_to_watch(&facts(rules, false), &Subject::default())
        else {
            panic!("nothing is missing")
        };
        assert!(problem.text.contains("list events, watch events"), "{}", problem.text);
    }

    #[test]
    fn an_incomplete_list_of_rights_proves_nothing() {
        let found = rights(&facts(Vec::new(), true), &Subject::default());
        assert!(matches!(found, Some(Outcome::Skipped(_))), "{found:?}");
    }
}
