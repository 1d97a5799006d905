//! What an expression costs at worst, before anything runs.

use crate::ast::{Access, Expr, Fold, FoldKind, Node};
use crate::cost::{self, Span};
use crate::types::{Type, UNBOUND};

/// The greatest cost of a checked tree; `types` are those of its nodes.
pub(crate) fn cost_max(expr: &Expr, types: &[Type]) -> u64 {
    Estimate { types }.of(expr).cost.max
}

struct Estimate<'a> {
    types: &'a [Type],
}

/// Cost of working a value out, and its size.
#[derive(Clone, Copy)]
struct Guess {
    cost: Span,
    size: Span,
}

impl Estimate<'_> {
    fn size_by_type(&self, expr: &Expr) -> Span {
        match &self.types[expr.id] {
            Type::Text(max) | Type::Bytes(max) => Span::up_to(*max),
            Type::List(list) => Span::up_to(list.max),
            Type::Map(map) => Span::up_to(map.max),
            Type::Object(object) => Span::up_to(object.fields.len() as u64),
            Type::Dyn | Type::Var(_) | Type::Optional(_) | Type::Opaque(_) => Span::UNKNOWN,
            _ => Span::exactly(1),
        }
    }

    fn of(&self, expr: &Expr) -> Guess {
        let own = |cost: Span| Guess { cost, size: self.size_by_type(expr) };
        match &expr.kind {
            Node::Literal(value) => Guess { cost: Span::ZERO, size: Span::exactly(value.size()) },
            Node::Ident(_) => own(Span::exactly(cost::READ)),
            Node::Select { operand, access, .. } => {
                let read = if *access == Access::Test { 0 } else { cost::READ };
                own(self.of(operand).cost.plus(Span::exactly(read)))
            }
            Node::Call(call) => {
                let args: Vec<Guess> = call.args.iter().map(|arg| self.of(arg)).collect();
                let sizes: Vec<Span> = args.iter().map(|a| a.size).collect();
                let args_cost = args.iter().fold(Span::ZERO, |sum, a| sum.plus(a.cost));
                let Some(entry) = call.entry else { return own(args_cost) };
                let cost = args_cost.plus(entry.price.of(&sizes));
                let by_type = self.size_by_type(expr);
                let is_bounded = by_type.max < UNBOUND;
                Guess { cost, size: if is_bounded { by_type } else { entry.price.result(&sizes) } }
            }
            Node::Logic { terms, .. } => {
                let all: Vec<Span> = terms.iter().map(|t| self.of(t).cost).collect();
                let sum = all.iter().fold(Span::ZERO, |sum, c| sum.plus(*c));
                own(Span { min: all.first().map_or(0, |c| c.min), max: sum.max })
            }
            Node::Conditional(parts) => {
                let [condition, yes, no] = [&parts[0], &parts[1], &parts[2]].map(|p| self.of(p));
                Guess { cost: condition.cost.plus(yes.cost.or(no.cost)), size: yes.size.or(no.size) }
            }
            Node::List(items) => {
                let items_cost = items.iter().fold(Span::ZERO, |sum, (i, _)| sum.plus(self.of(i).cost));
                own(items_cost.plus(Span::exactly(cost::LIST)))
            }
            Node::Map(entries) => {
                let parts = entries.iter().flat_map(|(k, v, _)| [k, v]);
                let parts_cost = parts.fold(Span::ZERO, |sum, part| sum.plus(self.of(part).cost));
                own(parts_cost.plus(Span::exactly(cost::MAP)))
            }
            Node::Fold(fold) => self.fold(fold),
            Node::OptMap(map) => own(self.of(&map.target).cost.plus(self.of(&map.body).cost)),
        }
    }

    /// Every part is looked at once: macros nest, and twice each would double with every level.
    fn fold(&self, fold: &Fold) -> Guess {
        let range = self.of(&fold.range);
        let body = self.of(&fold.body).cost;
        let kept = Span::exactly(cost::LIST + 2);
        let round = match fold.kind {
            FoldKind::All | FoldKind::Exists => body.plus(Span::exactly(3)),
            FoldKind::ExistsOne => body.plus(Span { min: 1, max: 2 }),
            FoldKind::Filter => body.plus(Span { min: 1, max: kept.max + 1 }),
            FoldKind::List | FoldKind::Map | FoldKind::Entries => match &fold.filter {
                Some(filter) => self.of(filter).cost.plus(Span { min: 1, max: body.plus(kept).max }),
                None => body.plus(kept),
            },
        };
        let cost = range.cost.plus(range.size.times(round)).plus(Span::exactly(cost::READ));
        Guess { cost, size: Span::up_to(range.size.max) }
    }
}
