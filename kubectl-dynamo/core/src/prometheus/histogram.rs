//! A histogram of Prometheus: how many values lie in each bucket, and quantiles estimated from it.

/// A quantile that was estimated from a histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantile {
    /// The estimate, which assumes that values are spread evenly over their bucket.
    pub value: f64,
    /// The bounds of the bucket that contains the quantile. The upper one is infinite for values above all bounds.
    pub lower: f64,
    pub upper: f64,
}

/// How many values lie in each bucket.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Histogram {
    /// The upper bound of each bucket in ascending order, and the number of values in it.
    buckets: Vec<(f64, f64)>,
}

impl Histogram {
    /// Creates a histogram from upper bounds and the number of values up to each. Values of the same bound are added, so
    /// several series can be given. `None` without a bound.
    pub(super) fn from_cumulative(bounds: impl Iterator<Item = (f64, f64)>) -> Option<Self> {
        let mut buckets: Vec<(f64, f64)> =
            bounds.filter(|(bound, count)| !bound.is_nan() && count.is_finite()).collect();
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        buckets.dedup_by(|later, kept| {
            let is_same = later.0 == kept.0;
            kept.1 += if is_same { later.1 } else { 0.0 };
            is_same
        });
        let mut below = 0.0;
        for (_, count) in &mut buckets {
            (*count, below) = ((*count - below).max(0.0), *count);
        }
        (!buckets.is_empty()).then_some(Self { buckets })
    }

    /// The number of values.
    pub fn count(&self) -> f64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// The values that were added since `before`. If the process has started again meanwhile, these are all values.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let is_continued = self.buckets.len() == before.buckets.len()
            && self.buckets.iter().zip(&before.buckets).all(|(now, then)| now.0 == then.0 && now.1 >= then.1);
        if !is_continued {
            return self.clone();
        }
        let pairs = self.buckets.iter().zip(&before.buckets);
        Self { buckets: pairs.map(|(now, then)| (now.0, now.1 - then.1)).collect() }
    }

    /// Adds the values of another histogram.
    pub fn add(&mut self, other: &Self) {
        for (bound, count) in &other.buckets {
            match self.buckets.binary_search_by(|(own, _)| own.total_cmp(bound)) {
                Ok(at) => self.buckets[at].1 += count,
                Err(at) => self.buckets.insert(at, (*bound, *count)),
            }
        }
    }

    /// Estimates a quantile, such as 0.99; `None` without a value.
    pub fn quantile(&self, quantile: f64) -> Option<Quantile> {
        let rank = quantile * self.count();
        if rank <= 0.0 {
            return None;
        }
        let (mut lower, mut below) = (0.0, 0.0);
        for (upper, count) in self.buckets.iter().copied() {
            if count > 0.0 && below + count >= rank {
                let share = (rank - below) / count;
                let value = if upper.is_finite() { lower + (upper - lower) * share } else { lower };
                return Some(Quantile { value, lower, upper });
            }
            (lower, below) = (upper, below + count);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(bounds: &[(f64, f64)]) -> Histogram {
        Histogram::from_cumulative(bounds.iter().copied()).expect("bounds")
    }

    #[test]
    fn quantiles_lie_in_the_bucket_of_their_rank() {
        let values =
            histogram(&[(0.0, 0.0), (0.01, 50.0), (0.022, 98.0), (0.047, 99.0), (f64::INFINITY, 100.0)]);
        assert_eq!(values.count(), 100.0);
        for (quantile, lower, upper) in
            [(0.5, 0.0, 0.01), (0.51, 0.01, 0.022), (0.99, 0.022, 0.047), (1.0, 0.047, f64::INFINITY)]
        {
            let found = values.quantile(quantile).expect("values");
            assert_eq!((found.lower, found.upper), (lower, upper), "{quantile}");
            assert!(found.value >= lower && found.value <= upper.min(0.047), "{found:?}");
        }
        assert_eq!(histogram(&[(1.0, 0.0)]).quantile(0.5), None);
    }

    #[test]
    fn series_of_several_models_are_one_histogram() {
        let values = histogram(&[(1.0, 2.0), (f64::INFINITY, 3.0), (1.0, 4.0), (f64::INFINITY, 4.0)]);
        assert_eq!(values.buckets, [(1.0, 6.0), (f64::INFINITY, 1.0)]);
        assert_eq!(Histogram::from_cumulative(std::iter::empty()), None);
    }

    #[test]
    fn difference_of_two_scrapes_ignores_a_restart() {
        let (before, after) = (histogram(&[(1.0, 2.0), (2.0, 5.0)]), histogram(&[(1.0, 3.0), (2.0, 9.0)]));
        assert_eq!(after.since(&before).buckets, [(1.0, 1.0), (2.0, 3.0)]);
        assert_eq!(before.since(&after), before, "the process has started again");
    }

    #[test]
    fn histograms_with_different_buckets_are_added() {
        let mut sum = histogram(&[(1.0, 2.0), (4.0, 5.0)]);
        sum.add(&histogram(&[(2.0, 1.0), (4.0, 2.0)]));
        assert_eq!(sum.buckets, [(1.0, 2.0), (2.0, 1.0), (4.0, 4.0)]);
    }
}
