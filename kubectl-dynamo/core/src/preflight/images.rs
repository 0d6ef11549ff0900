//! Checks of the images of a plan: whether their registries have them, for the architecture of the nodes.
//!
//! This machine asked the registries, and nodes can see other ones or can already have an image. So nothing here fails.

use std::collections::BTreeMap;

use super::capacity::{gpu_components, usable_nodes};
use super::{CheckProblem, CheckResult, ClusterFacts, PreflightInput};
use crate::code::MessageCode;
use crate::registry::{ImageLookup, RegistryImage, TriedCredentials};

/// The well-known label of a node with its CPU architecture.
const ARCHITECTURE_LABEL: &str = "kubernetes.io/arch";

/// Checks the image of the Dynamo containers.
pub(super) fn runtime_image(facts: &ClusterFacts, input: &PreflightInput<'_>) -> Option<CheckResult> {
    check_image(facts, input, &input.plan?.image, "--image")
}

/// Checks the image of the fetch containers.
pub(super) fn fetcher_image(facts: &ClusterFacts, input: &PreflightInput<'_>) -> Option<CheckResult> {
    let plan = input.plan?;
    // `up` prints the warnings of the plan itself.
    if let Some(warning) = plan.unreleased_image_warning().filter(|_| input.is_check()) {
        let hint = "push an image, and set it with --fetcher-image REGISTRY/NAME:TAG";
        return Some(CheckResult::Warning(CheckProblem::new(warning.code(), warning.to_string(), hint)));
    }
    check_image(facts, input, &plan.cache.as_ref()?.fetch.image, "--fetcher-image")
}

fn check_image(
    facts: &ClusterFacts,
    input: &PreflightInput<'_>,
    image: &str,
    flag: &str,
) -> Option<CheckResult> {
    let lookup = facts.images.get(image)?;
    let registry = RegistryImage::parse(image).registry;
    let warning =
        |code, text: String, hint: String| CheckResult::Warning(CheckProblem::new(code, text, hint));
    Some(match lookup {
        ImageLookup::Found { architectures } => match unsupported_node(facts, input, architectures) {
            Some((node, architecture)) => warning(
                MessageCode::ImageArchitectureMismatch,
                format!(
                    "image \"{image}\" is built for {}, but node \"{node}\" has {architecture}",
                    architectures.join(" and ")
                ),
                format!(
                    "set an image for {architecture} with {flag} REGISTRY/NAME:TAG, or select other nodes: --node-selector {ARCHITECTURE_LABEL}={}",
                    architectures.first().map_or("amd64", String::as_str)
                ),
            ),
            None if architectures.is_empty() => CheckResult::Passed(format!("{image} is in its registry")),
            None => CheckResult::Passed(format!(
                "{image} is in its registry, for {}",
                architectures.join(" and ")
            )),
        },
        ImageLookup::NotFound => warning(
            MessageCode::ImageNotFound,
            format!("registry \"{registry}\" does not have image \"{image}\""),
            format!(
                "push it, or set another one with {flag} REGISTRY/NAME:TAG, unless the nodes already have it"
            ),
        ),
        ImageLookup::Denied(TriedCredentials::None) => warning(
            MessageCode::RegistryAccessDenied,
            format!(
                "registry \"{registry}\" denies image \"{image}\" without credentials, and the pods do not have a Secret for it"
            ),
            match named_secrets(input).as_slice() {
                [] => "name a Secret with --image-pull-secret NAME, unless the nodes have credentials".into(),
                names => format!(
                    "check that Secret \"{}\" exists and has an entry for \"{registry}\", unless the nodes have credentials",
                    names.join("\" and \"")
                ),
            },
        ),
        ImageLookup::Denied(TriedCredentials::Secrets(names)) => warning(
            MessageCode::RegistryAccessDenied,
            format!(
                "registry \"{registry}\" denies image \"{image}\" with the credentials in Secret \"{}\"",
                names.join("\" and \"")
            ),
            format!(
                "check the image ({flag}), and update the Secret or name another one with --image-pull-secret NAME"
            ),
        ),
        ImageLookup::Denied(TriedCredentials::Unreadable(reason)) => CheckResult::Skipped(format!(
            "registry \"{registry}\" requires credentials for \"{image}\": {reason}"
        )),
        ImageLookup::Inconclusive(reason) if input.is_check() => warning(
            MessageCode::ImageNotChecked,
            format!("image \"{image}\" is not checked, because registry \"{registry}\" {reason}"),
            "check the name of the registry; if the nodes can reach it, nothing is wrong".into(),
        ),
        ImageLookup::Inconclusive(reason) => {
            CheckResult::Skipped(format!("registry \"{registry}\" {reason}"))
        }
    })
}

/// Returns the Secrets that the request names for pulling images.
fn named_secrets(input: &PreflightInput<'_>) -> Vec<String> {
    input.plan.map(|plan| plan.intent.placement.image_pull_secrets.clone()).unwrap_or_default()
}

/// Returns a node that can run workers of the plan but has another architecture than the image, with this architecture.
fn unsupported_node<'a>(
    facts: &'a ClusterFacts,
    input: &PreflightInput<'_>,
    architectures: &[String],
) -> Option<(&'a str, &'a str)> {
    let nodes = facts.nodes.known().filter(|_| !architectures.is_empty())?;
    let by_architecture: BTreeMap<&str, &str> = usable_nodes(nodes, &gpu_components(input))
        .into_iter()
        .filter_map(|node| Some((node.labels.get(ARCHITECTURE_LABEL)?.as_str(), node.name.as_str())))
        .collect();
    let is_supported = |architecture: &str| architectures.iter().any(|one| one == architecture);
    let unsupported = by_architecture.into_iter().find(|(architecture, _)| !is_supported(architecture));
    unsupported.map(|(architecture, node)| (node, architecture))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use crate::plan::PlanWarning;
    use crate::preflight::storage::tests::plan_from_fields;
    use crate::preflight::{Fact, Node};
    use crate::resources::{GraphApi, render};

    const IMAGE: &str = "registry.test/ml/model-fetcher:1";

    fn check(lookup: ImageLookup, nodes: Vec<Node>, command: Option<&'static str>) -> CheckResult {
        let plan = plan_from_fields(&[&format!("fetcherImage={IMAGE}")]);
        let resources = render(&plan, "n", GraphApi::V1Beta1);
        let images = [(IMAGE.to_owned(), lookup)].into();
        let facts = ClusterFacts { images, nodes: Fact::Known(nodes), ..ClusterFacts::default() };
        let input =
            PreflightInput { plan: Some(&plan), resources: &resources, command, ..PreflightInput::default() };
        assert_eq!(runtime_image(&facts, &input), None);
        fetcher_image(&facts, &input).expect("the image was looked up")
    }

    fn node(name: &str, architecture: &str) -> Node {
        let labels = [(ARCHITECTURE_LABEL.to_owned(), architecture.to_owned())].into();
        Node { name: name.into(), labels, gpus: 8, ready: true, ..Node::default() }
    }

    fn found(architectures: &[&str]) -> ImageLookup {
        ImageLookup::Found { architectures: architectures.iter().map(|one| (*one).to_owned()).collect() }
    }

    #[test]
    fn only_warns_about_an_image_that_nodes_cannot_pull() {
        let denied = |tried| ImageLookup::Denied(tried);
        for (lookup, code, part) in [
            (ImageLookup::NotFound, MessageCode::ImageNotFound, "\"registry.test\" does not have image"),
            (denied(TriedCredentials::None), MessageCode::RegistryAccessDenied, "without credentials"),
            (
                denied(TriedCredentials::Secrets(vec!["regcred".into()])),
                MessageCode::RegistryAccessDenied,
                "with the credentials in Secret \"regcred\"",
            ),
        ] {
            let CheckResult::Warning(problem) = check(lookup, Vec::new(), Some("up")) else {
                panic!("{code} is a warning")
            };
            assert_eq!(problem.code, code);
            assert!(problem.text.contains(part) && problem.text.contains(IMAGE), "{problem}");
        }
        let plan = plan_from_fields(&[&format!("fetcherImage={IMAGE}"), "imagePullSecrets=regcred"]);
        let images = [(IMAGE.to_owned(), denied(TriedCredentials::None))].into();
        let facts = ClusterFacts { images, ..ClusterFacts::default() };
        let result =
            fetcher_image(&facts, &PreflightInput { plan: Some(&plan), ..PreflightInput::default() });
        let hint = result.and_then(|result| result.problem().cloned()).expect("a warning").hint.to_string();
        assert!(hint.contains("Secret \"regcred\" exists") && !hint.contains("NAME"), "{hint}");
        let unreadable = denied(TriedCredentials::Unreadable("missing permission to get secrets".into()));
        assert!(matches!(check(unreadable, Vec::new(), None), CheckResult::Skipped(_)));
    }

    #[test]
    fn unusable_response_of_a_registry_is_a_warning_of_check_only() {
        let inconclusive = || ImageLookup::Inconclusive("cannot be reached".into());
        assert!(matches!(check(inconclusive(), Vec::new(), Some("up")), CheckResult::Skipped(_)));
        let CheckResult::Warning(problem) = check(inconclusive(), Vec::new(), None) else {
            panic!("a warning")
        };
        assert_eq!((problem.code, problem.exit), (MessageCode::ImageNotChecked, Exit::Ok));
    }

    #[test]
    fn image_must_be_built_for_the_nodes_of_the_workers() {
        let passes = |architectures: &[&str], nodes: Vec<Node>| {
            matches!(check(found(architectures), nodes, None), CheckResult::Passed(_))
        };
        assert!(passes(&["amd64"], Vec::new()));
        assert!(passes(&["amd64"], vec![node("a", "amd64")]));
        assert!(passes(&["amd64", "arm64"], vec![node("a", "amd64"), node("b", "arm64")]));
        assert!(passes(&[], vec![node("b", "arm64")]));
        // A node without GPUs does not run workers.
        assert!(passes(&["amd64"], vec![node("a", "amd64"), Node { gpus: 0, ..node("b", "arm64") }]));
        let result = check(found(&["amd64"]), vec![node("a", "amd64"), node("b", "arm64")], None);
        let CheckResult::Warning(problem) = result else { panic!("a warning") };
        assert_eq!(problem.code, MessageCode::ImageArchitectureMismatch);
        assert_eq!(
            problem.text,
            "image \"registry.test/ml/model-fetcher:1\" is built for amd64, but node \"b\" has arm64"
        );
    }

    #[test]
    fn unreleased_build_is_a_finding_of_check_only() {
        let mut plan = plan_from_fields(&[]);
        plan.warnings.push(PlanWarning::UnreleasedFetcherImage { image: "registry.test/default:1" });
        let result = |command| {
            let input = PreflightInput { plan: Some(&plan), command, ..PreflightInput::default() };
            fetcher_image(&ClusterFacts::default(), &input)
        };
        let problem = result(None).and_then(|result| result.problem().cloned()).expect("a problem");
        assert_eq!(problem.code, MessageCode::UnreleasedBuild);
        assert_eq!(result(Some("up")), None);
    }
}
