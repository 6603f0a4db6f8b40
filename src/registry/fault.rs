//! Why a request has no answer that can be used: whether to ask again, and what to tell.

use crate::error::Error;
use std::time::Duration;

/// A failure of one try.
#[derive(Debug)]
pub(super) enum Fault {
    /// The same may work in a while: later, where the server says when.
    Again {
        why: String,
        after: Option<Duration>,
    },
    /// The credentials do not do.
    Refused { status: u16, text: String },
    /// Asking again would not help.
    Failed(String),
    /// An error that is not of the registry.
    Other(Error),
}

impl Fault {
    /// Makes a fault that another try may mend.
    pub(super) fn again(why: impl Into<String>) -> Self {
        Self::Again {
            why: why.into(),
            after: None,
        }
    }

    /// Makes a fault that stays.
    pub(super) fn failed(what: impl Into<String>) -> Self {
        Self::Failed(what.into())
    }

    /// Returns the error that names the registry and what was asked.
    pub(super) fn into_error(self, registry: &str, action: &str) -> Error {
        let registry = registry.to_owned();
        let action = action.to_owned();
        match self {
            Self::Again { why, .. } => Error::RegistryUnreachable {
                registry,
                action,
                reason: why,
            },
            Self::Refused { status, text } => Error::RegistryRefused {
                registry,
                action,
                status,
                text,
            },
            Self::Failed(what) => Error::Registry {
                registry,
                action,
                what,
            },
            Self::Other(error) => error,
        }
    }
}
