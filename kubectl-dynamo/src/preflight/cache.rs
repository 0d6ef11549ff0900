//! The model itself: the Secret with the hub's token, and whether the model fits into the claim.

use super::memory::gibibytes;
use super::storage::new_claim;
use super::{ClusterFacts, Fact, HubModel, Outcome, Problem, Refusal, Subject};
use crate::error::Exit;
use crate::plan::Quantity;

/// Whether the Secret of the hub's token is there and has the key.
pub(super) fn token_secret(facts: &ClusterFacts, subject: &Subject<'_>) -> Option<Outcome> {
    let wanted = subject.plan?.intent.token_secret.as_ref()?;
    let (name, key, namespace) = (&wanted.name, &wanted.key, &facts.namespace);
    let problem = |text: String| {
        let hint =
            format!("create it from a file: add --hf-token-secret {name}/{key} --hf-token-stdin < token.txt");
        Outcome::Failed(Problem::new("KD0412", Exit::Model, text, hint))
    };
    Some(match &facts.token_secret {
        Fact::Known(None) => problem(format!("secret {name} does not exist in namespace {namespace}")),
        Fact::Known(Some(keys)) if keys.contains(key) => {
            Outcome::Passed(format!("secret/{name} has the key {key}"))
        }
        Fact::Known(Some(_)) => problem(format!("secret {name} in namespace {namespace} has no key {key}")),
        Fact::Hidden(why) => Outcome::Skipped(why.clone()),
        Fact::Unasked => return None,
    })
}

/// Whether the hub gives the model to whoever will fetch it.
pub(super) fn hub(facts: &ClusterFacts, subject: &Subject<'_>) -> Option<Outcome> {
    let plan = subject.plan?;
    let model = &plan.cache.as_ref()?.fetch.repository;
    Some(match (&facts.model, &plan.intent.token_secret) {
        (Fact::Unasked, _) => return None,
        (Fact::Hidden(why), _) => Outcome::Skipped(why.clone()),
        (Fact::Known(HubModel::Known(found)), _) => {
            Outcome::Passed(format!("{model} at {}, {} files", found.revision(), found.files))
        }
        (Fact::Known(HubModel::Refused(_)), Some(secret)) => Outcome::Skipped(format!(
            "the hub shows {model} only with a token: secret/{} has one",
            secret.name
        )),
        (Fact::Known(HubModel::Refused(refusal)), None) => {
            let Refusal { text, hint, exit } = refusal.clone();
            Outcome::Failed(Problem::new("KD0410", exit, text, hint))
        }
    })
}

/// Whether the model fits into the claim.
pub(super) fn claim_size(facts: &ClusterFacts, subject: &Subject<'_>) -> Option<Outcome> {
    let cache = subject.plan?.cache.as_ref()?;
    let name = cache.cache.claim();
    let size = match (subject.claim, new_claim(subject)) {
        (Some(claim), _) => claim.size.clone(),
        (None, made) => made?.object["spec"]["resources"]["requests"]["storage"].as_str()?.into(),
    };
    let bytes = facts.model()?.bytes;
    let gibibytes = gibibytes(bytes);
    let model = &cache.fetch.repository;
    Some(if Quantity::parse(&size).is_some_and(|size| size.bytes < bytes) {
        let needs = bytes.div_ceil(1 << 30) + 1;
        let hint = match subject.claim {
            Some(_) => format!(
                "expand it, where its class allows: kubectl patch pvc {name} -n {} -p '{{\"spec\":{{\"resources\":{{\"requests\":{{\"storage\":\"{needs}Gi\"}}}}}}}}'",
                facts.namespace
            ),
            None => format!("ask for more: --cache-size {needs}Gi"),
        };
        let text = format!("pvc/{name} has {size}, and the files of {model} take {gibibytes:.1} GiB");
        Outcome::Failed(Problem::new("KD0443", Exit::Model, text, hint))
    } else {
        Outcome::Passed(format!("{model} takes {gibibytes:.1} GiB of {size}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::storage::tests::plan_of;
    use crate::preflight::{ClaimFacts, ModelFacts};

    #[test]
    fn a_token_is_where_it_is_said_to_be() {
        let plan = plan_of(&["hfTokenSecret=hub/TOKEN"]);
        let subject = Subject { plan: Some(&plan), ..Subject::default() };
        let of = |token_secret| {
            let facts = ClusterFacts { namespace: "n".into(), token_secret, ..ClusterFacts::default() };
            super::token_secret(&facts, &subject)
        };
        let said = |outcome: Option<Outcome>| {
            outcome.and_then(|one| one.problem().map(|problem| problem.text.clone()))
        };
        assert!(matches!(of(Fact::Known(Some(vec!["TOKEN".into()]))), Some(Outcome::Passed(_))));
        assert_eq!(said(of(Fact::Known(None))).as_deref(), Some("secret hub does not exist in namespace n"));
        assert_eq!(
            said(of(Fact::Known(Some(Vec::new())))).as_deref(),
            Some("secret hub in namespace n has no key TOKEN")
        );
        assert!(matches!(of(Fact::Hidden("no right".into())), Some(Outcome::Skipped(_))));
        assert_eq!(of(Fact::Unasked), None);
    }

    #[test]
    fn a_gate_needs_a_secret_with_a_token() {
        let refusal = Refusal { text: "gated".into(), hint: "ask".into(), exit: Exit::Access };
        let model = Fact::Known(HubModel::Refused(refusal));
        let facts = ClusterFacts { model, ..ClusterFacts::default() };
        let of = |fields: &[&str], facts: &ClusterFacts| {
            let plan = plan_of(fields);
            hub(facts, &Subject { plan: Some(&plan), ..Subject::default() })
        };
        let Some(Outcome::Failed(problem)) = of(&[], &facts) else { panic!("nobody has a token") };
        assert_eq!((problem.code, problem.exit), ("KD0410", Exit::Access));
        assert!(matches!(of(&["hfTokenSecret=hub"], &facts), Some(Outcome::Skipped(_))));
        let found = ModelFacts { commit: "8f3c2d1a00".into(), files: 19, ..ModelFacts::default() };
        let facts = ClusterFacts { model: Fact::Known(HubModel::Known(found)), ..ClusterFacts::default() };
        assert_eq!(of(&[], &facts), Some(Outcome::Passed("acme/tiny at 8f3c2d1, 19 files".into())));
        assert_eq!(of(&[], &ClusterFacts::default()), None);
    }

    #[test]
    fn a_model_is_no_larger_than_its_claim() {
        let plan = plan_of(&[]);
        let claim = ClaimFacts { size: "20Gi".into(), bound: true, ..ClaimFacts::default() };
        let subject = Subject { plan: Some(&plan), claim: Some(&claim), ..Subject::default() };
        let of = |bytes| {
            let model = HubModel::Known(ModelFacts { bytes, ..ModelFacts::default() });
            let facts = ClusterFacts { model: Fact::Known(model), ..ClusterFacts::default() };
            claim_size(&facts, &subject)
        };
        assert_eq!(of(10 << 30), Some(Outcome::Passed("acme/tiny takes 10.0 GiB of 20Gi".into())));
        let Some(Outcome::Failed(problem)) = of(30 << 30) else { panic!("it does not fit") };
        assert_eq!((problem.code, problem.exit), ("KD0443", Exit::Model));
        assert!(problem.hint.contains("31Gi"), "{}", problem.hint);
    }
}
