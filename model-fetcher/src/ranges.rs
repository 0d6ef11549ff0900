//! Sets of byte ranges: what of a file is there, and what is missing.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Disjoint ranges in order; neighbours are merged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub(crate) struct RangeSet {
    ranges: Vec<Range<u64>>,
}

impl RangeSet {
    pub(crate) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let from = self.ranges.partition_point(|held| held.end < range.start);
        let to = self.ranges.partition_point(|held| held.start <= range.end);
        let mut merged = range;
        if from < to {
            merged.start = merged.start.min(self.ranges[from].start);
            merged.end = merged.end.max(self.ranges[to - 1].end);
        }
        self.ranges.splice(from..to, [merged]);
    }

    /// The parts of `0..size` that are not held.
    pub(crate) fn gaps(&self, size: u64) -> Vec<Range<u64>> {
        self.missing_in(0..size)
    }

    /// The parts of `wanted` that are not held.
    pub(crate) fn missing_in(&self, wanted: Range<u64>) -> Vec<Range<u64>> {
        let mut missing = Vec::new();
        let mut start = wanted.start;
        for held in &self.ranges {
            let end = held.start.min(wanted.end);
            if start < end {
                missing.push(start..end);
            }
            start = start.max(held.end);
        }
        if start < wanted.end {
            missing.push(start..wanted.end);
        }
        missing
    }

    /// Forgets everything from `end` on.
    pub(crate) fn truncate(&mut self, end: u64) {
        self.ranges.retain(|held| held.start < end);
        if let Some(last) = self.ranges.last_mut() {
            last.end = last.end.min(end);
        }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> u64 {
        self.ranges.iter().map(|held| held.end - held.start).sum()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ranges.iter().cloned()
    }
}

impl From<Vec<(u64, u64)>> for RangeSet {
    fn from(pairs: Vec<(u64, u64)>) -> Self {
        let mut set = Self::default();
        pairs.into_iter().for_each(|(start, end)| set.insert(start..end));
        set
    }
}

impl From<RangeSet> for Vec<(u64, u64)> {
    fn from(set: RangeSet) -> Self {
        set.ranges.into_iter().map(|held| (held.start, held.end)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(u64, u64)]) -> RangeSet {
        pairs.to_vec().into()
    }

    #[test]
    fn neighbours_and_overlaps_merge() {
        assert_eq!(set(&[(0, 5), (5, 9)]), set(&[(0, 9)]));
        assert_eq!(set(&[(0, 2), (8, 9), (1, 8)]), set(&[(0, 9)]));
        assert_eq!(set(&[(4, 6), (0, 1)]).iter().collect::<Vec<_>>(), [0..1, 4..6]);
        assert_eq!(set(&[(3, 3)]), RangeSet::default());
    }

    #[test]
    fn gaps_are_what_is_missing() {
        assert_eq!(set(&[]).gaps(4), [0..4]);
        assert_eq!(set(&[(1, 2), (3, 9)]).gaps(9), [0..1, 2..3]);
        assert_eq!(set(&[(0, 9)]).gaps(9), []);
        assert_eq!(set(&[(2, 4)]).missing_in(3..6), [4..6]);
        assert_eq!(set(&[(2, 9)]).missing_in(3..6), []);
    }

    #[test]
    fn a_shorter_file_holds_less() {
        let mut held = set(&[(0, 4), (6, 9)]);
        held.truncate(7);
        assert_eq!(held, set(&[(0, 4), (6, 7)]));
        assert_eq!(held.bytes(), 5);
        held.truncate(0);
        assert_eq!(held.bytes(), 0);
    }
}
