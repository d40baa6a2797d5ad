//! The rows of each key of a sorted table, in order, as slots of its cache.
//!
//! ```text
//!   hash of the key ─▶ Owner { key length, whole, blocks, loose }
//!                                                     │       └▶ slot slot …                  in no order
//!                                                     └▶ [slot slot … slot] [slot …] …        ascending by their bytes
//! ```
//!
//! A block holds some hundred slots at most, so an insertion moves few of them however many rows a key has. New rows are
//! *loose* until somebody walks through their key: the values of a `count(DISTINCT …)`, for one, are looked up by their hash
//! alone, and finding the place of each among a hundred thousand would be most of the work.
//!
//! # Invariants
//! 1. No block is empty; within and across blocks the slots ascend by the bytes of their entries.
//! 2. An owner is *whole* while all live rows of its key are in memory; the first eviction of one ends that.
//! 3. A slot of an owner is in one block or loose, once; an owner has at least one slot; a walk finds nothing loose.

use hashbrown::HashTable;

/// Stands for no owner.
const NO_OWNER: u32 = u32::MAX;
/// Slots of a block at most.
const BLOCK_SLOTS: usize = 512;
/// Slots of a block that is made of many at once: it has room to grow.
const FRESH_BLOCK_SLOTS: usize = 384;
/// So many loose slots are put into their places one by one, and searched one by one; more are sorted.
const FEW: usize = 16;

/// One key.
#[derive(Debug)]
struct Owner {
    /// Of the key alone.
    hash: u32,
    /// Bytes of the encoded key at the start of each row's bytes.
    key_length: u32,
    whole: bool,
    /// It had too many rows to be loaded, when that was tried last.
    large: bool,
    blocks: Vec<Vec<u32>>,
    /// Slots that came since the last walk.
    loose: Vec<u32>,
}

impl Owner {
    /// Any of its slots.
    #[inline]
    fn any(&self) -> u32 {
        match self.blocks.first() {
            Some(block) => block[0],
            None => self.loose[0],
        }
    }

    /// Bytes that its lists take.
    fn bytes(&self) -> usize {
        let blocks: usize = self.blocks.iter().map(slots_bytes).sum();
        self.blocks.capacity() * size_of::<Vec<u32>>() + blocks + slots_bytes(&self.loose)
    }
}

/// See the module's text.
#[derive(Default)]
pub(crate) struct Ordered {
    owners: Vec<Owner>,
    free: Vec<u32>,
    index: HashTable<u32>,
    /// For each slot its owner.
    owner_of: Vec<u32>,
    /// Bytes that the owners' lists take.
    slots_bytes: usize,
}

/// Where the rows begin and end that a walk visits: bytes of whole entries, from (inclusive) and to (exclusive).
#[derive(Clone, Copy)]
pub(crate) struct Span<'a> {
    pub(crate) from: &'a [u8],
    pub(crate) to: Option<&'a [u8]>,
    pub(crate) reverse: bool,
}

/// Spreads the 32 bits of a key's hash for the hash table.
#[inline]
fn spread(hash: u32) -> u64 {
    weir_types::hash::mix(u64::from(hash))
}

fn slots_bytes(slots: &Vec<u32>) -> usize {
    slots.capacity() * size_of::<u32>()
}

impl Ordered {
    /// Makes place for `slots` slots.
    pub(crate) fn grow(&mut self, slots: usize) {
        self.owner_of.resize(slots, NO_OWNER);
    }

    #[inline]
    pub(crate) fn is_attached(&self, slot: u32) -> bool {
        self.owner_of[slot as usize] != NO_OWNER
    }

    /// The owner of the key; `bytes_of` gives a slot's bytes (key and row).
    pub(crate) fn find<'a>(
        &self,
        hash: u32,
        key: &[u8],
        bytes_of: impl Fn(u32) -> &'a [u8],
    ) -> Option<u32> {
        let found = self.index.find(spread(hash), |&owner| {
            let owner = &self.owners[owner as usize];
            owner.hash == hash
                && bytes_of(owner.any()).get(..owner.key_length as usize) == Some(key)
        });
        found.copied()
    }

    /// Adds a slot to the rows of its key.
    pub(crate) fn attach<'a>(
        &mut self,
        slot: u32,
        hash: u32,
        key: &[u8],
        whole: bool,
        bytes_of: impl Fn(u32) -> &'a [u8],
    ) {
        let number = match self.find(hash, key, &bytes_of) {
            Some(number) => number,
            None => self.add_owner(hash, key.len() as u32, whole),
        };
        self.owner_of[slot as usize] = number;
        let loose = &mut self.owners[number as usize].loose;
        let before = slots_bytes(loose);
        if loose.capacity() == 0 {
            // Most keys have one row.
            loose.reserve_exact(1);
        }
        loose.push(slot);
        self.slots_bytes += slots_bytes(loose) - before;
    }

    /// Puts the loose slots of a key into their places.
    pub(crate) fn settle<'a>(&mut self, number: u32, bytes_of: impl Fn(u32) -> &'a [u8]) {
        let owner = &mut self.owners[number as usize];
        if owner.loose.is_empty() {
            return;
        }
        let before = owner.bytes();
        let mut loose = std::mem::take(&mut owner.loose);
        if loose.len() <= FEW && !owner.blocks.is_empty() {
            for slot in loose {
                insert(&mut owner.blocks, slot, &bytes_of);
            }
        } else {
            loose.sort_unstable_by(|&a, &b| bytes_of(a).cmp(bytes_of(b)));
            let settled = std::mem::take(&mut owner.blocks);
            owner.blocks = in_blocks(&merged(settled, loose, &bytes_of));
        }
        let after = owner.bytes();
        self.slots_bytes = self.slots_bytes + after - before;
    }

    fn add_owner(&mut self, hash: u32, key_length: u32, whole: bool) -> u32 {
        let owner = Owner {
            hash,
            key_length,
            whole,
            large: false,
            blocks: Vec::new(),
            loose: Vec::new(),
        };
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
        self.index.insert_unique(spread(hash), number, |&other| {
            spread(owners[other as usize].hash)
        });
        number
    }

    /// Takes a slot out. `absent`: it held no row, so the key stays whole.
    pub(crate) fn detach<'a>(
        &mut self,
        slot: u32,
        absent: bool,
        bytes_of: impl Fn(u32) -> &'a [u8],
    ) {
        let number = std::mem::replace(&mut self.owner_of[slot as usize], NO_OWNER);
        if number == NO_OWNER {
            return;
        }
        let owner = &self.owners[number as usize];
        let among_few = owner.loose.len() <= FEW;
        let loose = among_few.then(|| owner.loose.iter().position(|&other| other == slot));
        if !among_few {
            self.settle(number, &bytes_of);
        }
        let owner = &mut self.owners[number as usize];
        owner.whole &= absent;
        match loose.flatten() {
            Some(place) => {
                owner.loose.swap_remove(place);
            }
            None => {
                let (block, place) = position(&owner.blocks, bytes_of(slot), &bytes_of);
                assert_eq!(
                    owner.blocks.get(block).and_then(|block| block.get(place)),
                    Some(&slot),
                    "an attached slot is in its place"
                );
                owner.blocks[block].remove(place);
                if owner.blocks[block].is_empty() {
                    self.slots_bytes -= slots_bytes(&owner.blocks.remove(block));
                }
            }
        }
        if owner.blocks.is_empty() && owner.loose.is_empty() {
            self.slots_bytes -= owner.bytes();
            (owner.blocks, owner.loose) = (Vec::new(), Vec::new());
            let hash = spread(owner.hash);
            if let Ok(entry) = self.index.find_entry(hash, |&other| other == number) {
                entry.remove();
            }
            self.free.push(number);
        }
    }

    /// Visits the slots of a key within a span, in order, until `visit` says that it is enough. The key was settled.
    pub(crate) fn walk<'a>(
        &self,
        owner: u32,
        span: Span<'_>,
        bytes_of: impl Fn(u32) -> &'a [u8],
        mut visit: impl FnMut(u32) -> bool,
    ) {
        let Owner { blocks, loose, .. } = &self.owners[owner as usize];
        assert!(loose.is_empty(), "a key is settled before a walk");
        if !span.reverse {
            let (mut number, mut place) = position(blocks, span.from, &bytes_of);
            while let Some(block) = blocks.get(number) {
                for &slot in &block[place..] {
                    let beyond = span.to.is_some_and(|to| bytes_of(slot) >= to);
                    if beyond || !visit(slot) {
                        return;
                    }
                }
                (number, place) = (number + 1, 0);
            }
            return;
        }
        let (number, place) = match span.to {
            Some(to) => position(blocks, to, &bytes_of),
            None => (blocks.len(), 0),
        };
        let behind = blocks.get(number).map_or(&[][..], |block| &block[..place]);
        let before = blocks[..number].iter().rev().map(Vec::as_slice);
        for block in std::iter::once(behind).chain(before) {
            for &slot in block.iter().rev() {
                if bytes_of(slot) < span.from || !visit(slot) {
                    return;
                }
            }
        }
    }

    /// Whether all live rows of the key are in memory.
    pub(crate) fn is_whole(&self, owner: u32) -> bool {
        self.owners[owner as usize].whole
    }

    pub(crate) fn set_whole(&mut self, owner: u32) {
        self.owners[owner as usize].whole = true;
    }

    /// Whether the key had too many rows to be loaded.
    pub(crate) fn is_large(&self, owner: u32) -> bool {
        self.owners[owner as usize].large
    }

    pub(crate) fn set_large(&mut self, owner: u32) {
        self.owners[owner as usize].large = true;
    }

    /// Bytes of the key at the start of a slot's bytes.
    pub(crate) fn key_length(&self, slot: u32) -> usize {
        self.owners[self.owner_of[slot as usize] as usize].key_length as usize
    }

    pub(crate) fn bytes(&self) -> usize {
        self.owners.capacity() * size_of::<Owner>()
            + (self.free.capacity() + self.owner_of.capacity()) * 4
            + self.index.allocation_size()
            + self.slots_bytes
    }

    /// Checks the invariants; for tests.
    #[cfg(test)]
    pub(crate) fn check<'a>(&self, bytes_of: impl Fn(u32) -> &'a [u8]) {
        let mut slots = 0;
        let mut bytes = 0;
        for (number, owner) in self.owners.iter().enumerate() {
            bytes += owner.bytes();
            assert!(owner.blocks.iter().all(|block| !block.is_empty()));
            let mut all: Vec<u32> = owner.blocks.iter().flatten().copied().collect();
            assert!(all.is_sorted_by(|&a, &b| bytes_of(a) < bytes_of(b)));
            all.extend(&owner.loose);
            assert!(
                all.iter()
                    .all(|&slot| self.owner_of[slot as usize] == number as u32)
            );
            slots += all.len();
        }
        assert_eq!(bytes, self.slots_bytes);
        let attached = self.owner_of.iter().filter(|&&owner| owner != NO_OWNER);
        assert_eq!(slots, attached.count());
    }
}

/// The place of the first slot whose bytes are not below `bytes`: block and index in it; behind the last block if none.
fn position<'a>(
    blocks: &[Vec<u32>],
    bytes: &[u8],
    bytes_of: impl Fn(u32) -> &'a [u8],
) -> (usize, usize) {
    let below = |slot: u32| bytes_of(slot) < bytes;
    let number = blocks.partition_point(|block| below(block[block.len() - 1]));
    let place = blocks
        .get(number)
        .map_or(0, |block| block.partition_point(|&slot| below(slot)));
    (number, place)
}

/// Puts a slot into its place.
fn insert<'a>(blocks: &mut Vec<Vec<u32>>, slot: u32, bytes_of: impl Fn(u32) -> &'a [u8]) {
    let (mut number, mut place) = position(blocks, bytes_of(slot), &bytes_of);
    if number == blocks.len() {
        number -= 1;
        place = blocks[number].len();
    }
    let block = &mut blocks[number];
    block.insert(place, slot);
    if block.len() > BLOCK_SLOTS {
        let right = block.split_off(BLOCK_SLOTS / 2);
        block.shrink_to_fit();
        blocks.insert(number + 1, right);
    }
}

/// The slots of blocks and of a sorted list, ascending.
fn merged<'a>(
    blocks: Vec<Vec<u32>>,
    sorted: Vec<u32>,
    bytes_of: impl Fn(u32) -> &'a [u8],
) -> Vec<u32> {
    if blocks.is_empty() {
        return sorted;
    }
    let settled: usize = blocks.iter().map(Vec::len).sum();
    let mut merged = Vec::with_capacity(settled + sorted.len());
    let mut sorted = sorted.into_iter().peekable();
    for slot in blocks.into_iter().flatten() {
        while let Some(new) = sorted.next_if(|&new| bytes_of(new) < bytes_of(slot)) {
            merged.push(new);
        }
        merged.push(slot);
    }
    merged.extend(sorted);
    merged
}

/// Slots cut into blocks.
fn in_blocks(slots: &[u32]) -> Vec<Vec<u32>> {
    if slots.len() <= BLOCK_SLOTS {
        return vec![slots.to_vec()];
    }
    slots
        .chunks(FRESH_BLOCK_SLOTS)
        .map(<[u32]>::to_vec)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Slots of one key, each of whose bytes are the key and a number that jumps about.
    struct Rows(Vec<[u8; 5]>);

    impl Rows {
        fn new(count: u32) -> Self {
            let row = |slot: u32| {
                let [a, b, c, d] = slot.wrapping_mul(2_654_435_761).to_be_bytes();
                [b'k', a, b, c, d]
            };
            Self((0..count).map(row).collect())
        }

        fn bytes(&self, slot: u32) -> &[u8] {
            &self.0[slot as usize]
        }
    }

    fn walked(ordered: &mut Ordered, rows: &Rows, reverse: bool) -> Vec<u32> {
        let Some(owner) = ordered.find(7, b"k", |slot| rows.bytes(slot)) else {
            return Vec::new();
        };
        ordered.settle(owner, |slot| rows.bytes(slot));
        let mut slots = Vec::new();
        let span = Span {
            from: b"k",
            to: None,
            reverse,
        };
        ordered.walk(
            owner,
            span,
            |slot| rows.bytes(slot),
            |slot| {
                slots.push(slot);
                true
            },
        );
        slots
    }

    #[test]
    fn rows_are_in_order_for_whoever_walks_however_many_came_and_went_before() {
        let rows = Rows::new(6_000);
        let mut ordered = Ordered::default();
        ordered.grow(6_000);
        let mut there = BTreeSet::new();
        let mut next = 0;
        // Few and many at a time; every third step looks at them, others take some away that nobody has looked at.
        for (step, added) in [3, 700, 5, 1, 2_000, 16, 17, 900, 2]
            .into_iter()
            .enumerate()
        {
            for slot in next..next + added {
                ordered.attach(slot, 7, b"k", true, |slot| rows.bytes(slot));
                there.insert(rows.bytes(slot).to_vec());
            }
            for slot in (next..next + added)
                .step_by(4)
                .chain((0..next).skip(step).step_by(11))
            {
                if ordered.is_attached(slot) {
                    ordered.detach(slot, true, |slot| rows.bytes(slot));
                    there.remove(rows.bytes(slot));
                }
            }
            next += added;
            ordered.check(|slot| rows.bytes(slot));
            if step % 3 != 1 {
                let slots = walked(&mut ordered, &rows, false);
                assert!(slots.iter().map(|&slot| rows.bytes(slot)).eq(&there));
                let back = walked(&mut ordered, &rows, true);
                assert!(back.into_iter().rev().eq(slots));
                ordered.check(|slot| rows.bytes(slot));
            }
        }
        for slot in 0..next {
            ordered.detach(slot, true, |slot| rows.bytes(slot));
        }
        assert!(walked(&mut ordered, &rows, false).is_empty());
        ordered.check(|slot| rows.bytes(slot));
    }
}
