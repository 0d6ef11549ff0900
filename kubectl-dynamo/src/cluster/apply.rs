//! Server-side apply: first what it would change, by a dry run, then the change itself.

use futures::StreamExt;
use futures::future::try_join_all;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{Cluster, ClusterError, Kind, Result, Seen, Watched, json_of};
use crate::change::{LeftToAdapter, differences, leave_to_others};
use crate::readiness::holds;
use crate::resources::{MANAGED_BY, MANAGER, Resource, misfits};

/// What applying an object does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Created,
    Configured,
    /// The object is already what was asked for; nothing is written.
    Unchanged,
    /// The object exists and is never written to again: a claim, or a Job named after its template.
    Kept,
    /// A Job that has failed: it is deleted and made anew, since a Job never tries again.
    Repeated,
}

impl Outcome {
    /// Whether anything is written.
    pub fn writes(self) -> bool {
        !matches!(self, Self::Unchanged | Self::Kept)
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Kept => "kept",
            Self::Repeated => "tried again",
        })
    }
}

/// An object, and what applying it does.
#[derive(Debug, Clone)]
pub struct Change {
    pub resource: Resource,
    pub outcome: Outcome,
    /// The object as it is now; absent when it will be created.
    pub live: Option<Value>,
    /// The object as a dry run made it; absent where none was needed.
    pub result: Option<Value>,
    /// Replicas that were asked for and are a scaling adapter's to change.
    pub left: Vec<LeftToAdapter>,
}

impl Cluster {
    /// Asks the API server what applying would do, without doing it. Admission, rights, schema and quota all
    /// answer here, so nothing is half applied when one of them refuses.
    ///
    /// # Errors
    /// The first refusal.
    pub async fn compare(&self, resources: &[Resource], force: bool) -> Result<Vec<Change>> {
        self.compare_knowing(&[], resources, force).await
    }

    /// The same, where some of the objects were read a moment ago: a claim or Job among them is not read again.
    ///
    /// # Errors
    /// The first refusal.
    pub async fn compare_knowing(
        &self,
        read: &[Value],
        resources: &[Resource],
        force: bool,
    ) -> Result<Vec<Change>> {
        try_join_all(resources.iter().map(|resource| self.compare_one(read, resource, force))).await
    }

    async fn compare_one(&self, read: &[Value], resource: &Resource, force: bool) -> Result<Change> {
        let kind = kind_of(resource)?;
        if !matches!(kind, Kind::Claim | Kind::Job) {
            return self.compare_with_live(resource, kind, force).await;
        }
        let is_it =
            |one: &&Value| one["kind"] == resource.kind() && one["metadata"]["name"] == resource.name();
        let live = match read.iter().find(is_it) {
            Some(live) => Some(live.clone()),
            None => self.get(kind, resource.name()).await?,
        };
        let mut result = None;
        let outcome = match &live {
            Some(job) if kind == Kind::Job && holds(job, "Failed") => Outcome::Repeated,
            Some(_) => Outcome::Kept,
            None => {
                result = Some(self.patch(resource, force, true).await?);
                Outcome::Created
            }
        };
        Ok(Change { resource: resource.clone(), outcome, live, result, left: Vec::new() })
    }

    /// A dry run against the object as it is. Where the operator wrote between the look and the dry run, the
    /// difference may be its own, so both are done again.
    async fn compare_with_live(&self, resource: &Resource, kind: Kind, force: bool) -> Result<Change> {
        loop {
            let live = self.get(kind, resource.name()).await?;
            let mut resource = resource.clone();
            let left = match (kind, &live) {
                (Kind::Graph(_), Some(live)) => leave_to_others(&mut resource.object, live, MANAGER),
                _ => Vec::new(),
            };
            let result = self.patch(&resource, force, true).await?;
            let outcome = match &live {
                None => Outcome::Created,
                Some(live) if differences(live, &result).is_empty() => Outcome::Unchanged,
                Some(live) if version(live) != version(&result) => continue,
                Some(_) => Outcome::Configured,
            };
            return Ok(Change { resource, outcome, live, result: Some(result), left });
        }
    }

    /// Carries out a change and returns the object as it then is.
    ///
    /// # Errors
    /// Every refusal.
    pub async fn apply(&self, change: &Change, force: bool) -> Result<Value> {
        match (change.outcome, &change.live) {
            (Outcome::Unchanged | Outcome::Kept, Some(live)) => Ok(live.clone()),
            (Outcome::Repeated, Some(live)) => {
                let kind = kind_of(&change.resource)?;
                // Somebody else may have repeated it meanwhile: theirs is joined.
                self.delete_if(kind, change.resource.name(), live["metadata"]["uid"].as_str()).await?;
                self.wait_until_gone(kind, live).await?;
                self.patch(&change.resource, force, false).await
            }
            _ => self.patch(&change.resource, force, false).await,
        }
    }

    /// What applying would do as far as looking tells, without sending an object.
    ///
    /// # Errors
    /// The first refusal to look.
    pub async fn look(&self, resources: &[Resource]) -> Result<Vec<Change>> {
        try_join_all(resources.iter().map(async |resource| {
            let kind = kind_of(resource)?;
            let live = self.get(kind, resource.name()).await?;
            let outcome = match &live {
                None => Outcome::Created,
                Some(_) if matches!(kind, Kind::Claim | Kind::Job) => Outcome::Kept,
                Some(_) => Outcome::Configured,
            };
            Ok(Change { resource: resource.clone(), outcome, live, result: None, left: Vec::new() })
        }))
        .await
    }

    /// Creates or replaces one key of a Secret. The value goes in the request's body and nowhere else. A Secret
    /// that somebody else made keeps its labels: only the key becomes ours.
    ///
    /// # Errors
    /// Every refusal.
    pub async fn put_secret(&self, name: &str, key: &str, value: &str, dry_run: bool) -> Result<Outcome> {
        let live = self.get(Kind::Secret, name).await?;
        let mut secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": name, "namespace": self.namespace },
            "stringData": { key: value },
        });
        let ours = |secret: &Value| secret["metadata"]["labels"][MANAGED_BY] == MANAGER;
        if live.as_ref().is_none_or(ours) {
            secret["metadata"]["labels"] = json!({ MANAGED_BY: MANAGER });
        }
        let applied = self.patch(&Resource { object: secret }, true, dry_run).await?;
        Ok(match live {
            None => Outcome::Created,
            Some(live) if live["data"] == applied["data"] => Outcome::Unchanged,
            Some(_) => Outcome::Configured,
        })
    }

    /// Waits until this very object is gone; one that took its name meanwhile counts as another.
    async fn wait_until_gone(&self, kind: Kind, object: &Value) -> Result<()> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let uid = &object["metadata"]["uid"];
        let mut events = self.watch(&[Watched::named(kind, name)]);
        while let Some(seen) = events.next().await {
            match seen {
                Seen::All(_, all) if all.iter().all(|one| one["metadata"]["uid"] != *uid) => return Ok(()),
                Seen::Gone(..) => return Ok(()),
                Seen::Trouble(_, error) if !error.may_pass() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Applies some fields of an object in another manager's name, so that the next `up` neither takes them back nor
    /// conflicts with them.
    ///
    /// # Errors
    /// Every refusal.
    pub async fn apply_as(&self, manager: &str, resource: &Resource, dry_run: bool) -> Result<Value> {
        let mut parameters = PatchParams::apply(manager).force();
        parameters.dry_run = dry_run;
        self.send(resource, &parameters).await
    }

    /// Says who holds which fields of an object, as long as nobody has written to it since it was read.
    ///
    /// # Errors
    /// Every refusal, also that it was written to.
    pub async fn set_managed_fields(&self, kind: Kind, object: &Value, fields: Value) -> Result<Value> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let change = json!({
            "metadata": { "resourceVersion": version(object), "managedFields": fields },
        });
        let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        let change = Patch::Merge(change);
        let patch = async |client| self.api(client, kind).patch(name, &parameters, &change).await;
        self.ask("patch", kind, name, patch).await.map(json_of)
    }

    async fn patch(&self, resource: &Resource, force: bool, dry_run: bool) -> Result<Value> {
        let mut parameters = PatchParams::apply(MANAGER);
        parameters.force = force;
        parameters.dry_run = dry_run;
        self.send(resource, &parameters).await
    }

    async fn send(&self, resource: &Resource, parameters: &PatchParams) -> Result<Value> {
        let kind = kind_of(resource)?;
        let patch = Patch::Apply(&resource.object);
        let send = async |client| self.api(client, kind).patch(resource.name(), parameters, &patch).await;
        match self.ask("patch", kind, resource.name(), send).await {
            // The schema is 100 times an object, so it is only read where something does not fit: every apply is a dry
            // run first, and nothing is written by then.
            Err(error @ ClusterError::Untyped { .. }) => Err(self.by_schema(resource, kind, error).await),
            patched => Ok(json_of(patched?)),
        }
    }

    /// What of an object does not fit; the error itself where the schema cannot be read or tells nothing.
    async fn by_schema(&self, resource: &Resource, kind: Kind, error: ClusterError) -> ClusterError {
        let request =
            http::Request::get(format!("/openapi/v3/apis/{}", resource.api_version())).body(Vec::new());
        let Ok(request) = request else { return error };
        let Ok(document) = self.client().request::<Value>(request).await else { return error };
        let misfits = misfits(&resource.object, &document);
        if misfits.is_empty() {
            return error;
        }
        ClusterError::Misfits { kind, name: resource.name().into(), misfits }
    }
}

fn kind_of(resource: &Resource) -> Result<Kind> {
    Kind::of(resource).ok_or_else(|| ClusterError::Refused {
        kind: Kind::Pod,
        name: resource.name().into(),
        message: format!("{} is no kind that this program applies", resource.kind()),
    })
}

fn version(object: &Value) -> &Value {
    &object["metadata"]["resourceVersion"]
}
