//! Questions about records, answered out of the store alone.

pub(crate) mod cat;
pub mod explain;
pub(crate) mod find;
pub mod inspect;
mod recorded_path;
pub(crate) mod which;
