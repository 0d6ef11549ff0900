//! What stands between a verb that waits and its end: somebody leaves, or the API server goes away for a while.

use std::convert::Infallible;
use std::time::Duration;

use crate::cluster::{Cluster, Kind};
use crate::commands::Context;
use crate::commands::deployment::Deployment;
use crate::commands::interruption::unless_left;
use crate::error::Exit;

/// How long the API server may take to say, after Ctrl-C, how far it came.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// What comes of a story in which the API server may go away for a while, which is said; nothing where the person leaves
/// before its end.
pub(in crate::commands) fn told<T>(
    story: impl Future<Output = T>,
    context: &Context,
    cluster: &Cluster,
) -> impl Future<Output = Option<T>> {
    unless_left(async {
        tokio::select! {
            told = story => told,
            never = say_absences(context, cluster) => match never {},
        }
    })
}

/// Says that the API server is waited for, and when it is back; for ever.
async fn say_absences(context: &Context, cluster: &Cluster) -> Infallible {
    let mut absences = cluster.absences();
    while absences.changed().await.is_ok() {
        let why = absences.borrow_and_update().clone();
        let why = why.map(|why| format!("the API server to answer again: {why}"));
        context.report.interlude(why.as_deref());
    }
    std::future::pending().await
}

/// How far a graph's change has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::commands) enum Stands {
    /// Nothing of the graph was sent.
    #[default]
    Nothing,
    /// It was sent, and perhaps taken.
    Applied,
    /// It failed, and what was there before is being applied again.
    GoesBack,
}

/// The command that was typed, to paste.
pub(in crate::commands) fn this_command() -> String {
    let words = std::env::args().skip(1);
    let words: Vec<String> = words.map(|word| shell_words::quote(&word).into_owned()).collect();
    format!("kubectl dynamo {}", words.join(" "))
}

/// Everything is in the cluster, so leaving is safe at any moment; what continues depends on how far it came.
/// A second Ctrl-C, or an API server that does not answer, ends it without asking.
pub(super) async fn interrupted(
    context: &Context,
    cluster: &Cluster,
    planned: Option<&Deployment>,
    stands: Stands,
) -> Exit {
    let namespace = &cluster.namespace;
    let exists = async {
        let planned = planned?;
        let kind = Kind::Graph(planned.graph_api);
        let asked = tokio::time::timeout(LAST_LOOK, cluster.get(kind, &planned.name));
        unless_left(asked).await?.ok()?.ok().map(|found| found.is_some())
    };
    let exists = exists.await;
    let name = planned.map_or("the deployment", |planned| &planned.name);
    let see = format!("  see      kubectl dynamo status {name} -n {namespace}");
    let again = |what: &str| format!("{name} {what}; this continues it: {}", this_command());
    context.report.closing(match (exists, stands) {
        (Some(true), Stands::Applied) => {
            vec![format!("{name} goes on coming up; only the watching ended"), see]
        }
        (Some(true), Stands::Nothing) => vec![again("is as it was")],
        (Some(true), Stands::GoesBack) => {
            let back = format!("  back     kubectl dynamo rollout history {name} -n {namespace}");
            vec![format!("left while {name} was taken back to what it was before"), see, back]
        }
        (Some(false), _) if downloads(planned) => {
            vec![again("is not created yet"), "  a download that was started goes on in its Job".into()]
        }
        (Some(false), _) => vec![again("is not created yet")],
        (None, _) => vec![format!("left; this continues it: {}", this_command())],
    });
    Exit::Interrupted
}

/// Whether a Job fetches the model.
fn downloads(planned: Option<&Deployment>) -> bool {
    planned.is_some_and(|planned| planned.resources.iter().any(|resource| resource.kind() == "Job"))
}
