//! The named fields of an object type: in the order of their names, and found without comparing them.
//!
//! Every stage of a write looks at every field of an object, by its name among the forty of a type. A tree of names costs a
//! comparison at each of its branches; here one hash leads to the only candidate.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::schema::{Field, Presence};

/// Fields by their JSON names.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, Field>", into = "BTreeMap<String, Field>")]
pub struct Fields {
    /// In the order of names, each once.
    all: Vec<(String, Field)>,
    /// Made at the first look, gone with every change.
    index: OnceLock<Index>,
}

/// More fields than this are searched in their order: who chooses the names of a definition could choose ones that meet.
const HASHED_MAX: usize = 512;

#[derive(Debug)]
struct Index {
    /// A power of two of them, at least twice as many as there are fields; empty for a type with too many.
    slots: Box<[Slot]>,
    /// Places of the fields that are written even when unset.
    filled: Box<[u32]>,
    /// Places of the fields with a default.
    defaulted: Box<[u32]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Place of the field, from 1; 0 is a free slot.
    place: u32,
    hash: u32,
}

impl Fields {
    /// The field of a name.
    pub fn get(&self, name: &str) -> Option<&Field> {
        self.get_key_value(name).map(|(_, field)| field)
    }

    /// The field of a name, with the name as it is held here.
    pub fn get_key_value(&self, name: &str) -> Option<(&String, &Field)> {
        self.place(name).map(|at| entry(&self.all[at]))
    }

    /// Whether there is a field of that name.
    pub fn contains_key(&self, name: &str) -> bool {
        self.place(name).is_some()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of them, in the order of names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&String, &Field)> + Clone {
        self.all.iter().map(entry)
    }

    /// All fields, in the order of their names.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &Field> {
        self.all.iter().map(|(_, field)| field)
    }

    /// The same, to be changed.
    pub fn values_mut(&mut self) -> impl ExactSizeIterator<Item = &mut Field> {
        self.index = OnceLock::new();
        self.all.iter_mut().map(|(_, field)| field)
    }

    /// A field, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Field> {
        let at = self.sorted(name).ok()?;
        self.index = OnceLock::new();
        Some(&mut self.all[at].1)
    }

    /// Adds a field, in place of the one that has its name.
    pub fn insert(&mut self, name: String, field: Field) {
        self.index = OnceLock::new();
        match self.sorted(&name) {
            Ok(at) => self.all[at].1 = field,
            Err(at) => self.all.insert(at, (name, field)),
        }
    }

    /// The fields that are written even when unset, with those that become null.
    pub(crate) fn filled(&self) -> impl Iterator<Item = (&String, &Field)> {
        self.index().filled.iter().map(|at| entry(&self.all[*at as usize]))
    }

    /// The fields with a default.
    pub(crate) fn defaulted(&self) -> impl Iterator<Item = (&String, &Field)> {
        self.index().defaulted.iter().map(|at| entry(&self.all[*at as usize]))
    }

    fn sorted(&self, name: &str) -> Result<usize, usize> {
        self.all.binary_search_by(|(n, _)| n.as_str().cmp(name))
    }

    fn place(&self, name: &str) -> Option<usize> {
        let slots = &self.index().slots;
        if slots.is_empty() {
            return self.sorted(name).ok();
        }
        let hash = hash(name);
        let mut at = hash as usize & (slots.len() - 1);
        // Half of the slots at least are free, so this ends.
        loop {
            let slot = slots[at];
            let place = (slot.place as usize).checked_sub(1)?;
            if slot.hash == hash && self.all[place].0 == name {
                return Some(place);
            }
            at = (at + 1) & (slots.len() - 1);
        }
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| Index::of(&self.all))
    }
}

fn entry((name, field): &(String, Field)) -> (&String, &Field) {
    (name, field)
}

impl Index {
    fn of(all: &[(String, Field)]) -> Index {
        let places = |is_one: fn(&Field) -> bool| {
            let numbered = (0u32..).zip(all);
            numbered.filter(|(_, (_, field))| is_one(field)).map(|(at, _)| at).collect()
        };
        Index {
            slots: if all.len() > HASHED_MAX { Box::default() } else { slots(all) },
            filled: places(|field| matches!(field.presence, Presence::Always | Presence::Null)),
            defaulted: places(|field| field.default.is_some()),
        }
    }
}

fn slots(all: &[(String, Field)]) -> Box<[Slot]> {
    let mut slots = vec![Slot::default(); (2 * all.len()).next_power_of_two()].into_boxed_slice();
    for (place, (name, _)) in (1u32..).zip(all) {
        let hash = hash(name);
        let mut at = hash as usize & (slots.len() - 1);
        while slots[at].place != 0 {
            at = (at + 1) & (slots.len() - 1);
        }
        slots[at] = Slot { place, hash };
    }
    slots
}

/// Mixes length, beginning and end of a name, which tell the fields of a type apart nearly always.
fn hash(name: &str) -> u32 {
    let bytes = name.as_bytes();
    let number = |part: &[u8]| part.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let (head, tail) = match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
        _ => (number(bytes), 0),
    };
    let mixed = (head ^ tail.rotate_left(29) ^ bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as u32
}

/// The index is not copied: a copy is made to be changed.
impl Clone for Fields {
    fn clone(&self) -> Fields {
        Fields { all: self.all.clone(), index: OnceLock::new() }
    }
}

impl FromIterator<(String, Field)> for Fields {
    /// Of several fields with one name the last counts.
    fn from_iter<I: IntoIterator<Item = (String, Field)>>(fields: I) -> Fields {
        fields.into_iter().collect::<BTreeMap<_, _>>().into()
    }
}

impl From<BTreeMap<String, Field>> for Fields {
    fn from(fields: BTreeMap<String, Field>) -> Fields {
        Fields { all: fields.into_iter().collect(), index: OnceLock::new() }
    }
}

impl From<Fields> for BTreeMap<String, Field> {
    fn from(fields: Fields) -> BTreeMap<String, Field> {
        fields.all.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TypeId;

    fn fields(names: impl IntoIterator<Item = String>) -> Fields {
        (0u32..).zip(names).map(|(ty, name)| (name, Field::new(TypeId(ty)))).collect()
    }

    #[test]
    fn each_name_leads_to_its_field_and_no_other_to_any() {
        for count in [0, 1, 2, 45, HASHED_MAX, HASHED_MAX + 1] {
            let name = |n: usize| format!("field{n}Name");
            let fields = fields((0..count).map(name));
            assert_eq!(fields.len(), count);
            for n in 0..count {
                assert_eq!(fields.get(&name(n)).map(|f| f.ty), Some(TypeId(n as u32)));
            }
            for other in ["", "f", "field", "field0Nam", "field0Name2", &name(count)] {
                assert!(!fields.contains_key(other), "{count} {other:?}");
            }
        }
    }

    #[test]
    fn names_that_meet_are_told_apart() {
        // Equal in length, beginning and end.
        let names = ["beginning-a-the-end", "beginning-b-the-end", "beginning-c-the-end"];
        let fields = fields(names[..2].iter().map(|n| (*n).to_owned()));
        assert_eq!(fields.get(names[1]).map(|f| f.ty), Some(TypeId(1)));
        assert!(fields.get(names[2]).is_none());
    }

    #[test]
    fn a_change_is_seen_at_once() {
        let mut fields = fields(["b".to_owned(), "a".to_owned()]);
        assert_eq!(fields.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((fields.filled().count(), fields.defaulted().count()), (0, 0));
        fields.get_mut("a").unwrap().presence = Presence::Null;
        fields.insert("c".to_owned(), Field { default: Some(1.into()), ..Field::new(TypeId(7)) });
        assert_eq!(fields.filled().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a"]);
        assert_eq!(fields.defaulted().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["c"]);
        assert_eq!(fields.clone().get("c").map(|f| f.ty), Some(TypeId(7)));
    }
}
