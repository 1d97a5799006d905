//! CloneSet and its relatives as OpenKruise defines them.
