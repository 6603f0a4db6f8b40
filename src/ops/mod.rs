//! What the command does, one folder a subject: each brings the rooms together, and returns what was done for the
//! caller to print.

mod aside;
pub mod compare;
mod copied_layer;
pub(crate) mod keep;
mod layers;
pub mod monitor;
pub(crate) mod mount;
mod packing;
pub mod query;
pub mod record;
pub mod remote;
pub mod restore;
mod root_view;
mod store_index;
mod store_inside;
pub mod transfer;
