//! What the keeper of a store asks for: room, soundness, and fewer layers.

pub mod prune;
mod repair;
pub mod squash;
pub mod usage;
pub mod verify;
