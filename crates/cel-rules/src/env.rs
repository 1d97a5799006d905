//! Environments and the programs compiled in them.

use std::collections::{BTreeMap, BTreeSet};

use crate::ast::Expr;
use crate::check;
use crate::estimate;
use crate::fault::CompileError;
use crate::library::Outcome;
use crate::parse;
use crate::run::{self, Activation, Budget};
use crate::types::Type;

/// The variables that expressions may read, with their types. A name may have dots: `variables.keys`.
#[derive(Clone, Debug, Default)]
pub struct Env {
    variables: BTreeMap<String, Type>,
}

impl Env {
    /// The same with one more variable.
    #[must_use]
    pub fn with(mut self, name: &str, of: Type) -> Env {
        self.variables.insert(name.to_owned(), of);
        self
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&Type> {
        self.variables.get(name)
    }

    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it, in cel-go's words; the text of the error is what Kubernetes shows after `compilation failed: `.
    pub fn compile(&self, source: &str) -> Result<Program, CompileError> {
        let (mut expr, nodes) = parse::parse(source).map_err(|fault| CompileError::one(source, fault))?;
        let checked = check::check(self, &mut expr, nodes);
        let types = checked.map_err(|faults| CompileError { source: source.to_owned(), faults })?;
        let mut names = BTreeSet::new();
        expr.names(&mut names);
        let cost_max = estimate::cost_max(&expr, &types);
        Ok(Program { result: types[expr.id].clone(), expr, names, cost_max })
    }
}

/// A checked expression that can be run any number of times.
#[derive(Clone, Debug)]
pub struct Program {
    expr: Expr,
    result: Type,
    names: BTreeSet<String>,
    cost_max: u64,
}

impl Program {
    /// Type of its value.
    pub fn result(&self) -> &Type {
        &self.result
    }

    /// Whether it reads a variable.
    pub fn reads(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// What a run costs at worst, by the sizes that the types of the variables promise.
    pub fn cost_max(&self) -> u64 {
        self.cost_max
    }

    /// Runs it.
    ///
    /// # Errors
    /// Errors of the language, and a spent budget.
    pub fn run(&self, variables: &dyn Activation, budget: &mut Budget) -> Outcome {
        run::run(&self.expr, variables, budget)
    }
}
