//! Which piece of which file is fetched next.
//!
//! Files are taken in order, the one with the fewest connections first: with many files each connection streams one
//! of its own, which is hashed as it comes; with few they share.

use std::collections::VecDeque;
use std::ops::Range;

/// Connections that stream a file alone ask for at most this much at once, so that the end can be shared.
const LONGEST_PIECE_BYTES: u64 = 64 << 20;

/// Missing ranges of every file.
#[derive(Debug)]
pub(crate) struct Queue {
    files: Vec<QueuedFile>,
    piece_bytes: u64,
    sequential: bool,
}

#[derive(Debug, Default)]
struct QueuedFile {
    gaps: VecDeque<Range<u64>>,
    in_flight: usize,
    /// The server gives this file whole only, so one connection fetches it from its start.
    whole: bool,
}

/// A piece of one file, lent to one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) file: usize,
    pub(crate) range: Range<u64>,
    /// Nobody else fetches of this file, so that content from its very start may come again.
    pub(crate) alone: bool,
}

impl Queue {
    /// A queue over the gaps of each file. `sequential` lends a file to one connection at a time, in order.
    pub(crate) fn new(gaps: Vec<Vec<Range<u64>>>, piece_bytes: u64, sequential: bool) -> Self {
        let files = gaps.into_iter().map(|gaps| QueuedFile { gaps: gaps.into(), ..QueuedFile::default() });
        Self { files: files.collect(), piece_bytes, sequential }
    }

    /// The next piece for one of `connections`, if there is any now.
    pub(crate) fn take(&mut self, connections: usize) -> Option<Piece> {
        let alone_only = self.sequential;
        let candidates =
            self.files.iter().enumerate().filter(|(_, file)| {
                !file.gaps.is_empty() && !((alone_only || file.whole) && file.in_flight > 0)
            });
        let (index, _) = candidates.min_by_key(|(_, file)| file.in_flight)?;
        let longest = self.longest_piece(connections);
        let file = &mut self.files[index];
        let mut gap = file.gaps.pop_front()?;
        if let Some(last) =
            file.whole.then(|| std::mem::take(&mut file.gaps)).and_then(|gaps| gaps.back().cloned())
        {
            gap.end = last.end;
        }
        let longest = if file.whole { u64::MAX } else { longest };
        let range = gap.start..gap.start + longest.min(gap.end - gap.start);
        if range.end < gap.end {
            file.gaps.push_front(range.end..gap.end);
        }
        file.in_flight += 1;
        Some(Piece { file: index, range, alone: file.whole })
    }

    /// Long pieces while every connection has a file of its own and much is left, short ones otherwise.
    fn longest_piece(&self, connections: usize) -> u64 {
        let open = self.files.iter().filter(|file| !file.gaps.is_empty());
        let (files, bytes) = open.fold((0, 0), |(files, bytes), file| {
            (files + 1, bytes + file.gaps.iter().map(|gap| gap.end - gap.start).sum::<u64>())
        });
        if self.sequential {
            return u64::MAX;
        }
        if files < connections {
            return self.piece_bytes;
        }
        (bytes / (4 * connections.max(1)) as u64).clamp(self.piece_bytes, LONGEST_PIECE_BYTES)
    }

    /// Takes a piece back: `rest` is what of it is still missing.
    pub(crate) fn give_back(&mut self, file: usize, rest: Option<Range<u64>>) {
        let file = &mut self.files[file];
        file.in_flight = file.in_flight.saturating_sub(1);
        if let Some(rest) = rest.filter(|rest| !rest.is_empty()) {
            let at = file.gaps.partition_point(|gap| gap.start < rest.start);
            file.gaps.insert(at, rest);
        }
    }

    /// The files that connections work on now.
    pub(crate) fn in_flight(&self) -> Vec<usize> {
        let files = self.files.iter().enumerate();
        files.filter(|(_, file)| file.in_flight > 0).map(|(index, _)| index).collect()
    }

    /// From now on this file goes to one connection at a time, all that is missing in one piece.
    pub(crate) fn fetch_whole(&mut self, file: usize) {
        self.files[file].whole = true;
    }

    /// Queues all of a file again.
    pub(crate) fn start_over(&mut self, file: usize, size: u64) {
        self.files[file].gaps = [0..size].into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: u64 = 8 << 20;

    fn range(piece: Option<Piece>) -> (usize, Range<u64>) {
        let piece = piece.unwrap();
        (piece.file, piece.range)
    }

    #[test]
    fn connections_spread_over_files_before_they_share_one() {
        let mut queue = Queue::new(vec![vec![0..100], vec![0..100]], 10, false);
        assert_eq!(range(queue.take(3)), (0, 0..10));
        assert_eq!(range(queue.take(3)), (1, 0..10));
        assert_eq!(range(queue.take(3)), (0, 10..20));
        queue.give_back(0, Some(5..10));
        queue.give_back(0, None);
        assert_eq!(range(queue.take(3)), (0, 5..10));
    }

    #[test]
    fn a_connection_with_a_file_of_its_own_asks_for_much() {
        let mut queue = Queue::new(vec![vec![0..PIECE * 100], vec![0..PIECE * 100]], PIECE, false);
        let (_, first) = range(queue.take(2));
        assert_eq!(first, 0..LONGEST_PIECE_BYTES);
    }

    #[test]
    fn one_connection_at_a_time_writes_a_file_in_order() {
        let mut queue = Queue::new(vec![vec![10..100]], 10, true);
        assert_eq!(range(queue.take(4)), (0, 10..100));
        assert_eq!(queue.take(4), None);
        queue.give_back(0, Some(50..100));
        assert_eq!(range(queue.take(4)), (0, 50..100));
    }

    #[test]
    fn a_file_without_ranges_is_one_piece() {
        let mut queue = Queue::new(vec![vec![0..10, 20..30]], 4, false);
        let piece = queue.take(2).unwrap();
        queue.give_back(0, Some(piece.range));
        queue.fetch_whole(0);
        assert_eq!(range(queue.take(2)), (0, 0..30));
        assert_eq!(queue.take(2), None);
        queue.give_back(0, None);
        queue.start_over(0, 30);
        assert_eq!(range(queue.take(2)), (0, 0..30));
    }
}
