//! The loop of one connection: get a piece, receive it, return the missing part, and wait if requested.
//! A worker must not retry forever: the limits of all retries are shared.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;

use super::Transfer;
use super::queue::FilePiece;
use crate::error::FetcherError;
use crate::retry::{Backoff, waiting_event};
use crate::source::{ModelSource, Retryable, SourceError};

/// Offset of the worker numbers for second tries, so that they use new connections.
const SECOND_TRY_WORKER_OFFSET: usize = 1 << 16;

impl<S: ModelSource> Transfer<S> {
    /// Fetches pieces until every file is committed.
    pub(super) async fn run_worker(self: Arc<Self>, worker: usize) -> Result<(), FetcherError> {
        let mut backoff = Backoff::default();
        loop {
            let queue_changed = self.queue_changed.notified();
            tokio::pin!(queue_changed);
            // Registered before the check, so that a change in between is not missed.
            queue_changed.as_mut().enable();
            if self.is_done() {
                return Ok(());
            }
            let concurrency = self.concurrency.load(Ordering::Relaxed);
            let piece = if worker < concurrency { self.lock_queue().next_piece(concurrency) } else { None };
            let Some(piece) = piece else {
                queue_changed.await;
                continue;
            };
            match self.fetch_piece(worker, piece).await {
                Ok(()) => backoff = Backoff::default(),
                Err(SourceError::Permanent(error)) => return Err(error),
                Err(SourceError::Retryable(retryable)) => self.pause(&mut backoff, retryable).await?,
            }
        }
    }

    async fn fetch_piece(self: &Arc<Self>, worker: usize, piece: FilePiece) -> Result<(), SourceError> {
        let mut position = piece.range.start;
        self.throughput.busy.fetch_add(1, Ordering::Relaxed);
        let received = self.receive(worker, &piece, &mut position).await;
        self.throughput.busy.fetch_sub(1, Ordering::Relaxed);
        let received = match received {
            // The next request is for the whole file, so it need not wait.
            Err(SourceError::Retryable(retryable)) if retryable.refuses_range && !piece.is_exclusive => {
                self.lock_queue().disable_ranges(piece.file);
                Err(Retryable { retry_after: Some(Duration::ZERO), ..retryable }.into())
            }
            other => other,
        };
        self.lock_queue().return_piece(piece.file, Some(position..piece.range.end));
        self.queue_changed.notify_waiters();
        if let Some(digits) = received? {
            self.finish_file(piece.file, digits).await?;
        }
        Ok(())
    }

    /// Receives `piece` and advances `position`. Returns the digits if this completes the file.
    async fn receive(
        &self,
        worker: usize,
        piece: &FilePiece,
        position: &mut u64,
    ) -> Result<Option<String>, SourceError> {
        let partial = &self.files[piece.file];
        let worker = if partial.has_failed_once() { worker + SECOND_TRY_WORKER_OFFSET } else { worker };
        let requested = if piece.is_exclusive { 0..partial.remote.size } else { piece.range.clone() };
        let mut body = self.source.open(worker, &self.commit, &partial.remote, requested).await?;
        // Two requests that both receive from the start would deliver the same bytes, cut differently.
        if body.offset != piece.range.start && !piece.is_exclusive {
            return Err(Retryable::range_refused("the server ignores ranges").into());
        }
        let mut offset = body.offset;
        let mut digits = None;
        while *position < piece.range.end {
            let Some(segment) = body.segments.next().await else {
                let missing = piece.range.end - *position;
                return Err(Retryable::new(format!("the connection closed {missing} bytes early")).into());
            };
            let mut segment = segment.map_err(|error| Retryable::new(error.to_string()))?;
            self.throughput.received.fetch_add(segment.len() as u64, Ordering::Relaxed);
            segment.truncate(usize::try_from(piece.range.end - offset).unwrap_or(usize::MAX));
            let (new_bytes, file_digits) = partial.write(offset, &segment, &self.budget)?;
            digits = digits.or(file_digits);
            offset += segment.len() as u64;
            *position = offset.max(*position);
            if new_bytes > 0 {
                self.mark_progress();
            }
        }
        Ok(digits)
    }

    /// Waits before the next request.
    ///
    /// # Errors
    /// No data arrived on any connection for the limit.
    async fn pause(&self, backoff: &mut Backoff, retryable: Retryable) -> Result<(), FetcherError> {
        self.throughput.retries.fetch_add(1, Ordering::Relaxed);
        let delay = backoff.next_delay(retryable.retry_after);
        let (progress, idle) = (self.last_progress(), self.idle_time());
        if !self.retry_limits.allow(&retryable, idle, delay) {
            return Err(FetcherError::Stalled {
                endpoint: self.source.name().to_owned(),
                stalled: idle,
                last: retryable.reason,
            });
        }
        self.send_event(waiting_event(&retryable, retryable.reason.clone(), delay));
        tokio::time::sleep(delay).await;
        if retryable.is_rate_limit_delay() {
            // Connections that wait at the same time count the delay once.
            self.mark_progress_at(progress + delay);
        }
        Ok(())
    }
}
