//! A cache of limited weight. The value used least recently goes first. One thread makes a value while others who want the
//! value wait.

use crate::error::Result;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Values by key.
pub(super) struct Cache<K, V> {
    most_bytes: u64,
    state: Mutex<State<K, V>>,
}

struct State<K, V> {
    held: HashMap<K, Held<V>>,
    bytes: u64,
    uses: u64,
}

struct Held<V> {
    /// Empty while a thread makes the value, and after a failure.
    value: Arc<Mutex<Option<V>>>,
    bytes: u64,
    last_use: u64,
}

/// Locks, also after a panic of another thread: no value is ever half changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Copy + Eq + Hash, V: Clone> Cache<K, V> {
    /// Starts with nothing. A single value may be heavier than `most_bytes`, and is then alone.
    pub(super) fn new(most_bytes: u64) -> Self {
        let state = State {
            held: HashMap::new(),
            bytes: 0,
            uses: 0,
        };
        Self {
            most_bytes,
            state: Mutex::new(state),
        }
    }

    /// Returns the value of a key, made with its weight by `make` unless held. Fails as `make` does; the next call tries again.
    pub(super) fn get(&self, key: K, make: impl FnOnce() -> Result<(V, u64)>) -> Result<V> {
        let slot = self.slot(key);
        let mut value = lock(&slot);
        if let Some(value) = &*value {
            return Ok(value.clone());
        }
        let (made, bytes) = make()?;
        *value = Some(made.clone());
        drop(value);
        self.weigh(key, bytes);
        Ok(made)
    }

    fn slot(&self, key: K) -> Arc<Mutex<Option<V>>> {
        let mut state = lock(&self.state);
        state.uses += 1;
        let last_use = state.uses;
        let held = state.held.entry(key).or_insert_with(|| Held {
            value: Arc::default(),
            bytes: 0,
            last_use,
        });
        held.last_use = last_use;
        Arc::clone(&held.value)
    }

    /// Notes the weight of a new value, and makes room.
    fn weigh(&self, key: K, bytes: u64) {
        let mut state = lock(&self.state);
        if let Some(held) = state.held.get_mut(&key) {
            held.bytes = bytes;
            state.bytes += bytes;
        }
        while state.bytes > self.most_bytes {
            let others = state.held.iter().filter(|(other, _)| **other != key);
            let made = others.filter(|(_, held)| held.bytes > 0);
            let oldest = made.min_by_key(|(_, held)| held.last_use);
            let Some(oldest) = oldest.map(|(key, _)| *key) else {
                return;
            };
            if let Some(gone) = state.held.remove(&oldest) {
                state.bytes -= gone.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn the_value_used_least_recently_goes_and_a_failure_is_tried_again() {
        let cache = Cache::new(10);
        let known = |key: u32| {
            let mut is_made = false;
            let value = cache.get(key, || {
                is_made = true;
                Ok((key, 4))
            });
            assert_eq!(value.unwrap(), key);
            !is_made
        };
        assert!(!known(1) && !known(2) && known(1));
        assert!(!known(3) && known(1) && known(3) && !known(2));
        let failed = cache.get(9, || Err(Error::Locked("x".into())));
        assert!(failed.is_err());
        assert_eq!(cache.get(9, || Ok((7, 100))).unwrap(), 7);
        assert!(!known(1) && known(1));
    }
}
