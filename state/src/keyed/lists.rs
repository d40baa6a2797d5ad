//! The rows of each key of a multimap, as lists through the slots of its cache.
//!
//! ```text
//!   hash of the key ─▶ Owner { first, key length, whole } ─▶ slot ⇄ slot ⇄ slot
//! ```
//!
//! An owner is *whole* while all live rows of its key are in memory; the first eviction of one ends that.

use hashbrown::HashTable;

use super::cache::NO_SLOT;

/// Stands for no owner.
const NO_OWNER: u32 = u32::MAX;

/// One key.
#[derive(Clone, Copy, Debug)]
struct Owner {
    /// Of the key alone.
    hash: u32,
    first: u32,
    rows: u32,
    /// Bytes of the encoded key at the start of each row's bytes.
    key_length: u32,
    whole: bool,
}

/// A slot's place in the list of its key.
#[derive(Clone, Copy, Debug)]
struct Link {
    owner: u32,
    next: u32,
    previous: u32,
}

const UNLINKED: Link = Link {
    owner: NO_OWNER,
    next: NO_SLOT,
    previous: NO_SLOT,
};

/// See the module's text.
#[derive(Default)]
pub(crate) struct Lists {
    owners: Vec<Owner>,
    free: Vec<u32>,
    index: HashTable<u32>,
    links: Vec<Link>,
}

/// Spreads the 32 bits of a key's hash for the hash table.
#[inline]
fn spread(hash: u32) -> u64 {
    weir_types::hash::mix(u64::from(hash))
}

impl Lists {
    /// Makes place for `slots` slots.
    pub(crate) fn grow(&mut self, slots: usize) {
        self.links.resize(slots, UNLINKED);
    }

    #[inline]
    pub(crate) fn is_attached(&self, slot: u32) -> bool {
        self.links[slot as usize].owner != NO_OWNER
    }

    /// The owner of the key; `key_of` gives a slot's bytes (key and row).
    pub(crate) fn find<'a>(
        &self,
        hash: u32,
        key: &[u8],
        key_of: impl Fn(u32) -> &'a [u8],
    ) -> Option<u32> {
        let found = self.index.find(spread(hash), |&owner| {
            let owner = &self.owners[owner as usize];
            owner.hash == hash && key_of(owner.first).get(..owner.key_length as usize) == Some(key)
        });
        found.copied()
    }

    /// Puts a slot into the list of its key.
    pub(crate) fn attach<'a>(
        &mut self,
        slot: u32,
        hash: u32,
        key: &[u8],
        whole: bool,
        key_of: impl Fn(u32) -> &'a [u8],
    ) {
        let owner = match self.find(hash, key, key_of) {
            Some(owner) => owner,
            None => self.add_owner(Owner {
                hash,
                first: NO_SLOT,
                rows: 0,
                key_length: key.len() as u32,
                whole,
            }),
        };
        let entry = &mut self.owners[owner as usize];
        let next = entry.first;
        entry.first = slot;
        entry.rows += 1;
        self.links[slot as usize] = Link {
            owner,
            next,
            previous: NO_SLOT,
        };
        if next != NO_SLOT {
            self.links[next as usize].previous = slot;
        }
    }

    fn add_owner(&mut self, owner: Owner) -> u32 {
        let number = match self.free.pop() {
            Some(number) => {
                self.owners[number as usize] = owner;
                number
            }
            None => {
                self.owners.push(owner);
                self.owners.len() as u32 - 1
            }
        };
        let owners = &self.owners;
        self.index
            .insert_unique(spread(owner.hash), number, |&other| {
                spread(owners[other as usize].hash)
            });
        number
    }

    /// Takes a slot out of its list. `absent`: it held no row, so the key stays whole.
    pub(crate) fn detach(&mut self, slot: u32, absent: bool) {
        let link = std::mem::replace(&mut self.links[slot as usize], UNLINKED);
        if link.owner == NO_OWNER {
            return;
        }
        if link.next != NO_SLOT {
            self.links[link.next as usize].previous = link.previous;
        }
        let owner = &mut self.owners[link.owner as usize];
        if link.previous == NO_SLOT {
            owner.first = link.next;
        } else {
            self.links[link.previous as usize].next = link.next;
        }
        owner.rows -= 1;
        owner.whole &= absent;
        if owner.rows == 0 {
            let hash = spread(owner.hash);
            if let Ok(entry) = self.index.find_entry(hash, |&other| other == link.owner) {
                entry.remove();
            }
            self.free.push(link.owner);
        }
    }

    /// Whether all live rows of the key are in memory.
    pub(crate) fn is_whole(&self, owner: u32) -> bool {
        self.owners[owner as usize].whole
    }

    pub(crate) fn set_whole(&mut self, owner: u32) {
        self.owners[owner as usize].whole = true;
    }

    /// The first slot of a key.
    #[inline]
    pub(crate) fn first(&self, owner: u32) -> u32 {
        self.owners[owner as usize].first
    }

    /// The slot after `slot`, or no slot.
    #[inline]
    pub(crate) fn next(&self, slot: u32) -> u32 {
        self.links[slot as usize].next
    }

    /// Bytes of the key at the start of a slot's bytes.
    #[inline]
    pub(crate) fn key_length(&self, slot: u32) -> usize {
        self.owners[self.links[slot as usize].owner as usize].key_length as usize
    }

    pub(crate) fn bytes(&self) -> usize {
        self.owners.capacity() * size_of::<Owner>()
            + self.free.capacity() * 4
            + self.index.allocation_size()
            + self.links.capacity() * size_of::<Link>()
    }
}
