//! The events that close a page.

use std::time::Duration;

use serde_json::Value;
use stdx::Time;

use super::meta::text;
use super::page::Page;
use crate::waits::moment;
use crate::{Table, human_duration};

/// Oldest first, as kubectl.
pub(super) fn write(page: &mut Page, events: &[Value], now: Time) {
    if events.is_empty() {
        page.field("Events", "<none>");
        return;
    }
    let mut sorted: Vec<&Value> = events.iter().collect();
    sorted.sort_by_key(|e| moment(e));
    let mut table = Table::new(&["Type", "Reason", "Age", "From", "Message"]);
    table.row(["----", "------", "----", "----", "-------"]);
    for e in sorted {
        let from = match text(&e["source"]["component"]) {
            none if none.is_empty() => text(&e["reportingComponent"]),
            some => some,
        };
        let message = text(&e["message"]).trim().replace('\n', " ");
        table.row([text(&e["type"]), text(&e["reason"]), age(e, now), from, message]);
    }
    page.section("Events", |page| page.block(&table.text()));
}

/// `5s`, or `5s (x3 over 2m)` for one that came again.
fn age(event: &Value, now: Time) -> String {
    let since = |at: i64| human_duration(Duration::from_secs(u64::try_from(now.secs() - at).unwrap_or(0)));
    let Some(last) = moment(event) else { return "<unknown>".to_owned() };
    let count =
        event.pointer("/series/count").or_else(|| event.get("count")).and_then(Value::as_i64).unwrap_or(1);
    let first = ["firstTimestamp", "eventTime"].iter().find_map(|n| event[*n].as_str()?.parse::<Time>().ok());
    match first {
        Some(first) if count > 1 => format!("{} (x{count} over {})", since(last), since(first.secs())),
        _ => since(last),
    }
}
