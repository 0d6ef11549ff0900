//! Server-side apply: a dry run that shows what would change, then the change itself.
//! This module does not ask for confirmation and does not print.

use std::time::Duration;

use futures::StreamExt;
use futures::future::try_join_all;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Cluster, ClusterError, Kind, Result, WatchTarget, json_of};
use kubectl_dynamo_core::change::{AdapterOwnedReplicas, differences, yield_replicas};
use kubectl_dynamo_core::object::ObjectView;
use kubectl_dynamo_core::readiness::MalformedObject;
use kubectl_dynamo_core::resources::{
    FIELD_MANAGER, MANAGED_BY_LABEL, Resource, object_at, schema_violations,
};

/// The first and the longest pause between two dry runs while other clients write to the object.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// Number of dry runs of one object, after which its difference counts as ours: about ten seconds of pauses.
const MAX_DRY_RUNS: u32 = 9;

/// The result of applying an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplyResult {
    Created,
    Configured,
    /// The object already has the desired state; nothing is written.
    Unchanged,
    /// The object exists and is never updated: a PVC, or a Job named after its template.
    Retained,
    /// A failed Job, which is deleted and created again because a failed Job does not retry.
    Recreated,
}

impl ApplyResult {
    /// Whether the object is written.
    pub fn is_write(self) -> bool {
        !matches!(self, Self::Unchanged | Self::Retained)
    }
}

impl std::fmt::Display for ApplyResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Retained => "kept",
            Self::Recreated => "recreated",
        })
    }
}

/// What to do with a field that another field manager owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictPolicy {
    /// The request fails with a conflict.
    Fail,
    /// The field is taken over (`--force-conflicts`).
    Force,
}

impl ConflictPolicy {
    /// Converts the value of `--force-conflicts`.
    pub fn from_force_flag(force: bool) -> Self {
        if force { Self::Force } else { Self::Fail }
    }
}

/// Whether a change is written or only validated by the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendMode {
    DryRun,
    Write,
}

/// An object and the result of applying it.
#[derive(Debug, Clone)]
pub struct Change {
    pub resource: Resource,
    pub outcome: ApplyResult,
    /// The live object; `None` if it does not exist.
    pub live: Option<Value>,
    /// The object that the dry run returned; `None` if a dry run was not needed.
    pub result: Option<Value>,
    /// Requested replica counts that a scaling adapter owns, so they were not applied.
    pub adapter_owned_replicas: Vec<AdapterOwnedReplicas>,
}

impl Cluster {
    /// Finds what applying would change, with server-side dry runs. They check admission, permissions,
    /// schema, and quota, so a rejected object cannot leave the others half applied.
    ///
    /// # Errors
    /// The first API error.
    pub async fn dry_run(&self, resources: &[Resource], conflicts: ConflictPolicy) -> Result<Vec<Change>> {
        self.dry_run_with_cache(&[], resources, conflicts).await
    }

    /// Like [`Cluster::dry_run`], but does not read a PVC or Job again that is in `cached`.
    ///
    /// # Errors
    /// The first API error.
    pub async fn dry_run_with_cache(
        &self,
        cached: &[Value],
        resources: &[Resource],
        conflicts: ConflictPolicy,
    ) -> Result<Vec<Change>> {
        try_join_all(resources.iter().map(|resource| self.dry_run_one(cached, resource, conflicts))).await
    }

    async fn dry_run_one(
        &self,
        cached: &[Value],
        resource: &Resource,
        conflicts: ConflictPolicy,
    ) -> Result<Change> {
        let kind = kind_of(resource)?;
        if !matches!(kind, Kind::PersistentVolumeClaim | Kind::Job) {
            return self.dry_run_against_live(resource, kind, conflicts).await;
        }
        let is_same_object = |one: &&Value| {
            let one = ObjectView::new(one);
            one.kind() == resource.kind() && one.name() == resource.name()
        };
        let live = match cached.iter().find(is_same_object) {
            Some(live) => Some(live.clone()),
            None => self.get(kind, resource.name()).await?,
        };
        let mut result = None;
        let outcome = match &live {
            Some(job) if kind == Kind::Job && ObjectView::new(job).condition_is_true("Failed") => {
                ApplyResult::Recreated
            }
            Some(_) => ApplyResult::Retained,
            None => {
                result = Some(self.patch(resource, conflicts, SendMode::DryRun).await?);
                ApplyResult::Created
            }
        };
        Ok(Change { resource: resource.clone(), outcome, live, result, adapter_owned_replicas: Vec::new() })
    }

    /// Compares a dry run with the live object. If the operator wrote in between, the difference may be its
    /// own, so both requests are repeated, at most [`MAX_DRY_RUNS`] times.
    async fn dry_run_against_live(
        &self,
        resource: &Resource,
        kind: Kind,
        conflicts: ConflictPolicy,
    ) -> Result<Change> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let live = self.get(kind, resource.name()).await?;
            let mut resource = resource.clone();
            let adapter_owned = match (kind, &live) {
                (Kind::Graph(_), Some(live)) => yield_replicas(&mut resource.object, live, FIELD_MANAGER),
                _ => Vec::new(),
            };
            let result = self.patch(&resource, conflicts, SendMode::DryRun).await?;
            let outcome = match &live {
                None => ApplyResult::Created,
                Some(live) if differences(live, &result).is_empty() => ApplyResult::Unchanged,
                Some(live)
                    if attempt < MAX_DRY_RUNS && resource_version(live) != resource_version(&result) =>
                {
                    sleep(pause).await;
                    pause = (pause * 2).min(MAX_PAUSE);
                    continue;
                }
                Some(_) => ApplyResult::Configured,
            };
            return Ok(Change {
                resource,
                outcome,
                live,
                result: Some(result),
                adapter_owned_replicas: adapter_owned,
            });
        }
        unreachable!("the last dry run always returns")
    }

    /// Applies a change and returns the resulting object.
    ///
    /// # Errors
    /// Every API error.
    pub async fn apply(&self, change: &Change, conflicts: ConflictPolicy) -> Result<Value> {
        match (change.outcome, &change.live) {
            (ApplyResult::Unchanged | ApplyResult::Retained, Some(live)) => Ok(live.clone()),
            (ApplyResult::Recreated, Some(live)) => {
                let kind = kind_of(&change.resource)?;
                let live = ObjectView::new(live);
                // Another client may have recreated the Job in the meantime; then that Job is used.
                self.delete_with_uid(kind, change.resource.name(), live.text("/metadata/uid")).await?;
                self.wait_until_deleted(kind, live).await?;
                self.patch(&change.resource, conflicts, SendMode::Write).await
            }
            _ => self.patch(&change.resource, conflicts, SendMode::Write).await,
        }
    }

    /// Finds what applying would change from reads alone, without sending an object (`--dry-run=client`).
    ///
    /// # Errors
    /// The first API error.
    pub async fn dry_run_client(&self, resources: &[Resource]) -> Result<Vec<Change>> {
        try_join_all(resources.iter().map(async |resource| {
            let kind = kind_of(resource)?;
            let live = self.get(kind, resource.name()).await?;
            let outcome = match &live {
                None => ApplyResult::Created,
                Some(_) if matches!(kind, Kind::PersistentVolumeClaim | Kind::Job) => ApplyResult::Retained,
                Some(_) => ApplyResult::Configured,
            };
            Ok(Change {
                resource: resource.clone(),
                outcome,
                live,
                result: None,
                adapter_owned_replicas: Vec::new(),
            })
        }))
        .await
    }

    /// Creates an object. Returns whether it was created: false if an object with this name exists.
    ///
    /// # Errors
    /// Every other API error.
    pub async fn create(&self, kind: Kind, resource: &Resource) -> Result<bool> {
        let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        let object: DynamicObject = serde_json::from_value(resource.object.clone()).map_err(|error| {
            ClusterError::malformed(
                "create",
                kind,
                MalformedObject { name: resource.name().to_owned(), error },
            )
        })?;
        let create = async |client| match self.api(client, kind).create(&parameters, &object).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(false),
            Err(error) => Err(error),
        };
        self.request("create", kind, resource.name(), create).await
    }

    /// Creates or replaces one key of a Secret. The value is only in the request body. A Secret that another
    /// client created keeps its labels; the plugin then manages only this key.
    ///
    /// # Errors
    /// Every API error.
    pub async fn put_secret(
        &self,
        name: &str,
        key: &str,
        value: &str,
        mode: SendMode,
    ) -> Result<ApplyResult> {
        let live = self.get(Kind::Secret, name).await?;
        let mut metadata = json!({ "name": name, "namespace": self.namespace });
        let is_managed =
            |secret: &Value| ObjectView::new(secret).label(MANAGED_BY_LABEL) == Some(FIELD_MANAGER);
        if live.as_ref().is_none_or(is_managed) {
            object_at(&mut metadata, &["labels"]).insert(MANAGED_BY_LABEL.into(), FIELD_MANAGER.into());
        }
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": { key: value },
        });
        let applied = self.patch(&Resource { object: secret }, ConflictPolicy::Force, mode).await?;
        Ok(match live {
            None => ApplyResult::Created,
            Some(live) if live.get("data") == applied.get("data") => ApplyResult::Unchanged,
            Some(_) => ApplyResult::Configured,
        })
    }

    /// Waits until this object is deleted. A new object with the same name and another UID does not count.
    async fn wait_until_deleted(&self, kind: Kind, object: ObjectView<'_>) -> Result<()> {
        let is_same = |one: &Value| ObjectView::new(one).uid() == object.uid();
        let mut events = self.watch(&[WatchTarget::by_name(kind, object.name())]);
        let mut objects = Vec::new();
        while let Some(event) = events.next().await {
            let Some(change) = event.into_change()? else { continue };
            change.apply_to(&mut objects);
            if !objects.iter().any(is_same) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Applies some fields of an object as another field manager, so that the next `up` neither reverts them
    /// nor conflicts with them.
    ///
    /// # Errors
    /// Every API error.
    pub async fn apply_as(&self, manager: &str, resource: &Resource, mode: SendMode) -> Result<Value> {
        let mut parameters = PatchParams::apply(manager).force();
        parameters.dry_run = mode == SendMode::DryRun;
        self.send(resource, &parameters).await
    }

    /// Replaces `metadata.managedFields` of an object, if it has not changed since it was read.
    ///
    /// # Errors
    /// Every API error, including a conflict if the object has changed.
    pub async fn set_managed_fields(&self, kind: Kind, object: &Value, fields: Value) -> Result<Value> {
        let name = ObjectView::new(object).name();
        let change = json!({
            "metadata": { "resourceVersion": resource_version(object), "managedFields": fields },
        });
        self.merge_patch(kind, name, &change).await
    }

    /// Changes some fields of an object with a merge patch, and returns the object.
    ///
    /// # Errors
    /// Every API error.
    pub async fn merge_patch(&self, kind: Kind, name: &str, change: &Value) -> Result<Value> {
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let change = Patch::Merge(change);
        let patch = async |client| self.api(client, kind).patch(name, &parameters, &change).await;
        self.request("patch", kind, name, patch).await.map(json_of)
    }

    async fn patch(&self, resource: &Resource, conflicts: ConflictPolicy, mode: SendMode) -> Result<Value> {
        let mut parameters = PatchParams::apply(FIELD_MANAGER);
        parameters.force = conflicts == ConflictPolicy::Force;
        parameters.dry_run = mode == SendMode::DryRun;
        self.send(resource, &parameters).await
    }

    async fn send(&self, resource: &Resource, parameters: &PatchParams) -> Result<Value> {
        let kind = kind_of(resource)?;
        let patch = Patch::Apply(&resource.object);
        let send = async |client| self.api(client, kind).patch(resource.name(), parameters, &patch).await;
        match self.request("patch", kind, resource.name(), send).await {
            // The schema is about 100 times the size of an object, so it is only read after a rejection.
            // Every apply starts with a dry run, so nothing has been written at this point.
            Err(error @ ClusterError::SchemaRejected { .. }) => {
                Err(self.explain_schema_rejection(resource, kind, error).await)
            }
            patched => Ok(json_of(patched?)),
        }
    }

    /// Replaces the error by all schema violations of the object. Returns the error itself if the schema
    /// cannot be read or does not show a violation.
    async fn explain_schema_rejection(
        &self,
        resource: &Resource,
        kind: Kind,
        error: ClusterError,
    ) -> ClusterError {
        let request =
            http::Request::get(format!("/openapi/v3/apis/{}", resource.api_version())).body(Vec::new());
        let Ok(request) = request else { return error };
        let Ok(document) = self.client().request::<Value>(request).await else { return error };
        let violations = schema_violations(&resource.object, &document);
        if violations.is_empty() {
            return error;
        }
        ClusterError::SchemaViolations { kind, name: resource.name().into(), violations }
    }
}

fn kind_of(resource: &Resource) -> Result<Kind> {
    Kind::from_resource(resource).ok_or_else(|| ClusterError::Rejected {
        kind: Kind::Pod,
        name: resource.name().into(),
        message: format!("kind {} is not supported", resource.kind()),
    })
}

fn resource_version(object: &Value) -> Option<&str> {
    ObjectView::new(object).text("/metadata/resourceVersion")
}

#[cfg(test)]
mod tests;
