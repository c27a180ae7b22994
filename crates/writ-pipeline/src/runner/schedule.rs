//! The stage graph: as much at once as there are cores, the longest chain first.

use std::collections::BTreeSet;
use std::future::Future;

use tokio::task::JoinSet;

use super::Cancel;

/// One node of the graph.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Indices of nodes that must have ended well before.
    pub needs: Vec<usize>,
    /// Cores it keeps busy, at least one.
    pub weight: u32,
    /// How long it took last time or is thought to take, in milliseconds.
    pub estimate: u64,
}

/// What became of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeOutcome<T> {
    /// It ran.
    Ran(T),
    /// A node it needs did not end well; its index.
    Blocked(usize),
    /// The run was cancelled before it started.
    Cancelled,
    /// Its task broke.
    Broken(String),
}

/// A finished turn: what it made, and whether those that need it may run.
#[derive(Debug)]
pub struct Turn<T> {
    /// What it made.
    pub value: T,
    /// Whether nodes that need it may run.
    pub good: bool,
}

/// Runs every node once its needs have ended well. The graph must have no cycles: nodes in one are
/// reported as blocked.
pub async fn schedule<T, F, W>(
    nodes: &[Node],
    cores: u32,
    cancel: &Cancel,
    mut start: W,
) -> Vec<NodeOutcome<T>>
where
    T: Send + 'static,
    F: Future<Output = Turn<T>> + Send + 'static,
    W: FnMut(usize) -> F,
{
    let rank = ranks(nodes);
    let mut outcomes: Vec<Option<NodeOutcome<T>>> = nodes.iter().map(|_| None).collect();
    let mut good: BTreeSet<usize> = BTreeSet::new();
    let mut waiting: BTreeSet<usize> = (0..nodes.len()).collect();
    let mut running: JoinSet<(usize, Turn<T>)> = JoinSet::new();
    let mut ids = std::collections::HashMap::new();
    let mut busy = 0_u32;
    let weight = |index: usize| nodes[index].weight.clamp(1, cores.max(1));
    loop {
        if cancel.is_cancelled() {
            for index in std::mem::take(&mut waiting) {
                outcomes[index] = Some(NodeOutcome::Cancelled);
            }
        }
        // Nodes whose needs ended badly never run; repeat, because blocking spreads.
        while let Some((index, by)) = waiting.iter().find_map(|&index| {
            let failed = |need: &&usize| {
                outcomes.get(**need).is_none_or(|o| o.is_some()) && !good.contains(need)
            };
            nodes[index]
                .needs
                .iter()
                .find(failed)
                .map(|by| (index, *by))
        }) {
            waiting.remove(&index);
            outcomes[index] = Some(NodeOutcome::Blocked(by));
        }
        let mut ready: Vec<usize> = waiting
            .iter()
            .copied()
            .filter(|&index| nodes[index].needs.iter().all(|need| good.contains(need)))
            .collect();
        ready.sort_by_key(|&index| (std::cmp::Reverse(rank[index]), index));
        for index in ready {
            if busy == 0 || busy + weight(index) <= cores {
                waiting.remove(&index);
                busy += weight(index);
                let work = start(index);
                let handle = running.spawn(async move { (index, work.await) });
                ids.insert(handle.id(), index);
            }
        }
        match running.join_next().await {
            None => break,
            Some(Ok((index, turn))) => {
                busy -= weight(index);
                if turn.good {
                    good.insert(index);
                }
                outcomes[index] = Some(NodeOutcome::Ran(turn.value));
            }
            Some(Err(error)) => {
                if let Some(&index) = ids.get(&error.id()) {
                    busy -= weight(index);
                    outcomes[index] = Some(NodeOutcome::Broken(error.to_string()));
                }
            }
        }
    }
    outcomes
        .into_iter()
        .enumerate()
        .map(|(index, outcome)| {
            outcome.unwrap_or(NodeOutcome::Blocked(
                nodes[index].needs.first().copied().unwrap_or(index),
            ))
        })
        .collect()
}

/// Length of the longest chain that starts at each node.
fn ranks(nodes: &[Node]) -> Vec<u64> {
    let mut rank: Vec<u64> = nodes.iter().map(|node| node.estimate.max(1)).collect();
    // One pass per possible chain length; a cycle cannot make it endless.
    for _ in 0..nodes.len() {
        let mut changed = false;
        for (index, node) in nodes.iter().enumerate() {
            for &need in &node.needs {
                let Some(before) = nodes.get(need) else {
                    continue;
                };
                let wanted = before.estimate.max(1).saturating_add(rank[index]);
                if rank[need] < wanted {
                    rank[need] = wanted;
                    changed = true;
                }
            }
        }
        if !changed {
            break;
        }
    }
    rank
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn node(needs: &[usize]) -> Node {
        Node {
            needs: needs.to_vec(),
            weight: 1,
            estimate: 1,
        }
    }

    async fn order(
        nodes: &[Node],
        cores: u32,
        bad: &'static [usize],
        cancel_at: Option<usize>,
    ) -> (Vec<usize>, Vec<NodeOutcome<usize>>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let cancel = Cancel::new();
        let outcomes = schedule(nodes, cores, &cancel, |index| {
            seen.lock().unwrap().push(index);
            let cancel = cancel.clone();
            async move {
                tokio::task::yield_now().await;
                if cancel_at == Some(index) {
                    cancel.cancel();
                }
                Turn {
                    value: index,
                    good: !bad.contains(&index),
                }
            }
        })
        .await;
        (
            Arc::try_unwrap(seen).unwrap().into_inner().unwrap(),
            outcomes,
        )
    }

    #[tokio::test]
    async fn the_longest_chain_goes_first() {
        // 0 and 1 are short; 2 -> 3 -> 4 is long.
        let nodes = [node(&[]), node(&[]), node(&[]), node(&[2]), node(&[3])];
        assert_eq!(order(&nodes, 1, &[], None).await.0, [2, 3, 0, 1, 4]);
    }

    #[tokio::test]
    async fn failure_blocks_what_needs_it_and_nothing_else() {
        let nodes = [node(&[]), node(&[0]), node(&[1]), node(&[])];
        let (_, outcomes) = order(&nodes, 2, &[0], None).await;
        assert_eq!(
            outcomes,
            [
                NodeOutcome::Ran(0),
                NodeOutcome::Blocked(0),
                NodeOutcome::Blocked(1),
                NodeOutcome::Ran(3)
            ]
        );
    }

    #[tokio::test]
    async fn cancelling_keeps_what_is_done() {
        let nodes = [node(&[]), node(&[0]), node(&[1])];
        let (_, outcomes) = order(&nodes, 1, &[], Some(1)).await;
        assert_eq!(
            outcomes,
            [
                NodeOutcome::Ran(0),
                NodeOutcome::Ran(1),
                NodeOutcome::Cancelled
            ]
        );
    }

    #[tokio::test]
    async fn a_cycle_ends() {
        let nodes = [node(&[1]), node(&[0])];
        let (seen, outcomes) = order(&nodes, 2, &[], None).await;
        assert!(seen.is_empty());
        assert!(
            outcomes
                .iter()
                .all(|o| matches!(o, NodeOutcome::Blocked(_)))
        );
    }
}
