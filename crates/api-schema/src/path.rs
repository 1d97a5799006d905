//! Where in a tree a walk stands: a chain of stack frames, written out only when somebody asks.

use std::fmt;

/// One step down.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    /// A named field.
    Field(&'a str),
    /// A key of a map.
    Key(&'a str),
    /// An item of a list.
    Index(usize),
}

/// A position: the last step and the position before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path<'a> {
    above: Option<&'a Path<'a>>,
    step: Step<'a>,
}

/// The position one step below another.
pub(crate) fn below<'a>(above: Option<&'a Path<'a>>, step: Step<'a>) -> Path<'a> {
    Path { above, step }
}

impl fmt::Display for Path<'_> {
    /// `spec.containers[0].image`, as upstream names unknown fields.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(above) = self.above {
            write!(f, "{above}")?;
        }
        match self.step {
            Step::Index(i) => write!(f, "[{i}]"),
            Step::Field(name) | Step::Key(name) if self.above.is_none() => f.write_str(name),
            Step::Field(name) | Step::Key(name) => write!(f, ".{name}"),
        }
    }
}

impl Path<'_> {
    /// Field names alone, `spec.containers.image`, as Go's decoder names a field.
    pub(crate) fn fields(&self) -> String {
        let mut out = self.above.map(Path::fields).unwrap_or_default();
        if let Step::Field(name) = self.step {
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(name);
        }
        out
    }
}
