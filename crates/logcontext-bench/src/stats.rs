//! Medians and spreads.

/// Readings of one figure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn values(&self) -> &[f64] {
        &self.0
    }

    /// # Panics
    /// If there is no sample.
    pub(crate) fn median(&self) -> f64 {
        self.spread().median
    }

    /// # Panics
    /// If there is no sample.
    pub(crate) fn spread(&self) -> Spread {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        } else {
            sorted[middle]
        };
        Spread { min: sorted[0], median, max: sorted[sorted.len() - 1] }
    }

    /// Sample by sample: what was measured in the same round stays together.
    pub(crate) fn zip(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        self.0.iter().zip(&other.0).map(|(&a, &b)| f(a, b)).collect()
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(samples: I) -> Self {
        Self(samples.into_iter().collect())
    }
}

/// Where the samples lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_in_the_middle() {
        let odd: Samples = [3.0, -1.0, 100.0].into_iter().collect();
        assert_eq!(odd.spread(), Spread { min: -1.0, median: 3.0, max: 100.0 });
        let even: Samples = [4.0, 1.0, 2.0, 100.0].into_iter().collect();
        assert_eq!(even.spread(), Spread { min: 1.0, median: 3.0, max: 100.0 });
    }

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        // The machine was slow in the second round, for both.
        let a: Samples = [20.0, 60.0, 22.0].into_iter().collect();
        let b: Samples = [10.0, 30.0, 10.0].into_iter().collect();
        assert_eq!(a.zip(&b, |a, b| a / b).median(), 2.0);
    }
}
