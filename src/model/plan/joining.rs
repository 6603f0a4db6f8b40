//! Which layers of an image become one, so the image has no more than a number of layers. Pure.
//!
//! The joined layers have as few bytes as can be. Only neighbours are joined, but package layers side by side may change places:
//! none hides a path of another. The state is joined only where one layer is to be left, since every build has another state.

use crate::model::plan::layer::Role;
use std::cmp::Reverse;

/// Directories and headers of a layer have about so many bytes, which are packed again with its files.
const LAYER_BYTES: u64 = 4096;

/// A layer of an image that may be joined.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joinable {
    /// The role.
    pub role: Role,
    /// The length of the files in bytes, each inode once.
    pub content_bytes: u64,
    /// Whether the layer may change places with neighbours that may too.
    pub is_movable: bool,
}

/// Returns the places of the layers that make each layer of an image of at most `most` layers, the lowest first. A layer that is
/// joined with none is alone. `most` is at least 1.
pub(crate) fn join_layers(layers: &[Joinable], most: usize) -> Vec<Vec<usize>> {
    let order = order(layers);
    if layers.len() <= most {
        return (0..layers.len()).map(|at| vec![at]).collect();
    }
    let costs = Costs::new(layers, &order);
    let mut groups = Vec::new();
    let mut last = order.len();
    for first in firsts(&costs, order.len(), most).into_iter().rev() {
        let mut group = order[first..last].to_vec();
        group.sort_unstable();
        groups.push(group);
        last = first;
    }
    groups.reverse();
    // Where none was joined, layers stay in their order.
    let is_single = |group: &Vec<usize>| matches!(group[..], [only] if layers[only].is_movable);
    for singles in groups.chunk_by_mut(|a, b| is_single(a) && is_single(b)) {
        singles.sort_unstable();
    }
    groups
}

/// Returns the role of layers that became one.
pub(crate) fn joined_role(roles: &[Role]) -> Role {
    let mut others = roles.iter().filter(|role| **role != Role::Package);
    others.next().copied().unwrap_or(Role::Package)
}

/// Returns the places of all layers, of movable neighbours the largest first: so the small ones are side by side.
fn order(layers: &[Joinable]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..layers.len()).collect();
    for run in order.chunk_by_mut(|a, b| layers[*a].is_movable && layers[*b].is_movable) {
        run.sort_by_key(|at| (Reverse(layers[*at].content_bytes), *at));
    }
    order
}

/// The bytes of neighbours that become one.
struct Costs {
    /// The bytes of all layers before a place.
    before: Vec<u64>,
    /// The places of states.
    states: Vec<usize>,
}

impl Costs {
    fn new(layers: &[Joinable], order: &[usize]) -> Self {
        let mut before = vec![0];
        let mut sum = 0_u64;
        for at in order {
            sum = sum.saturating_add(layers[*at].content_bytes.saturating_add(LAYER_BYTES));
            before.push(sum);
        }
        let is_state = |place: &usize| layers[order[*place]].role == Role::State;
        Self {
            before,
            states: (0..order.len()).filter(is_state).collect(),
        }
    }

    /// Returns the cost of the layers from `first` up to `end`, which is left out: nothing for a single layer.
    fn of(&self, first: usize, end: usize) -> u128 {
        if end - first < 2 {
            return 0;
        }
        let bytes = self.before[end] - self.before[first];
        let has_state = self.states.iter().any(|at| (first..end).contains(at));
        // More than all other layers together.
        let of_state = if has_state { u128::from(u64::MAX) } else { 0 };
        u128::from(bytes) + of_state
    }
}

/// Returns the first place of each of `most` groups with the least cost.
fn firsts(costs: &Costs, count: usize, most: usize) -> Vec<usize> {
    // Of each end, the least cost of so many groups, and the first place of the last of them.
    let mut least: Vec<u128> = (0..=count).map(|end| costs.of(0, end)).collect();
    let mut all_firsts: Vec<Vec<usize>> = vec![vec![0; count + 1]];
    for groups in 2..=most {
        let mut next = vec![u128::MAX; count + 1];
        let mut firsts = vec![0; count + 1];
        for end in groups..=count {
            let starts = least.iter().enumerate().take(end).skip(groups - 1);
            for (first, cost) in starts {
                let cost = cost.saturating_add(costs.of(first, end));
                if cost < next[end] {
                    (next[end], firsts[end]) = (cost, first);
                }
            }
        }
        least = next;
        all_firsts.push(firsts);
    }
    let mut chosen = Vec::with_capacity(most);
    let mut end = count;
    for firsts in all_firsts.iter().rev() {
        end = firsts[end];
        chosen.push(end);
    }
    chosen.reverse();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(all: &[(Role, u64)]) -> Vec<Joinable> {
        let joinable = |(role, content_bytes): &(Role, u64)| Joinable {
            role: *role,
            content_bytes: *content_bytes,
            is_movable: *role == Role::Package,
        };
        all.iter().map(joinable).collect()
    }

    const STAGES: [(Role, u64); 6] = [
        (Role::Base, 900_000),
        (Role::Update, 30_000),
        (Role::Update, 20_000),
        (Role::Delta, 500_000),
        (Role::Update, 10_000),
        (Role::State, 5),
    ];

    #[test]
    fn what_is_few_already_stays() {
        let all = layers(&STAGES);
        let alone: Vec<Vec<usize>> = (0..6).map(|at| vec![at]).collect();
        assert_eq!(join_layers(&all, 6), alone);
        assert_eq!(join_layers(&all, 100), alone);
    }

    #[test]
    fn the_fewest_bytes_are_joined_and_the_state_last() {
        let all = layers(&STAGES);
        let of = |most| join_layers(&all, most);
        assert_eq!(of(5), [vec![0], vec![1, 2], vec![3], vec![4], vec![5]]);
        assert_eq!(of(4), [vec![0], vec![1], vec![2, 3, 4], vec![5]]);
        assert_eq!(of(3), [vec![0], vec![1, 2, 3, 4], vec![5]]);
        assert_eq!(of(2), [vec![0, 1, 2, 3, 4], vec![5]]);
        assert_eq!(of(1), [vec![0, 1, 2, 3, 4, 5]]);
    }

    #[test]
    fn small_packages_are_joined_wherever_they_lie_among_packages() {
        let all = layers(&[
            (Role::Base, 5_000),
            (Role::Package, 300),
            (Role::Package, 90_000),
            (Role::Package, 200),
            (Role::Delta, 80_000),
            (Role::Package, 70_000),
            (Role::Package, 100),
            (Role::State, 5),
        ]);
        let joined = join_layers(&all, 7);
        let expected = [
            vec![0],
            vec![2],
            vec![1, 3],
            vec![4],
            vec![5],
            vec![6],
            vec![7],
        ];
        assert_eq!(joined, expected);
        let mut places: Vec<usize> = join_layers(&all, 4).concat();
        places.sort_unstable();
        assert_eq!(places, [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn packages_alone_stay_packages() {
        assert_eq!(joined_role(&[Role::Package, Role::Package]), Role::Package);
        assert_eq!(joined_role(&[Role::Package, Role::Delta]), Role::Delta);
        assert_eq!(joined_role(&[Role::Base, Role::State]), Role::Base);
    }
}
