//! What the operator does to the API server: read, apply, patch, report events.

use std::time::{SystemTime, UNIX_EPOCH};

use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use super::words;
use crate::kubernetes::definitions::GraphGeneration;

/// The operator's view of one API server.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) client: Client,
    pub(super) generation: GraphGeneration,
}

pub(super) type Result<T, E = kube::Error> = std::result::Result<T, E>;

impl Access {
    pub(super) fn graphs(&self) -> ApiResource {
        self.dynamo("DynamoGraphDeployment")
    }

    pub(super) fn components(&self) -> ApiResource {
        self.dynamo("DynamoComponentDeployment")
    }

    pub(super) fn adapters(&self) -> ApiResource {
        self.dynamo(super::scaling::KIND)
    }

    fn dynamo(&self, kind: &str) -> ApiResource {
        ApiResource::from_gvk(&GroupVersionKind::gvk(words::GROUP, self.generation.version(), kind))
    }

    pub(super) fn within(&self, namespace: &str, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, resource)
    }

    /// The object as JSON, or none when there is no such object.
    pub(super) async fn find(
        &self,
        namespace: &str,
        resource: &ApiResource,
        name: &str,
    ) -> Result<Option<Value>> {
        Ok(self.within(namespace, resource).get_opt(name).await?.as_ref().map(as_value))
    }

    /// The components that belong to this graph by label.
    pub(super) async fn components_of(&self, namespace: &str, graph: &str) -> Result<Vec<Value>> {
        let labelled = ListParams::default().labels(&format!("{}={graph}", words::GRAPH));
        Ok(self.within(namespace, &self.components()).list(&labelled).await?.iter().map(as_value).collect())
    }

    /// Creates the object or changes it to this; an object that is so already stays untouched.
    pub(super) async fn apply(&self, object: &Value) -> Result<Value> {
        let resource = resource_of(object);
        let api = self.within(text(object, "/metadata/namespace"), &resource);
        let applied = api
            .patch(
                text(object, "/metadata/name"),
                &PatchParams::apply(words::MANAGER).force(),
                &Patch::Apply(object),
            )
            .await?;
        Ok(as_value(&applied))
    }

    /// The same for an object of no namespace.
    pub(super) async fn apply_everywhere(&self, object: &Value) -> Result<()> {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource_of(object));
        let parameters = PatchParams::apply(words::MANAGER).force();
        api.patch(text(object, "/metadata/name"), &parameters, &Patch::Apply(object)).await.map(drop)
    }

    /// Creates the object unless one of its name is there.
    pub(super) async fn create_if_absent(&self, object: &Value) -> Result<()> {
        let api = self.within(text(object, "/metadata/namespace"), &resource_of(object));
        let object: DynamicObject =
            serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
        match api.create(&PostParams::default(), &object).await {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            created => created.map(drop),
        }
    }

    pub(super) async fn replace(&self, object: &Value) -> Result<()> {
        let api = self.within(text(object, "/metadata/namespace"), &resource_of(object));
        let parameters =
            PostParams { field_manager: Some(words::MANAGER.to_owned()), ..PostParams::default() };
        let object: DynamicObject =
            serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
        api.replace(text(&as_value(&object), "/metadata/name"), &parameters, &object).await.map(drop)
    }

    /// Changes these fields by a merge patch, as the operator's manager.
    pub(super) async fn merge(&self, object: &Value, change: Value) -> Result<()> {
        let api = self.within(text(object, "/metadata/namespace"), &resource_of(object));
        let parameters =
            PatchParams { field_manager: Some(words::MANAGER.to_owned()), ..PatchParams::default() };
        api.patch(text(object, "/metadata/name"), &parameters, &Patch::Merge(change)).await.map(drop)
    }

    /// Adds the finalizer, or takes it away.
    pub(super) async fn set_finalizer(&self, object: &Value, present: bool) -> Result<()> {
        let mut finalizers: Vec<&str> = strings(object, "/metadata/finalizers");
        finalizers.retain(|finalizer| *finalizer != words::FINALIZER);
        if present {
            finalizers.push(words::FINALIZER);
        }
        // With the version it read: a finalizer that someone else removes meanwhile is not written again.
        let version = text(object, "/metadata/resourceVersion");
        self.merge(object, json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}})).await
    }

    /// Replaces the whole status, unless it is this one already.
    pub(super) async fn set_status(&self, object: &Value, status: Value) -> Result<()> {
        if object.get("status") == Some(&status) {
            return Ok(());
        }
        self.patch(object, "/status", json!([{"op": "add", "path": "/status", "value": status}])).await
    }

    /// Changes these places by a JSON patch, of the object or of a subresource such as `/status`.
    pub(super) async fn patch(&self, object: &Value, subresource: &str, patch: Value) -> Result<()> {
        let resource = resource_of(object);
        let path = format!(
            "/apis/{}/namespaces/{}/{}/{}{subresource}?fieldManager={}",
            resource.api_version,
            text(object, "/metadata/namespace"),
            resource.plural,
            text(object, "/metadata/name"),
            words::MANAGER,
        );
        let request = http::Request::patch(path)
            .header(http::header::CONTENT_TYPE, "application/json-patch+json")
            .body(patch.to_string().into_bytes())
            .map_err(kube::Error::HttpError)?;
        self.client.request::<Value>(request).await.map(drop)
    }

    pub(super) async fn delete(&self, object: &Value) -> Result<()> {
        let api = self.within(text(object, "/metadata/namespace"), &resource_of(object));
        match api.delete(text(object, "/metadata/name"), &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            deleted => deleted.map(drop),
        }
    }

    /// Reports an event about the object, as the operator's controller of its kind does.
    pub(super) async fn event(&self, object: &Value, kind: &str, reason: &str, message: &str) -> Result<()> {
        let now = now();
        let name = text(object, "/metadata/name");
        let event = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": format!("{name}."), "namespace": text(object, "/metadata/namespace")},
            "type": kind,
            "reason": reason,
            "message": message,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": text(object, "/kind").to_lowercase()},
            "involvedObject": {
                "apiVersion": text(object, "/apiVersion"),
                "kind": text(object, "/kind"),
                "name": name,
                "namespace": text(object, "/metadata/namespace"),
                "uid": text(object, "/metadata/uid"),
            },
        });
        self.create_if_absent(&event).await
    }
}

/// The text at this JSON pointer, empty where there is none.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The texts of the list at this JSON pointer.
pub(super) fn strings<'a>(value: &'a Value, pointer: &str) -> Vec<&'a str> {
    list(value, pointer).iter().filter_map(Value::as_str).collect()
}

/// The list at this JSON pointer, empty where there is none.
pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The reference that makes `owner` the controller of an object.
pub(super) fn owned_by(owner: &Value) -> Value {
    json!([{
        "apiVersion": text(owner, "/apiVersion"),
        "kind": text(owner, "/kind"),
        "name": text(owner, "/metadata/name"),
        "uid": text(owner, "/metadata/uid"),
        "controller": true,
        "blockOwnerDeletion": true,
    }])
}

/// This moment as Kubernetes writes it: seconds, in UTC.
pub(super) fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map(|time| time.as_secs()).unwrap_or_default();
    let time = k8s_openapi::jiff::Timestamp::from_second(i64::try_from(seconds).unwrap_or_default());
    time.map(|time| time.to_string()).unwrap_or_default()
}

fn as_value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

fn resource_of(object: &Value) -> ApiResource {
    let api_version = text(object, "/apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text(object, "/kind")))
}
