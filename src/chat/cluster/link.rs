//! The bus between this node and the others.

use super::super::Chat;
use super::super::contract::Action;
use super::contract::{Frame, Incarnation};

impl Chat {
    /// There is a bus. Call it at most once, right behind [`join`](Self::join). Without it the core
    /// gives no [`Action::Publish`].
    pub fn use_bus(&mut self) {}

    /// Something came over the bus.
    pub(in super::super) fn bus_frame(&mut self, _from: Incarnation, _frame: Frame, _out: &mut Vec<Action>) {}

    /// Whether anything can be published has changed.
    pub(in super::super) fn bus_works(&mut self, _works: bool, _out: &mut Vec<Action>) {}
}
