//! Tokens into a tree.

use crate::ast::{Access, Call, Expr, Fold, FoldKind, Node, OptMap};
use crate::fault::Fault;
use crate::lex::{Kind, Token, tokens};
use crate::value::Value;

/// Nesting and length of chains are not more than this (cel-go's limit of recursion).
const DEPTH_MAX: usize = 250;
/// Brackets within brackets; each costs the parser several frames of stack.
const NESTING_MAX: usize = 60;

/// What may begin an expression, as cel-go lists it.
const STARTS: &str = "'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

/// Words that are kept for later versions of the language.
pub(crate) const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// The tree of a text, and how many nodes it has.
pub(crate) fn parse(text: &str) -> Result<(Expr, usize), Fault> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, nodes: 0, nesting: 0 };
    let expr = parser.expr()?;
    let next = parser.peek();
    if next.kind != Kind::End {
        let message = format!("extraneous input '{}' expecting <EOF>", shown(&next.kind));
        return Err(Fault::syntax(next.at, message));
    }
    deep(&expr, 0)?;
    Ok((expr, parser.nodes))
}

/// Refuses trees whose walk would need too much stack.
fn deep(expr: &Expr, depth: usize) -> Result<(), Fault> {
    if depth > DEPTH_MAX {
        return Err(Fault::new(expr.at, format!("expression recursion limit exceeded: {DEPTH_MAX}")));
    }
    let mut result = Ok(());
    expr.children(&mut |child| {
        if result.is_ok() {
            result = deep(child, depth + 1);
        }
    });
    result
}

fn shown(kind: &Kind) -> String {
    match kind {
        Kind::Ident(name) => name.clone(),
        Kind::Int(n) => n.to_string(),
        Kind::Uint(n) => format!("{n}u"),
        Kind::Double(n) => n.to_string(),
        Kind::Text(text) => format!("'{text}'"),
        Kind::Bytes(_) => "b''".to_owned(),
        Kind::Mark(mark) => (*mark).to_owned(),
        Kind::End => "<EOF>".to_owned(),
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    nodes: usize,
    nesting: usize,
}

/// Operators by how strongly they bind, and the function each stands for.
const BINARY: [(&str, u8, &str); 13] = [
    ("<", 3, "_<_"),
    ("<=", 3, "_<=_"),
    (">", 3, "_>_"),
    (">=", 3, "_>=_"),
    ("==", 3, "_==_"),
    ("!=", 3, "_!=_"),
    ("in", 3, "@in"),
    ("+", 4, "_+_"),
    ("-", 4, "_-_"),
    ("*", 5, "_*_"),
    ("/", 5, "_/_"),
    ("%", 5, "_%_"),
    // Never a token; keeps the table's end visible.
    ("", 9, ""),
];

type Parsed = Result<Expr, Fault>;

impl<'a> Parser<'a> {
    fn peek(&self) -> &'a Token {
        // The last token is the end, and nothing goes beyond it.
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn is(&self, mark: &str) -> bool {
        matches!(&self.peek().kind, Kind::Mark(m) if *m == mark)
    }

    fn take(&mut self, mark: &str) -> bool {
        let found = self.is(mark);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, mark: &str) -> Result<(), Fault> {
        if self.take(mark) {
            return Ok(());
        }
        let next = self.peek();
        let what = shown(&next.kind);
        Err(Fault::syntax(next.at, format!("mismatched input '{what}' expecting '{mark}'")))
    }

    fn node(&mut self, at: usize, kind: Node) -> Expr {
        self.nodes += 1;
        Expr { id: self.nodes - 1, at, kind }
    }

    fn call(&mut self, at: usize, name: &str, is_member: bool, args: Vec<Expr>) -> Expr {
        let call = Call { name: name.to_owned(), is_member, args, entry: None };
        self.node(at, Node::Call(Box::new(call)))
    }

    /// `a ? b : c` and all that binds stronger.
    fn expr(&mut self) -> Parsed {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            let message = format!("expression recursion limit exceeded: {NESTING_MAX}");
            return Err(Fault::new(self.peek().at, message));
        }
        let condition = self.logic("||", false)?;
        let at = self.peek().at;
        let expr = if self.take("?") {
            let yes = self.logic("||", false)?;
            self.expect(":")?;
            let no = self.expr()?;
            self.node(at, Node::Conditional(Box::new([condition, yes, no])))
        } else {
            condition
        };
        self.nesting -= 1;
        Ok(expr)
    }

    fn logic(&mut self, mark: &str, is_and: bool) -> Parsed {
        let first = if is_and { self.binary(3)? } else { self.logic("&&", true)? };
        let at = self.peek().at;
        let mut terms = vec![first];
        while self.take(mark) {
            terms.push(if is_and { self.binary(3)? } else { self.logic("&&", true)? });
        }
        if terms.len() > 1 {
            return Ok(self.node(at, Node::Logic { is_and, terms }));
        }
        Ok(terms.swap_remove(0))
    }

    fn operator(&self) -> Option<(u8, &'static str)> {
        let text = match &self.peek().kind {
            Kind::Mark(mark) => mark,
            Kind::Ident(word) if word == "in" => "in",
            _ => return None,
        };
        BINARY.iter().find(|(mark, ..)| *mark == text).map(|(_, binds, name)| (*binds, *name))
    }

    fn binary(&mut self, least: u8) -> Parsed {
        let mut left = self.unary()?;
        while let Some((binds, name)) = self.operator().filter(|(binds, _)| *binds >= least) {
            let at = self.peek().at;
            self.at += 1;
            let right = self.binary(binds + 1)?;
            left = self.call(at, name, false, vec![left, right]);
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed {
        let at = self.peek().at;
        let mark = if self.is("!") { "!" } else { "-" };
        let mut count = 0;
        while self.take(mark) {
            count += 1;
        }
        if count == 0 {
            return self.member();
        }
        if mark == "-"
            && let Some(number) = self.negative()
        {
            let literal = self.node(at, Node::Literal(number));
            let literal = self.members(literal)?;
            return Ok(self.signed(at, count - 1, "-_", literal));
        }
        let operand = self.member()?;
        Ok(self.signed(at, count, if mark == "!" { "!_" } else { "-_" }, operand))
    }

    /// An even number of signs says nothing.
    fn signed(&mut self, at: usize, count: usize, name: &str, operand: Expr) -> Expr {
        if count.is_multiple_of(2) { operand } else { self.call(at, name, false, vec![operand]) }
    }

    fn negative(&mut self) -> Option<Value> {
        let value = match self.peek().kind {
            Kind::Int(n) => Value::Int(0_i64.checked_sub_unsigned(n)?),
            Kind::Double(n) => Value::Double(-n),
            _ => return None,
        };
        self.at += 1;
        Some(value)
    }

    fn member(&mut self) -> Parsed {
        let primary = self.primary()?;
        self.members(primary)
    }

    fn members(&mut self, mut expr: Expr) -> Parsed {
        loop {
            let at = self.peek().at;
            if self.take(".") {
                expr = self.field(at, expr)?;
            } else if self.take("[") {
                let name = if self.take("?") { "_[?_]" } else { "_[_]" };
                let index = self.expr()?;
                self.expect("]")?;
                expr = self.call(at, name, false, vec![expr, index]);
            } else {
                return Ok(expr);
            }
        }
    }

    fn field(&mut self, at: usize, operand: Expr) -> Parsed {
        let is_optional = self.take("?");
        let (name_at, name) = self.name(false)?;
        let open = self.peek().at;
        if !is_optional && self.take("(") {
            let args = self.args()?;
            return self.method(open, name_at, operand, &name, args);
        }
        let access = if is_optional { Access::Optional } else { Access::Plain };
        Ok(self.node(at, Node::Select { operand: Box::new(operand), field: name, access }))
    }

    fn name(&mut self, is_free: bool) -> Result<(usize, String), Fault> {
        let next = self.peek();
        let Kind::Ident(name) = &next.kind else {
            let message = format!("no viable alternative at input '{}'", shown(&next.kind));
            return Err(Fault::syntax(next.at, message));
        };
        if matches!(name.as_str(), "in" | "true" | "false" | "null") {
            return Err(Fault::syntax(next.at, format!("mismatched input '{name}' expecting IDENTIFIER")));
        }
        if is_free && RESERVED.contains(&name.as_str()) {
            return Err(Fault::new(next.at, format!("reserved identifier: {name}")));
        }
        self.at += 1;
        Ok((next.at, name.clone()))
    }

    /// Arguments after an opening bracket.
    fn args(&mut self) -> Result<Vec<Expr>, Fault> {
        let mut args = Vec::new();
        if self.take(")") {
            return Ok(args);
        }
        loop {
            if args.is_empty() && self.peek().kind == Kind::End {
                let starts = STARTS.replacen("'('", "'(', ')'", 1);
                return Err(Fault::syntax(
                    self.peek().at,
                    format!("mismatched input '<EOF>' expecting {{{starts}"),
                ));
            }
            args.push(self.expr()?);
            if !self.take(",") {
                self.expect(")")?;
                return Ok(args);
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let next = self.peek();
        let at = next.at;
        let literal = match &next.kind {
            Kind::Int(n) => {
                let n = i64::try_from(*n).map_err(|_| Fault::new(at, "invalid int literal"))?;
                Value::Int(n)
            }
            Kind::Uint(n) => Value::Uint(*n),
            Kind::Double(n) => Value::Double(*n),
            Kind::Text(text) => Value::text(text),
            Kind::Bytes(bytes) => Value::Bytes(bytes.as_slice().into()),
            Kind::Ident(word) => match word.as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                "null" => Value::Null,
                _ => return self.named(),
            },
            Kind::Mark("(") => {
                self.at += 1;
                let inner = self.expr()?;
                self.expect(")")?;
                return Ok(inner);
            }
            Kind::Mark("[") => return self.list(),
            Kind::Mark("{") => return self.map(),
            Kind::Mark(".") => {
                self.at += 1;
                return self.named();
            }
            other => {
                let what = shown(other);
                return Err(Fault::syntax(at, format!("mismatched input '{what}' expecting {{{STARTS}")));
            }
        };
        self.at += 1;
        Ok(self.node(at, Node::Literal(literal)))
    }

    /// A variable, or a call of a global function.
    fn named(&mut self) -> Parsed {
        let (name_at, name) = self.name(true)?;
        let at = self.peek().at;
        if !self.take("(") {
            return Ok(self.node(name_at, Node::Ident(name)));
        }
        let mut args = self.args()?;
        if name != "has" {
            return Ok(self.call(at, &name, false, args));
        }
        if args.len() != 1 {
            return Ok(self.call(at, &name, false, args));
        }
        let arg = args.swap_remove(0);
        match arg.kind {
            Node::Select { operand, field, access: Access::Plain } => {
                Ok(self.node(at, Node::Select { operand, field, access: Access::Test }))
            }
            _ => Err(Fault::new(arg.at, "invalid argument to has() macro")),
        }
    }

    fn list(&mut self) -> Parsed {
        let at = self.peek().at;
        self.at += 1;
        let mut items = Vec::new();
        while !self.take("]") {
            let is_optional = self.take("?");
            items.push((self.expr()?, is_optional));
            if !self.take(",") {
                self.expect("]")?;
                break;
            }
        }
        Ok(self.node(at, Node::List(items)))
    }

    fn map(&mut self) -> Parsed {
        let at = self.peek().at;
        self.at += 1;
        let mut entries = Vec::new();
        while !self.take("}") {
            let is_optional = self.take("?");
            let key = self.expr()?;
            self.expect(":")?;
            entries.push((key, self.expr()?, is_optional));
            if !self.take(",") {
                self.expect("}")?;
                break;
            }
        }
        Ok(self.node(at, Node::Map(entries)))
    }

    /// A macro, or a call of a function on a value.
    fn method(&mut self, at: usize, name_at: usize, target: Expr, name: &str, mut args: Vec<Expr>) -> Parsed {
        use FoldKind::{All, Entries, Exists, ExistsOne, Filter, List, Map};
        let (kind, vars, filtered) = match (name, args.len()) {
            ("all", 2 | 3) => (All, args.len() - 1, false),
            ("exists", 2 | 3) => (Exists, args.len() - 1, false),
            ("exists_one", 2) => (ExistsOne, 1, false),
            ("existsOne", 2 | 3) => (ExistsOne, args.len() - 1, false),
            ("filter", 2) => (Filter, 1, false),
            ("map", 2) => (List, 1, false),
            ("map", 3) => (List, 1, true),
            ("transformList", 3) => (List, 2, false),
            ("transformList", 4) => (List, 2, true),
            ("transformMap", 3) => (Map, 2, false),
            ("transformMap", 4) => (Map, 2, true),
            ("transformMapEntry", 3) => (Entries, 2, false),
            ("transformMapEntry", 4) => (Entries, 2, true),
            ("optMap" | "optFlatMap", 2) => return self.opt_map(name_at, target, name, args),
            _ => {
                args.insert(0, target);
                return Ok(self.call(at, name, true, args));
            }
        };
        let mut args = args.into_iter();
        let names = args.by_ref().take(vars).map(|arg| simple_name(&arg)).collect::<Result<Vec<_>, _>>()?;
        if names.len() == 2 && names[0] == names[1] {
            return Err(Fault::new(name_at, format!("duplicate variable name: {}", names[0])));
        }
        let filter = args.by_ref().take(usize::from(filtered)).next();
        let body = args.next().expect("the count of arguments was matched");
        Ok(self.node(name_at, Node::Fold(Box::new(Fold { kind, range: target, vars: names, filter, body }))))
    }

    fn opt_map(&mut self, at: usize, target: Expr, name: &str, args: Vec<Expr>) -> Parsed {
        let [var, body] = <[Expr; 2]>::try_from(args).expect("the count of arguments was matched");
        let map = OptMap { target, var: simple_name(&var)?, body, is_flat: name == "optFlatMap" };
        Ok(self.node(at, Node::OptMap(Box::new(map))))
    }
}

fn simple_name(expr: &Expr) -> Result<String, Fault> {
    match &expr.kind {
        Node::Ident(name) => Ok(name.clone()),
        _ => Err(Fault::new(expr.at, "argument must be a simple name")),
    }
}
