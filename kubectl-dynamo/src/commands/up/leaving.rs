//! What stands between a verb that waits and its end: somebody leaves, or the API server goes away for a while.

use std::convert::Infallible;
use std::time::Duration;

use crate::cluster::{Cluster, Kind};
use crate::commands::Context;
use crate::commands::deployment::Deployment;
use crate::commands::interruption::interruption;
use crate::error::Exit;

/// How long the API server may take to say, after Ctrl-C, how far it came.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// Says that the API server is waited for, and when it is back; for ever.
pub(in crate::commands) async fn say_absences(context: &Context, cluster: &Cluster) -> Infallible {
    let mut absences = cluster.absences();
    while absences.changed().await.is_ok() {
        let why = absences.borrow_and_update().clone();
        let why = why.map(|why| format!("the API server to answer again: {why}"));
        context.report.interlude(why.as_deref());
    }
    std::future::pending().await
}

/// Everything is in the cluster, so leaving is safe at any moment; what continues depends on how far it came.
/// A second Ctrl-C, or an API server that does not answer, ends it without asking.
pub(super) async fn interrupted(context: &Context, cluster: &Cluster, planned: Option<&Deployment>) -> Exit {
    let namespace = &cluster.namespace;
    let exists = async {
        let planned = planned?;
        let kind = Kind::Graph(planned.graph_api);
        let asked = tokio::time::timeout(LAST_LOOK, cluster.get(kind, &planned.name));
        tokio::select! {
            found = asked => found.ok()?.ok().map(|found| found.is_some()),
            () = interruption() => None,
        }
    };
    let exists = exists.await;
    let name = planned.map_or("the deployment", |planned| &planned.name);
    context.report.closing(match exists {
        Some(true) => vec![
            format!("{name} goes on coming up; only the watching ended"),
            format!("  see      kubectl dynamo status {name} -n {namespace}"),
        ],
        Some(false) => vec![
            format!("{name} is not created yet; the same command continues it"),
            "  a download that was started goes on in its Job".into(),
        ],
        None => vec![format!("left; the same command continues {name}")],
    });
    Exit::Interrupted
}
