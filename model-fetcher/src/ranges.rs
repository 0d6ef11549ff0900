//! Sets of byte ranges: the present and missing parts of a file.
//! Pure computation without I/O.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Sorted disjoint ranges. Adjacent ranges are merged.
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
        let from = self.ranges.partition_point(|existing| existing.end < range.start);
        let to = self.ranges.partition_point(|existing| existing.start <= range.end);
        let mut merged = range;
        if from < to {
            merged.start = merged.start.min(self.ranges[from].start);
            merged.end = merged.end.max(self.ranges[to - 1].end);
        }
        self.ranges.splice(from..to, [merged]);
    }

    /// Returns the parts of `0..size` that are not in the set.
    pub(crate) fn gaps(&self, size: u64) -> Vec<Range<u64>> {
        self.missing_in(0..size)
    }

    /// Returns the parts of `range` that are not in the set.
    pub(crate) fn missing_in(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut missing = Vec::new();
        let mut start = range.start;
        for existing in &self.ranges {
            let end = existing.start.min(range.end);
            if start < end {
                missing.push(start..end);
            }
            start = start.max(existing.end);
        }
        if start < range.end {
            missing.push(start..range.end);
        }
        missing
    }

    /// Removes everything from `end` on.
    pub(crate) fn truncate(&mut self, end: u64) {
        self.ranges.retain(|range| range.start < end);
        if let Some(last) = self.ranges.last_mut() {
            last.end = last.end.min(end);
        }
    }

    /// Returns the total number of bytes in the set.
    pub(crate) fn bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
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
        set.ranges.into_iter().map(|range| (range.start, range.end)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range_set(pairs: &[(u64, u64)]) -> RangeSet {
        pairs.to_vec().into()
    }

    #[test]
    fn adjacent_and_overlapping_ranges_merge() {
        assert_eq!(range_set(&[(0, 5), (5, 9)]), range_set(&[(0, 9)]));
        assert_eq!(range_set(&[(0, 2), (8, 9), (1, 8)]), range_set(&[(0, 9)]));
        assert_eq!(range_set(&[(4, 6), (0, 1)]).iter().collect::<Vec<_>>(), [0..1, 4..6]);
        assert_eq!(range_set(&[(3, 3)]), RangeSet::default());
    }

    #[test]
    fn gaps_are_the_complement() {
        assert_eq!(range_set(&[]).gaps(4), [0..4]);
        assert_eq!(range_set(&[(1, 2), (3, 9)]).gaps(9), [0..1, 2..3]);
        assert_eq!(range_set(&[(0, 9)]).gaps(9), []);
        assert_eq!(range_set(&[(2, 4)]).missing_in(3..6), [4..6]);
        assert_eq!(range_set(&[(2, 9)]).missing_in(3..6), []);
    }

    #[test]
    fn truncate_drops_bytes_beyond_end() {
        let mut ranges = range_set(&[(0, 4), (6, 9)]);
        ranges.truncate(7);
        assert_eq!(ranges, range_set(&[(0, 4), (6, 7)]));
        assert_eq!(ranges.bytes(), 5);
        ranges.truncate(0);
        assert_eq!(ranges.bytes(), 0);
    }
}
