//! Maps whose keys are bytes, by a fast hash: what is in them comes out of the same plan's own rows, and the library's
//! default, which resists chosen keys, costs more than everything else that is done with a row.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Keys with numbers.
pub(super) type BytesNumbers = HashMap<Box<[u8]>, u32, BuildHasherDefault<BytesHasher>>;
/// A map from borrowed keys.
pub(super) type BytesMap<'a, V> = HashMap<&'a [u8], V, BuildHasherDefault<BytesHasher>>;

/// See the module's text. It lives for one process: nothing that it gives is stored.
#[derive(Default)]
pub(super) struct BytesHasher(u64);

impl Hasher for BytesHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_usize(&mut self, length: usize) {
        self.0 ^= length as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
