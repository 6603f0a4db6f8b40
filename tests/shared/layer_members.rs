//! What a layer holds of a change, where layered snapshots are known to go wrong: whiteouts, parents, attributes, encoding. What the tests of both targets share.

pub(crate) const PLAIN: &str = "--profile plain";
