//! The logarithm in the weights of topology spreading.

/// Natural logarithm of a whole number in 2^-32, without floating point: the same on every machine.
pub(crate) fn ln_fixed(n: usize) -> i64 {
    /// ln 2 in 2^-62.
    const LN_2: u128 = 3_196_577_161_300_663_915;
    const ONE: u128 = 1 << 62;
    let n = n.max(1) as u64;
    let whole = n.ilog2();
    // Squaring a number between 1 and 2 doubles its logarithm: each overflow past 2 is one binary digit.
    let mut x = (u128::from(n) << 62) >> whole;
    let mut log2 = u128::from(whole) << 40;
    for bit in (0..40).rev() {
        x = (x * x) >> 62;
        if x >= 2 * ONE {
            x >>= 1;
            log2 |= 1 << bit;
        }
    }
    i64::try_from((log2 * LN_2) >> 70).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_is_right_to_nine_digits() {
        for n in [1_usize, 2, 3, 7, 100, 5002, 1 << 40] {
            let exact = (n as f64).ln() * 4_294_967_296.0;
            assert!((ln_fixed(n) as f64 - exact).abs() < 40.0, "ln({n})");
        }
    }
}
