//! The model itself: the Secret with the hub's token, and whether the model fits into the claim.

use super::storage::new_claim;
use super::{ClusterFacts, Fact, Outcome, Problem, Subject};
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

/// Whether the model fits into the claim.
pub(super) fn claim_size(facts: &ClusterFacts, subject: &Subject<'_>) -> Option<Outcome> {
    let cache = subject.plan?.cache.as_ref()?;
    let name = cache.cache.claim();
    let size = match (subject.claim, new_claim(subject)) {
        (Some(claim), _) => claim.size.clone(),
        (None, made) => made?.object["spec"]["resources"]["requests"]["storage"].as_str()?.into(),
    };
    let bytes = match &facts.model_bytes {
        Fact::Known(bytes) => *bytes,
        Fact::Hidden(why) => return Some(Outcome::Skipped(why.clone())),
        Fact::Unasked => return None,
    };
    let gibibytes = bytes as f64 / f64::from(1 << 30);
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
    use crate::preflight::ClaimFacts;
    use crate::preflight::storage::tests::plan_of;

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
    fn a_model_is_no_larger_than_its_claim() {
        let plan = plan_of(&[]);
        let claim = ClaimFacts { size: "20Gi".into(), bound: true, ..ClaimFacts::default() };
        let subject = Subject { plan: Some(&plan), claim: Some(&claim), ..Subject::default() };
        let of = |bytes| {
            let facts = ClusterFacts { model_bytes: Fact::Known(bytes), ..ClusterFacts::default() };
            claim_size(&facts, &subject)
        };
        assert_eq!(of(10 << 30), Some(Outcome::Passed("acme/tiny takes 10.0 GiB of 20Gi".into())));
        let Some(Outcome::Failed(problem)) = of(30 << 30) else { panic!("it does not fit") };
        assert_eq!((problem.code, problem.exit), ("KD0443", Exit::Model));
        assert!(problem.hint.contains("31Gi"), "{}", problem.hint);
    }
}
