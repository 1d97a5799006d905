//! Amplified resources: a node that claims more than it has, because its CPUs are fast or rarely busy.

use std::collections::BTreeMap;

use crate::{Unreadable, json, names};

/// How many times a node's resource is counted, in hundredths: 150 is one and a half. Never below 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ratio(u32);

/// Largest ratio that is believed; upstream has no bound, and no machine is a hundred times itself.
const RATIO_MAX: f64 = 100.0;

impl Ratio {
    /// The ratio of a resource that a node's annotation names; `None` when it names none, or one that amplifies nothing.
    pub fn of(annotations: &BTreeMap<String, String>, resource: &str) -> Result<Option<Ratio>, Unreadable> {
        let said: BTreeMap<String, f64> = json(annotations, names::AMPLIFICATION)?;
        let Some(ratio) = said.get(resource) else { return Ok(None) };
        if !(0.0..=RATIO_MAX).contains(ratio) {
            return Err(Unreadable::new(
                names::AMPLIFICATION,
                format!("{resource}: must be from 1 to {RATIO_MAX}"),
            ));
        }
        // Within 0 and 10,000, so nothing is cut off.
        let hundredths = (ratio * 100.0).round() as u32;
        Ok((hundredths > 100).then_some(Ratio(hundredths)))
    }

    /// An amount counted so many times, rounded up; saturates.
    pub fn apply(self, amount: i64) -> i64 {
        let product = i128::from(amount) * i128::from(self.0);
        let up = product.div_euclid(100) + i128::from(product.rem_euclid(100) != 0);
        i64::try_from(up).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_counts_in_hundredths_and_rounds_up() {
        let of = |text: &str| {
            Ratio::of(&BTreeMap::from([(names::AMPLIFICATION.to_owned(), text.to_owned())]), "cpu")
        };
        assert_eq!(of(r#"{"cpu":1.5}"#).unwrap().map(|r| r.apply(1001)), Some(1502));
        assert_eq!(of(r#"{"cpu":1.22}"#).unwrap().map(|r| r.apply(1000)), Some(1220));
        assert_eq!(of(r#"{"cpu":1}"#), Ok(None));
        assert_eq!(of(r#"{"memory":2}"#), Ok(None));
        assert!(
            of(r#"{"cpu":-1}"#).is_err() && of(r#"{"cpu":"1.5"}"#).is_err() && of(r#"{"cpu":1e9}"#).is_err()
        );
    }
}
