//! Renders events: as a table, as one line each, and as a JSON list.

use k8s_openapi::api::core::v1::Event;
use serde_json::{Value, json};

use crate::render::table::table;
use crate::workflow::summary::age;
use kubectl_dynamo_core::object::ObservedObject;
use kubectl_dynamo_core::object::event_time;

/// Returns the events as a table.
pub(crate) fn rows(events: &[ObservedObject<Event>]) -> String {
    let now = jiff::Timestamp::now();
    let row = |event: &ObservedObject<Event>| {
        let last = event_time(event).map(|time| age(&time.to_string(), now)).unwrap_or_else(|| "-".into());
        let in_series = event.series.as_ref().and_then(|series| series.count);
        let times = event.count.or(in_series).unwrap_or(1);
        let times = if times > 1 { format!("{times}×") } else { String::new() };
        let [kind, reason, object, message] = cells(event);
        vec![last, times, kind, reason, object, message]
    };
    table(&["LAST SEEN", "TIMES", "TYPE", "REASON", "OBJECT", "MESSAGE"], events.iter().map(row).collect())
}

/// Returns one event as a line.
pub(crate) fn line(event: &Event) -> String {
    cells(event).join("   ") + "\n"
}

/// Returns the events as a JSON document.
pub(crate) fn document(events: &[ObservedObject<Event>]) -> Value {
    let documents: Vec<&Value> = events.iter().map(ObservedObject::document).collect();
    json!({ "apiVersion": "v1", "kind": "List", "items": documents })
}

fn cells(event: &Event) -> [String; 4] {
    let text = |text: &Option<String>| text.as_deref().unwrap_or_default().trim().replace('\n', " ");
    let object = &event.involved_object;
    [
        text(&event.type_),
        text(&event.reason),
        format!("{}/{}", text(&object.kind).to_lowercase(), text(&object.name)),
        text(&event.message),
    ]
}
