//! Questions about what is recorded, answered out of the store alone.

pub mod cat;
pub mod explain;
pub mod find;
pub mod inspect;
mod recorded_path;
pub mod which;
