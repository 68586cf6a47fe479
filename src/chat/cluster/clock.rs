//! The clock of a node: a hybrid logical clock. Each `seq` is one reading of it. The upper bits of
//! a `seq` are ms, followed by a count; its last bits are the number of the node. So no two nodes
//! give the same `seq`, and a node that has seen a `seq` gives only greater ones. The clock does
//! not measure time: between two views it only counts.

use super::contract::{MS_SHIFT, NODE_BITS, NodeId};

/// The difference between two consecutive numbers of a node.
pub(in super::super) const STEP: u64 = 1 << NODE_BITS;

/// The smallest `seq` of this node that is greater than `seen`.
pub(super) fn next_seq_after(seen: u64, node: NodeId) -> u64 {
    let own = (seen & !(STEP - 1)) | u64::from(node.get());
    if own > seen { own } else { own + STEP }
}

/// The first `seq` of this time.
pub(super) fn at(wall_ms: u64) -> u64 {
    // A wrong wall clock must not make it greater than the store's column can hold.
    wall_ms.min((1 << (63 - MS_SHIFT)) - 1) << MS_SHIFT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seq_is_the_nodes_own_and_greater_than_what_it_has_seen() {
        for node in [1, 2, 1_023].map(|number| NodeId::new(number).unwrap()) {
            for seen in [0, 1, 5, 1_023, 1_024, 1_025, 3_070, at(1_700_000_000_000), at(1_700_000_000_000) + 1_023] {
                let next = next_seq_after(seen, node);
                assert!(next > seen && next <= seen + STEP, "{seen} {next}");
                assert_eq!(next % STEP, u64::from(node.get()));
                assert_eq!(next_seq_after(next, node), next + STEP);
            }
        }
        assert!(at(1) > at(0) + 1_000 * STEP, "it counts at least a thousand in a ms");
        assert!(i64::try_from(at(u64::MAX)).is_ok());
        assert_eq!((NodeId::new(0), NodeId::new(1_024)), (None, None));
    }
}
