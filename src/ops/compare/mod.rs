//! What differs between two trees, wherever each of them is.

mod content;
mod contents;
pub mod diff;
pub mod findings;
pub mod side;
mod sides;
