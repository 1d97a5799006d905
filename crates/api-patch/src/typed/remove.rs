//! Takes paths out of a tree.

use serde_json::{Map, Value};

use super::shape::{Shape, Ty, Walker};
use crate::fieldset::{FieldSet, PathElement};

impl Walker<'_> {
    /// The tree without the given paths. A map or list that loses its last entry goes with it.
    pub(crate) fn remove(&self, value: &Value, set: &FieldSet) -> Value {
        self.without(self.root(), value, set).unwrap_or_else(|| Value::Object(Map::new()))
    }

    fn without(&self, ty: Ty, value: &Value, set: &FieldSet) -> Option<Value> {
        match (self.shape(ty, value), value) {
            (Shape::Map, Value::Object(map)) => {
                let out: Map<String, Value> = map
                    .iter()
                    .filter_map(|(name, child)| {
                        let kept =
                            self.kept(self.field_type(ty, name), child, set, &PathElement::field(name));
                        Some((name.clone(), kept?))
                    })
                    .collect();
                (!out.is_empty() || map.is_empty()).then_some(Value::Object(out))
            }
            (Shape::List(keys, item), Value::Array(list)) => {
                let out: Vec<Value> = list
                    .iter()
                    .filter_map(|child| match self.element(keys, item, child) {
                        Ok(key) => self.kept(item, child, set, &key),
                        Err(_) => Some(child.clone()),
                    })
                    .collect();
                (!out.is_empty() || list.is_empty()).then_some(Value::Array(out))
            }
            _ => Some(value.clone()),
        }
    }

    fn kept(&self, ty: Ty, child: &Value, set: &FieldSet, key: &PathElement) -> Option<Value> {
        if set.has_child(key) {
            return None;
        }
        match set.below(key) {
            Some(below) => self.without(ty, child, below),
            None => Some(child.clone()),
        }
    }
}
