//! A slab whose keys never come back: what names a place that was given to somebody else finds
//! nothing.

use super::contract::Ticket;

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// Values by [`Ticket`].
#[derive(Debug)]
pub(super) struct Table<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Table<T> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    pub(super) fn insert(&mut self, value: T) -> Ticket {
        if let Some(slot) = self.free.pop() {
            let place = &mut self.slots[slot as usize];
            place.value = Some(value);
            return Ticket { slot, generation: place.generation };
        }
        self.slots.push(Slot { generation: 0, value: Some(value) });
        Ticket { slot: (self.slots.len() - 1) as u32, generation: 0 }
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<T> {
        let place = self.slots.get_mut(ticket.slot as usize).filter(|place| place.generation == ticket.generation)?;
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(ticket.slot);
        Some(value)
    }

    pub(super) fn get(&self, ticket: Ticket) -> Option<&T> {
        let place = self.slots.get(ticket.slot as usize)?;
        place.value.as_ref().filter(|_| place.generation == ticket.generation)
    }

    pub(super) fn contains(&self, ticket: Ticket) -> bool {
        self.get(ticket).is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// All that are there, in the order of their places.
    pub(super) fn tickets(&self) -> Vec<Ticket> {
        let taken = self.slots.iter().enumerate().filter(|(_, place)| place.value.is_some());
        taken.map(|(slot, place)| Ticket { slot: slot as u32, generation: place.generation }).collect()
    }

    #[cfg(debug_assertions)]
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|place| place.value.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_key_finds_nothing() {
        let mut table = Table::new();
        let first = table.insert('a');
        assert_eq!(table.remove(first), Some('a'));
        let second = table.insert('b');
        assert_eq!((second.slot, table.len()), (first.slot, 1));
        assert_eq!(table.remove(first), None);
        assert!(!table.contains(first) && table.contains(second));
    }
}
