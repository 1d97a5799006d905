//! Pages of the committed state: of the head, or of the past by undoing events.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::mvcc::{Mvcc, Unavailable};
use crate::table::{Local, Table};
use crate::{Key, KeyRange, Revision, Stored};

/// Which objects a list wants.
pub type Filter<'a> = &'a dyn Fn(&Stored) -> bool;

/// Most objects that are counted for `remaining` behind a page.
const REMAINING_COUNT_MAX: usize = 100_000;

/// Part of a list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The revision whose state this is.
    pub revision: Revision,
    /// Objects in key order.
    pub items: Vec<Arc<Stored>>,
    /// Whether more follow.
    pub more: bool,
    /// How many follow; unknown when a filter is set or there are too many to count.
    pub remaining: Option<usize>,
}

pub(crate) fn page(
    mvcc: &Mvcc,
    range: &KeyRange,
    at: Option<Revision>,
    after: Option<&Key>,
    limit: usize,
    filter: Option<Filter<'_>>,
) -> Result<Page, Unavailable> {
    let revision = at.unwrap_or(mvcc.head);
    if revision > mvcc.head {
        return Err(Unavailable::Future { head: mvcc.head });
    }
    mvcc.reaches(&range.resource, revision)?;
    let mut page = Page { revision, remaining: Some(0), ..Page::default() };
    let Some(table) = mvcc.tables.get(&range.resource) else { return Ok(page) };
    let past = if revision < mvcc.head { undo(table, range, revision) } else { BTreeMap::new() };
    let mut rest = merged(table, range, &past, after).filter(|s| filter.is_none_or(|wanted| wanted(s)));
    if limit == 0 {
        page.items.extend(rest.cloned());
        return Ok(page);
    }
    page.items.extend(rest.by_ref().take(limit).cloned());
    page.more = rest.next().is_some();
    if filter.is_some() {
        page.remaining = (!page.more).then_some(0);
    } else if page.more && after.is_none() && past.is_empty() {
        page.remaining = Some(table.count(range.namespace.as_ref()) - page.items.len());
    } else if page.more {
        let more = 1 + rest.take(REMAINING_COUNT_MAX).count();
        page.remaining = (more <= REMAINING_COUNT_MAX).then_some(more);
    }
    Ok(page)
}

/// What the objects that changed since `at` were at that time.
fn undo(table: &Table, range: &KeyRange, at: Revision) -> BTreeMap<Local, Option<Arc<Stored>>> {
    let mut past = BTreeMap::new();
    for event in table.events_above(at).filter(|e| range.contains(&e.after.key)) {
        past.entry(Local::of(&event.after.key)).or_insert_with(|| event.before.clone());
    }
    past
}

/// The range in order, with what `past` says instead of what is there now.
fn merged<'a>(
    table: &'a Table,
    range: &'a KeyRange,
    past: &'a BTreeMap<Local, Option<Arc<Stored>>>,
    after: Option<&Key>,
) -> impl Iterator<Item = &'a Arc<Stored>> {
    let start = start_of(range, after);
    let within = |local: &Local| range.namespace.as_ref().is_none_or(|ns| *ns == local.namespace);
    let mut live = table.live_from(start.clone()).take_while(move |(l, _)| within(l)).peekable();
    let mut old = past.range((start, Bound::Unbounded)).peekable();
    std::iter::from_fn(move || {
        loop {
            let Some((changed, _)) = old.peek() else { return live.next().map(|(_, stored)| stored) };
            match live.peek().map(|(local, _)| (*local).cmp(*changed)) {
                Some(Ordering::Less) => return live.next().map(|(_, stored)| stored),
                Some(Ordering::Equal) => drop(live.next()),
                Some(Ordering::Greater) | None => {}
            }
            if let Some((_, Some(stored))) = old.next() {
                return Some(stored);
            }
        }
    })
}

fn start_of(range: &KeyRange, after: Option<&Key>) -> Bound<Local> {
    let first = range.namespace.as_ref().map(Local::first_of);
    match (after.map(Local::of), first) {
        (Some(after), Some(first)) if after < first => Bound::Included(first),
        (Some(after), _) => Bound::Excluded(after),
        (None, Some(first)) => Bound::Included(first),
        (None, None) => Bound::Unbounded,
    }
}
