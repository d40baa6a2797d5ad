//! Keys of a multimap that are over: all of their rows go, unread.
//!
//! `apply` takes a row back by its bytes, which the caller has to have: whoever wants to be rid of whole keys would decode every
//! row and encode it again. Here the rows are found by the list of their key.

use arrow::array::ArrayRef;

use super::cache::{Cache, NO_SLOT};
use super::multimap::MultiMapTable;
use crate::Result;

impl MultiMapTable {
    /// Whether all of it is in memory: then asking for a key never reads the database.
    pub fn is_in_memory(&self) -> bool {
        self.cache.borrow().complete
    }

    /// Removes all rows of these keys. Gives the numbers of those keys of which not all rows are in memory: they keep theirs,
    /// to be probed and taken back.
    ///
    /// # Errors
    /// A key that cannot be cast to its declared type.
    pub fn forget(&self, keys: &[ArrayRef], hashes: &[u64]) -> Result<Vec<u32>> {
        let mut cache = self.cache.borrow_mut();
        cache.acknowledge();
        let table = cache.table.clone();
        let key_columns = table.canonical_keys(keys)?;
        let keys = table.key_batch(&key_columns, hashes.len()).into_bytes();
        let mut left = Vec::new();
        let mut slots = Vec::new();
        for (row, &hash) in hashes.iter().enumerate() {
            if !cache.forget_key(hash, keys.get(row), &mut slots) {
                left.push(row as u32);
            }
        }
        cache.report_dirty();
        Ok(left)
    }
}

impl Cache {
    /// Removes the rows of a key if all are in memory; whether they were.
    fn forget_key(&mut self, hash: u64, entry_key: &[u8], slots: &mut Vec<u32>) -> bool {
        let owner = self.owner(hash, entry_key);
        let whole = |owner| {
            self.lists
                .as_ref()
                .is_some_and(|lists| lists.is_whole(owner))
        };
        if self.may_have_rows_at_rest(hash) && !owner.is_some_and(whole) {
            return false;
        }
        slots.clear();
        if let (Some(owner), Some(lists)) = (owner, &self.lists) {
            let mut slot = lists.first(owner);
            while slot != NO_SLOT {
                slots.push(slot);
                slot = lists.next(slot);
            }
        }
        for &slot in slots.iter() {
            if !self.is_absent(slot) {
                self.touch(slot);
                self.set_absent(slot);
            }
        }
        true
    }
}
