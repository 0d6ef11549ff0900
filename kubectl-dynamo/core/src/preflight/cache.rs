//! Checks of the model: the Secret with the hub token, access to the model on the hub, and the size of the
//! PVC.

use serde_json::json;

use model_fetcher_contract::{DEFAULT_ENDPOINT, environment, redact_userinfo, required_space};

use super::memory::gibibytes;
use super::storage::new_pvc;
use super::{AccessError, CheckProblem, CheckResult, ClusterFacts, Fact, ModelLookup, PreflightInput};
use crate::code::MessageCode;
use crate::command::{SuggestedCommand, UNKNOWN_NAME};
use crate::plan::Quantity;

/// Checks that the Secret with the hub token exists and has the key.
pub(super) fn token_secret(facts: &ClusterFacts, input: &PreflightInput<'_>) -> Option<CheckResult> {
    let secret = input.plan?.intent.token_secret.as_ref()?;
    let (name, key, namespace) = (&secret.name, &secret.key, &facts.namespace);
    let problem = |text: String| {
        let hint =
            format!("create it from a file: add --hf-token-secret {name}/{key} --hf-token-stdin < token.txt");
        CheckResult::Failed(CheckProblem::new(MessageCode::TokenSecretNotFound, text, hint))
    };
    Some(match &facts.token_secret {
        Fact::Known(None) => problem(format!("Secret \"{name}\" not found in namespace \"{namespace}\"")),
        Fact::Known(Some(keys)) if keys.contains(key) => {
            CheckResult::Passed(format!("Secret \"{name}\" has the key \"{key}\""))
        }
        Fact::Known(Some(_)) => problem(format!(
            "Secret \"{name}\" in namespace \"{namespace}\" does not have key \"{key}\" with the hub token"
        )),
        Fact::Unavailable(reason) => CheckResult::Skipped(reason.clone()),
        Fact::NotQueried => return None,
    })
}

/// Checks that the hub grants access to the model with the credentials of the fetch.
pub(super) fn hub(facts: &ClusterFacts, input: &PreflightInput<'_>) -> Option<CheckResult> {
    let plan = input.plan?;
    let model = &plan.cache.as_ref()?.fetch.repository;
    Some(match (&facts.model, &plan.intent.token_secret) {
        (Fact::NotQueried, _) => return None,
        (Fact::Unavailable(reason), _) => CheckResult::Skipped(reason.clone()),
        (Fact::Known(ModelLookup::Found(model_metadata)), _) => CheckResult::Passed(format!(
            "{model} at {}, {} files",
            model_metadata.revision(),
            model_metadata.files
        )),
        (Fact::Known(ModelLookup::Denied(_)), Some(secret)) => CheckResult::Skipped(format!(
            "the hub requires a token for \"{model}\": Secret \"{}\" contains one",
            secret.name
        )),
        (Fact::Known(ModelLookup::Denied(error)), None) => {
            let AccessError { text, hint, exit } = error.clone();
            CheckResult::Failed(CheckProblem {
                exit,
                ..CheckProblem::new(MessageCode::ModelFetchFailed, text, hint)
            })
        }
    })
}

/// Checks that the pods use the hub endpoint of this machine.
pub(super) fn hub_endpoint(facts: &ClusterFacts, input: &PreflightInput<'_>) -> Option<CheckResult> {
    let plan = input.plan?;
    let model = &plan.cache.as_ref()?.fetch.repository;
    let local = facts.local_hub_endpoint.as_deref()?;
    if plan.intent.placement.fetch_variable(environment::HF_ENDPOINT).is_some() {
        return Some(CheckResult::Passed("the pods have their own HF_ENDPOINT".into()));
    }
    let local = redact_userinfo(local);
    Some(CheckResult::Warning(CheckProblem::new(
        MessageCode::EndpointNotInPods,
        format!(
            "only this machine uses HF_ENDPOINT={local}: the pods fetch \"{model}\" from {DEFAULT_ENDPOINT}"
        ),
        format!("pass it to the pods with --env {}={local}", environment::HF_ENDPOINT),
    )))
}

/// Checks that the model fits on the PVC.
pub(super) fn pvc_size(facts: &ClusterFacts, input: &PreflightInput<'_>) -> Option<CheckResult> {
    let cache = input.plan?.cache.as_ref()?;
    let name = cache.cache.pvc();
    let size = match (input.pvc, new_pvc(input)) {
        (Some(pvc), _) => pvc.size.clone(),
        (None, new_pvc) => new_pvc?.view().text("/spec/resources/requests/storage")?.into(),
    };
    let bytes = facts.model()?.bytes;
    let gibibytes = gibibytes(bytes);
    let model = &cache.fetch.repository;
    let required = required_space(bytes);
    let capacity = Quantity::parse(&size).map(|size| size.bytes);
    Some(if capacity.is_some_and(|capacity| capacity < required) {
        // The inode tables of ext4 take 1.6 % of a volume by default.
        let required_gibibytes = (required + required / 50).div_ceil(1 << 30);
        let hint = match input.pvc {
            Some(_) => {
                let size = json!({ "spec": { "resources": { "requests": { "storage": format!("{required_gibibytes}Gi") } } } });
                let patch = SuggestedCommand::kubectl("patch pvc")
                    .operand(name, UNKNOWN_NAME)
                    .in_namespace(&facts.namespace);
                patch.flag("-p").flag(&size.to_string()).after("expand it if its storage class allows it: ")
            }
            None => format!("request a larger PVC with --cache-size {required_gibibytes}Gi").into(),
        };
        // A model that an existing PVC holds already needs no space to be written.
        let can_hold = input.pvc.is_some() && capacity.is_some_and(|capacity| capacity >= bytes);
        let shortage = if can_hold { "too small to fetch to" } else { "too small" };
        let text =
            format!("PVC \"{name}\" is {shortage}: \"{model}\" needs {gibibytes:.1} GiB, the PVC has {size}");
        let problem = CheckProblem::new(MessageCode::PvcTooSmall, text, hint);
        if can_hold { CheckResult::Warning(problem) } else { CheckResult::Failed(problem) }
    } else {
        CheckResult::Passed(format!("{model} needs {gibibytes:.1} GiB of {size}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use crate::preflight::storage::tests::plan_from_fields;
    use crate::preflight::{ModelMetadata, PvcFacts};

    type Check = fn(&ClusterFacts, &PreflightInput<'_>) -> Option<CheckResult>;

    /// Runs a check with the plan of these fields.
    fn run_with_plan(check: Check, fields: &[&str], facts: &ClusterFacts) -> Option<CheckResult> {
        let plan = plan_from_fields(fields);
        check(facts, &PreflightInput { plan: Some(&plan), ..PreflightInput::default() })
    }

    #[test]
    fn fails_without_token_secret_or_key() {
        let plan = plan_from_fields(&["hfTokenSecret=hub/TOKEN"]);
        let input = PreflightInput { plan: Some(&plan), ..PreflightInput::default() };
        let check = |token_secret| {
            let facts = ClusterFacts { namespace: "n".into(), token_secret, ..ClusterFacts::default() };
            super::token_secret(&facts, &input)
        };
        let problem_text = |result: Option<CheckResult>| {
            result.and_then(|one| one.problem().map(|problem| problem.text.clone()))
        };
        assert!(matches!(check(Fact::Known(Some(vec!["TOKEN".into()]))), Some(CheckResult::Passed(_))));
        assert_eq!(
            problem_text(check(Fact::Known(None))).as_deref(),
            Some("Secret \"hub\" not found in namespace \"n\"")
        );
        assert_eq!(
            problem_text(check(Fact::Known(Some(Vec::new())))).as_deref(),
            Some("Secret \"hub\" in namespace \"n\" does not have key \"TOKEN\" with the hub token")
        );
        assert!(matches!(
            check(Fact::Unavailable("missing permission".into())),
            Some(CheckResult::Skipped(_))
        ));
        assert_eq!(check(Fact::NotQueried), None);
    }

    #[test]
    fn gated_model_requires_token_secret() {
        let error = AccessError { text: "gated".into(), hint: "request access".into(), exit: Exit::Access };
        let model = Fact::Known(ModelLookup::Denied(error));
        let facts = ClusterFacts { model, ..ClusterFacts::default() };
        let check = |fields: &[&str], facts: &ClusterFacts| run_with_plan(hub, fields, facts);
        let Some(CheckResult::Failed(problem)) = check(&[], &facts) else {
            panic!("a gated model fails without a token")
        };
        assert_eq!((problem.code, problem.exit), (MessageCode::ModelFetchFailed, Exit::Access));
        assert!(matches!(check(&["hfTokenSecret=hub"], &facts), Some(CheckResult::Skipped(_))));
        let found = ModelMetadata { commit: "8f3c2d1a00".into(), files: 19, ..ModelMetadata::default() };
        let facts = ClusterFacts { model: Fact::Known(ModelLookup::Found(found)), ..ClusterFacts::default() };
        assert_eq!(check(&[], &facts), Some(CheckResult::Passed("acme/tiny at 8f3c2d1, 19 files".into())));
        assert_eq!(check(&[], &ClusterFacts::default()), None);
    }

    #[test]
    fn warns_about_an_endpoint_that_only_this_machine_has() {
        let local_hub_endpoint = Some("http://jane:secret@mirror.test/hf".into());
        let facts = ClusterFacts { local_hub_endpoint, ..ClusterFacts::default() };
        let check = |fields: &[&str], facts: &ClusterFacts| run_with_plan(hub_endpoint, fields, facts);
        let Some(CheckResult::Warning(problem)) = check(&[], &facts) else {
            panic!("the pods use another hub")
        };
        assert_eq!(problem.code, MessageCode::EndpointNotInPods);
        assert_eq!(
            problem.hint.to_string(),
            "pass it to the pods with --env HF_ENDPOINT=http://mirror.test/hf"
        );
        assert!(!problem.text.contains("secret"), "{}", problem.text);
        let own = check(&["env.HF_ENDPOINT=http://mirror.test/hf"], &facts);
        assert!(matches!(own, Some(CheckResult::Passed(_))), "{own:?}");
        assert_eq!(check(&[], &ClusterFacts::default()), None);
    }

    #[test]
    fn fails_if_model_exceeds_pvc_size() {
        let plan = plan_from_fields(&[]);
        let pvc = PvcFacts { size: "20Gi".into(), bound: true, ..PvcFacts::default() };
        let input = PreflightInput { plan: Some(&plan), pvc: Some(&pvc), ..PreflightInput::default() };
        let check = |bytes| {
            let model = ModelLookup::Found(ModelMetadata { bytes, ..ModelMetadata::default() });
            let facts = ClusterFacts { model: Fact::Known(model), ..ClusterFacts::default() };
            pvc_size(&facts, &input)
        };
        assert_eq!(check(10 << 30), Some(CheckResult::Passed("acme/tiny needs 10.0 GiB of 20Gi".into())));
        let Some(CheckResult::Failed(problem)) = check(30 << 30) else { panic!("the model does not fit") };
        assert_eq!((problem.code, problem.exit), (MessageCode::PvcTooSmall, Exit::Model));
        // 2 % more for the fetcher, and 2 % more for the file system.
        assert!(problem.hint.to_string().contains("32Gi"), "{}", problem.hint);
        // The fetcher refuses this PVC, unless the model is on it already.
        let Some(CheckResult::Warning(problem)) = check((20 << 30) - 1) else { panic!("it may be there") };
        assert!(problem.to_string().contains("is too small to fetch to"), "{problem}");
    }
}
