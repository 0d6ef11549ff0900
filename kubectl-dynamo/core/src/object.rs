//! Kubernetes objects: a view of any object as JSON, and typed objects that keep the document they were read from.
//!
//! A view never fails: a field that is missing or has another type than expected is absent. Objects of Kubernetes'
//! own kinds are parsed where they are read from the API server, so that all other code uses their types.

use std::ops::Deref;

use k8s_openapi::Metadata;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A view of an object of any kind.
#[derive(Debug, Clone, Copy)]
pub struct ObjectView<'a>(&'a Value);

impl<'a> ObjectView<'a> {
    /// Creates a view of a document.
    pub fn new(document: &'a Value) -> Self {
        Self(document)
    }

    /// Returns the complete document.
    pub fn document(self) -> &'a Value {
        self.0
    }

    /// Returns the string at a JSON pointer such as `/spec/phase`.
    pub fn text(self, pointer: &str) -> Option<&'a str> {
        self.0.pointer(pointer)?.as_str()
    }

    /// Returns the number at a JSON pointer.
    pub fn number(self, pointer: &str) -> Option<u64> {
        self.0.pointer(pointer)?.as_u64()
    }

    /// Returns the object at a JSON pointer.
    pub fn map(self, pointer: &str) -> Option<&'a Map<String, Value>> {
        self.0.pointer(pointer)?.as_object()
    }

    /// Returns the items of the list at a JSON pointer. A field that is not a list does not have items.
    pub fn items(self, pointer: &str) -> impl Iterator<Item = ObjectView<'a>> + use<'a> {
        self.0.pointer(pointer).and_then(Value::as_array).into_iter().flatten().map(ObjectView)
    }

    /// Returns the strings of the list at a JSON pointer.
    pub fn texts(self, pointer: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.items(pointer).filter_map(|item| item.0.as_str())
    }

    /// Returns `apiVersion`, or an empty string.
    pub fn api_version(self) -> &'a str {
        self.text("/apiVersion").unwrap_or_default()
    }

    /// Returns `kind`, or an empty string.
    pub fn kind(self) -> &'a str {
        self.text("/kind").unwrap_or_default()
    }

    /// Returns `metadata.name`, or an empty string.
    pub fn name(self) -> &'a str {
        self.text("/metadata/name").unwrap_or_default()
    }

    /// Returns `metadata.namespace`, or an empty string.
    pub fn namespace(self) -> &'a str {
        self.text("/metadata/namespace").unwrap_or_default()
    }

    /// Returns `metadata.uid`, or an empty string.
    pub fn uid(self) -> &'a str {
        self.text("/metadata/uid").unwrap_or_default()
    }

    /// Returns the value of a label.
    pub fn label(self, key: &str) -> Option<&'a str> {
        self.map("/metadata/labels")?.get(key)?.as_str()
    }

    /// Returns the value of an annotation.
    pub fn annotation(self, key: &str) -> Option<&'a str> {
        self.map("/metadata/annotations")?.get(key)?.as_str()
    }

    /// Returns `metadata.generation`, which changes with the spec.
    pub fn generation(self) -> Option<u64> {
        self.number("/metadata/generation")
    }

    /// Returns `status.observedGeneration`.
    pub fn observed_generation(self) -> Option<u64> {
        self.number("/status/observedGeneration")
    }

    /// Returns the creation time, RFC 3339.
    pub fn created(self) -> Option<&'a str> {
        self.text("/metadata/creationTimestamp")
    }

    /// Returns whether the object is being deleted.
    pub fn is_terminating(self) -> bool {
        self.text("/metadata/deletionTimestamp").is_some()
    }

    /// Returns whether the object with this UID owns this one. UIDs are compared because a deleted owner may have had
    /// the same name.
    pub fn is_owned_by(self, uid: &str) -> bool {
        self.items("/metadata/ownerReferences").any(|owner| owner.text("/uid") == Some(uid))
    }

    /// Returns the condition of the given type.
    pub fn condition(self, kind: &str) -> Option<ConditionView<'a>> {
        self.items("/status/conditions").find(|one| one.text("/type") == Some(kind)).map(ConditionView)
    }

    /// Returns whether the condition of the given type is true.
    pub fn condition_is_true(self, kind: &str) -> bool {
        self.condition(kind).is_some_and(ConditionView::is_true)
    }

    /// Returns the entries of `metadata.managedFields`.
    pub fn managed_fields(self) -> impl Iterator<Item = ManagedFieldsView<'a>> + use<'a> {
        self.items("/metadata/managedFields").map(ManagedFieldsView)
    }
}

/// A view of one condition of an object.
#[derive(Debug, Clone, Copy)]
pub struct ConditionView<'a>(ObjectView<'a>);

impl<'a> ConditionView<'a> {
    /// Returns `True`, `False`, or `Unknown`.
    pub fn status(self) -> &'a str {
        self.0.text("/status").unwrap_or_default()
    }

    /// Returns whether the condition is true.
    pub fn is_true(self) -> bool {
        self.status() == "True"
    }

    /// Returns the reason, a word in camel case.
    pub fn reason(self) -> Option<&'a str> {
        self.0.text("/reason")
    }

    /// Returns the message.
    pub fn message(self) -> Option<&'a str> {
        self.0.text("/message")
    }

    /// Returns the generation of the spec that the condition is about.
    pub fn observed_generation(self) -> Option<u64> {
        self.0.number("/observedGeneration")
    }
}

/// A view of the fields that one field manager owns.
#[derive(Debug, Clone, Copy)]
pub struct ManagedFieldsView<'a>(ObjectView<'a>);

impl<'a> ManagedFieldsView<'a> {
    /// Returns the complete entry.
    pub fn document(self) -> &'a Value {
        self.0.document()
    }

    /// Returns the name of the field manager.
    pub fn manager(self) -> Option<&'a str> {
        self.0.text("/manager")
    }

    /// Returns whether the manager owns the fields by a server-side apply.
    pub fn is_apply(self) -> bool {
        self.0.text("/operation") == Some("Apply")
    }

    /// Returns whether the entry is about a subresource such as `status`.
    pub fn is_of_subresource(self) -> bool {
        self.0.text("/subresource").is_some()
    }

    /// Returns the owned fields, in the format of `fieldsV1`.
    pub fn fields(self) -> Option<&'a Map<String, Value>> {
        self.0.map("/fieldsV1")
    }

    /// Returns the owned fields below `spec`.
    pub fn spec_fields(self) -> Option<&'a Map<String, Value>> {
        self.fields()?.get("f:spec")?.as_object()
    }
}

/// A typed object and the document it was parsed from. The document keeps fields that the type does not know.
#[derive(Debug, Clone, PartialEq)]
pub struct ObservedObject<T> {
    object: T,
    document: Value,
}

impl<T: DeserializeOwned> ObservedObject<T> {
    /// Parses a document.
    ///
    /// # Errors
    /// The field that does not have the expected type.
    pub fn parse(document: Value) -> Result<Self, serde_json::Error> {
        Ok(Self { object: T::deserialize(&document)?, document })
    }
}

impl<T> ObservedObject<T> {
    /// Returns the complete document.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Returns the complete document without the typed object.
    pub fn into_document(self) -> Value {
        self.document
    }
}

impl<T> Deref for ObservedObject<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}

/// The metadata of a typed object, with the same names as those of [`ObjectView`].
pub trait ObjectFields {
    /// Returns the metadata.
    fn meta(&self) -> &ObjectMeta;

    /// Returns the name, or an empty string.
    fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    /// Returns the namespace, or an empty string.
    fn namespace(&self) -> &str {
        self.meta().namespace.as_deref().unwrap_or_default()
    }

    /// Returns the UID, or an empty string.
    fn uid(&self) -> &str {
        self.meta().uid.as_deref().unwrap_or_default()
    }

    /// Returns the value of a label.
    fn label(&self, key: &str) -> Option<&str> {
        self.meta().labels.as_ref()?.get(key).map(String::as_str)
    }

    /// Returns the value of an annotation.
    fn annotation(&self, key: &str) -> Option<&str> {
        self.meta().annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// Returns the creation time, RFC 3339, or an empty string.
    fn created(&self) -> String {
        time_text(self.meta().creation_timestamp.as_ref())
    }

    /// Returns whether the object is being deleted.
    fn is_terminating(&self) -> bool {
        self.meta().deletion_timestamp.is_some()
    }

    /// Returns whether the object with this UID owns this one.
    fn is_owned_by(&self, uid: &str) -> bool {
        self.meta().owner_references.iter().flatten().any(|owner| owner.uid == uid)
    }
}

impl<T: Metadata<Ty = ObjectMeta>> ObjectFields for T {
    fn meta(&self) -> &ObjectMeta {
        self.metadata()
    }
}

/// Returns the time at which an event was last observed. The field depends on the component that wrote the
/// event.
pub fn event_time(event: &Event) -> Option<jiff::Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
    let time = |time: &Option<Time>| time.as_ref().map(|time| time.0);
    series
        .map(|time| time.0)
        .or_else(|| time(&event.last_timestamp))
        .or_else(|| event.event_time.as_ref().map(|time| time.0))
        .or_else(|| time(&event.first_timestamp))
        .or_else(|| time(&event.metadata.creation_timestamp))
}

/// Formats a time of the API server as RFC 3339, or as an empty string.
pub fn time_text(time: Option<&Time>) -> String {
    time.map(|time| time.0.to_string()).unwrap_or_default()
}

/// Parses an object of a test.
#[cfg(test)]
pub(crate) fn typed<T: DeserializeOwned>(document: Value) -> ObservedObject<T> {
    ObservedObject::parse(document).expect("the object has the fields of its kind")
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    #[test]
    fn views_of_odd_documents_are_empty() {
        for document in [
            json!(null),
            json!("foo"),
            json!([1]),
            json!({ "metadata": "foo", "status": [] }),
            json!({ "metadata": { "name": 1, "labels": [], "ownerReferences": {} }, "status": { "conditions": "x" } }),
        ] {
            let view = ObjectView::new(&document);
            assert_eq!((view.name(), view.kind(), view.label("a")), ("", "", None), "{document}");
            assert!(!view.is_owned_by("1") && view.condition("Ready").is_none(), "{document}");
            assert_eq!(view.managed_fields().count(), 0, "{document}");
        }
    }

    #[test]
    fn typed_objects_keep_unknown_fields() {
        let document = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "p", "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "containers": [], "fieldOfTheFuture": 1 },
        });
        let pod: ObservedObject<Pod> = typed(document.clone());
        assert_eq!((pod.name(), pod.created().as_str()), ("p", "2026-01-01T00:00:00Z"));
        assert_eq!(pod.document(), &document);
        let error = ObservedObject::<Pod>::parse(json!({ "spec": { "containers": "none" } })).unwrap_err();
        assert!(error.to_string().contains("invalid type"), "{error}");
    }
}
