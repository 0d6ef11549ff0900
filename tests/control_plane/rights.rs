//! Rights: each verb runs with just what its persona is given, asks the API server for nothing that the table of
//! rights does not have, uses all of it, and says what is missing when one right is taken away.

mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kubectl_dynamo::intent::Word;
use kubectl_dynamo::rights::{Need, Persona, Right, TABLE, VerbRights, is_outside, of_verb};
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{self, V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::plugin::Said;
use kubectl_dynamo_tests::{Outcome, ensure};

use crate::Shared;
use stage::{Run, Stage, State};

/// What to serve, as in every other case.
const WISH: [&str; 4] =
    ["acme/tiny", "--backend=mocker", "--storage-class=manual", "--fetcher-image=registry.test/fetcher:1"];

fn run(state: State, words: &[&'static str]) -> Run {
    Run { state, words: words.to_vec(), input: None, until: None, runs_jobs: false }
}

fn wishing(state: State, verb: &'static str, words: &[&'static str]) -> Run {
    run(state, &[&[verb], &WISH[..], words].concat())
}

/// How each verb is run: together the runs of a verb use all its rights.
fn runs(verb: &str) -> Vec<Run> {
    use State::{
        Adapter, Changed, FailedFetch, Fetched, Fetching, HalfReady, HandMade, Held, ManyRevisions, Nothing,
        Ready,
    };
    match verb {
        "list" => vec![run(HalfReady, &["list"]), run(HalfReady, &["list", "-w"]).until("watch")],
        "status" => vec![
            run(HalfReady, &["status", "tiny"]),
            run(HalfReady, &["status", "tiny", "--wait", "--timeout=4s"]),
            run(Ready, &["status", "tiny"]),
            run(Fetching, &["status", "tiny", "--wait", "--timeout=4s"]),
        ],
        "diagnose" => vec![
            run(HalfReady, &["diagnose", "tiny"]),
            run(Ready, &["diagnose", "tiny"]),
            run(Fetching, &["diagnose", "tiny"]),
        ],
        "report" => vec![
            run(HalfReady, &["report", "tiny", "--file=/dev/null"]),
            run(Fetching, &["report", "tiny", "--file=/dev/null"]),
        ],
        "events" => {
            vec![
                run(HalfReady, &["events", "tiny"]),
                run(HalfReady, &["events", "tiny", "-w"]).until("watch"),
            ]
        }
        "logs" => {
            vec![run(HalfReady, &["logs", "tiny"]), run(HalfReady, &["logs", "tiny", "-f"]).until("watch")]
        }
        "endpoint" => vec![run(Ready, &["endpoint", "tiny"])],
        "chat" => vec![run(Ready, &["chat", "tiny", "hello"])],
        "port-forward" => vec![run(Ready, &["port-forward", "tiny", "8000"])],
        "render" => vec![wishing(HalfReady, "render", &["--hf-token-secret=hub/TOKEN"])],
        "diff" => vec![wishing(Nothing, "diff", &["--hf-token-secret=hub/TOKEN"])],
        "up" => vec![
            wishing(Nothing, "up", &["--detach", "--hf-token-secret=hub/TOKEN"]),
            wishing(Nothing, "up", &["--timeout=8s"]),
            wishing(HalfReady, "up", &["--timeout=4s"]),
            wishing(Ready, "up", &["--timeout=20s"]),
            run(HalfReady, &["up", "tiny", "--env=A=b", "--detach"]),
            run(ManyRevisions, &["up", "tiny", "--env=A=b", "--detach"]),
            wishing(FailedFetch, "up", &["--detach"]),
            Run { input: Some("hf_new\n"), ..wishing(Nothing, "up", &["--detach", "--hf-token-stdin"]) },
        ],
        "down" => vec![
            run(HalfReady, &["down", "tiny", "-y", "--wait", "--timeout=60s"]),
            run(HalfReady, &["down", "tiny", "-y", "--delete-cache=pvc", "--timeout=60s"]),
            run(HalfReady, &["down", "tiny", "-y", "--delete-cache=model", "--timeout=60s"]).running_jobs(),
            run(Held, &["down", "tiny", "-y"]),
        ],
        "scale" => vec![
            run(HalfReady, &["scale", "tiny", "--replicas=2", "--timeout=4s"]),
            run(Ready, &["scale", "tiny", "--replicas=1", "--timeout=20s"]),
            run(Adapter, &["scale", "tiny", "--replicas=2", "--detach"]),
            run(ManyRevisions, &["scale", "tiny", "--replicas=2", "--detach"]),
        ],
        "rollout status" => vec![run(HalfReady, &["rollout", "status", "tiny", "--timeout=4s"])],
        "rollout history" => vec![run(HalfReady, &["rollout", "history", "tiny"])],
        "rollout undo" => vec![
            run(Changed, &["rollout", "undo", "tiny", "--timeout=4s"]),
            run(Ready, &["rollout", "undo", "tiny", "--to-revision=1", "--timeout=20s"]),
            run(ManyRevisions, &["rollout", "undo", "tiny", "--to-revision=2", "--detach"]),
        ],
        "rollout restart" => vec![run(HalfReady, &["rollout", "restart", "tiny", "--timeout=4s"])],
        "adopt" => vec![run(HandMade, &["adopt", "tiny", "-y"])],
        "check" => vec![
            run(Nothing, &["check"]),
            run(Nothing, &["check", "acme/tiny", "--storage-class=manual", "--hf-token-secret=hub/TOKEN"]),
            wishing(HalfReady, "check", &["--replicas=2"]),
        ],
        "cache list" => vec![run(HalfReady, &["cache", "list"])],
        "cache pull" => vec![
            pulling(Nothing, &["--detach", "--hf-token-secret=hub/TOKEN"]),
            pulling(Nothing, &[]).running_jobs(),
            pulling(FailedFetch, &["--detach"]),
        ],
        "cache verify" => vec![run(Fetched, &["cache", "verify", "acme/tiny"]).running_jobs()],
        "cache rm" => vec![run(Fetched, &["cache", "rm", "acme/tiny", "-y"]).running_jobs()],
        "cache prune" => vec![run(Fetched, &["cache", "prune", "-y"]).running_jobs()],
        _ => Vec::new(),
    }
}

fn pulling(state: State, words: &[&'static str]) -> Run {
    let model = ["cache", "pull", WISH[0], WISH[2], WISH[3]];
    run(state, &[&model[..], words].concat())
}

/// What this API server, these objects or this version of Kubernetes never make a verb use.
fn is_unseen_here(verb: &str, right: Right) -> bool {
    match (right.resource, right.verb) {
        // Asked for where a proxy lets nothing but WebSockets through.
        ("pods/portforward", "get") => true,
        // No webhook of these API servers has a Service.
        ("endpointslices.discovery.k8s.io", _) => true,
        ("pods/portforward", "create") => is_unreached(verb, right),
        // Asked for where a log breaks off.
        ("pods", "get") => true,
        // The mocker wants no GPU, so it asks for no nodes.
        ("nodes" | "configmaps", _) => verb != "check",
        // A graph that was adopted has no earlier revisions.
        ("controllerrevisions.apps", "delete") => verb == "adopt",
        // A list is only about the older objects.
        ("dynamocomponentdeployments.nvidia.com", "list") => verb == "list",
        _ => false,
    }
}

/// What is needed for a completion after a restart: nobody makes the pods ready here that it starts (the node tier does).
fn is_unreached(verb: &str, right: Right) -> bool {
    let for_completion = [("pods", "list"), ("pods/portforward", "create")];
    verb == "rollout restart" && for_completion.contains(&(right.resource, right.verb))
}

pub(crate) async fn looking_needs_what_a_viewer_has(shared: Arc<Shared>) -> Outcome {
    check(&shared, &["list", "events", "logs", "endpoint", "report"]).await
}

pub(crate) async fn a_verdict_needs_what_a_viewer_has(shared: Arc<Shared>) -> Outcome {
    check(&shared, &["status", "diagnose"]).await
}

pub(crate) async fn a_rollout_needs_what_a_viewer_has(shared: Arc<Shared>) -> Outcome {
    check(&shared, &["rollout status", "rollout history"]).await
}

pub(crate) async fn talking_and_comparing_need_what_a_deployer_has(shared: Arc<Shared>) -> Outcome {
    check(&shared, &["chat", "port-forward", "render", "diff"]).await
}

pub(crate) async fn up_needs_what_a_deployer_has(shared: Arc<Shared>) -> Outcome {
    check(&shared, &["up"]).await
}

pub(crate) async fn scale_needs_what_a_deployer_has(shared: Arc<Shared>) -> Outcome {
    check(&shared, &["scale"]).await
}

pub(crate) async fn adopt_needs_what_a_deployer_has(shared: Arc<Shared>) -> Outcome {
    check(&shared, &["adopt"]).await
}

pub(crate) async fn going_back_needs_what_a_deployer_has(shared: Arc<Shared>) -> Outcome {
    check(&shared, &["rollout undo"]).await
}

pub(crate) async fn restarting_needs_what_a_deployer_has(shared: Arc<Shared>) -> Outcome {
    check(&shared, &["rollout restart"]).await
}

pub(crate) async fn down_needs_what_a_deployer_has(shared: Arc<Shared>) -> Outcome {
    check(&shared, &["down"]).await
}

pub(crate) async fn a_check_goes_on_without_most_rights(shared: Arc<Shared>) -> Outcome {
    check(&shared, &["check"]).await
}

pub(crate) async fn the_cache_needs_what_a_deployer_has(shared: Arc<Shared>) -> Outcome {
    check(&shared, &["cache list", "cache verify"]).await
}

pub(crate) async fn pulling_a_model_needs_what_a_deployer_has(shared: Arc<Shared>) -> Outcome {
    check(&shared, &["cache pull"]).await
}

pub(crate) async fn removing_a_model_needs_what_a_deployer_has(shared: Arc<Shared>) -> Outcome {
    check(&shared, &["cache rm"]).await
}

pub(crate) async fn removing_idle_models_needs_what_a_deployer_has(shared: Arc<Shared>) -> Outcome {
    check(&shared, &["cache prune"]).await
}

/// The verbs that are checked here and by themselves are all there are.
pub(crate) async fn every_verb_of_the_table_is_run(shared: Arc<Shared>) -> Outcome {
    for row in TABLE {
        ensure!(row.verb == "completion" || !runs(row.verb).is_empty(), "nothing runs {}", row.verb);
    }
    completion(&shared).await?;
    older_objects(&shared).await
}

pub(crate) async fn a_viewer_is_told_what_is_left_out(shared: Arc<Shared>) -> Outcome {
    let mut stage = Stage::new(&shared, V1Beta1, "rights-left-out").await?;
    let user = stage.grant_persona(Persona::Viewer).await?;
    let (said, _) = stage.run(&run(State::Ready, &["endpoint", "tiny"]), &user).await?;
    let warning =
        "warning [KD0110]: left out: no right to create pods/portforward in namespace rights-left-out";
    let said = said.expect(0)?;
    ensure!(said.err.contains(warning), "{}", said.err);
    let command = format!("kubectl dynamo rbac generate --persona deployer --user {user} -n rights-left-out");
    ensure!(said.err.contains(&command), "{}", said.err);
    stage.end().await
}

/// Completion says nothing, so only what it asks is looked at.
async fn completion(shared: &Shared) -> Outcome {
    let mut stage = Stage::new(shared, V1Beta1, "rights-completion").await?;
    stage.reach(State::Fetching).await?;
    let row = row("completion")?;
    let user = stage.grant_persona(row.persona).await?;
    let namespaces = stage.grant_in_cluster(&user, "namespaces").await?;
    let mut asked = BTreeSet::new();
    for words in [&["status", "-n", "rights-completion", ""][..], &["list", "-n", ""]] {
        asked.extend(stage.complete(&user, words)?);
    }
    namespaces.remove().await?;
    let rights: BTreeSet<String> = row.rights().keys().map(ToString::to_string).collect();
    ensure!(asked == rights, "completion asks for {asked:?}, and the table has {rights:?}");
    stage.end().await
}

/// Of the older objects a list needs the component deployments as well.
async fn older_objects(shared: &Shared) -> Outcome {
    let mut stage = Stage::new(shared, V1Alpha1, "rights-older").await?;
    let user = stage.grant_persona(Persona::Viewer).await?;
    let (said, asked) = stage.run(&run(State::HalfReady, &["list"]), &user).await?;
    said.expect(0)?;
    let used = "list dynamocomponentdeployments.nvidia.com";
    ensure!(asked.contains(used), "{asked:?}");
    stage.end().await
}

fn row(verb: &str) -> Outcome<&'static VerbRights> {
    of_verb(verb).ok_or_else(|| format!("the table has no row for {verb}").into())
}

async fn check(shared: &Shared, verbs: &[&str]) -> Outcome {
    let generation: GraphGeneration = V1Beta1;
    let name = format!("rights-{}", verbs[0].replace(' ', "-"));
    let mut stage = Stage::new(shared, generation, &name).await?;
    let mut wrong = String::new();
    for verb in verbs {
        let row = row(verb)?;
        let runs = runs(verb);
        let seen = with_a_personas_rights(&mut stage, row, &runs, &mut wrong).await?;
        without_each_right(&mut stage, row, &runs, &seen, &mut wrong).await?;
    }
    ensure!(wrong.is_empty(), "{wrong}");
    stage.end().await
}

/// The runs that use a right.
type Used = BTreeMap<Right, Vec<usize>>;

/// Runs a verb with what its persona has; answers which runs used which right.
async fn with_a_personas_rights(
    stage: &mut Stage<'_>,
    row: &VerbRights,
    runs: &[Run],
    wrong: &mut String,
) -> Outcome<Used> {
    let user = stage.grant_persona(row.persona).await?;
    let rights = row.rights();
    let mut seen = Used::new();
    for (index, run) in runs.iter().enumerate() {
        let (said, asked) = stage.run(run, &user).await?;
        for (right, need) in &rights {
            let given = *need != Need::Borrowed && !is_outside(right.resource);
            if given && told(&said, right, stage) {
                *wrong +=
                    &format!("{run}: {} lacks a right\n{}{}\n", row.persona.as_str(), said.out, said.err);
            }
        }
        if said.code == Some(4) {
            *wrong += &format!("{run}: no access\n{}\n", said.err);
        }
        for one in asked {
            match rights.keys().find(|right| right.to_string() == one) {
                Some(right) => {
                    seen.entry(*right).or_default().push(index);
                }
                None => *wrong += &format!("{run} asks to {one}, which its row of the table does not have\n"),
            }
        }
    }
    for right in rights.keys().filter(|right| !seen.contains_key(right)) {
        if !is_unseen_here(row.verb, *right) {
            *wrong += &format!("{} never asks to {right}, which its row of the table has\n", row.verb);
        }
    }
    Ok(seen)
}

/// Runs a verb for each right that it uses, without just that one. What it does without first it may need in a later
/// run.
async fn without_each_right(
    stage: &mut Stage<'_>,
    row: &VerbRights,
    runs: &[Run],
    seen: &Used,
    wrong: &mut String,
) -> Outcome {
    let rights = row.rights();
    // What stands outside of the namespace was missing all the time.
    let inside = seen.keys().filter(|right| !is_outside(right.resource));
    let users = stage.grant_all_but_one(row, inside).await?;
    for (right, user) in users {
        let need = if is_unreached(row.verb, right) { Need::Optional } else { rights[&right] };
        let mut last = String::new();
        for run in seen[&right].iter().map(|index| &runs[*index]) {
            let (said, asked) = stage.run(&Run { until: None, ..run.clone() }, &user).await?;
            last = format!(
                "{run} without the right to {right} ({need:?}): {:?}\n{}{}\n",
                said.code, said.out, said.err
            );
            let went_on = said.code != Some(4);
            let right_way = went_on || (need == Need::Required && is_refused(&said, row, &user, stage));
            // It may end before it asks for all that would be worth a look.
            let asks = need == Need::Required || asked.contains(&right.to_string());
            if !right_way || (asks && !told(&said, &right, stage)) {
                break;
            }
            if !went_on || need != Need::Required {
                last.clear();
                break;
            }
        }
        *wrong += &last;
    }
    Ok(())
}

/// Whether it ended for want of access, with the command that gives it.
fn is_refused(said: &Said, row: &VerbRights, user: &str, stage: &Stage<'_>) -> bool {
    // A preflight knows the rights of whoever asks, and not their name.
    let gives = [user, "NAME"].iter().any(|user| {
        let (persona, place) = (row.persona.as_str(), stage.name());
        said.err.contains(&format!("rbac generate --persona {persona} --user {user} -n {place}"))
    });
    said.code == Some(4) && said.err.contains("KD0105") && gives
}

/// Whether the missing right is named, with its place; a preflight names all that are missing at once.
fn told(said: &Said, right: &Right, stage: &Stage<'_>) -> bool {
    let (right, place) = (right.to_string(), format!(" in namespace {}", stage.name()));
    [&said.out, &said.err].iter().any(|text| {
        let lists = text.split("no right to ").skip(1).filter_map(|rest| Some(rest.split_once(&place)?.0));
        lists.flat_map(|list| list.split(", ")).any(|one| one == right)
    })
}
