//! The checker: finds the type of every node, what names mean, and what cannot be.

use crate::ast::{Access, Call, Expr, Fold, FoldKind, Node, OptMap};
use crate::env::Env;
use crate::fault::Fault;
use crate::library::{self, Entry};
use crate::moment::{self, Moment};
use crate::types::{Bindings, ListType, MapType, Type};
use crate::value::Value;

/// Faults are not more than this.
const FAULTS_MAX: usize = 100;

/// Types of all nodes, by their number; the tree's names are resolved in place.
pub(crate) fn check(env: &Env, expr: &mut Expr, nodes: usize) -> Result<Vec<Type>, Vec<Fault>> {
    let mut checker = Checker {
        env,
        bindings: Bindings::default(),
        types: vec![Type::Dyn; nodes],
        scope: Vec::new(),
        faults: Vec::new(),
        mixing: 0,
    };
    checker.expr(expr);
    if !checker.faults.is_empty() {
        checker.faults.sort_by_key(|f| f.at);
        checker.faults.truncate(FAULTS_MAX);
        return Err(checker.faults);
    }
    let bindings = &checker.bindings;
    Ok(checker.types.iter().map(|t| bindings.resolve(t)).collect())
}

struct Checker<'a> {
    env: &'a Env,
    bindings: Bindings,
    types: Vec<Type>,
    scope: Vec<(String, Type)>,
    faults: Vec<Fault>,
    /// Calls of `format` around: their lists may hold values of several types.
    mixing: usize,
}

impl Checker<'_> {
    fn fault(&mut self, at: usize, message: String) -> Type {
        self.faults.push(Fault { at, message });
        // Anything goes on from here, so that one mistake is told once.
        Type::Dyn
    }

    fn expr(&mut self, expr: &mut Expr) -> Type {
        let at = expr.at;
        if let Some(name) = self.qualified(expr) {
            expr.kind = Node::Ident(name);
        }
        let found = match &mut expr.kind {
            Node::Literal(value) => of_literal(value),
            Node::Ident(name) => match self.variable(name) {
                Some(found) => found,
                None => match library::type_value(name) {
                    Some(value) => {
                        expr.kind = Node::Literal(value);
                        Type::Type
                    }
                    None => {
                        let message = format!("undeclared reference to '{name}' (in container '')");
                        self.fault(at, message)
                    }
                },
            },
            Node::Select { operand, field, access } => {
                let (access, field) = (*access, field.clone());
                let of = self.expr(operand);
                self.select(at, &of, &field, access)
            }
            Node::Call(call) => self.call(at, call),
            Node::Logic { is_and, terms } => {
                let is_and = *is_and;
                self.logic(at, is_and, terms)
            }
            Node::Conditional(parts) => self.conditional(at, parts),
            Node::List(items) => self.list(items),
            Node::Map(entries) => self.map(entries),
            Node::Fold(fold) => self.fold(at, fold),
            Node::OptMap(map) => self.opt_map(at, map),
        };
        self.types[expr.id] = found.clone();
        found
    }

    fn variable(&self, name: &str) -> Option<Type> {
        let local = self.scope.iter().rev().find(|(n, _)| n == name).map(|(_, t)| t.clone());
        local.or_else(|| self.env.variable(name).cloned())
    }

    /// The dotted name of a variable or type that a chain of selections spells.
    fn qualified(&self, expr: &Expr) -> Option<String> {
        if !matches!(expr.kind, Node::Select { access: Access::Plain, .. }) {
            return None;
        }
        let name = expr.dotted()?;
        let first = name.split('.').next()?;
        let is_hidden = self.scope.iter().any(|(n, _)| n == first);
        let is_known = self.env.variable(&name).is_some() || library::type_value(&name).is_some();
        (is_known && !is_hidden).then_some(name)
    }

    fn select(&mut self, at: usize, of: &Type, field: &str, access: Access) -> Type {
        let head = self.bindings.head(of);
        let (inner, is_chained) = match &head {
            Type::Optional(inner) => (self.bindings.head(inner), true),
            _ => (head, false),
        };
        let found = match &inner {
            Type::Dyn | Type::Var(_) => Type::Dyn,
            Type::Map(map) => map.value.clone(),
            Type::Object(object) => match object.fields.get(field) {
                Some(field) => field.of.clone(),
                None => self.fault(at, format!("undefined field '{field}'")),
            },
            other => {
                let message = format!("type '{other}' does not support field selection");
                self.fault(at, message)
            }
        };
        match access {
            Access::Test => Type::Bool,
            Access::Optional => Type::optional(found),
            Access::Plain if is_chained => Type::optional(found),
            Access::Plain => found,
        }
    }

    fn call(&mut self, at: usize, call: &mut Call) -> Type {
        self.unqualify(call);
        let is_mixing = call.name == "format" && call.is_member;
        self.mixing += usize::from(is_mixing);
        let args: Vec<Type> = call.args.iter_mut().map(|arg| self.expr(arg)).collect();
        self.mixing -= usize::from(is_mixing);
        let Some(entry) = library::find(&call.name, call.is_member) else {
            return self.fault(at, format!("undeclared reference to '{}' (in container '')", call.name));
        };
        call.entry = Some(entry);
        self.literals(call);
        match self.overload(entry, &args) {
            Some(found) => found,
            None => {
                let message = mismatch(&call.name, call.is_member, &self.resolved(&args));
                self.fault(at, message)
            }
        }
    }

    fn resolved(&self, types: &[Type]) -> Vec<Type> {
        types.iter().map(|t| self.bindings.resolve(t)).collect()
    }

    /// `optional.of(x)` is a function of that name, not one called on a variable `optional`.
    fn unqualify(&self, call: &mut Call) {
        if !call.is_member {
            return;
        }
        let Some(target) = call.args.first().and_then(Expr::dotted) else { return };
        let first = target.split('.').next().unwrap_or_default();
        let full = format!("{target}.{}", call.name);
        if self.variable(first).is_none() && library::find(&full, false).is_some() {
            call.args.remove(0);
            call.name = full;
            call.is_member = false;
        }
    }

    /// What is written out and cannot be right at any time.
    fn literals(&mut self, call: &Call) {
        let arg = match (call.name.as_str(), call.is_member) {
            ("matches" | "find" | "findAll", true) | ("matches", false) => call.args.get(1),
            ("duration" | "timestamp", false) => call.args.first(),
            _ => None,
        };
        let Some(Expr { at, kind: Node::Literal(Value::Text(text)), .. }) = arg else { return };
        let is_well = match call.name.as_str() {
            "duration" => moment::duration(text).is_some(),
            "timestamp" => Moment::parse(text).is_some(),
            _ => crate::run::compile_pattern(text).is_ok(),
        };
        if !is_well {
            self.fault(*at, format!("invalid {} argument", call.name));
        }
    }

    /// The result of the forms that take these arguments: theirs when they agree, else anything.
    fn overload(&mut self, entry: &Entry, args: &[Type]) -> Option<Type> {
        let mut found: Option<Type> = None;
        for signature in entry.overloads.iter().filter(|s| s.arity() == args.len()) {
            let mark = self.bindings.mark();
            let (wanted, result) = signature.instance(&mut self.bindings);
            if !wanted.iter().zip(args).all(|(to, from)| self.bindings.takes(to, from)) {
                self.bindings.reset(mark);
                continue;
            }
            let result = self.bindings.resolve(&result);
            found = match found {
                None => Some(result),
                Some(before) if before.to_string() == result.to_string() => Some(before),
                Some(_) => return Some(Type::Dyn),
            };
        }
        found
    }

    fn logic(&mut self, at: usize, is_and: bool, terms: &mut [Expr]) -> Type {
        for (i, term) in terms.iter_mut().enumerate() {
            let found = self.expr(term);
            if !self.bindings.takes(&Type::Bool, &found) {
                let pair = if i == 0 { [found, Type::Bool] } else { [Type::Bool, found] };
                let message = mismatch(if is_and { "_&&_" } else { "_||_" }, false, &self.resolved(&pair));
                self.fault(at, message);
            }
        }
        Type::Bool
    }

    fn conditional(&mut self, at: usize, parts: &mut [Expr; 3]) -> Type {
        let [condition, yes, no] = parts;
        let condition = self.expr(condition);
        let (yes, no) = (self.expr(yes), self.expr(no));
        let fits = self.bindings.takes(&Type::Bool, &condition) && self.bindings.takes(&yes, &no);
        if !fits {
            let message = mismatch("_?_:_", false, &self.resolved(&[condition, yes, no]));
            return self.fault(at, message);
        }
        // The longer of both, and anything when one is anything.
        match (self.bindings.head(&yes), self.bindings.head(&no)) {
            (Type::Dyn, _) | (_, Type::Dyn) => Type::Dyn,
            (a, b) if b.max() > a.max() => b,
            (Type::Null, b) => b,
            (a, _) => a,
        }
    }

    /// One type for all; a literal with several kinds is a mistake.
    fn same(&mut self, at: usize, all: &mut Option<Type>, one: Type) {
        *all = Some(match all.take() {
            None => one,
            Some(before) => {
                if !self.bindings.takes(&before, &one) && self.mixing == 0 {
                    let found = self.resolved(&[before.clone(), one.clone()]);
                    self.fault(at, format!("expected type '{}' but found '{}'", found[0], found[1]));
                }
                self.bindings.join(&before, &one)
            }
        });
    }

    fn list(&mut self, items: &mut [(Expr, bool)]) -> Type {
        let mut item_type = None;
        for (item, is_optional) in items.iter_mut() {
            let found = self.expr(item);
            let found = if *is_optional { self.inner(item.at, &found) } else { found };
            self.same(item.at, &mut item_type, found);
        }
        let item = item_type.unwrap_or_else(|| self.bindings.fresh());
        Type::List(ListType { item, max: items.len() as u64, merge: Default::default() }.into())
    }

    fn map(&mut self, entries: &mut [(Expr, Expr, bool)]) -> Type {
        let (mut keys, mut values) = (None, None);
        for (key, value, is_optional) in entries.iter_mut() {
            let found = self.expr(key);
            self.same(key.at, &mut keys, found);
            let found = self.expr(value);
            let found = if *is_optional { self.inner(value.at, &found) } else { found };
            self.same(value.at, &mut values, found);
        }
        let key = keys.unwrap_or_else(|| self.bindings.fresh());
        let value = values.unwrap_or_else(|| self.bindings.fresh());
        Type::Map(MapType { key, value, max: entries.len() as u64 }.into())
    }

    /// What is in an optional value.
    fn inner(&mut self, at: usize, of: &Type) -> Type {
        match self.bindings.head(of) {
            Type::Optional(inner) => (*inner).clone(),
            Type::Dyn | Type::Var(_) => Type::Dyn,
            other => {
                let message = format!("expected type 'optional_type({other})' but found '{other}'");
                self.fault(at, message)
            }
        }
    }

    fn fold(&mut self, at: usize, fold: &mut Fold) -> Type {
        let range = self.expr(&mut fold.range);
        let range = self.bindings.head(&range);
        let is_single = fold.vars.len() == 1;
        let (first, second) = match &range {
            Type::List(list) if is_single => (list.item.clone(), Type::Dyn),
            Type::List(list) => (Type::Int, list.item.clone()),
            Type::Map(map) => (map.key.clone(), map.value.clone()),
            Type::Dyn | Type::Var(_) => (Type::Dyn, Type::Dyn),
            other => {
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.fault(fold.range.at, message);
                (Type::Dyn, Type::Dyn)
            }
        };
        let depth = self.scope.len();
        self.scope.extend(fold.vars.iter().cloned().zip([first.clone(), second]));
        if let Some(filter) = &mut fold.filter {
            let found = self.expr(filter);
            self.must_be_true(filter.at, "_?_:_", &found);
        }
        let body = self.expr(&mut fold.body);
        self.scope.truncate(depth);
        let max = range.max();
        match fold.kind {
            FoldKind::All => self.must_be_true(at, "_&&_", &body),
            FoldKind::Exists => self.must_be_true(at, "_||_", &body),
            FoldKind::ExistsOne => self.must_be_true(at, "_?_:_", &body),
            FoldKind::Filter => {
                self.must_be_true(at, "_?_:_", &body);
                Type::List(ListType { item: first, max, merge: Default::default() }.into())
            }
            FoldKind::List => Type::List(ListType { item: body, max, merge: Default::default() }.into()),
            FoldKind::Map => Type::Map(MapType { key: first, value: body, max }.into()),
            FoldKind::Entries => match self.bindings.head(&body) {
                Type::Map(map) => {
                    Type::Map(MapType { key: map.key.clone(), value: map.value.clone(), max }.into())
                }
                _ => Type::Dyn,
            },
        }
    }

    fn must_be_true(&mut self, at: usize, operator: &str, found: &Type) -> Type {
        if !self.bindings.takes(&Type::Bool, found) {
            let message = mismatch(operator, false, &self.resolved(&[Type::Bool, found.clone()]));
            self.fault(at, message);
        }
        Type::Bool
    }

    fn opt_map(&mut self, at: usize, map: &mut OptMap) -> Type {
        let target = self.expr(&mut map.target);
        let inner = match self.bindings.head(&target) {
            Type::Optional(inner) => (*inner).clone(),
            Type::Dyn | Type::Var(_) => Type::Dyn,
            other => {
                let message = mismatch("hasValue", true, &[other]);
                self.fault(at, message)
            }
        };
        self.scope.push((map.var.clone(), inner));
        let body = self.expr(&mut map.body);
        self.scope.pop();
        if map.is_flat { body } else { Type::optional(body) }
    }
}

fn of_literal(value: &Value) -> Type {
    match value {
        Value::Null => Type::Null,
        Value::Bool(_) => Type::Bool,
        Value::Int(_) => Type::Int,
        Value::Uint(_) => Type::Uint,
        Value::Double(_) => Type::Double,
        Value::Text(text) => Type::Text(text.len() as u64),
        Value::Bytes(bytes) => Type::Bytes(bytes.len() as u64),
        Value::Type(_) => Type::Type,
        _ => Type::Dyn,
    }
}

fn mismatch(name: &str, is_member: bool, args: &[Type]) -> String {
    let shown: Vec<String> = args.iter().map(Type::to_string).collect();
    let applied = match shown.split_first() {
        Some((target, rest)) if is_member => format!("{target}.({})", rest.join(", ")),
        _ => format!("({})", shown.join(", ")),
    };
    format!("found no matching overload for '{name}' applied to '{applied}'")
}
