//! Stamps of a root against a plain map, also where rows are damaged or lost.

mod bench;
mod boots;
mod levels;
