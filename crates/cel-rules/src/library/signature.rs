//! Signatures as text: `list<A>, int -> A`.

use crate::types::{Bindings, Type};

/// Types of arguments and of the result; variables are numbered from 0.
#[derive(Clone, Debug)]
pub(crate) struct Signature {
    args: Vec<Type>,
    result: Type,
    variables: usize,
}

impl Signature {
    /// Reads a signature of the tables.
    ///
    /// # Panics
    /// When the text is not a signature: tables are constants, and a test reads them all.
    pub(super) fn parse(text: &str) -> Signature {
        let (args, result) = text.split_once("->").expect("a signature has an arrow");
        let mut variables = 0;
        let mut read = |text: &str| of(text.trim(), &mut variables);
        let args = split(args).into_iter().map(&mut read).collect();
        let result = read(result);
        Signature { args, result, variables }
    }

    /// How many arguments it takes.
    pub(crate) fn arity(&self) -> usize {
        self.args.len()
    }

    /// Types of arguments and result, with variables of their own.
    pub(crate) fn instance(&self, bindings: &mut Bindings) -> (Vec<Type>, Type) {
        let fresh: Vec<Type> = (0..self.variables).map(|_| bindings.fresh()).collect();
        (self.args.iter().map(|a| put(a, &fresh)).collect(), put(&self.result, &fresh))
    }
}

fn put(of: &Type, fresh: &[Type]) -> Type {
    match of {
        Type::Var(i) => fresh[*i].clone(),
        Type::List(list) => Type::list(put(&list.item, fresh)),
        Type::Map(map) => Type::map(put(&map.key, fresh), put(&map.value, fresh)),
        Type::Optional(inner) => Type::optional(put(inner, fresh)),
        other => other.clone(),
    }
}

/// Parts between commas outside of brackets.
fn split(text: &str) -> Vec<&str> {
    let (mut out, mut depth, mut start) = (Vec::new(), 0, 0);
    for (i, c) in text.char_indices() {
        match c {
            '<' => depth += 1,
            '>' => depth -= 1,
            ',' if depth == 0 => {
                out.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    if !text[start..].trim().is_empty() {
        out.push(&text[start..]);
    }
    out
}

fn of(text: &str, variables: &mut usize) -> Type {
    if let Some((name, inner)) = text.split_once('<') {
        let inner = inner.strip_suffix('>').expect("brackets are closed");
        let mut parts = split(inner).into_iter().map(|part| of(part.trim(), variables));
        let mut next = || parts.next().expect("a type between the brackets");
        return match name {
            "list" => Type::list(next()),
            "map" => Type::map(next(), next()),
            _ => Type::optional(next()),
        };
    }
    match text {
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::TEXT,
        "bytes" => Type::Bytes(crate::types::UNBOUND),
        "duration" => Type::Duration,
        "timestamp" => Type::Timestamp,
        "dyn" => Type::Dyn,
        "type" => Type::Type,
        "A" | "B" => {
            let index = usize::from(text == "B");
            *variables = (*variables).max(index + 1);
            Type::Var(index)
        }
        other => super::opaque(other).expect("a known name of a type"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_signature_of_the_tables_can_be_read() {
        assert!(super::super::find("_+_", false).is_some_and(|e| e.overloads.len() > 5));
    }
}
