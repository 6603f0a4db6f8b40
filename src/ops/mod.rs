//! One use case a file: each brings the rooms together, and returns what it did for someone else to print.

mod below;
pub mod cat;
pub mod compared;
mod compose;
mod content;
mod contents;
mod describe;
pub mod diff;
mod dressed;
pub mod explain;
pub mod export;
pub mod find;
mod image;
pub mod inspect;
mod late;
mod live;
pub mod monitor;
mod observe;
mod packages;
mod recorded;
pub mod side;
mod sides;
pub mod snapshot;
mod spool;
mod trees;
pub mod which;
