//! Decides which piece of which file is fetched next.
//!
//! Files are served in order, the one with the fewest connections first. With many files each connection
//! streams one, which is hashed as it arrives. With few files connections share them.

use std::collections::VecDeque;
use std::ops::Range;

/// Maximum bytes per request of a connection that streams a file alone, so that other connections can share
/// its end. The size does not change the speed (4 to 64 MiB measured on loopback in 2026); larger ones cost fewer requests.
const MAX_PIECE_BYTES: u64 = 64 << 20;

/// The missing ranges of every file.
#[derive(Debug)]
pub(crate) struct PieceQueue {
    files: Vec<QueuedFile>,
    piece_bytes: u64,
    order: PieceOrder,
}

#[derive(Debug, Default)]
struct QueuedFile {
    gaps: VecDeque<Range<u64>>,
    in_flight: usize,
    /// The server does not support ranges for this file, so one connection fetches it from the start.
    needs_single_request: bool,
}

/// How the pieces of one file are assigned to connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PieceOrder {
    /// To several connections at a time.
    Parallel,
    /// To one connection at a time, in order.
    Sequential,
}

/// A piece of one file, assigned to one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FilePiece {
    pub(crate) file: usize,
    pub(crate) range: Range<u64>,
    /// No other connection fetches this file, so the response may restart from offset 0.
    pub(crate) is_exclusive: bool,
}

impl PieceQueue {
    /// Creates a queue over the gaps of each file.
    pub(crate) fn new(gaps: Vec<Vec<Range<u64>>>, piece_bytes: u64, order: PieceOrder) -> Self {
        let files = gaps.into_iter().map(|gaps| QueuedFile { gaps: gaps.into(), ..QueuedFile::default() });
        Self { files: files.collect(), piece_bytes, order }
    }

    /// Returns the next piece for one of `connections`, if one is available.
    pub(crate) fn next_piece(&mut self, connections: usize) -> Option<FilePiece> {
        let is_sequential = self.order == PieceOrder::Sequential;
        let candidates = self.files.iter().enumerate().filter(|(_, file)| {
            !file.gaps.is_empty() && !((is_sequential || file.needs_single_request) && file.in_flight > 0)
        });
        let (index, _) = candidates.min_by_key(|(_, file)| file.in_flight)?;
        let max_bytes = self.max_piece_bytes(connections);
        let file = &mut self.files[index];
        let mut gap = file.gaps.pop_front()?;
        if let Some(last) = file
            .needs_single_request
            .then(|| std::mem::take(&mut file.gaps))
            .and_then(|gaps| gaps.back().cloned())
        {
            gap.end = last.end;
        }
        let max_bytes = if file.needs_single_request { u64::MAX } else { max_bytes };
        let range = gap.start..gap.start + max_bytes.min(gap.end - gap.start);
        if range.end < gap.end {
            file.gaps.push_front(range.end..gap.end);
        }
        file.in_flight += 1;
        Some(FilePiece { file: index, range, is_exclusive: file.needs_single_request })
    }

    /// Returns the maximum piece size: large while every connection has its own file and much is left, else
    /// small.
    fn max_piece_bytes(&self, connections: usize) -> u64 {
        let unfinished = self.files.iter().filter(|file| !file.gaps.is_empty());
        let (files, bytes) = unfinished.fold((0, 0), |(files, bytes), file| {
            (files + 1, bytes + file.gaps.iter().map(|gap| gap.end - gap.start).sum::<u64>())
        });
        if self.order == PieceOrder::Sequential {
            return u64::MAX;
        }
        if files < connections {
            return self.piece_bytes;
        }
        (bytes / (4 * connections.max(1)) as u64).clamp(self.piece_bytes, MAX_PIECE_BYTES)
    }

    /// Returns a piece to the queue. `missing` is the part that did not arrive.
    pub(crate) fn return_piece(&mut self, file: usize, missing: Option<Range<u64>>) {
        let file = &mut self.files[file];
        file.in_flight = file.in_flight.saturating_sub(1);
        if let Some(missing) = missing.filter(|missing| !missing.is_empty()) {
            let at = file.gaps.partition_point(|gap| gap.start < missing.start);
            file.gaps.insert(at, missing);
        }
    }

    /// Returns the files that connections are fetching.
    pub(crate) fn in_flight(&self) -> Vec<usize> {
        let files = self.files.iter().enumerate();
        files.filter(|(_, file)| file.in_flight > 0).map(|(index, _)| index).collect()
    }

    /// Disables ranges for this file: one connection at a time fetches all that is missing in one piece.
    pub(crate) fn disable_ranges(&mut self, file: usize) {
        self.files[file].needs_single_request = true;
    }

    /// Queues the whole file again.
    pub(crate) fn requeue(&mut self, file: usize, size: u64) {
        self.files[file].gaps = [0..size].into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: u64 = 8 << 20;

    fn piece_range(piece: Option<FilePiece>) -> (usize, Range<u64>) {
        let piece = piece.unwrap();
        (piece.file, piece.range)
    }

    #[test]
    fn connections_spread_across_files_before_sharing_one() {
        let mut queue = PieceQueue::new(vec![vec![0..100], vec![0..100]], 10, PieceOrder::Parallel);
        assert_eq!(piece_range(queue.next_piece(3)), (0, 0..10));
        assert_eq!(piece_range(queue.next_piece(3)), (1, 0..10));
        assert_eq!(piece_range(queue.next_piece(3)), (0, 10..20));
        queue.return_piece(0, Some(5..10));
        queue.return_piece(0, None);
        assert_eq!(piece_range(queue.next_piece(3)), (0, 5..10));
    }

    #[test]
    fn connection_with_exclusive_file_gets_maximum_piece() {
        let mut queue =
            PieceQueue::new(vec![vec![0..PIECE * 100], vec![0..PIECE * 100]], PIECE, PieceOrder::Parallel);
        let (_, first) = piece_range(queue.next_piece(2));
        assert_eq!(first, 0..MAX_PIECE_BYTES);
    }

    #[test]
    fn sequential_queue_serves_one_connection_per_file() {
        let mut queue = PieceQueue::new(vec![vec![10..100]], 10, PieceOrder::Sequential);
        assert_eq!(piece_range(queue.next_piece(4)), (0, 10..100));
        assert_eq!(queue.next_piece(4), None);
        queue.return_piece(0, Some(50..100));
        assert_eq!(piece_range(queue.next_piece(4)), (0, 50..100));
    }

    #[test]
    fn file_without_ranges_is_one_piece() {
        let mut queue = PieceQueue::new(vec![vec![0..10, 20..30]], 4, PieceOrder::Parallel);
        let piece = queue.next_piece(2).unwrap();
        queue.return_piece(0, Some(piece.range));
        queue.disable_ranges(0);
        assert_eq!(piece_range(queue.next_piece(2)), (0, 0..30));
        assert_eq!(queue.next_piece(2), None);
        queue.return_piece(0, None);
        queue.requeue(0, 30);
        assert_eq!(piece_range(queue.next_piece(2)), (0, 0..30));
    }
}
