//! What is asked of a text is read off the text itself.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, StringViewArray, StringViewBuilder};
use regex::{CaptureLocations, Regex};

/// How many characters a text has when every `taken` in it is another text: `character_length(replace(x, taken, put))`.
#[derive(Clone, Debug)]
pub(super) struct LengthWithout {
    /// Not empty.
    taken: String,
    /// Characters that come for one `taken`, less those that go.
    gained: i64,
}

impl LengthWithout {
    /// `None`: an empty text is not looked for.
    pub(super) fn of(taken: &str, put: &str) -> Option<Self> {
        let characters = |text: &str| text.chars().count() as i64;
        (!taken.is_empty()).then(|| Self {
            taken: taken.to_owned(),
            gained: characters(put) - characters(taken),
        })
    }

    pub(super) fn apply(&self, texts: &StringViewArray) -> ArrayRef {
        let length = |text: &str| {
            let times = match self.taken.as_bytes() {
                &[byte] => occurrences(text.as_bytes(), byte),
                _ => text.matches(&self.taken).count(),
            };
            (text.chars().count() as i64 + times as i64 * self.gained) as i32
        };
        let lengths = texts.iter().map(|text| text.map_or(0, length));
        let lengths: Vec<i32> = lengths.collect();
        Arc::new(Int32Array::new(lengths.into(), texts.nulls().cloned()))
    }
}

/// How often a byte is there. Counted in bytes, of which the processor adds many at once, for as many as cannot overflow one.
fn occurrences(bytes: &[u8], wanted: u8) -> usize {
    let count = |piece: &[u8]| -> u8 { piece.iter().map(|&byte| u8::from(byte == wanted)).sum() };
    bytes
        .chunks(usize::from(u8::MAX))
        .map(|piece| usize::from(count(piece)))
        .sum()
}

/// A group of the first match of each text; NULL where nothing matches, or not so many groups take part.
pub(super) fn group(texts: &StringViewArray, regex: &Regex, number: usize) -> ArrayRef {
    let mut places = regex.capture_locations();
    let mut out = StringViewBuilder::with_capacity(texts.len());
    for text in texts {
        let found = text.and_then(|text| {
            regex.captures_read(&mut places, text)?;
            let (from, to) = taking_part(&places, number)?;
            text.get(from..to)
        });
        out.append_option(found);
    }
    Arc::new(out.finish())
}

/// Where the group of that number is, from 1, of those that took part in the match; of a pattern without groups all of it.
fn taking_part(places: &CaptureLocations, number: usize) -> Option<(usize, usize)> {
    match places.len() {
        1 => places.get(0).filter(|_| number == 1),
        groups => (1..groups)
            .filter_map(|group| places.get(group))
            .nth(number - 1),
    }
}
