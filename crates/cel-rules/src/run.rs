//! Running an expression: values in, a value out, every step paid for.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use crate::ast::{Access, Call, Expr, Fold, FoldKind, Node, OptMap};
use crate::cost::{self, Span};
use crate::fault::RunError;
use crate::library::Outcome;
use crate::value::{Key, Value};

/// Gives the values of variables.
pub trait Activation {
    /// The value of a variable; nothing when it has none. A value that must be worked out first is paid from `budget`.
    fn get(&self, name: &str, budget: &mut Budget) -> Option<Outcome>;
}

impl<const N: usize> Activation for [(&str, Value); N] {
    fn get(&self, name: &str, _: &mut Budget) -> Option<Outcome> {
        self.iter().find(|(n, _)| *n == name).map(|(_, value)| Ok(value.clone()))
    }
}

/// Compiled patterns are kept up to this many.
const PATTERNS_MAX: usize = 32;
/// Octets of a compiled pattern.
const PATTERN_BYTES_MAX: usize = 1 << 21;
/// Expressions within expressions, over all variables that are worked out on the way: a bound of the stack.
const DEPTH_MAX: u32 = 400;

/// What may be spent, and what was. One cost unit is about fifty nanoseconds.
#[derive(Debug, Default)]
pub struct Budget {
    spent: u64,
    limit: u64,
    depth: u32,
    patterns: Vec<(String, Regex)>,
}

impl Budget {
    /// A budget of so many cost units.
    pub fn new(limit: u64) -> Budget {
        Budget { limit, ..Budget::default() }
    }

    /// What was spent so far.
    pub fn spent(&self) -> u64 {
        self.spent
    }

    /// What is left.
    pub fn left(&self) -> u64 {
        self.limit.saturating_sub(self.spent)
    }

    /// The budget of one run within it: not more than `limit`, and not more than is left.
    #[must_use]
    pub fn part(&self, limit: u64) -> Budget {
        Budget::new(limit.min(self.left()))
    }

    /// Takes what a part of it has spent.
    ///
    /// # Errors
    /// When that was more than is left.
    pub fn settle(&mut self, part: &Budget) -> Result<(), RunError> {
        let is_over = part.spent > self.left();
        self.spent = self.spent.saturating_add(part.spent);
        if is_over { Err(RunError::Cost) } else { Ok(()) }
    }

    fn pay(&mut self, cost: u64) -> Result<(), RunError> {
        self.spent = self.spent.saturating_add(cost);
        if self.spent > self.limit { Err(RunError::Cost) } else { Ok(()) }
    }
}

/// One run.
pub(crate) struct Run<'a> {
    variables: &'a dyn Activation,
    budget: &'a mut Budget,
    /// Variables of the macros around.
    scope: Vec<(&'a str, Value)>,
}

/// Works out the value of a tree.
pub(crate) fn run<'a>(expr: &'a Expr, variables: &'a dyn Activation, budget: &'a mut Budget) -> Outcome {
    Run { variables, budget, scope: Vec::new() }.eval(expr)
}

impl<'a> Run<'a> {
    /// Pays for work beyond a call's price.
    pub(crate) fn pay(&mut self, cost: u64) -> Result<(), RunError> {
        self.budget.pay(cost)
    }

    /// Pays for a text of so many octets, before it is made.
    pub(crate) fn pay_text(&mut self, bytes: usize) -> Result<(), RunError> {
        self.budget.pay(bytes as u64 / 10)
    }

    /// A compiled pattern.
    pub(crate) fn pattern(&mut self, pattern: &str) -> Result<Regex, RunError> {
        if let Some((_, known)) = self.budget.patterns.iter().find(|(text, _)| text == pattern) {
            return Ok(known.clone());
        }
        self.pay(pattern.len() as u64 / 4)?;
        let made = compile_pattern(pattern).map_err(RunError::new)?;
        if self.budget.patterns.len() < PATTERNS_MAX {
            self.budget.patterns.push((pattern.to_owned(), made.clone()));
        }
        Ok(made)
    }

    fn eval(&mut self, expr: &'a Expr) -> Outcome {
        if self.budget.depth >= DEPTH_MAX {
            return Err(RunError::new("expression is nested too deeply"));
        }
        self.budget.depth += 1;
        let value = self.node(expr);
        self.budget.depth -= 1;
        value
    }

    fn node(&mut self, expr: &'a Expr) -> Outcome {
        match &expr.kind {
            Node::Literal(value) => Ok(value.clone()),
            Node::Ident(name) => self.ident(name),
            Node::Select { operand, field, access } => self.select(operand, field, *access),
            Node::Call(call) => self.call(call),
            Node::Logic { is_and, terms } => self.logic(*is_and, terms),
            Node::Conditional(parts) => self.conditional(parts),
            Node::List(items) => self.list(items),
            Node::Map(entries) => self.map(entries),
            Node::Fold(fold) => self.fold(fold),
            Node::OptMap(map) => self.opt_map(map),
        }
    }

    fn ident(&mut self, name: &str) -> Outcome {
        self.pay(cost::READ)?;
        if let Some((_, value)) = self.scope.iter().rev().find(|(n, _)| *n == name) {
            return Ok(value.clone());
        }
        let variables = self.variables;
        let found = variables.get(name, self.budget);
        found.unwrap_or_else(|| Err(RunError::new(format!("no such attribute(s): {name}"))))
    }

    fn select(&mut self, operand: &'a Expr, field: &str, access: Access) -> Outcome {
        let of = self.eval(operand)?;
        // Looking whether something is there is free, as upstream has it.
        if access != Access::Test {
            self.pay(cost::READ)?;
        }
        let (of, is_optional) = match &of {
            Value::Optional(None) if access == Access::Test => return Ok(Value::Bool(false)),
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => ((**inner).clone(), true),
            other => (other.clone(), access == Access::Optional),
        };
        let Value::Map(map) = &of else { return Err(RunError::overload()) };
        let found = map.get(&Key::Text(field.into()));
        match (access, found) {
            (Access::Test, found) => Ok(Value::Bool(found.is_some())),
            (_, found) if is_optional => Ok(Value::Optional(found.cloned().map(Arc::new))),
            (_, Some(found)) => Ok(found.clone()),
            (_, None) => Err(RunError::new(format!("no such key: {field}"))),
        }
    }

    fn call(&mut self, call: &'a Call) -> Outcome {
        let entry = call.entry.ok_or_else(RunError::overload)?;
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            args.push(self.eval(arg)?);
        }
        let sizes: Vec<Span> = args.iter().map(|a| Span::exactly(a.size())).collect();
        self.pay(entry.price.of(&sizes).max)?;
        (entry.run)(self, &args)
    }

    /// One term that decides is enough, whatever the others are; else an error stands.
    fn logic(&mut self, is_and: bool, terms: &'a [Expr]) -> Outcome {
        let mut failed = None;
        for term in terms {
            match self.eval(term) {
                Ok(Value::Bool(b)) if b != is_and => return Ok(Value::Bool(b)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => failed = failed.or(Some(RunError::overload())),
                Err(RunError::Cost) => return Err(RunError::Cost),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(Value::Bool(is_and)), Err)
    }

    fn conditional(&mut self, parts: &'a [Expr; 3]) -> Outcome {
        match self.eval(&parts[0])? {
            Value::Bool(true) => self.eval(&parts[1]),
            Value::Bool(false) => self.eval(&parts[2]),
            _ => Err(RunError::overload()),
        }
    }

    fn list(&mut self, items: &'a [(Expr, bool)]) -> Outcome {
        self.pay(cost::LIST)?;
        let mut out = Vec::with_capacity(items.len());
        for (item, is_optional) in items {
            match self.eval(item)? {
                Value::Optional(inner) if *is_optional => out.extend(inner.map(|v| (*v).clone())),
                _ if *is_optional => return Err(RunError::overload()),
                value => out.push(value),
            }
        }
        Ok(Value::list(out))
    }

    fn map(&mut self, entries: &'a [(Expr, Expr, bool)]) -> Outcome {
        self.pay(cost::MAP)?;
        let mut out = BTreeMap::new();
        for (key, value, is_optional) in entries {
            let key = key_of(&self.eval(key)?)?;
            let value = match self.eval(value)? {
                Value::Optional(None) if *is_optional => continue,
                Value::Optional(Some(inner)) if *is_optional => (*inner).clone(),
                _ if *is_optional => return Err(RunError::overload()),
                value => value,
            };
            insert(&mut out, key, value)?;
        }
        Ok(Value::Map(Arc::new(out)))
    }

    fn opt_map(&mut self, map: &'a OptMap) -> Outcome {
        match self.eval(&map.target)? {
            Value::Optional(None) => Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => {
                self.scope.push((&map.var, (*inner).clone()));
                let value = self.eval(&map.body);
                self.scope.pop();
                if map.is_flat { value } else { value.map(Value::some) }
            }
            _ => Err(RunError::overload()),
        }
    }

    fn fold(&mut self, fold: &'a Fold) -> Outcome {
        let range = self.eval(&fold.range)?;
        self.pay(cost::READ)?;
        let depth = self.scope.len();
        let mut sum = Sum::of(fold.kind);
        let result = self.rounds(fold, &range, &mut sum);
        self.scope.truncate(depth);
        result?;
        sum.value()
    }

    fn rounds(&mut self, fold: &'a Fold, range: &Value, sum: &mut Sum) -> Result<(), RunError> {
        let is_single = fold.vars.len() == 1;
        match range {
            Value::List(list) => {
                for (i, item) in list.items.iter().enumerate() {
                    let index = Value::Int(i64::try_from(i).unwrap_or(i64::MAX));
                    let vars = if is_single { [item.clone(), Value::Null] } else { [index, item.clone()] };
                    if !self.round(fold, vars, sum)? {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for (key, value) in &**map {
                    if !self.round(fold, [key.value(), value.clone()], sum)? {
                        break;
                    }
                }
            }
            _ => return Err(RunError::overload()),
        }
        Ok(())
    }

    /// One item; false when the rest does not matter.
    fn round(&mut self, fold: &'a Fold, vars: [Value; 2], sum: &mut Sum) -> Result<bool, RunError> {
        let depth = self.scope.len();
        let [first, second] = vars.clone();
        self.scope.extend(fold.vars.iter().map(String::as_str).zip([first, second]));
        let goes_on = self.item(fold, vars, sum);
        self.scope.truncate(depth);
        goes_on
    }

    fn item(&mut self, fold: &'a Fold, vars: [Value; 2], sum: &mut Sum) -> Result<bool, RunError> {
        self.pay(if matches!(fold.kind, FoldKind::All | FoldKind::Exists) { 3 } else { 1 })?;
        if let Some(filter) = &fold.filter {
            match self.eval(filter)? {
                Value::Bool(true) => {}
                Value::Bool(false) => return Ok(true),
                _ => return Err(RunError::overload()),
            }
        }
        let value = match self.eval(&fold.body) {
            Err(RunError::Cost) => return Err(RunError::Cost),
            value => value,
        };
        if !matches!(fold.kind, FoldKind::All | FoldKind::Exists) {
            self.pay(cost::LIST + 1)?;
        }
        sum.add(value, vars)
    }
}

/// What the rounds of a macro add up to.
enum Sum {
    /// `all` (true), `exists` (false): what they are so far, and the first error, which a later item may outweigh.
    Judged {
        is_all: bool,
        decided: bool,
        failed: Option<RunError>,
    },
    Counted(u64),
    Kept(Vec<Value>),
    Made(Vec<Value>),
    Mapped {
        is_whole: bool,
        map: BTreeMap<Key, Value>,
    },
}

impl Sum {
    fn of(kind: FoldKind) -> Sum {
        match kind {
            FoldKind::All => Sum::Judged { is_all: true, decided: false, failed: None },
            FoldKind::Exists => Sum::Judged { is_all: false, decided: false, failed: None },
            FoldKind::ExistsOne => Sum::Counted(0),
            FoldKind::Filter => Sum::Kept(Vec::new()),
            FoldKind::List => Sum::Made(Vec::new()),
            FoldKind::Map => Sum::Mapped { is_whole: false, map: BTreeMap::new() },
            FoldKind::Entries => Sum::Mapped { is_whole: true, map: BTreeMap::new() },
        }
    }

    fn add(&mut self, value: Outcome, vars: [Value; 2]) -> Result<bool, RunError> {
        match self {
            Sum::Judged { is_all, decided, failed } => {
                match value {
                    Ok(Value::Bool(b)) if b != *is_all => {
                        *decided = true;
                        return Ok(false);
                    }
                    Ok(Value::Bool(_)) => {}
                    Ok(_) => *failed = failed.take().or(Some(RunError::overload())),
                    Err(error) => *failed = failed.take().or(Some(error)),
                }
                return Ok(true);
            }
            Sum::Counted(n) => *n += u64::from(truth(&value?)?),
            Sum::Kept(items) => {
                if truth(&value?)? {
                    let [item, _] = vars;
                    items.push(item);
                }
            }
            Sum::Made(items) => items.push(value?),
            Sum::Mapped { is_whole: false, map } => insert(map, key_of(&vars[0])?, value?)?,
            Sum::Mapped { is_whole: true, map } => {
                let Value::Map(entries) = value? else { return Err(RunError::overload()) };
                for (key, value) in &*entries {
                    insert(map, key.clone(), value.clone())?;
                }
            }
        }
        Ok(true)
    }

    fn value(self) -> Outcome {
        match self {
            Sum::Judged { is_all, decided: true, .. } => Ok(Value::Bool(!is_all)),
            Sum::Judged { failed: Some(error), .. } => Err(error),
            Sum::Judged { is_all, .. } => Ok(Value::Bool(is_all)),
            Sum::Counted(n) => Ok(Value::Bool(n == 1)),
            Sum::Kept(items) | Sum::Made(items) => Ok(Value::list(items)),
            Sum::Mapped { map, .. } => Ok(Value::Map(Arc::new(map))),
        }
    }
}

fn truth(value: &Value) -> Result<bool, RunError> {
    match value {
        Value::Bool(b) => Ok(*b),
        _ => Err(RunError::overload()),
    }
}

fn key_of(value: &Value) -> Result<Key, RunError> {
    Key::of(value).ok_or_else(|| RunError::new(format!("unsupported key type: {}", value.type_name())))
}

fn insert(map: &mut BTreeMap<Key, Value>, key: Key, value: Value) -> Result<(), RunError> {
    match map.insert(key, value) {
        None => Ok(()),
        Some(_) => Err(RunError::new("insert failed: key already exists")),
    }
}

/// A pattern of bounded size.
pub(crate) fn compile_pattern(pattern: &str) -> Result<Regex, String> {
    let made = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build();
    made.map_err(|why| {
        format!("error parsing regexp: {}", why.to_string().lines().last().unwrap_or_default())
    })
}
