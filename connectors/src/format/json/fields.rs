//! From the keys of an object to columns, without hashing where records look alike.
//!
//! Most records have their keys in the order of the record before. So the key at each place is remembered with its
//! column (or that no column wants it), and compared first; only a surprise asks the hash table.

use std::collections::HashMap;

/// Keys at further places are looked up every time.
const PLACES_MAX: usize = 1024;

/// Which column wants which key.
#[derive(Debug)]
pub(crate) struct Fields {
    by_name: HashMap<Box<str>, usize>,
    /// At each place of the last objects: its key and the column that wants it.
    places: Vec<(Box<str>, Option<usize>)>,
    /// For each column the number of the last object that had it.
    seen: Vec<u64>,
    /// The number of the current object, from 1.
    object: u64,
    /// Columns that the current object had so far.
    found: usize,
}

impl Fields {
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let by_name: HashMap<Box<str>, usize> = names
            .into_iter()
            .enumerate()
            .map(|(column, name)| (name.into(), column))
            .collect();
        let seen = vec![0; by_name.len()];
        Self {
            by_name,
            places: Vec::new(),
            seen,
            object: 0,
            found: 0,
        }
    }

    /// A new object begins.
    pub(crate) fn begin(&mut self) {
        self.object += 1;
        self.found = 0;
    }

    /// The column that wants `key`, which stands at this place of the object.
    pub(crate) fn column(&mut self, place: usize, key: &str) -> Option<usize> {
        match self.places.get_mut(place) {
            Some((known, column)) if **known == *key => *column,
            Some(known) => {
                let column = self.by_name.get(key).copied();
                *known = (key.into(), column);
                column
            }
            None => {
                let column = self.by_name.get(key).copied();
                if self.places.len() < PLACES_MAX && self.places.len() == place {
                    self.places.push((key.into(), column));
                }
                column
            }
        }
    }

    /// Marks a column as found; false if the object had it already.
    pub(crate) fn mark(&mut self, column: usize) -> bool {
        if self.seen[column] == self.object {
            return false;
        }
        self.seen[column] = self.object;
        self.found += 1;
        true
    }

    /// The columns that the object did not have.
    pub(crate) fn missing(&self) -> impl Iterator<Item = usize> + '_ {
        let any = self.found < self.seen.len();
        self.seen
            .iter()
            .enumerate()
            .filter(move |(_, seen)| any && **seen != self.object)
            .map(|(column, _)| column)
    }
}
