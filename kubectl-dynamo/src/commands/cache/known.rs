//! What the API knows of models on claims, without a pod that looks: from fetch Jobs and how they ended, from
//! deployments and how their init containers ended, and from who mounts what.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cluster::{Cluster, ClusterError, Kind};
use crate::commands::model_volumes::{User, Users, claims, refers};
use crate::commands::summary;
use crate::error::Result;
use crate::intent::{ModelRef, ServingIntent};
use crate::readiness::{Fetched, GRAPH_LABEL, JOB_LABEL, condition, last_words};
use crate::resources::{MANAGED_BY, MANAGER, MODEL_ANNOTATION};

/// The revision that the fetcher takes when none is named.
const REVISION: &str = model_fetcher::contract::DEFAULT_REVISION;

/// How much of a model is on its claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Every byte was verified then (RFC 3339).
    Complete {
        at: String,
    },
    Fetching,
    Failed {
        at: String,
        reason: String,
    },
    /// Only the volume knows.
    Unknown,
}

/// One model on one claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownModel {
    pub namespace: String,
    pub claim: String,
    pub repository: String,
    pub revision: String,
    pub state: State,
    pub fetched: Option<Fetched>,
    /// `dynamographdeployment/qwen32`, `pod/notebook`.
    pub users: Vec<String>,
    /// The fetch Jobs that are there.
    pub jobs: Vec<String>,
}

/// A claim for models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownClaim {
    pub namespace: String,
    pub name: String,
    pub phase: String,
    pub size: String,
    pub access_modes: String,
    pub users: Vec<String>,
}

/// Everything that is known.
#[derive(Default)]
pub(super) struct Known {
    pub claims: Vec<KnownClaim>,
    pub models: Vec<KnownModel>,
    users: Users,
    jobs: Vec<Value>,
}

/// How much has to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// Without some of the rights less is known.
    AsAllowed,
    /// What may not be seen could be a user, so every right is needed.
    Whole,
}

/// Gathers it.
///
/// # Errors
/// Claims that may not be listed; with [`Sight::Whole`] every refusal.
pub(super) async fn gather(cluster: &Cluster, all_namespaces: bool, sight: Sight) -> Result<Known> {
    let own = format!("{MANAGED_BY}={MANAGER}");
    let list = async |kind, labels: &str| cluster.list(kind, labels, all_namespaces).await;
    let graphs = async {
        match cluster.platform().await {
            Ok(platform) => list(Kind::Graph(platform.graph_api), "").await,
            Err(ClusterError::NoPlatform { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    };
    let (claims, jobs, graphs, pods, deployments, sets) = futures::join!(
        list(Kind::Claim, ""),
        list(Kind::Job, &own),
        graphs,
        list(Kind::Pod, ""),
        list(Kind::Deployment, ""),
        list(Kind::StatefulSet, ""),
    );
    // What may not be seen is told at the end of the verb.
    let or_none = |listed: std::result::Result<Vec<Value>, ClusterError>| match listed {
        Err(error) if sight == Sight::Whole || !matches!(error, ClusterError::Forbidden { .. }) => Err(error),
        listed => Ok(listed.unwrap_or_default()),
    };
    let users = Users {
        pods: or_none(pods)?,
        deployments: or_none(deployments)?,
        sets: or_none(sets)?,
        graphs: or_none(graphs)?,
    };
    Ok(Known::of(&claims?, or_none(jobs)?, users))
}

/// A model as the objects name it, before they are put together.
struct Found {
    place: (String, String, String, String),
    state: State,
    fetched: Option<Fetched>,
    job: Option<String>,
}

impl Known {
    fn of(claims: &[Value], jobs: Vec<Value>, users: Users) -> Self {
        let mut models: BTreeMap<_, KnownModel> = BTreeMap::new();
        let of_jobs = jobs.iter().filter_map(|job| of_job(job, &users.pods));
        let of_graphs = users.graphs.iter().filter_map(|graph| of_graph(graph, &users.pods));
        for Found { place, state, fetched, job } in of_jobs.chain(of_graphs) {
            let (namespace, claim, repository, revision) = place.clone();
            let model = models.entry(place).or_insert_with(|| KnownModel {
                users: users_of_model(&users, &namespace, &claim, &repository),
                namespace,
                claim,
                repository,
                revision,
                state: State::Unknown,
                fetched: None,
                jobs: Vec::new(),
            });
            model.state = later(std::mem::replace(&mut model.state, State::Unknown), state);
            model.fetched = fetched.or(model.fetched.take());
            model.jobs.extend(job);
        }
        let models: Vec<KnownModel> = models.into_values().collect();
        let for_models = |claim: &&Value| {
            let (namespace, name) = (text(&claim["metadata"]["namespace"]), text(&claim["metadata"]["name"]));
            claim["metadata"]["labels"][MANAGED_BY] == MANAGER
                || models.iter().any(|one| one.namespace == namespace && one.claim == name)
                || users
                    .graphs
                    .iter()
                    .any(|one| one["metadata"]["namespace"] == namespace.as_str() && refers(one, &name))
        };
        let claims = claims.iter().filter(for_models).map(|claim| known_claim(claim, &users)).collect();
        Self { claims, models, users, jobs }
    }

    /// Who uses a model, or mounts its claim for a purpose of their own.
    pub(super) fn users_of_model(&self, namespace: &str, claim: &str, repository: &str) -> Vec<String> {
        users_of_model(&self.users, namespace, claim, repository)
    }

    /// A fetch Job by its name.
    pub(super) fn job(&self, name: &str) -> Option<&Value> {
        self.jobs.iter().find(|job| job["metadata"]["name"] == name)
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn known_claim(claim: &Value, users: &Users) -> KnownClaim {
    let (namespace, name) = (text(&claim["metadata"]["namespace"]), text(&claim["metadata"]["name"]));
    let modes: Vec<String> =
        claim["spec"]["accessModes"].as_array().into_iter().flatten().map(text).collect();
    let size = [&claim["status"]["capacity"]["storage"], &claim["spec"]["resources"]["requests"]["storage"]];
    KnownClaim {
        users: users.of(&namespace, &name, &|_| true),
        phase: text(&claim["status"]["phase"]),
        size: size.into_iter().find_map(Value::as_str).unwrap_or_default().to_owned(),
        access_modes: modes.join(","),
        namespace,
        name,
    }
}

/// Those that serve the model, and whoever else mounts the claim for what nobody can tell. Deployments of ours that
/// serve another model of the claim are none, and neither are Jobs that work on another one.
fn users_of_model(users: &Users, namespace: &str, claim: &str, repository: &str) -> Vec<String> {
    let serves_another = |name: &str| {
        let graph = users
            .graphs
            .iter()
            .find(|graph| graph["metadata"]["name"] == name && graph["metadata"]["namespace"] == namespace);
        graph.and_then(summary::intent).is_some_and(|intent| intent.model.repository() != repository)
    };
    let works_on_another = |object: &Value| {
        let model = object["metadata"]["annotations"][MODEL_ANNOTATION].as_str();
        model.is_some_and(|model| split(model).0 != repository)
    };
    users.of(namespace, claim, &|user: &User<'_>| {
        !user.graph.is_some_and(serves_another) && !works_on_another(user.object)
    })
}

/// `org/name@revision`.
fn split(model: &str) -> (&str, &str) {
    model.split_once('@').unwrap_or((model, REVISION))
}

fn of_job(job: &Value, pods: &[Value]) -> Option<Found> {
    let metadata = &job["metadata"];
    if metadata["deletionTimestamp"].is_string() {
        return None;
    }
    let (repository, revision) = split(metadata["annotations"][MODEL_ANNOTATION].as_str()?);
    let claim = claims(&job["spec"]["template"]["spec"]).next()?;
    let own = |pod: &&Value| {
        pod["metadata"]["namespace"] == metadata["namespace"]
            && pod["metadata"]["labels"][JOB_LABEL] == metadata["name"]
    };
    let said = pods.iter().filter(own).filter_map(last_words).max_by(|one, other| one.at.cmp(&other.at));
    let ended = |kind: &str| Some(condition(job, kind)).filter(|one| one["status"] == "True");
    let state = match (ended("Complete"), ended("Failed")) {
        (Some(complete), _) => State::Complete { at: text(&complete["lastTransitionTime"]) },
        (None, Some(failed)) => State::Failed {
            at: text(&failed["lastTransitionTime"]),
            reason: said.as_ref().map_or_else(|| text(&failed["message"]), |said| first_line(&said.message)),
        },
        (None, None) => State::Fetching,
    };
    Some(Found {
        place: (text(&metadata["namespace"]), claim.into(), repository.into(), revision.into()),
        state,
        fetched: said.and_then(|said| Fetched::read(&said.message)),
        job: Some(text(&metadata["name"])),
    })
}

/// A deployment of ours, whose init containers look at the model before an engine starts.
fn of_graph(graph: &Value, pods: &[Value]) -> Option<Found> {
    let intent: ServingIntent = summary::intent(graph)?;
    let ModelRef::Hub { repository, revision } = &intent.model else { return None };
    let metadata = &graph["metadata"];
    let own = |pod: &&Value| {
        pod["metadata"]["namespace"] == metadata["namespace"]
            && pod["metadata"]["labels"][GRAPH_LABEL] == metadata["name"]
    };
    let said = pods
        .iter()
        .filter(own)
        .filter_map(last_words)
        .filter(|said| said.exit_code == 0)
        .max_by(|one, other| one.at.cmp(&other.at));
    let state = said.as_ref().map_or(State::Unknown, |said| State::Complete { at: said.at.clone() });
    Some(Found {
        place: (
            text(&metadata["namespace"]),
            intent.cache.claim().into(),
            repository.clone(),
            revision.as_deref().unwrap_or(REVISION).into(),
        ),
        state,
        fetched: said.and_then(|said| Fetched::read(&said.message)),
        job: None,
    })
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// What holds now of two things that were seen: what goes on before what is over, and then the later one.
fn later(one: State, other: State) -> State {
    fn time(state: &State) -> &str {
        match state {
            State::Complete { at } | State::Failed { at, .. } => at,
            // Later than any time, and earlier.
            State::Fetching => "~",
            State::Unknown => "",
        }
    }
    if time(&other) > time(&one) { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claim(name: &str, labels: Value) -> Value {
        json!({
            "metadata": { "namespace": "serving", "name": name, "labels": labels },
            "spec": { "accessModes": ["ReadWriteMany"], "resources": { "requests": { "storage": "1Ti" } } },
            "status": { "phase": "Bound" },
        })
    }

    fn job(name: &str, model: &str, condition: Option<&str>) -> Value {
        let conditions: Vec<Value> = condition
            .map(|kind| json!({ "type": kind, "status": "True", "lastTransitionTime": "2026-01-02T00:00:00Z" }))
            .into_iter()
            .collect();
        json!({
            "metadata": { "namespace": "serving", "name": name, "annotations": { MODEL_ANNOTATION: model } },
            "spec": { "template": { "spec": { "volumes": [
                { "persistentVolumeClaim": { "claimName": "models" } },
            ] } } },
            "status": { "conditions": conditions },
        })
    }

    fn pod(name: &str, labels: Value, annotations: Value, ended: Option<(u64, &str)>) -> Value {
        let state = match ended {
            Some((code, message)) => json!({ "terminated": {
                "exitCode": code, "message": message, "finishedAt": "2026-01-01T00:00:00Z",
            } }),
            None => json!({ "running": {} }),
        };
        json!({
            "metadata": { "namespace": "serving", "name": name, "labels": labels, "annotations": annotations },
            "spec": { "volumes": [{ "persistentVolumeClaim": { "claimName": "models" } }] },
            "status": {
                "phase": if ended.is_some() { "Succeeded" } else { "Running" },
                "containerStatuses": [{ "name": crate::resources::FETCH_CONTAINER, "state": state }],
            },
        })
    }

    #[test]
    fn jobs_and_their_last_words_tell_what_is_on_a_claim() {
        let jobs = vec![
            job("fetch-a", "acme/a@main", Some("Complete")),
            job("fetch-b", "acme/b@main", Some("Failed")),
            job("fetch-c", "acme/c@main", None),
        ];
        let complete =
            "complete: /opt/models/acme/a at 0123456789ab, 5 files, 24.00 MiB; 0 B fetched in 0.0 s";
        let users = Users {
            pods: vec![
                pod("a", json!({ JOB_LABEL: "fetch-a" }), json!({}), Some((0, complete))),
                pod(
                    "b",
                    json!({ JOB_LABEL: "fetch-b" }),
                    json!({}),
                    Some((10, "error: the hub wants a token\n  hint: x")),
                ),
                pod("c", json!({ JOB_LABEL: "fetch-c" }), json!({ MODEL_ANNOTATION: "acme/c@main" }), None),
                pod("notebook", json!({}), json!({}), None),
            ],
            ..Users::default()
        };
        let claims = [
            claim("models", json!({})),
            claim("database", json!({})),
            claim("own", json!({ MANAGED_BY: MANAGER })),
        ];
        let known = Known::of(&claims, jobs, users);
        let names: Vec<&str> = known.claims.iter().map(|claim| claim.name.as_str()).collect();
        assert_eq!(names, ["models", "own"]);
        let [a, b, c] = known.models.as_slice() else { panic!("three models") };
        assert_eq!(a.state, State::Complete { at: "2026-01-02T00:00:00Z".into() });
        assert_eq!(a.fetched.as_ref().map(|fetched| fetched.size.as_str()), Some("24.00 MiB"));
        assert_eq!(a.users, ["pod/notebook"]);
        assert!(matches!(&b.state, State::Failed { reason, .. } if reason == "the hub wants a token"));
        assert_eq!(
            (&c.state, c.users.as_slice()),
            (&State::Fetching, ["pod/c".to_owned(), "pod/notebook".into()].as_slice())
        );
    }

    #[test]
    fn what_goes_on_holds_before_what_is_over_and_then_the_later() {
        let complete = |at: &str| State::Complete { at: at.into() };
        let failed = State::Failed { at: "2".into(), reason: String::new() };
        assert_eq!(later(complete("1"), failed.clone()), failed);
        assert_eq!(later(complete("3"), failed.clone()), complete("3"));
        assert_eq!(later(State::Fetching, complete("3")), State::Fetching);
        assert_eq!(later(State::Unknown, complete("1")), complete("1"));
    }
}
