//! What can go wrong on the way to an API server, by what the caller can do about it.

use api_meta::{Reason, Status};

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server refused; the status says why.
    #[error("{0}")]
    Refused(Box<Status>),
    /// No answer; whether the request took effect is unknown.
    #[error("reach the API server: {0}")]
    Unreachable(String),
    /// An answer that cannot be read.
    #[error("read the answer of {what}")]
    Unreadable {
        /// Which request.
        what: String,
        /// Where reading stopped.
        #[source]
        source: serde_json::Error,
    },
    /// A request that cannot be built: our own mistake.
    #[error("build the request: {0}")]
    Unbuildable(String),
}

/// What to do about an error; retry policy follows from it, in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Somebody else wrote first, or the precondition no longer holds: look again.
    Conflict,
    /// The object is gone.
    NotFound,
    /// The object is already there.
    Exists,
    /// History is no longer there: list again.
    Expired,
    /// The request itself is wrong: a person must change something.
    Invalid,
    /// Not allowed.
    Forbidden,
    /// May work later.
    Transient,
    /// Our bug.
    Bug,
}

impl Error {
    /// From a status.
    pub fn refused(status: Status) -> Error {
        Error::Refused(Box::new(status))
    }

    /// The server's status, if it answered.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Error::Refused(status) => Some(status),
            _ => None,
        }
    }

    /// What to do about it.
    pub fn class(&self) -> Class {
        let status = match self {
            Error::Refused(status) => status,
            Error::Unreachable(_) => return Class::Transient,
            Error::Unreadable { .. } | Error::Unbuildable(_) => return Class::Bug,
        };
        match Reason::parse(&status.reason) {
            Some(Reason::Conflict) => Class::Conflict,
            Some(Reason::AlreadyExists) => Class::Exists,
            Some(Reason::NotFound) => Class::NotFound,
            Some(Reason::Expired | Reason::Gone) => Class::Expired,
            Some(Reason::Forbidden | Reason::Unauthorized) => Class::Forbidden,
            Some(
                Reason::Invalid
                | Reason::BadRequest
                | Reason::MethodNotAllowed
                | Reason::UnsupportedMediaType,
            ) => Class::Invalid,
            _ if status.code == 404 => Class::NotFound,
            _ => Class::Transient,
        }
    }

    /// Whether the object is gone.
    pub fn is_not_found(&self) -> bool {
        self.class() == Class::NotFound
    }
}
