//! What is wrong with an expression, and with a run of it.

use std::fmt;

/// Something wrong at a place of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where, in characters from the start.
    pub at: usize,
    /// What, in cel-go's words.
    pub message: String,
}

impl Fault {
    pub(crate) fn new(at: usize, message: impl Into<String>) -> Fault {
        Fault { at, message: message.into() }
    }

    pub(crate) fn syntax(at: usize, message: impl fmt::Display) -> Fault {
        Fault::new(at, format!("Syntax error: {message}"))
    }
}

/// Why an expression was not compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    /// The expression.
    pub source: String,
    /// What is wrong with it, by place; at least one.
    pub faults: Vec<Fault>,
}

impl CompileError {
    pub(crate) fn one(source: &str, fault: Fault) -> CompileError {
        CompileError { source: source.to_owned(), faults: vec![fault] }
    }
}

impl std::error::Error for CompileError {}

impl fmt::Display for CompileError {
    /// Each fault with its line and a mark below, as cel-go prints them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.faults.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            let (line, column, text) = place(&self.source, fault.at);
            let dots: String =
                text.chars().take(column).map(|c| if c.is_ascii() { '.' } else { '．' }).collect();
            let dots = format!("{dots}{}", ".".repeat(column.saturating_sub(text.chars().count())));
            write!(f, "ERROR: <input>:{line}:{}: {}\n | {text}\n | {dots}^", column + 1, fault.message)?;
        }
        Ok(())
    }
}

/// Line (from 1), column (from 0) and text of the line of a place.
fn place(source: &str, at: usize) -> (usize, usize, String) {
    let (mut line, mut column) = (1, 0);
    for c in source.chars().take(at) {
        if c == '\n' {
            (line, column) = (line + 1, 0);
        } else {
            column += 1;
        }
    }
    let text = source.split('\n').nth(line - 1).unwrap_or_default().replace('\t', " ");
    (line, column, text)
}

/// Why a run gave no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunError {
    /// The budget of the run is spent; nothing absorbs this.
    Cost,
    /// An error of the language: `no such key: a`, `division by zero`. `||` and `&&` may absorb it.
    Value(String),
}

impl RunError {
    pub(crate) fn new(text: impl Into<String>) -> RunError {
        RunError::Value(text.into())
    }

    /// Arguments that no form of the function takes.
    pub(crate) fn overload() -> RunError {
        RunError::new("no such overload")
    }
}

impl std::error::Error for RunError {}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Cost => f.write_str("operation cancelled: actual cost limit exceeded"),
            RunError::Value(text) => f.write_str(text),
        }
    }
}
