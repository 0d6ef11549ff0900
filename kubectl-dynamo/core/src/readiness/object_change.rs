//! A change of the objects of one kind, and its effect on a list of them.

use serde_json::Value;

use super::Workload;
use crate::object::{ObjectView, ObservedObject};

/// A change of the objects of one kind, as a watch reports it.
#[derive(Debug, Clone, PartialEq)]
pub enum ObjectChange<T> {
    /// All objects: at the start of a watch and after each restart of it.
    Listed(Vec<T>),
    /// A created or changed object.
    Applied(T),
    /// The last state of a deleted object.
    Deleted(T),
}

/// An object with a complete document.
pub trait HasDocument {
    /// Returns a view of the complete document.
    fn view(&self) -> ObjectView<'_>;
}

impl HasDocument for Value {
    fn view(&self) -> ObjectView<'_> {
        ObjectView::new(self)
    }
}

impl<T> HasDocument for ObservedObject<T> {
    fn view(&self) -> ObjectView<'_> {
        ObjectView::new(self.document())
    }
}

impl HasDocument for Workload {
    fn view(&self) -> ObjectView<'_> {
        ObjectView::new(self.document())
    }
}

impl<T> ObjectChange<T> {
    /// Returns whether the change names all objects.
    pub(super) fn is_list(&self) -> bool {
        matches!(self, Self::Listed(_))
    }

    /// Converts each object, for example into its type.
    ///
    /// # Errors
    /// The first error of the conversion.
    pub fn try_map<U, E>(self, mut convert: impl FnMut(T) -> Result<U, E>) -> Result<ObjectChange<U>, E> {
        Ok(match self {
            Self::Listed(all) => {
                ObjectChange::Listed(all.into_iter().map(convert).collect::<Result<_, _>>()?)
            }
            Self::Applied(one) => ObjectChange::Applied(convert(one)?),
            Self::Deleted(one) => ObjectChange::Deleted(convert(one)?),
        })
    }

    /// Restricts the change to some objects. An object that stops being one of them counts as deleted.
    pub(super) fn filter(self, is_included: impl Fn(&T) -> bool) -> Self {
        match self {
            Self::Listed(all) => Self::Listed(all.into_iter().filter(is_included).collect()),
            Self::Applied(one) if !is_included(&one) => Self::Deleted(one),
            other => other,
        }
    }
}

impl<T: HasDocument> ObjectChange<T> {
    /// Updates a list of objects, which stays in the order of an API server's list: by namespace and name. Returns
    /// whether the list can have changed.
    ///
    /// A name belongs to one object at a time. The deletion of an earlier object with the same name has no effect.
    pub fn apply_to(self, objects: &mut Vec<T>) -> bool {
        match self {
            Self::Listed(mut all) => {
                all.sort_by(|one, other| key(one).cmp(&key(other)));
                *objects = all;
                true
            }
            Self::Applied(object) => {
                match objects.binary_search_by(|one| key(one).cmp(&key(&object))) {
                    Ok(index) => objects[index] = object,
                    Err(index) => objects.insert(index, object),
                }
                true
            }
            Self::Deleted(object) => {
                let is_same = |one: &T| key(one) == key(&object) && one.view().uid() == object.view().uid();
                let index = objects.iter().position(is_same);
                index.map(|index| objects.remove(index)).is_some()
            }
        }
    }
}

/// Returns what identifies an object of one kind at one time.
fn key<T: HasDocument>(object: &T) -> (&str, &str) {
    let view = object.view();
    (view.namespace(), view.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(name: &str, uid: &str) -> Value {
        json!({ "metadata": { "namespace": "serving", "name": name, "uid": uid } })
    }

    fn uids(objects: &[Value]) -> Vec<&str> {
        objects.iter().map(|one| one.view().uid()).collect()
    }

    #[test]
    fn objects_stay_in_the_order_of_a_list() {
        let mut objects = Vec::new();
        assert!(ObjectChange::Listed(vec![object("c", "3"), object("a", "1")]).apply_to(&mut objects));
        assert!(ObjectChange::Applied(object("b", "2")).apply_to(&mut objects));
        assert!(ObjectChange::Applied(object("a", "1")).apply_to(&mut objects));
        assert_eq!(uids(&objects), ["1", "2", "3"]);
        assert!(ObjectChange::Deleted(object("b", "2")).apply_to(&mut objects));
        assert_eq!(uids(&objects), ["1", "3"]);
    }

    #[test]
    fn a_restarted_watch_replaces_all_objects() {
        let mut objects = vec![object("a", "1"), object("b", "2")];
        assert!(ObjectChange::Listed(vec![object("b", "2"), object("c", "3")]).apply_to(&mut objects));
        assert_eq!(uids(&objects), ["2", "3"]);
    }

    #[test]
    fn an_object_replaces_an_earlier_one_with_the_same_name() {
        let mut objects = vec![object("a", "old")];
        assert!(ObjectChange::Applied(object("a", "new")).apply_to(&mut objects));
        assert_eq!(uids(&objects), ["new"]);
        assert!(!ObjectChange::Deleted(object("a", "old")).apply_to(&mut objects), "the deletion is stale");
        assert_eq!(uids(&objects), ["new"]);
        let elsewhere = json!({ "metadata": { "namespace": "other", "name": "a", "uid": "new" } });
        assert!(!ObjectChange::Deleted(elsewhere).apply_to(&mut objects));
    }

    #[test]
    fn an_object_that_stops_being_included_is_removed() {
        let is_included = |one: &Value| one.view().label("team") == Some("ml");
        let mut included = object("a", "1");
        included["metadata"]["labels"] = json!({ "team": "ml" });
        let mut objects = Vec::new();
        let all = ObjectChange::Listed(vec![included, object("b", "2")]);
        all.filter(is_included).apply_to(&mut objects);
        assert_eq!(uids(&objects), ["1"]);
        assert!(ObjectChange::Applied(object("a", "1")).filter(is_included).apply_to(&mut objects));
        assert_eq!(uids(&objects), [""; 0]);
    }
}
