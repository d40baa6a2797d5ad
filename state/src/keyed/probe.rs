//! All rows of one key of a multimap, from memory and from the database.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering::Relaxed;

use super::at_rest::SCAN_IN_LOOK_UPS;
use super::cache::{Cache, NO_SLOT};
use super::chunk::KeyRef;
use super::lists::Lists;
use super::multimap::{Found, Resume, row_hash, take_count, upper};
use crate::Result;
use crate::backend::after_prefix;
use crate::encoding::key;

/// Rows of one key that a probe loads into memory at most; a key with more is read from the database as it is probed.
const ROWS_LOADED: usize = 4096;

impl Cache {
    pub(super) fn owner(&self, hash: u64, entry_key: &[u8]) -> Option<u32> {
        self.lists
            .as_ref()?
            .find(upper(hash), entry_key, |slot| self.entry_bytes(slot))
    }

    /// Adds the matches of one key after the first `matched` ones; `Some(matched)` if the limit came before the end.
    ///
    /// First come the rows in memory, in the order of their list (those given are pinned, so they stay), then the rows
    /// that only the database has, in the order of their keys.
    pub(super) fn probe_key(
        &mut self,
        row: usize,
        hash: u64,
        entry_key: &[u8],
        matched: usize,
        limit: usize,
        found: &mut Found,
    ) -> Result<Option<usize>> {
        let mut in_memory = self.is_whole(hash, entry_key);
        if !in_memory && matched == 0 {
            self.note_look_ups(SCAN_IN_LOOK_UPS);
            let mut rows = Vec::new();
            if !self.read_rows(hash, entry_key, ROWS_LOADED, &mut rows)? {
                self.load_rows(hash, entry_key, &rows)?;
                in_memory = rows.is_empty() || self.is_whole(hash, entry_key);
            }
        }
        let mut seen = 0;
        if let Some(owner) = self.owner(hash, entry_key)
            && let Some(lists) = self.lists.take()
        {
            let outcome = self.probe_list(&lists, owner, row, matched, limit, &mut seen, found);
            self.lists = Some(lists);
            if !outcome? {
                return Ok(Some(seen));
            }
        }
        if in_memory {
            return Ok(None);
        }
        self.probe_at_rest(row, hash, entry_key, matched, seen, limit, found)
    }

    /// Whether the key has any live row.
    pub(super) fn has_rows(&self, hash: u64, entry_key: &[u8]) -> Result<bool> {
        if let (Some(owner), Some(lists)) = (self.owner(hash, entry_key), &self.lists) {
            let mut slot = lists.first(owner);
            while slot != NO_SLOT {
                if !self.is_absent(slot) {
                    return Ok(true);
                }
                slot = lists.next(slot);
            }
        }
        Ok(!self.is_whole(hash, entry_key) && self.lost_rows(hash, entry_key)?)
    }

    /// Whether all live rows of the key are in memory.
    fn is_whole(&self, hash: u64, entry_key: &[u8]) -> bool {
        let whole = |owner| {
            self.lists
                .as_ref()
                .is_some_and(|lists| lists.is_whole(owner))
        };
        !self.may_have_rows_at_rest(hash) || self.owner(hash, entry_key).is_some_and(whole)
    }

    /// Adds the rows of a list, but the first `matched`; `false` if the limit came before the end.
    #[expect(
        clippy::too_many_arguments,
        reason = "one step of a probe, cut out to be read by itself"
    )]
    fn probe_list(
        &mut self,
        lists: &Lists,
        owner: u32,
        row: usize,
        matched: usize,
        limit: usize,
        seen: &mut usize,
        found: &mut Found,
    ) -> Result<bool> {
        let mut slot = lists.first(owner);
        while slot != NO_SLOT {
            if !self.is_absent(slot) {
                if *seen >= matched {
                    if found.len() >= limit {
                        return Ok(false);
                    }
                    self.touch(slot);
                    let length = lists.key_length(slot);
                    found.push(row, &self.entry_bytes(slot)[length..], self.count(slot))?;
                }
                *seen += 1;
            }
            slot = lists.next(slot);
        }
        Ok(true)
    }

    /// Adds the rows that only the database has. `seen` rows came from memory.
    #[expect(
        clippy::too_many_arguments,
        reason = "one step of a probe, cut out to be read by itself"
    )]
    fn probe_at_rest(
        &mut self,
        row: usize,
        hash: u64,
        entry_key: &[u8],
        matched: usize,
        mut seen: usize,
        limit: usize,
        found: &mut Found,
    ) -> Result<Option<usize>> {
        let mut from = Vec::new();
        self.put_database_key(hash, KeyRef::Bytes(entry_key), &mut from);
        let to = after_prefix(&from);
        // The last probe may have stopped right here: then the scan goes on behind its last row.
        let resume = self
            .resume
            .take()
            .filter(|resume| resume.matched == matched && resume.next.starts_with(&from));
        if let Some(resume) = resume {
            from = resume.next;
            seen = matched;
        }
        let table = self.table.clone();
        let mut next = None;
        table
            .backend
            .scan(table.index, &from, &to, &mut |stored, counted| {
                let entry = &stored[key::GROUP_BYTES..];
                let stored_row = &entry[entry_key.len()..];
                if self
                    .lookup(row_hash(hash, stored_row), KeyRef::Bytes(entry))
                    .is_some()
                {
                    return Ok(ControlFlow::Continue(()));
                }
                if seen >= matched {
                    if found.len() >= limit {
                        next = Some(stored.to_vec());
                        return Ok(ControlFlow::Break(()));
                    }
                    found.push(row, stored_row, take_count(counted)?)?;
                }
                seen += 1;
                Ok(ControlFlow::Continue(()))
            })?;
        self.resume = next.map(|next| Resume {
            next,
            matched: seen,
        });
        Ok(self.resume.as_ref().map(|_| seen))
    }

    /// Reads rows of a key that the database has and the cache does not, up to `wanted`; whether there are more.
    fn read_rows(
        &self,
        hash: u64,
        entry_key: &[u8],
        wanted: usize,
        rows: &mut Vec<(Vec<u8>, i64)>,
    ) -> Result<bool> {
        let mut from = Vec::new();
        self.put_database_key(hash, KeyRef::Bytes(entry_key), &mut from);
        let to = after_prefix(&from);
        let mut more = false;
        let table = &self.table;
        table
            .backend
            .scan(table.index, &from, &to, &mut |stored, counted| {
                let entry = &stored[key::GROUP_BYTES..];
                let row = &entry[entry_key.len()..];
                if self
                    .lookup(row_hash(hash, row), KeyRef::Bytes(entry))
                    .is_some()
                {
                    return Ok(ControlFlow::Continue(()));
                }
                if rows.len() == wanted {
                    more = true;
                    return Ok(ControlFlow::Break(()));
                }
                rows.push((row.to_vec(), take_count(counted)?));
                Ok(ControlFlow::Continue(()))
            })?;
        Ok(more)
    }

    /// Takes all rows of a key into memory, so that the next probe finds them here.
    fn load_rows(&mut self, hash: u64, entry_key: &[u8], rows: &[(Vec<u8>, i64)]) -> Result<()> {
        let evicted = self.evicted;
        self.make_room(rows.len())?;
        for (row, count) in rows {
            let mut entry = entry_key.to_vec();
            entry.extend_from_slice(row);
            let slot = self.insert(row_hash(hash, row), KeyRef::Bytes(&entry));
            self.put_count(slot, *count);
            self.attach(slot, hash, entry_key);
        }
        let reloaded = rows.len() as u64;
        self.table.budget.reloaded.fetch_add(reloaded, Relaxed);
        // Making room may have evicted clean rows of this very key: then it is not whole.
        let complete = self.evicted == evicted || !self.lost_rows(hash, entry_key)?;
        if let (Some(owner), Some(lists)) = (self.owner(hash, entry_key), &mut self.lists)
            && complete
        {
            lists.set_whole(owner);
        }
        self.update_charge();
        Ok(())
    }

    /// Whether the database has a row of the key that the cache does not.
    fn lost_rows(&self, hash: u64, entry_key: &[u8]) -> Result<bool> {
        let mut lost = Vec::new();
        let more = self.read_rows(hash, entry_key, 0, &mut lost)?;
        Ok(more || !lost.is_empty())
    }
}
