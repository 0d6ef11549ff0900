//! A trouble that is given a little time: some pass by themselves when a pod or the operator tries again.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::readiness::Trouble;

/// How long a trouble may last. On 0.9.1 the state `failed` flashes by; an image that cannot be pulled is tried
/// again after 10 s.
const GRACE: Duration = Duration::from_secs(20);

/// What the fetcher itself calls final is.
fn grace(trouble: &Trouble) -> Duration {
    if matches!(trouble, Trouble::Fetch { .. }) { Duration::ZERO } else { GRACE }
}

/// The trouble there is now, and since when there was any.
#[derive(Default)]
pub(super) struct Troubled(Option<(Trouble, Instant)>);

impl Troubled {
    /// Takes note of the trouble there is, or that there is none.
    pub(super) fn note(&mut self, trouble: Option<Trouble>) {
        let since = self.0.take().map_or_else(Instant::now, |(_, since)| since);
        self.0 = trouble.map(|trouble| (trouble, since));
    }

    /// Returns when the trouble has outlasted its grace; never while there is none.
    pub(super) async fn lasts(&self) -> Trouble {
        match &self.0 {
            Some((trouble, since)) => {
                sleep_until(*since + grace(trouble)).await;
                trouble.clone()
            }
            None => std::future::pending().await,
        }
    }
}
