//! Checks the user's permissions, as the API server lists them, against the permissions that a command uses: `up`, or
//! another one that changes a deployment.
//!
//! Missing required permissions fail the preflight. Missing optional ones only reduce what the command can show.
//! Both lists come from its row of the RBAC table.

use super::{Authorizer, CheckProblem, CheckResult, ClusterFacts, Fact, Platform, PreflightInput};
use crate::code::MessageCode;
use crate::command::{Fix, SuggestedCommand};
use crate::intent::Cache;
use crate::rbac::table::{
    ADAPTERS, COMPONENTS, COMPUTE_DOMAINS, CONFIG_MAPS, GRAPHS, JOBS, LEADER_WORKER_SETS, POD_CLIQUE_SETS,
    PORT_FORWARDS, PVCS, RESOURCE_CLAIM_TEMPLATES, SECRETS, SERVICE_ACCOUNTS,
};
use crate::rbac::{
    Permission, Persona, Requirement, command_permissions, generate_command, needs_cluster_role,
};
use crate::resources::GraphApi;

/// The properties of a run that determine which permissions it uses.
struct PermissionCheck {
    command: &'static str,
    platform: Platform,
    creates_graph: bool,
    creates_pvc: bool,
    creates_job: bool,
    /// Resources of a file that are applied next to the graph.
    companions: Vec<&'static str>,
}

impl PermissionCheck {
    fn from_facts(facts: &ClusterFacts, input: &PreflightInput<'_>) -> Option<Self> {
        let has_resource = |kind: &str| input.resources.iter().any(|resource| resource.kind() == kind);
        let cluster_only = input.resources.is_empty();
        let creates_pvc = input.pvc.is_none()
            && input
                .plan
                .and_then(|plan| plan.cache.as_ref())
                .is_none_or(|cache| matches!(cache.cache, Cache::Managed { .. }));
        let companions = [
            ("ConfigMap", CONFIG_MAPS),
            ("ResourceClaimTemplate", RESOURCE_CLAIM_TEMPLATES),
            ("ComputeDomain", COMPUTE_DOMAINS),
        ];
        let companions = companions.into_iter().filter(|(kind, _)| has_resource(kind));
        let companions = companions.map(|(_, resource)| resource).collect();
        Some(Self {
            companions,
            command: input.command(),
            platform: (*facts.platform.known()?).unwrap_or_default(),
            creates_graph: input.starting_pods.is_none(),
            creates_pvc: cluster_only || (has_resource("PersistentVolumeClaim") && creates_pvc),
            creates_job: cluster_only || has_resource("Job"),
        })
    }

    /// Returns whether this run is expected to use the permission.
    fn is_needed(&self, permission: Permission) -> bool {
        match (permission.resource, permission.verb) {
            (GRAPHS, "create") => self.creates_graph,
            (PVCS, "create" | "patch") => self.creates_pvc,
            // Only a failed Job is deleted and recreated.
            (JOBS, "delete") => false,
            (JOBS, _) => self.creates_job,
            // A token given on stdin is written before this check runs.
            (SECRETS, _) => false,
            // Only a registry that requires credentials needs it.
            (SERVICE_ACCOUNTS, _) => false,
            // Only a component with a scaling adapter needs them.
            (ADAPTERS, _) => false,
            // `get` is only needed behind a proxy that allows WebSockets only.
            (PORT_FORWARDS, "get") => false,
            (LEADER_WORKER_SETS, _) => self.platform.leader_worker_sets,
            (CONFIG_MAPS | RESOURCE_CLAIM_TEMPLATES | COMPUTE_DOMAINS, _) => {
                self.companions.contains(&permission.resource)
            }
            (POD_CLIQUE_SETS, _) => self.platform.grove,
            _ => !needs_cluster_role(permission.resource),
        }
    }

    /// Returns the permissions that this run requires.
    fn required_permissions(&self) -> Vec<Permission> {
        self.permissions(|need| need == Requirement::Required)
    }

    /// Returns the other permissions that this run uses.
    fn optional_permissions(&self) -> Vec<Permission> {
        self.permissions(|need| need != Requirement::Required)
    }

    fn permissions(&self, is_selected: impl Fn(Requirement) -> bool) -> Vec<Permission> {
        let table = command_permissions(self.command).map(|row| row.permissions()).unwrap_or_default();
        // With v1alpha1, only the component deployments show whether a deployment is ready.
        let is_v1alpha1_requirement = |permission: &Permission| {
            self.platform.graph_api == GraphApi::V1Alpha1 && permission.resource == COMPONENTS
        };
        let need_here = |permission: &Permission, need| match is_v1alpha1_requirement(permission) {
            true => Requirement::Required,
            false => need,
        };
        let selected =
            table.into_iter().filter(|(permission, need)| is_selected(need_here(permission, *need)));
        let permissions = selected.map(|(permission, _)| permission);
        permissions.filter(|permission| self.is_needed(*permission)).collect()
    }
}

impl Authorizer {
    fn allows(&self, permission: &Permission) -> bool {
        let matches = |all: &[String], one: &str| all.iter().any(|entry| entry == "*" || entry == one);
        let (group, resource) = permission.group_and_resource();
        let subresource = resource.split_once('/').map(|(_, part)| format!("*/{part}"));
        self.rules.iter().any(|rule| {
            matches(&rule.verbs, permission.verb)
                && matches(&rule.groups, group)
                && (matches(&rule.resources, resource)
                    || subresource.as_ref().is_some_and(|any| rule.resources.contains(any)))
        })
    }
}

/// Checks that the user has all permissions that the command requires.
pub(super) fn permissions(facts: &ClusterFacts, input: &PreflightInput<'_>) -> Option<CheckResult> {
    let required = PermissionCheck::from_facts(facts, input)?.required_permissions();
    evaluate(facts, &required, input, input.command(), |missing, namespace, hint| {
        let text = format!("missing permission to {missing} in namespace \"{namespace}\"");
        CheckResult::Failed(CheckProblem::new(MessageCode::RbacDenied, text, hint))
    })
}

/// Checks that the user has the optional permissions for showing progress.
pub(super) fn watch_permissions(facts: &ClusterFacts, input: &PreflightInput<'_>) -> Option<CheckResult> {
    let optional = PermissionCheck::from_facts(facts, input)?.optional_permissions();
    evaluate(facts, &optional, input, "showing progress", |missing, namespace, hint| {
        let text =
            format!("missing permission to {missing} in namespace \"{namespace}\": less detail is shown");
        CheckResult::Warning(CheckProblem::new(MessageCode::OptionalPermissionMissing, text, hint))
    })
}

/// Returns the hint that names the command to grant the permission and the command to verify it.
fn hint(command: &str, permission: &Permission, namespace: &str) -> Fix {
    let persona = command_permissions(command).map_or(Persona::Deployer, |row| row.persona);
    let can_i = SuggestedCommand::kubectl("auth can-i")
        .operand(permission.verb, "VERB")
        .operand(permission.resource, "RESOURCE");
    Fix::from("ask an administrator to run ")
        .then(generate_command(persona, None, Some(namespace)))
        .text(", then verify with ")
        .command(can_i.in_namespace(namespace))
}

fn evaluate(
    facts: &ClusterFacts,
    permissions: &[Permission],
    input: &PreflightInput<'_>,
    purpose: &str,
    on_missing: impl Fn(&str, &str, Fix) -> CheckResult,
) -> Option<CheckResult> {
    let authorizer = match &facts.permissions {
        Fact::Known(authorizer) => authorizer,
        Fact::Unavailable(reason) => return Some(CheckResult::Skipped(reason.clone())),
        Fact::NotQueried => return None,
    };
    let namespace = &facts.namespace;
    let missing: Vec<&Permission> =
        permissions.iter().filter(|permission| !authorizer.allows(permission)).collect();
    let Some(first) = missing.first() else {
        return Some(CheckResult::Passed(format!(
            "all permissions for {purpose} in namespace \"{namespace}\""
        )));
    };
    // On such a cluster, the user may have permissions that the rules do not contain.
    if authorizer.incomplete {
        return Some(CheckResult::Skipped("the API server cannot list all permissions of this user".into()));
    }
    let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
    Some(on_missing(&names.join(", "), namespace, hint(input.command(), first, namespace)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use crate::preflight::PolicyRule;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str]) -> PolicyRule {
        let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        PolicyRule { verbs: owned(verbs), groups: owned(groups), resources: owned(resources) }
    }

    fn facts(rules: Vec<PolicyRule>, incomplete: bool) -> ClusterFacts {
        let platform = Platform { graph_api: GraphApi::V1Beta1, ..Platform::default() };
        ClusterFacts {
            namespace: "n".into(),
            platform: Fact::Known(Some(platform)),
            permissions: Fact::Known(Authorizer { rules, incomplete }),
            ..ClusterFacts::default()
        }
    }

    #[test]
    fn wildcard_rules_pass_both_checks() {
        let facts = facts(vec![rule(&["*"], &["*"], &["*"])], false);
        for check in [permissions, watch_permissions] {
            assert!(matches!(check(&facts, &PreflightInput::default()), Some(CheckResult::Passed(_))));
        }
    }

    #[test]
    fn reports_all_missing_permissions() {
        let rules = vec![
            rule(&["get", "list", "watch"], &["*"], &["*"]),
            rule(
                &["create", "patch"],
                &["nvidia.com", ""],
                &["dynamographdeployments", "persistentvolumeclaims"],
            ),
            rule(&["*"], &[""], &["*/portforward"]),
        ];
        let Some(CheckResult::Failed(problem)) =
            permissions(&facts(rules, false), &PreflightInput::default())
        else {
            panic!("no permission is missing")
        };
        assert_eq!(
            problem.text,
            "missing permission to create jobs.batch, patch jobs.batch in namespace \"n\""
        );
        assert!(
            problem.hint.to_string().ends_with("kubectl auth can-i create jobs.batch -n n"),
            "{}",
            problem.hint
        );
        assert_eq!((problem.code, problem.exit), (MessageCode::RbacDenied, Exit::Access));
    }

    #[test]
    fn port_forward_requires_create_permission() {
        let rules = vec![rule(&["get", "list", "watch", "patch"], &["*"], &["*"])];
        let Some(CheckResult::Failed(problem)) =
            permissions(&facts(rules, false), &PreflightInput::default())
        else {
            panic!("no permission is missing")
        };
        assert!(problem.text.contains("create pods/portforward"), "{}", problem.text);
        assert!(problem.text.contains("create dynamographdeployments.nvidia.com"), "{}", problem.text);
    }

    #[test]
    fn ignores_permissions_for_absent_platform_kinds() {
        let mut facts = facts(Vec::new(), false);
        let result_text =
            |facts: &ClusterFacts| format!("{:?}", watch_permissions(facts, &PreflightInput::default()));
        assert!(
            !result_text(&facts).contains("leaderworkersets")
                && result_text(&facts).contains("deployments.apps")
        );
        let platform =
            Platform { graph_api: GraphApi::V1Beta1, leader_worker_sets: true, ..Platform::default() };
        facts.platform = Fact::Known(Some(platform));
        assert!(result_text(&facts).contains("list leaderworkersets.leaderworkerset.x-k8s.io"));
    }

    #[test]
    fn missing_watch_permission_is_a_warning() {
        let rules = vec![rule(&["*"], &["*"], &["pods", "pods/log", "deployments"])];
        let Some(CheckResult::Warning(problem)) =
            watch_permissions(&facts(rules, false), &PreflightInput::default())
        else {
            panic!("no permission is missing")
        };
        assert!(problem.text.contains("list events, watch events"), "{}", problem.text);
    }

    #[test]
    fn incomplete_rules_skip_the_check() {
        let result = permissions(&facts(Vec::new(), true), &PreflightInput::default());
        assert!(matches!(result, Some(CheckResult::Skipped(_))), "{result:?}");
    }
}
