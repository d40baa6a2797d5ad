//! From the keys of an object to columns, without reading the keys where records look alike.
//!
//! ```text
//!   the record before:  {"id": 7, "who": …         places:  `"id": `   column 0
//!   this record:        {"id": 9, "who": …                  `, "who": ` column 1, or none
//! ```
//!
//! Most records have their keys in the order and with the spaces of the record before. So the text at each place, from
//! the end of the value before it to the colon, is remembered with its column (or that no column wants it), and compared
//! first: equal bytes are the same key, whatever escapes are in them. Only a surprise reads the key and asks the hash table.

use std::collections::HashMap;

use crate::words::Expected;

/// Keys at further places are looked up every time.
const PLACES_MAX: usize = 1024;
/// Objects that no column wants are known by so many of their keys.
const BELOW_PLACES_MAX: usize = 64;
/// A longer text is not remembered.
const TEXT_BYTES_MAX: usize = 128;

/// Which column wants which key.
#[derive(Debug)]
pub(crate) struct Fields {
    by_name: HashMap<Box<str>, usize>,
    /// Of the last objects.
    places: Vec<Place>,
    places_max: usize,
    /// For each column the number of the last object that had it.
    seen: Vec<u64>,
    /// The number of the current object, from 1.
    object: u64,
    /// Columns that the current object had so far.
    found: usize,
}

/// What stood at one place of the last objects.
#[derive(Debug)]
struct Place {
    key: Box<str>,
    column: Option<usize>,
    text: Expected,
    /// The keys of an object that stands there and that no column wants.
    below: Option<Box<Fields>>,
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
            places_max: PLACES_MAX,
            seen,
            object: 0,
            found: 0,
        }
    }

    /// Of an object that no column wants.
    fn unwanted() -> Self {
        Self {
            places_max: BELOW_PLACES_MAX,
            ..Self::new([])
        }
    }

    /// A new object begins.
    pub(crate) fn begin(&mut self) {
        self.object += 1;
        self.found = 0;
    }

    /// If the text of this place stands at `at`, where it ends and which column wants its value.
    #[inline]
    pub(crate) fn expected(
        &self,
        place: usize,
        record: &[u8],
        at: usize,
    ) -> Option<(usize, Option<usize>)> {
        let place = self.places.get(place)?;
        Some((place.text.end_at(record, at)?, place.column))
    }

    /// The column that wants `key`, which stands at this place of the object; `text` is the key as it is written there,
    /// with what stands between the value before it and its own.
    pub(crate) fn column(&mut self, place: usize, key: &str, text: &[u8]) -> Option<usize> {
        match self.places.get_mut(place) {
            Some(known) if *known.key == *key => {
                if text.len() <= TEXT_BYTES_MAX {
                    known.text = Expected::new(text);
                }
                return known.column;
            }
            _ => {}
        }
        let column = self.by_name.get(key).copied();
        if text.len() <= TEXT_BYTES_MAX && place < self.places_max && place <= self.places.len() {
            let known = Place {
                key: key.into(),
                column,
                text: Expected::new(text),
                below: None,
            };
            match self.places.get_mut(place) {
                Some(other) => *other = known,
                None => self.places.push(known),
            }
        }
        column
    }

    /// What is known of an object that stands at this place and that no column wants. Only the places that are known by
    /// columns have it: it does not go deeper.
    pub(crate) fn below(&mut self, place: usize) -> Option<&mut Self> {
        let place = self.places.get_mut(place)?;
        Some(
            place
                .below
                .get_or_insert_with(|| Box::new(Self::unwanted())),
        )
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
        let asked = if self.found < self.seen.len() {
            self.seen.as_slice()
        } else {
            &[]
        };
        asked
            .iter()
            .enumerate()
            .filter(move |(_, seen)| **seen != self.object)
            .map(|(column, _)| column)
    }
}
