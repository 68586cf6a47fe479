//! The mark in the row of a node, written by the node itself, or by another node when it fenced
//! that node. It is for operators only, and tells them more than whether the node lives.

/// A mark of one incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeRowStatusMark {
    /// An operator drains the node.
    Draining,
    /// The node has left by itself.
    Stopped,
    /// Another node has fenced it.
    Fenced,
}

impl NodeRowStatusMark {
    /// The assignments in an `UPDATE` of the node's row. `epoch` is the epoch of the row after the
    /// update.
    pub(super) fn assignments(self, epoch: u64) -> String {
        let state = match self {
            Self::Draining => 1,
            Self::Stopped => 2,
            Self::Fenced => 3,
        };
        format!("state = {state}, state_epoch = {epoch}")
    }

    /// The mark in a row with these columns. `None`: there is no mark, or it belongs to another
    /// incarnation, because a build that does not know these columns has left their values
    /// unchanged.
    pub(super) fn of_row(state: u64, state_epoch: u64, epoch: u64) -> Option<Self> {
        match state {
            _ if state_epoch != epoch => None,
            1 => Some(Self::Draining),
            2 => Some(Self::Stopped),
            3 => Some(Self::Fenced),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_counts_only_in_its_epoch() {
        for (state, mark) in
            [(1, NodeRowStatusMark::Draining), (2, NodeRowStatusMark::Stopped), (3, NodeRowStatusMark::Fenced)]
        {
            assert_eq!(mark.assignments(7), format!("state = {state}, state_epoch = 7"));
            assert_eq!(NodeRowStatusMark::of_row(state, 7, 7), Some(mark));
            assert_eq!(NodeRowStatusMark::of_row(state, 7, 8), None, "an older build has fenced or started it");
        }
        assert_eq!(
            [0, 4].map(|state| NodeRowStatusMark::of_row(state, 7, 7)),
            [None, None],
            "no mark, or one of a newer build"
        );
    }
}
