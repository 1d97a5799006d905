//! Bringing raw scores into 0..=100.

/// Greatest score of a node.
pub(crate) const SCORE_MAX: i64 = 100;

/// Raw scores are in range already.
pub(crate) fn keep(_: &mut [i64]) {}

/// The greatest becomes 100, the others in proportion, rounded down; all zero stay zero.
pub(crate) fn proportional(scores: &mut [i64]) {
    let max = scores.iter().copied().max().unwrap_or(0);
    if max > 0 {
        scores.iter_mut().for_each(|s| *s = SCORE_MAX * *s / max);
    }
}

/// As [`proportional`], upside down: zero becomes 100.
pub(crate) fn reversed(scores: &mut [i64]) {
    proportional(scores);
    scores.iter_mut().for_each(|s| *s = SCORE_MAX - *s);
}

/// The least becomes 0 and the greatest 100; all equal become 0.
pub(crate) fn stretched(scores: &mut [i64]) {
    let (Some(min), Some(max)) = (scores.iter().copied().min(), scores.iter().copied().max()) else { return };
    let span = max - min;
    scores.iter_mut().for_each(|s| *s = if span > 0 { SCORE_MAX * (*s - min) / span } else { 0 });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(by: fn(&mut [i64]), scores: &[i64]) -> Vec<i64> {
        let mut scores = scores.to_vec();
        by(&mut scores);
        scores
    }

    #[test]
    fn scores_end_between_zero_and_a_hundred() {
        assert_eq!(after(proportional, &[0, 1, 3]), [0, 33, 100]);
        assert_eq!(after(proportional, &[0, 0]), [0, 0]);
        assert_eq!(after(reversed, &[0, 1, 3]), [100, 67, 0]);
        assert_eq!(after(reversed, &[0, 0]), [100, 100]);
        assert_eq!(after(stretched, &[-5, 0, 5]), [0, 50, 100]);
        assert_eq!(after(stretched, &[7, 7]), [0, 0]);
    }
}
