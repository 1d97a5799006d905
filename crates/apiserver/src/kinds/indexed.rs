//! Jobs whose pods have indexes: bounds of their numbers, and the policy that ends them early.

use serde_json::Value;

use super::check::{Findings, Path, given, int, list};

/// Most pods of an indexed job at one time, and most indexes of it that may fail.
const INDEXED_MAX: i64 = 100_000;
/// The same where there are more completions than [`INDEXED_MAX`] and failures are counted by index.
const MANY_INDEXED_MAX: i64 = 10_000;

/// How many indexes a job has at one time, and how many of them may fail.
pub(super) fn counts(found: &mut Findings, path: &Path<'_>, spec: &Value, is_indexed: bool) {
    let (completions, parallelism) = (int(spec, "completions"), int(spec, "parallelism").unwrap_or(0));
    let (by_index, failed) = (given(spec, "backoffLimitPerIndex"), int(spec, "maxFailedIndexes"));
    if is_indexed && parallelism > INDEXED_MAX {
        let why = format!("must be less than or equal to {INDEXED_MAX} when completion mode is Indexed");
        found.invalid(&path.field("parallelism"), parallelism, &why);
    }
    if failed.is_some() && by_index.is_none() {
        found.required(&path.field("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
    let Some(completions) = completions else { return };
    let at = path.field("maxFailedIndexes");
    if let Some(failed) = failed.filter(|f| *f > completions) {
        found.invalid(&at, failed, "must be less than or equal to completions");
    }
    if let Some(failed) = failed.filter(|f| *f > INDEXED_MAX) {
        found.invalid(&at, failed, &format!("must be less than or equal to {INDEXED_MAX}"));
    }
    if by_index.is_none() || completions <= INDEXED_MAX {
        return;
    }
    let why = format!(
        "must be less than or equal to {MANY_INDEXED_MAX} when completions are above {INDEXED_MAX} and used with backoff limit \
         per index"
    );
    if parallelism > MANY_INDEXED_MAX {
        found.invalid(&path.field("parallelism"), parallelism, &why);
    }
    match failed {
        None => found.required(&at, &format!("must be specified when completions is above {INDEXED_MAX}")),
        Some(n) if n > MANY_INDEXED_MAX => found.invalid(&at, n, &why),
        Some(_) => {}
    }
}

const SUCCESS_RULES_MAX: usize = 20;

/// Which indexes make a job a success.
pub(super) fn success(found: &mut Findings, path: &Path<'_>, policy: &Value, completions: i64) {
    let at = path.field("rules");
    let rules = list(policy, "rules");
    if rules.is_empty() {
        found.required(&at, "at least one rules must be specified when the successPolicy is specified");
    }
    if rules.len() > SUCCESS_RULES_MAX {
        found.too_many(&at, rules.len(), SUCCESS_RULES_MAX);
    }
    for (i, rule) in rules.iter().enumerate() {
        success_rule(found, &at.index(i), rule, completions);
    }
}

fn success_rule(found: &mut Findings, path: &Path<'_>, rule: &Value, completions: i64) {
    let (count, indexes) = (int(rule, "succeededCount"), given(rule, "succeededIndexes"));
    if count.is_none() && indexes.is_none() {
        found.required(path, "at least one of succeededCount or succeededIndexes must be specified");
    }
    let mut total = None;
    if let Some(text) = indexes.and_then(Value::as_str) {
        match count_indexes(text, completions) {
            Ok(n) => total = Some(n),
            Err(why) => {
                let why = format!("error parsing succeededIndexes: {why}");
                found.invalid(&path.field("succeededIndexes"), text, &why);
            }
        }
    }
    let Some(count) = count else { return };
    let at = path.field("succeededCount");
    if count < 0 {
        found.invalid(&at, count, "must be greater than or equal to 0");
    }
    if count > completions {
        let what = "the number of specified completions";
        found.invalid(&at, count, &format!("must be less than or equal to {completions} ({what})"));
    }
    if let Some(total) = total.filter(|total| count > *total) {
        let what = "the number of indexes in the specified succeededIndexes field";
        found.invalid(&at, count, &format!("must be less than or equal to {total} ({what})"));
    }
}

/// How many indexes a text such as `1,3-5` names; they must rise and be below the completions.
fn count_indexes(text: &str, completions: i64) -> Result<i64, String> {
    let number =
        |t: &str| t.parse::<i64>().map_err(|_| format!("cannot convert string to integer for index: {t:?}"));
    let (mut total, mut last) = (0, -1);
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (first, end) = match part.split_once('-') {
            Some((a, b)) => (number(a)?, number(b)?),
            None => (number(part)?, number(part)?),
        };
        if first >= completions || end >= completions {
            return Err(format!("too large index: {part:?}"));
        }
        if first <= last || part.contains('-') && end <= first {
            return Err(format!("non-increasing order, previous: {last}, current: {first}"));
        }
        (total, last) = (total + end - first + 1, end);
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_indexes_are_counted_or_refused() {
        assert_eq!(count_indexes("", 3), Ok(0));
        assert_eq!(count_indexes("0,2-4", 5), Ok(4));
        for bad in ["x", "1-", "3-2", "1,1", "0-9", "2,1"] {
            assert!(count_indexes(bad, 5).is_err(), "{bad}");
        }
    }
}
