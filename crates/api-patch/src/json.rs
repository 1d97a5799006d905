//! JSON Patch (RFC 6902) with the habits of the library behind kube-apiserver: `replace` of an absent map key adds it, and
//! negative indices count from the end. Written here because clients rely on those habits and no crate has them.

use serde_json::Value;

/// Most operations of one patch, as kube-apiserver.
pub const OPERATIONS_MAX: usize = 10_000;
/// Most bytes that `copy` operations of one patch may add, as kube-apiserver.
pub const COPIED_BYTES_MAX: usize = 3 << 20;

/// Why a patch is refused; nothing of the target is to be used then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The patch is no list of operations: 400.
    #[error("error decoding patch: json: cannot unmarshal {0} into Go value of type []handlers.jsonPatchOp")]
    NotAPatch(&'static str),
    /// Too many operations: 413.
    #[error("The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {0}")]
    TooMany(usize),
    /// An operation cannot be carried out, or a test does not hold: 422. Upstream hides the reason from clients.
    #[error("{op} operation at {path:?}: {why}")]
    Failed {
        /// The operation.
        op: String,
        /// Its path.
        path: String,
        /// The reason.
        why: &'static str,
    },
}

/// Carries out the operations in order. After an error the target is half changed.
pub fn apply(target: &mut Value, ops: &Value) -> Result<(), Error> {
    let Value::Array(list) = ops else { return Err(Error::NotAPatch(sort_of(ops))) };
    if list.len() > OPERATIONS_MAX {
        return Err(Error::TooMany(list.len()));
    }
    if let Some(bad) = list.iter().find(|op| !op.is_object()) {
        return Err(Error::NotAPatch(sort_of(bad)));
    }
    let mut copied = 0;
    for op in list {
        let text = |name: &str| op.get(name).and_then(Value::as_str);
        operation(target, op, &mut copied).map_err(|why| Error::Failed {
            op: text("op").unwrap_or_default().to_owned(),
            path: text("path").unwrap_or_default().to_owned(),
            why,
        })?;
    }
    Ok(())
}

fn sort_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn operation(doc: &mut Value, op: &Value, copied: &mut usize) -> Result<(), &'static str> {
    let pointer = |name: &str| -> Result<Vec<String>, &'static str> {
        parse(op.get(name).and_then(Value::as_str).ok_or("it has no such pointer")?)
    };
    let path = pointer("path")?;
    let value = || op.get("value").cloned().ok_or("it has no value");
    match op.get("op").and_then(Value::as_str).unwrap_or_default() {
        "add" => add(doc, &path, value()?),
        "remove" => remove(doc, &path).map(drop),
        "replace" => replace(doc, &path, value()?),
        "move" => {
            let moved = remove(doc, &pointer("from")?)?;
            add(doc, &path, moved)
        }
        "copy" => {
            let found = get(doc, &pointer("from")?).ok_or("nothing to copy there")?.clone();
            *copied += found.to_string().len();
            if *copied > COPIED_BYTES_MAX {
                return Err("copies add up to too many bytes");
            }
            add(doc, &path, found)
        }
        "test" => {
            let found = get(doc, &path).unwrap_or(&Value::Null);
            let wanted = op.get("value").unwrap_or(&Value::Null);
            if found == wanted { Ok(()) } else { Err("the value differs") }
        }
        _ => Err("unexpected kind of operation"),
    }
}

fn parse(pointer: &str) -> Result<Vec<String>, &'static str> {
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let rest = pointer.strip_prefix('/').ok_or("a pointer begins with a slash")?;
    Ok(rest.split('/').map(|p| p.replace("~1", "/").replace("~0", "~")).collect())
}

/// The place in a list; negative ones count from the end.
fn index(step: &str, len: usize) -> Option<usize> {
    let i: i64 = step.parse().ok()?;
    let len = i64::try_from(len).ok()?;
    usize::try_from(if i < 0 { i + len } else { i }).ok()
}

fn get<'v>(doc: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(doc, |at, step| match at {
        Value::Object(map) => map.get(step),
        Value::Array(list) => list.get(index(step, list.len())?),
        _ => None,
    })
}

fn parent<'v, 'p>(doc: &'v mut Value, path: &'p [String]) -> Result<(&'v mut Value, &'p str), &'static str> {
    let (last, way) = path.split_last().ok_or("the whole document cannot be meant here")?;
    let at = way.iter().try_fold(doc, |at, step| match at {
        Value::Object(map) => map.get_mut(step),
        Value::Array(list) => index(step, list.len()).and_then(|i| list.get_mut(i)),
        _ => None,
    });
    Ok((at.ok_or("its parent does not exist")?, last))
}

fn add(doc: &mut Value, path: &[String], value: Value) -> Result<(), &'static str> {
    if path.is_empty() {
        *doc = value;
        return Ok(());
    }
    match parent(doc, path)? {
        (Value::Object(map), last) => {
            map.insert(last.to_owned(), value);
            Ok(())
        }
        (Value::Array(list), "-") => {
            list.push(value);
            Ok(())
        }
        (Value::Array(list), last) => {
            // Counted from the end of the longer list, as the library does.
            let i = index(last, list.len() + usize::from(last.starts_with('-')));
            let i = i.filter(|i| *i <= list.len()).ok_or("index out of range")?;
            list.insert(i, value);
            Ok(())
        }
        _ => Err("its parent is no map or list"),
    }
}

fn remove(doc: &mut Value, path: &[String]) -> Result<Value, &'static str> {
    match parent(doc, path)? {
        (Value::Object(map), last) => map.remove(last).ok_or("nothing is there"),
        (Value::Array(list), last) => {
            let i = index(last, list.len()).filter(|i| *i < list.len()).ok_or("index out of range")?;
            Ok(list.remove(i))
        }
        _ => Err("its parent is no map or list"),
    }
}

fn replace(doc: &mut Value, path: &[String], value: Value) -> Result<(), &'static str> {
    if path.is_empty() {
        *doc = value;
        return Ok(());
    }
    match parent(doc, path)? {
        (Value::Object(map), last) => {
            map.insert(last.to_owned(), value);
            Ok(())
        }
        (Value::Array(list), last) => {
            let i = index(last, list.len()).and_then(|i| list.get_mut(i)).ok_or("index out of range")?;
            *i = value;
            Ok(())
        }
        _ => Err("its parent is no map or list"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(ops: Value) -> Result<Value, Error> {
        let mut doc = json!({"data": {"k": "v", "a/b": 1}, "list": [1, 2, 3]});
        apply(&mut doc, &ops).map(|()| doc)
    }

    #[test]
    fn every_operation_works_on_maps_and_lists() {
        let ops = json!([
            {"op": "test", "path": "/data/a~1b", "value": 1},
            {"op": "add", "path": "/list/-", "value": 4},
            {"op": "add", "path": "/list/0", "value": 0},
            {"op": "remove", "path": "/list/1"},
            {"op": "move", "from": "/data/k", "path": "/data/l"},
            {"op": "copy", "from": "/data/l", "path": "/data/m"},
            {"op": "replace", "path": "/list/-1", "value": 9},
        ]);
        let want = json!({"data": {"a/b": 1, "l": "v", "m": "v"}, "list": [0, 2, 3, 9]});
        assert_eq!(patched(ops), Ok(want));
    }

    #[test]
    fn replace_adds_an_absent_key_but_no_absent_item() {
        let done = patched(json!([{"op": "replace", "path": "/data/z", "value": 1}])).unwrap();
        assert_eq!(done["data"]["z"], 1);
        assert!(patched(json!([{"op": "replace", "path": "/list/9", "value": 1}])).is_err());
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        for op in [
            json!({"op": "add", "path": "/none/x", "value": 1}),
            json!({"op": "remove", "path": "/data/zz"}),
            json!({"op": "test", "path": "/data/k", "value": "other"}),
            json!({"op": "test", "path": "/data/zz", "value": "other"}),
            json!({"op": "nope", "path": "/data"}),
            json!({"op": "add", "value": 5}),
            json!({"op": "add", "path": "data", "value": {}}),
            json!({"op": "add", "path": "/list/7", "value": {}}),
            json!({"op": "remove", "path": ""}),
        ] {
            assert!(matches!(patched(json!([op])), Err(Error::Failed { .. })), "{op}");
        }
        assert_eq!(patched(json!({})), Err(Error::NotAPatch("object")));
    }

    #[test]
    fn the_number_of_operations_and_the_size_of_copies_are_bounded() {
        let op = json!({"op": "test", "path": "/data/k", "value": "v"});
        assert_eq!(patched(vec![op; OPERATIONS_MAX + 1].into()), Err(Error::TooMany(OPERATIONS_MAX + 1)));
        let mut doubling = vec![json!({"op": "add", "path": "/x", "value": "x".repeat(1 << 20)})];
        doubling.extend((0..4).map(|i| json!({"op": "copy", "from": "/x", "path": format!("/x{i}")})));
        assert!(matches!(patched(doubling.into()), Err(Error::Failed { .. })));
    }
}
