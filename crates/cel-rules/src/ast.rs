//! The tree of an expression. Macros are nodes of their own, not expanded.

use std::collections::BTreeSet;

use crate::library::Entry;
use crate::value::Value;

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    /// Index into what the checker finds out about nodes.
    pub(crate) id: usize,
    /// Where it stands in the text, in characters.
    pub(crate) at: usize,
    pub(crate) kind: Node,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Literal(Value),
    Ident(String),
    /// `operand.field`, `operand.?field`, `has(operand.field)`.
    Select {
        operand: Box<Expr>,
        field: String,
        access: Access,
    },
    /// A function or operator; the target of `a.f(b)` is the first argument.
    Call(Box<Call>),
    /// `a && b && c`, in one node so that long chains are not deep.
    Logic {
        is_and: bool,
        terms: Vec<Expr>,
    },
    Conditional(Box<[Expr; 3]>),
    /// Items; the optional ones (`?x`) are marked.
    List(Vec<(Expr, bool)>),
    /// Keys, values, whether optional.
    Map(Vec<(Expr, Expr, bool)>),
    Fold(Box<Fold>),
    /// `optional.optMap(v, body)`, `optFlatMap`.
    OptMap(Box<OptMap>),
}

/// How a field is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Plain,
    Optional,
    Test,
}

/// A call, and once checked what is called.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) is_member: bool,
    pub(crate) args: Vec<Expr>,
    pub(crate) entry: Option<&'static Entry>,
}

/// A macro over a list or map.
#[derive(Clone, Debug)]
pub(crate) struct Fold {
    pub(crate) kind: FoldKind,
    pub(crate) range: Expr,
    /// One or two names: item; or index and item, or key and value.
    pub(crate) vars: Vec<String>,
    pub(crate) filter: Option<Expr>,
    pub(crate) body: Expr,
}

/// Which macro.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FoldKind {
    All,
    Exists,
    ExistsOne,
    Filter,
    /// `map`, `transformList`.
    List,
    /// `transformMap`: values anew.
    Map,
    /// `transformMapEntry`: entries anew.
    Entries,
}

/// A macro over an optional value.
#[derive(Clone, Debug)]
pub(crate) struct OptMap {
    pub(crate) target: Expr,
    pub(crate) var: String,
    pub(crate) body: Expr,
    pub(crate) is_flat: bool,
}

impl Expr {
    /// The dotted name that a chain of plain selections spells: `a.b.c`.
    pub(crate) fn dotted(&self) -> Option<String> {
        match &self.kind {
            Node::Ident(name) => Some(name.clone()),
            Node::Select { operand, field, access: Access::Plain } => {
                Some(format!("{}.{field}", operand.dotted()?))
            }
            _ => None,
        }
    }

    /// Adds the names of all variables that are read.
    pub(crate) fn names(&self, out: &mut BTreeSet<String>) {
        if let Node::Ident(name) = &self.kind {
            out.insert(name.clone());
        }
        self.children(&mut |child| child.names(out));
    }

    /// Calls a function with every node directly below.
    pub(crate) fn children<'a>(&'a self, see: &mut dyn FnMut(&'a Expr)) {
        match &self.kind {
            Node::Literal(_) | Node::Ident(_) => {}
            Node::Select { operand, .. } => see(operand),
            Node::Call(call) => call.args.iter().for_each(see),
            Node::Logic { terms, .. } => terms.iter().for_each(see),
            Node::Conditional(parts) => parts.iter().for_each(see),
            Node::List(items) => items.iter().for_each(|(item, _)| see(item)),
            Node::Map(entries) => entries.iter().for_each(|(key, value, _)| {
                see(key);
                see(value);
            }),
            Node::Fold(fold) => {
                see(&fold.range);
                fold.filter.iter().for_each(&mut *see);
                see(&fold.body);
            }
            Node::OptMap(map) => {
                see(&map.target);
                see(&map.body);
            }
        }
    }
}
