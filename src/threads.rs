//! Threads that end together.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Returns what a thread has returned. A panic of the thread goes on in the waiting thread.
pub(crate) fn joined<T>(ended: thread::Result<T>) -> T {
    ended.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Works on items, several at once, and returns the results in the order of the items. Fails with the error of the first item
/// that fails; no item is begun after a failure.
pub(crate) fn map<I: Sync, T: Send, E: Send>(
    most: NonZeroUsize,
    items: &[I],
    work: impl Fn(&I) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let next = AtomicUsize::new(0);
    let run = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else {
                return done;
            };
            let result = work(item);
            if result.is_err() {
                next.store(items.len(), Ordering::Relaxed);
            }
            done.push((at, result));
        }
    };
    let others = most.get().min(items.len()).saturating_sub(1);
    let mut done = thread::scope(|scope| {
        let others: Vec<_> = (0..others).map(|_| scope.spawn(run)).collect();
        let mut done = run();
        for other in others {
            done.extend(joined(other.join()));
        }
        done
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_and_the_first_failure_is_told() {
        let items: Vec<u32> = (0..100).collect();
        let most = NonZeroUsize::new(4).unwrap();
        let twice = map(most, &items, |item| Ok::<_, u32>(item * 2)).unwrap();
        assert!(
            twice
                .iter()
                .zip(&items)
                .all(|(twice, item)| *twice == item * 2)
        );
        let odd = map(most, &items, |item| {
            if item % 2 == 1 { Err(*item) } else { Ok(*item) }
        });
        assert!(odd.unwrap_err() < 9);
        assert!(
            map(most, &[] as &[u32], |_| Err::<(), _>(()))
                .unwrap()
                .is_empty()
        );
    }
}
