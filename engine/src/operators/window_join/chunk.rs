//! Keys of a window with all of their rows, and the walk through their pairs.

use arrow::array::RecordBatch;

/// Some keys of a window with all of their rows.
pub(super) struct Chunk {
    pub(super) sides: [Loaded; 2],
    /// For each row of each side whether it has a partner, as far as pairs were looked at.
    pub(super) has_partner: [Vec<bool>; 2],
    /// The key, its left row and its right row that come next.
    key: usize,
    left: usize,
    right: usize,
    keys: usize,
}

/// The rows of one side for the keys of a chunk.
pub(super) struct Loaded {
    pub(super) rows: RecordBatch,
    /// Rows by key, each as often as it is there; `starts[k]..starts[k + 1]` are those of key k.
    pub(super) of_keys: Vec<u32>,
    pub(super) starts: Vec<usize>,
}

impl Chunk {
    /// Both sides know the same keys.
    pub(super) fn new(sides: [Loaded; 2]) -> Self {
        debug_assert_eq!(sides[0].starts.len(), sides[1].starts.len());
        Self {
            has_partner: [0, 1].map(|side: usize| vec![false; sides[side].rows.num_rows()]),
            key: 0,
            left: 0,
            right: 0,
            keys: sides[0].starts.len() - 1,
            sides,
        }
    }

    /// Every row has a partner whose key is on both sides.
    pub(super) fn find_partners(&mut self) {
        for key in 0..self.keys {
            let [left, right] = [0, 1].map(|side: usize| self.sides[side].of_key(key).to_vec());
            if !left.is_empty() && !right.is_empty() {
                left.iter()
                    .for_each(|&row| self.has_partner[0][row as usize] = true);
                right
                    .iter()
                    .for_each(|&row| self.has_partner[1][row as usize] = true);
            }
        }
    }

    /// The next pairs of rows, `limit` at most; none at the end.
    pub(super) fn next_pairs(&mut self, limit: usize) -> Vec<(u32, u32)> {
        let mut pairs = Vec::new();
        while self.key < self.keys && pairs.len() < limit {
            let [left, right] = [0, 1].map(|side| self.sides[side].of_key(self.key));
            if self.left >= left.len() || right.is_empty() {
                (self.key, self.left, self.right) = (self.key + 1, 0, 0);
                continue;
            }
            let room = limit - pairs.len();
            let rights = right[self.right..].iter().take(room);
            let before = pairs.len();
            pairs.extend(rights.map(|&right| (left[self.left], right)));
            self.right += pairs.len() - before;
            if self.right == right.len() {
                (self.left, self.right) = (self.left + 1, 0);
            }
        }
        pairs
    }
}

impl Loaded {
    fn of_key(&self, key: usize) -> &[u32] {
        &self.of_keys[self.starts[key]..self.starts[key + 1]]
    }
}
