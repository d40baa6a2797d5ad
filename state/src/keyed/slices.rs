//! (slice end, key) → value: event-time state that is dropped slice by slice.
//!
//! Every slice is a cache of its own. What opens and closes between two checkpoints never touches the database,
//! unless memory forces it; what did reach it is dropped by one range delete for each key group.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;

use super::cache::{Cache, CacheRef};
use super::context::TableContext;
use super::map::MapTable;
use crate::Result;
use crate::backend::after_prefix;
use crate::encoding::key;

/// (slice end, key) → value. A handle: clones speak of the same table.
#[derive(Clone)]
pub struct SliceTable {
    slices: Rc<RefCell<Slices>>,
}

/// The slices of one table.
pub(crate) struct Slices {
    table: Rc<TableContext>,
    open: BTreeMap<i64, CacheRef>,
}

impl Slices {
    /// `stored`: ends of the slices that the database holds.
    pub(crate) fn new(table: Rc<TableContext>, stored: Vec<i64>) -> Self {
        let mut slices = Self {
            table,
            open: BTreeMap::new(),
        };
        for end in stored {
            slices.add(end, false);
        }
        slices
    }

    fn add(&mut self, end: i64, complete: bool) -> CacheRef {
        let cache = Rc::new(RefCell::new(Cache::new(
            self.table.clone(),
            Some(end),
            complete,
        )));
        self.table.registry.add(&cache);
        self.open.insert(end, cache.clone());
        cache
    }

    /// Forgets slices that hold nothing and that nobody has a handle of.
    pub(crate) fn forget_empty(&mut self) {
        self.open.retain(|_, cache| {
            let empty = !cache.borrow().reached_database && cache.borrow().index.is_empty();
            Rc::strong_count(cache) > 1 || !empty
        });
    }
}

impl SliceTable {
    pub(crate) fn new(slices: Rc<RefCell<Slices>>) -> Self {
        Self { slices }
    }

    /// The table of one slice (made if missing): a `MapTable` for the keys of that slice. `end` in microseconds.
    ///
    /// # Errors
    /// None today.
    pub fn slice(&self, end: i64) -> Result<MapTable> {
        let mut slices = self.slices.borrow_mut();
        let cache = match slices.open.get(&end) {
            Some(cache) => cache.clone(),
            // Slices at rest were found at open, and a dropped one is deleted before anything of it is written again.
            None => slices.add(end, true),
        };
        Ok(MapTable::new(cache))
    }

    /// Ends of all slices that hold something (restored ones too), ascending.
    pub fn ends(&self) -> Vec<i64> {
        let slices = self.slices.borrow();
        let held = slices
            .open
            .iter()
            .filter(|(_, cache)| holds_something(cache));
        held.map(|(&end, _)| end).collect()
    }

    /// Whether a slice is among [`Self::ends`].
    pub fn holds(&self, end: i64) -> bool {
        let slices = self.slices.borrow();
        slices.open.get(&end).is_some_and(holds_something)
    }

    /// Drops a slice whole (one range delete per key group, none if it never reached the database). While the gate is
    /// closed the deletes wait. Handles of the slice must not be used afterwards.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn drop_slice(&self, end: i64) -> Result<()> {
        let mut slices = self.slices.borrow_mut();
        let Some(cache) = slices.open.remove(&end) else {
            return Ok(());
        };
        let table = slices.table.clone();
        if cache.borrow().reached_database {
            table.registry.defer(|writes| {
                for group in table.range.start..table.range.end {
                    let start = writes.bytes.len();
                    key::put_prefix(weir_types::KeyGroup(group), Some(end), &mut writes.bytes);
                    let to = after_prefix(&writes.bytes[start..]);
                    writes.end_key();
                    writes.bytes.extend_from_slice(&to);
                    writes.end_delete_range(table.index);
                }
            });
        }
        cache.borrow_mut().retire();
        table.registry.write_deferred()
    }
}

fn holds_something(cache: &CacheRef) -> bool {
    let cache = cache.borrow();
    cache.live > 0 || !cache.complete
}

/// Ends of the slices that the database holds: seeks from one to the next within each key group.
pub(crate) fn stored_slices(table: &TableContext) -> Result<Vec<i64>> {
    let mut ends = std::collections::BTreeSet::new();
    for group in table.range.start..table.range.end {
        let mut from = group.to_be_bytes().to_vec();
        let to = after_prefix(&from);
        loop {
            let mut found = None;
            table
                .backend
                .scan(table.index, &from, &to, &mut |stored, _| {
                    found = Some(key::slice_of(stored)?);
                    Ok(ControlFlow::Break(()))
                })?;
            let Some(end) = found else { break };
            ends.insert(end);
            from.clear();
            key::put_prefix(weir_types::KeyGroup(group), Some(end), &mut from);
            from = after_prefix(&from);
        }
    }
    Ok(ends.into_iter().collect())
}
