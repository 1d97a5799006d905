//! Quantities that can be added and are written as upstream writes sums.

use std::collections::BTreeMap;
use std::fmt;

use api_meta::Quantity;
use serde_json::Value;

/// How a quantity was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Powers of ten.
    Decimal,
    /// Powers of two.
    Binary,
}

/// A quantity with the form it is written in.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// Thousandths of the unit.
    milli: i128,
    form: Form,
}

/// Amounts by resource name.
pub type Amounts = BTreeMap<String, Amount>;

impl PartialEq for Amount {
    fn eq(&self, other: &Amount) -> bool {
        self.milli == other.milli
    }
}

impl Eq for Amount {}

impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Amount) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Amount {
    fn cmp(&self, other: &Amount) -> std::cmp::Ordering {
        self.milli.cmp(&other.milli)
    }
}

impl Amount {
    /// Nothing of anything.
    pub const ZERO: Amount = Amount { milli: 0, form: Form::Decimal };

    /// A count.
    pub fn count(n: usize) -> Amount {
        Amount {
            milli: i128::try_from(n).unwrap_or(i128::MAX / 1000).saturating_mul(1000),
            form: Form::Decimal,
        }
    }

    /// A quantity of a tree; nothing when it is none.
    pub fn read(value: &Value) -> Option<Amount> {
        let text = value.as_str()?;
        let quantity: Quantity = text.parse().ok()?;
        let form = if text.ends_with('i') { Form::Binary } else { Form::Decimal };
        Some(Amount { milli: i128::from(quantity.milli()), form })
    }

    /// Thousandths of the unit.
    pub fn milli(self) -> i128 {
        self.milli
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.milli == 0
    }

    /// The sum; nothing takes the form of what is added to it.
    pub fn plus(self, other: Amount) -> Amount {
        let form = if self.is_zero() { other.form } else { self.form };
        Amount { milli: self.milli.saturating_add(other.milli), form }
    }

    /// The difference.
    pub fn minus(self, other: Amount) -> Amount {
        self.plus(Amount { milli: -other.milli, form: other.form })
    }
}

impl fmt::Display for Amount {
    /// The canonical form (apimachinery `Quantity.String`): the largest suffix without a fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
        let units = self.milli / 1000;
        let is_binary = self.form == Form::Binary && self.milli % 1000 == 0 && units.abs() >= 1024;
        if !is_binary {
            let plain = format!("{}m", self.milli);
            return f.write_str(&api_schema::canonical_quantity(&plain).unwrap_or(plain));
        }
        let (mut left, mut at) = (units, 0);
        while left % 1024 == 0 && at + 1 < SUFFIXES.len() {
            (left, at) = (left / 1024, at + 1);
        }
        write!(f, "{left}{}", SUFFIXES[at])
    }
}

/// The amounts of a tree such as `resources.requests`.
pub fn read(tree: &Value) -> Amounts {
    let all = tree.as_object().into_iter().flatten();
    all.filter_map(|(name, value)| Some((name.clone(), Amount::read(value)?))).collect()
}

/// Adds amounts to others, name by name.
pub fn add(to: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        to.entry(name.clone()).and_modify(|a| *a = a.plus(*amount)).or_insert(*amount);
    }
}

/// Raises amounts to at least others, name by name.
pub fn raise(to: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let least = to.entry(name.clone()).or_insert(*amount);
        if *amount > *least {
            *least = *amount;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sum(a: &str, b: &str) -> String {
        let read = |t: &str| Amount::read(&json!(t)).unwrap();
        read(a).plus(read(b)).to_string()
    }

    #[test]
    fn sums_are_written_as_upstream_writes_them() {
        assert_eq!(sum("600m", "400m"), "1");
        assert_eq!(sum("1", "500m"), "1500m");
        assert_eq!(sum("100Mi", "100Mi"), "200Mi");
        assert_eq!(sum("0", "100Mi"), "100Mi");
        assert_eq!(sum("512Mi", "512Mi"), "1Gi");
        assert_eq!(sum("900", "100"), "1k");
        assert_eq!(sum("1Gi", "1"), "1073741825");
    }
}
