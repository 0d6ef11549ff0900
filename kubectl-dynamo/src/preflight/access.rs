//! What a person may do, by the API server's own list of it: all that `up` needs for what it is about to do, and all
//! that it shows more with. Both come from its row of the table of rights.

use super::{Authorizer, ClusterFacts, Fact, Outcome, Platform, Problem, Subject};
use crate::error::Exit;
use crate::intent::Cache;
use crate::resources::GraphApi;
use crate::rights::table::{
    CLAIMS, COMPONENTS, GRAPHS, JOBS, LEADER_WORKER_SETS, POD_CLIQUE_SETS, SECRETS, TUNNELS,
};
use crate::rights::{Need, Persona, Right, generate_command, is_outside, of_verb};

/// What `up` is about to do, as far as it decides over rights.
struct Occasion {
    platform: Platform,
    makes_graph: bool,
    makes_claim: bool,
    makes_job: bool,
}

impl Occasion {
    fn of(facts: &ClusterFacts, subject: &Subject<'_>) -> Option<Self> {
        let makes = |kind: &str| subject.resources.iter().any(|resource| resource.kind() == kind);
        let cluster_alone = subject.resources.is_empty();
        let makes_claim = subject.claim.is_none()
            && subject
                .plan
                .and_then(|plan| plan.cache.as_ref())
                .is_none_or(|cache| matches!(cache.cache, Cache::Made { .. }));
        Some(Self {
            platform: (*facts.platform.known()?).unwrap_or_default(),
            makes_graph: subject.starts.is_none(),
            makes_claim: cluster_alone || (makes("PersistentVolumeClaim") && makes_claim),
            makes_job: cluster_alone || makes("Job"),
        })
    }

    /// Whether it comes to that, as far as can be told before.
    fn uses(&self, right: Right) -> bool {
        match (right.resource, right.verb) {
            (GRAPHS, "create") => self.makes_graph,
            (CLAIMS, "create" | "patch") => self.makes_claim,
            // Only a Job that has failed is made anew.
            (JOBS, "delete") => false,
            (JOBS, _) => self.makes_job,
            // A token that is given on stdin is written before this is asked.
            (SECRETS, _) => false,
            // Behind a proxy that lets nothing but WebSockets through.
            (TUNNELS, "get") => false,
            (LEADER_WORKER_SETS, _) => self.platform.leader_worker_sets,
            (POD_CLIQUE_SETS, _) => self.platform.grove,
            _ => !is_outside(right.resource),
        }
    }

    /// The rights that it comes to: those it cannot do without, or the others.
    fn rights(&self, necessary: bool) -> Vec<Right> {
        let table = of_verb("up").map(|row| row.rights()).unwrap_or_default();
        // Nothing else tells there whether a deployment is ready.
        let older =
            |right: &Right| self.platform.graph_api == GraphApi::V1Alpha1 && right.resource == COMPONENTS;
        let wanted = |(right, need): &(Right, Need)| (*need == Need::Required || older(right)) == necessary;
        let rights = table.into_iter().filter(wanted).map(|(right, _)| right);
        rights.filter(|right| self.uses(*right)).collect()
    }
}

impl Authorizer {
    fn allows(&self, right: &Right) -> bool {
        let any_or = |all: &[String], one: &str| all.iter().any(|given| given == "*" || given == one);
        let (group, resource) = right.group_and_resource();
        let subresource = resource.split_once('/').map(|(_, part)| format!("*/{part}"));
        self.rules.iter().any(|rule| {
            any_or(&rule.verbs, right.verb)
                && any_or(&rule.groups, group)
                && (any_or(&rule.resources, resource)
                    || subresource.as_ref().is_some_and(|any| rule.resources.contains(any)))
        })
    }
}

/// Whether the person may do what `up` has to.
pub(super) fn rights(facts: &ClusterFacts, subject: &Subject<'_>) -> Option<Outcome> {
    let needed = Occasion::of(facts, subject)?.rights(true);
    judged(facts, &needed, "up", |missing, namespace, hint| {
        let text = format!("no right to {missing} in namespace {namespace}");
        Outcome::Failed(Problem::new("KD0105", Exit::Access, text, hint))
    })
}

/// Whether the person may see what is going on.
pub(super) fn rights_to_watch(facts: &ClusterFacts, subject: &Subject<'_>) -> Option<Outcome> {
    let helpful = Occasion::of(facts, subject)?.rights(false);
    judged(facts, &helpful, "watching", |missing, namespace, hint| {
        let text = format!("no right to {missing} in namespace {namespace}: less can be shown or kept");
        Outcome::Warning(Problem::new("KD0115", Exit::Access, text, hint))
    })
}

/// Who gives what `up` needs, and how to see that it holds.
fn remedy(right: &Right, namespace: &str) -> String {
    let persona = of_verb("up").map_or(Persona::Deployer, |up| up.persona);
    let command = generate_command(persona, None, Some(namespace));
    format!("ask an admin for it: {command}; then check: kubectl auth can-i {right} -n {namespace}")
}

fn judged(
    facts: &ClusterFacts,
    rights: &[Right],
    what: &str,
    lacking: impl Fn(&str, &str, String) -> Outcome,
) -> Option<Outcome> {
    let authorizer = match &facts.rights {
        Fact::Known(authorizer) => authorizer,
        Fact::Hidden(why) => return Some(Outcome::Skipped(why.clone())),
        Fact::Unasked => return None,
    };
    let namespace = &facts.namespace;
    let missing: Vec<&Right> = rights.iter().filter(|right| !authorizer.allows(right)).collect();
    let Some(first) = missing.first() else {
        return Some(Outcome::Passed(format!("all rights that {what} needs in namespace {namespace}")));
    };
    // The rules of such a cluster are not all the rights there are.
    if authorizer.incomplete {
        return Some(Outcome::Skipped("the API server cannot list all rights of this user".into()));
    }
    let named: Vec<String> = missing.iter().map(ToString::to_string).collect();
    Some(lacking(&named.join(", "), namespace, remedy(first, namespace)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::Rule;

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
        assert_eq!(problem.text, "no right to create jobs.batch, patch jobs.batch in namespace n");
        assert!(problem.hint.ends_with("kubectl auth can-i create jobs.batch -n n"), "{}", problem.hint);
        assert_eq!((problem.code, problem.exit), ("KD0105", Exit::Access));
    }

    #[test]
    fn a_tunnel_is_asked_for_as_it_is_opened() {
        let rules = vec![rule(&["get", "list", "watch", "patch"], &["*"], &["*"])];
        let Some(Outcome::Failed(problem)) = rights(&facts(rules, false), &Subject::default()) else {
            panic!("nothing is missing")
        };
        assert!(problem.text.contains("create pods/portforward"), "{}", problem.text);
        assert!(problem.text.contains("create dynamographdeployments.nvidia.com"), "{}", problem.text);
    }

    #[test]
    fn objects_of_a_platform_that_is_not_there_are_not_asked_about() {
        let mut facts = facts(Vec::new(), false);
        let says = |facts: &ClusterFacts| format!("{:?}", rights_to_watch(facts, &Subject::default()));
        assert!(!says(&facts).contains("leaderworkersets") && says(&facts).contains("deployments.apps"));
        let platform =
            Platform { graph_api: GraphApi::V1Beta1, leader_worker_sets: true, ..Platform::default() };
        facts.platform = Fact::Known(Some(platform));
        assert!(says(&facts).contains("list leaderworkersets.leaderworkerset.x-k8s.io"));
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
