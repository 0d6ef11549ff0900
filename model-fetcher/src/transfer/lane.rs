//! One connection's work: take a piece, receive it, give back what is missing, wait when told to.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;

use super::Transfer;
use super::queue::Piece;
use crate::contract::{ProgressEvent, WaitReason};
use crate::error::Error;
use crate::patience::Backoff;
use crate::source::{Failure, Later, ModelSource};

/// The second try of a file goes over connections of its own.
const SECOND_TRY_LANES: usize = 1 << 16;

impl<S: ModelSource> Transfer<S> {
    /// Fetches pieces until every file is committed.
    pub(super) async fn lane(self: Arc<Self>, lane: usize) -> Result<(), Error> {
        let mut backoff = Backoff::default();
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that a change in between is not missed.
            changed.as_mut().enable();
            if self.is_done() {
                return Ok(());
            }
            let allowed = self.allowed.load(Ordering::Relaxed);
            let piece = if lane < allowed { self.queue().take(allowed) } else { None };
            let Some(piece) = piece else {
                changed.await;
                continue;
            };
            match self.fetch(lane, piece).await {
                Ok(()) => backoff = Backoff::default(),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Later(later)) => self.pause(&mut backoff, later).await?,
            }
        }
    }

    async fn fetch(self: &Arc<Self>, lane: usize, piece: Piece) -> Result<(), Failure> {
        let mut position = piece.range.start;
        self.meter.busy.fetch_add(1, Ordering::Relaxed);
        let received = self.receive(lane, &piece, &mut position).await;
        self.meter.busy.fetch_sub(1, Ordering::Relaxed);
        self.queue().give_back(piece.file, Some(position..piece.range.end));
        self.changed.notify_waiters();
        if let Some(digits) = received? {
            self.finish(piece.file, digits).await?;
        }
        Ok(())
    }

    /// Receives `piece`; `position` tells how far it came. Returns the digits when that made the file whole.
    async fn receive(
        &self,
        lane: usize,
        piece: &Piece,
        position: &mut u64,
    ) -> Result<Option<String>, Failure> {
        let partial = &self.files[piece.file];
        let lane = if partial.was_wrong() { lane + SECOND_TRY_LANES } else { lane };
        let mut body = self.source.open(lane, &self.commit, &partial.remote, piece.range.clone()).await?;
        // Two that both receive from the start would bring the same bytes at once, cut differently.
        if body.offset != piece.range.start && !piece.alone {
            self.queue().fetch_whole(piece.file);
            return Err(
                Later { after: Some(Duration::ZERO), ..Later::new("the server ignores ranges") }.into()
            );
        }
        let mut offset = body.offset;
        let mut digits = None;
        while *position < piece.range.end {
            let Some(segment) = body.segments.next().await else {
                let missing = piece.range.end - *position;
                return Err(Later::new(format!("the connection closed {missing} bytes early")).into());
            };
            let mut segment = segment.map_err(Later::new)?;
            self.meter.received.fetch_add(segment.len() as u64, Ordering::Relaxed);
            segment.truncate(usize::try_from(piece.range.end - offset).unwrap_or(usize::MAX));
            let (new, whole) = partial.store(offset, &segment, &self.budget)?;
            digits = digits.or(whole);
            offset += segment.len() as u64;
            *position = offset.max(*position);
            if new > 0 {
                self.moved();
            }
        }
        Ok(digits)
    }

    /// Waits before the next request, or ends the transfer when nothing came anywhere for too long.
    async fn pause(&self, backoff: &mut Backoff, later: Later) -> Result<(), Error> {
        self.meter.retries.fetch_add(1, Ordering::Relaxed);
        let delay = backoff.next(later.after);
        let stalled = self.stalled();
        if stalled + delay > self.stall_timeout {
            return Err(Error::Stalled {
                endpoint: self.source.name().to_owned(),
                stalled,
                last: later.reason,
            });
        }
        let reason = if later.rate_limited { WaitReason::RateLimit } else { WaitReason::Retry };
        self.notify(ProgressEvent::Waiting {
            reason,
            detail: later.reason,
            seconds: delay.as_secs_f64().ceil() as u64,
        });
        tokio::time::sleep(delay).await;
        Ok(())
    }
}
