//! The limits of a plan. Pure.

/// No image has more layers than this; some engines refuse one of more than 127.
pub(crate) const MOST_LAYERS: usize = 100;

/// When a base or a delta is made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// When its updates have more than this share of it, in percent of bytes of content.
    pub update_percent: u64,
    /// When more than this share of it is no longer used, likewise.
    pub dead_percent: u64,
    /// When an image would have more layers; at most [`MOST_LAYERS`].
    pub most_layers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            update_percent: 30,
            dead_percent: 25,
            most_layers: MOST_LAYERS,
        }
    }
}
