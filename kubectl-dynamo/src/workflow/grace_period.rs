//! The grace period of a problem: some problems resolve when a pod or the operator tries again. Only a
//! problem that outlasts the period ends the wait.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use kubectl_dynamo_core::readiness::Problem;

/// Grace period of a problem of a pod. An image pull is retried after 10 s.
pub(super) const GRACE_PERIOD: Duration = Duration::from_secs(20);
/// Grace period of a problem that only the operator can resolve. On 0.9.1 the state `failed` can be transient. After
/// a restart of the API server, an operator took up to 24 s to act again.
pub(super) const OPERATOR_GRACE_PERIOD: Duration = Duration::from_secs(40);

/// Returns the grace period of a problem. A final failure of the fetcher has none.
fn duration_for(problem: &Problem) -> Duration {
    match problem {
        Problem::Fetch { .. } => Duration::ZERO,
        problem if problem.depends_on_operator() => OPERATOR_GRACE_PERIOD,
        _ => GRACE_PERIOD,
    }
}

/// The current problem and the time since which there has been one.
#[derive(Default)]
pub(crate) struct GracePeriod(Option<(Problem, Instant)>);

impl GracePeriod {
    /// Records the current problem, or that there is none.
    pub(crate) fn update(&mut self, problem: Option<Problem>) {
        let since = self.0.take().map_or_else(Instant::now, |(_, since)| since);
        self.0 = problem.map(|problem| (problem, since));
    }

    /// Waits until the problem has outlasted its grace period. Never returns while there is no problem.
    pub(crate) async fn wait_until_expired(&self) -> Problem {
        match &self.0 {
            Some((problem, since)) => {
                sleep_until(*since + duration_for(problem)).await;
                problem.clone()
            }
            None => std::future::pending().await,
        }
    }
}
