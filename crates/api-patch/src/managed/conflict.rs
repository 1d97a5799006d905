//! Fields that somebody else owns.

use std::fmt;

use api_meta::Cause;

use super::entries::{Operation, Owner};
use crate::fieldset::{FieldSet, Path};

/// A field owned by another manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The other manager, as messages name it: `"editor" using apps/v1`.
    pub manager: String,
    /// The field.
    pub path: Path,
}

/// All conflicts of an apply, by manager and path. Its text is the message of the 409.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conflicts(pub Vec<Conflict>);

impl Conflicts {
    pub(super) fn add(&mut self, owner: &Owner, fields: &FieldSet) {
        let manager = owner.to_string();
        self.0.extend(fields.paths().into_iter().map(|path| Conflict { manager: manager.clone(), path }));
    }

    /// The causes of the 409, one per field.
    pub fn causes(&self) -> Vec<Cause> {
        let cause = |c: &Conflict| Cause {
            reason: "FieldManagerConflict".to_owned(),
            message: format!("conflict with {}", c.manager),
            field: c.path.to_string(),
        };
        self.0.iter().map(cause).collect()
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.manager)?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {:?}", self.subresource)?;
        }
        if self.operation == Operation::Update {
            write!(f, " using {}", self.version)?;
        }
        Ok(())
    }
}

impl fmt::Display for Conflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = &self.0[..] {
            return write!(f, "Apply failed with 1 conflict: conflict with {}: {}", only.manager, only.path);
        }
        write!(f, "Apply failed with {} conflicts: ", self.0.len())?;
        let mut last = "";
        for c in &self.0 {
            if c.manager != last {
                let gap = if last.is_empty() { "" } else { "\n" };
                write!(f, "{gap}conflicts with {}:", c.manager)?;
                last = &c.manager;
            }
            write!(f, "\n- {}", c.path)?;
        }
        Ok(())
    }
}
