//! A setting that holds.

/// A value, and who says so, for people.
#[derive(Clone, Debug)]
pub(crate) struct Held<T> {
    pub value: T,
    pub origin: String,
}
