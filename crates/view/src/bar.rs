//! A share drawn with characters.

/// `######----` of the given width; full only when everything is done, empty only when nothing is.
pub fn bar(done: i64, total: i64, width: usize) -> String {
    let filled = match (done, total) {
        (_, ..=0) => width,
        (..=0, _) => 0,
        (d, t) if d >= t => width,
        (d, t) => {
            let share = i128::from(d) * width as i128 / i128::from(t);
            usize::try_from(share).unwrap_or(0).clamp(usize::from(width > 1), width.saturating_sub(1))
        }
    };
    "#".repeat(filled) + &"-".repeat(width - filled)
}

#[cfg(test)]
mod tests {
    use super::bar;

    #[test]
    fn ends_are_exact() {
        let drawn = [bar(0, 9, 4), bar(1, 900, 4), bar(899, 900, 4), bar(9, 9, 4), bar(0, 0, 4)];
        assert_eq!(drawn, ["----", "#---", "###-", "####", "####"]);
    }
}
