//! A probe of a sorted table in which each key has a range of its own: what a join by time asks for.
//!
//! ```text
//!   keys      k1            k2              k1
//!   ranges    [t0 … t5]     [t3 … t9]       [t8 … t9]      ends by the first columns of the order, both inclusive
//! ```

use arrow::array::ArrayRef;

use super::{Found, SortedTable, Stretch};
use crate::Result;
use crate::backend::after_prefix;
use crate::keyed::multimap::Matches;

/// For each key of a probe the range of its rows, ends included: values of the columns that come first in the table's
/// order, one row of them for each key. `None`: no end on that side.
#[derive(Clone, Copy, Debug, Default)]
pub struct EachRange<'a> {
    /// Where it begins.
    pub from: Option<&'a [ArrayRef]>,
    /// Where it ends.
    pub to: Option<&'a [ArrayRef]>,
    /// So many columns, the last of the table's order, may change between two calls of one probe: marks of rows. A row that
    /// was given does not come again because it moved behind itself.
    pub marks: usize,
}

/// Where a probe that hit its limit goes on. The table may change in between, but no row may come before it; the marks of
/// rows may change as [`EachRange::marks`] says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeCursor {
    /// The key.
    row: usize,
    /// The last row of it that was given, as its order key without the marks.
    after: Option<Vec<u8>>,
}

impl SortedTable {
    /// The rows of each key within its range, in order, `limit` rows at most; and where to go on if there are more.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn probe(
        &self,
        keys: &[ArrayRef],
        hashes: &[u64],
        range: EachRange<'_>,
        start: RangeCursor,
        limit: usize,
    ) -> Result<(Matches, Option<RangeCursor>)> {
        let limit = limit.max(1);
        let mut cache = self.cache.borrow_mut();
        cache.acknowledge();
        let table = cache.table.clone();
        let schema = &table.spec.value;
        let prefixes = |values| self.order.prefixes(values, schema, hashes.len());
        let (from, to) = (
            range.from.map(prefixes).transpose()?,
            range.to.map(prefixes).transpose()?,
        );
        let key_columns = table.canonical_keys(keys)?;
        let keys = table.key_batch(&key_columns, hashes.len()).into_bytes();
        let mut found = Found::new(schema, &self.order);
        let RangeCursor { mut row, mut after } = start;
        while row < hashes.len() {
            let begin = match after.take() {
                Some(last) => after_prefix(&last),
                None => from
                    .as_ref()
                    .map_or_else(Vec::new, |from| from.get(row).to_vec()),
            };
            let stretch = Stretch {
                from: begin,
                to: to.as_ref().map(|to| after_prefix(to.get(row))),
                reverse: false,
            };
            let room = limit - found.counts.len();
            let rows = cache.rows_between(hashes[row], keys.get(row), &stretch, room)?;
            for (order_key, count) in &rows {
                found.push(row, order_key, *count)?;
            }
            if rows.len() == room {
                let mut after = rows.into_iter().next_back().map(|(order_key, _)| order_key);
                if let Some(last) = &mut after {
                    last.truncate(self.order.length_without(range.marks, last, schema)?);
                }
                return Ok((found.finish()?, Some(RangeCursor { row, after })));
            }
            row += 1;
        }
        Ok((found.finish()?, None))
    }
}
