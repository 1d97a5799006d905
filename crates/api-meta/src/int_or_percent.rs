//! Counts given as a number or as a share. All rounding of shares happens here.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number, or a percentage of a total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IntOrPercent {
    /// An absolute count.
    Int(i32),
    /// Whole percent of a total.
    Percent(i32),
}

/// What to do with the fraction of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// To the next greater count.
    Up,
    /// To the next lower count.
    Down,
}

impl IntOrPercent {
    /// The count it means for `total`.
    pub fn of(self, total: i32, round: Round) -> i32 {
        match self {
            IntOrPercent::Int(n) => n,
            IntOrPercent::Percent(p) => {
                let product = i64::from(p) * i64::from(total);
                let count = match round {
                    Round::Up => product.saturating_add(99).div_euclid(100),
                    Round::Down => product.div_euclid(100),
                };
                i32::try_from(count).unwrap_or(i32::MAX)
            }
        }
    }

    /// Reads `"25%"`. Plain numbers in quotes are refused, as Kubernetes does.
    pub fn parse_percent(text: &str) -> Option<IntOrPercent> {
        text.strip_suffix('%')?.parse().ok().map(IntOrPercent::Percent)
    }
}

impl fmt::Display for IntOrPercent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IntOrPercent::Int(n) => write!(f, "{n}"),
            IntOrPercent::Percent(p) => write!(f, "{p}%"),
        }
    }
}

impl Serialize for IntOrPercent {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            IntOrPercent::Int(n) => s.serialize_i32(*n),
            IntOrPercent::Percent(_) => s.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for IntOrPercent {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<IntOrPercent, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Wire {
            Int(i32),
            Text(String),
        }
        match Wire::deserialize(d)? {
            Wire::Int(n) => Ok(IntOrPercent::Int(n)),
            Wire::Text(t) => IntOrPercent::parse_percent(&t)
                .ok_or_else(|| serde::de::Error::custom(format!("not a number or a percentage: {t:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_round_as_asked() {
        let share = IntOrPercent::Percent(20);
        assert_eq!((share.of(7, Round::Up), share.of(7, Round::Down)), (2, 1));
        assert_eq!((share.of(10, Round::Up), share.of(10, Round::Down)), (2, 2));
        assert_eq!(IntOrPercent::Percent(100).of(i32::MAX, Round::Up), i32::MAX);
    }

    #[test]
    fn quoted_numbers_are_refused() {
        assert!(serde_json::from_str::<IntOrPercent>("\"5\"").is_err());
        assert_eq!(serde_json::from_str::<IntOrPercent>("\"5%\"").unwrap(), IntOrPercent::Percent(5));
        assert_eq!(serde_json::from_str::<IntOrPercent>("5").unwrap(), IntOrPercent::Int(5));
    }
}
