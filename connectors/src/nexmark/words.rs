//! The texts of events: names, cities, letters.

use std::fmt::Write;
use std::ops::Range;

use weir_types::hash::mix;

/// A stream of random numbers.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// The states of the model: queries ask for some of them.
pub(super) const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];

/// The cities of the model.
pub(super) const CITIES: [&str; 10] = [
    "Phoenix",
    "Los Angeles",
    "San Francisco",
    "Boise",
    "Portland",
    "Bend",
    "Redmond",
    "Seattle",
    "Kent",
    "Cheyenne",
];

/// The channels of the model that have a name.
pub(super) const GREAT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];

const FIRST_NAMES: [&str; 12] = [
    "Ada", "Boris", "Clara", "Dmitri", "Elif", "Femi", "Grace", "Hugo", "Ines", "Jun", "Kofi",
    "Lena",
];
const LAST_NAMES: [&str; 10] = [
    "Abara", "Berg", "Costa", "Duval", "Eriksen", "Fuchs", "Garcia", "Hansen", "Ito", "Jansen",
];

/// One of some words.
pub(super) fn pick<'a>(random: &mut Random, words: &[&'a str]) -> &'a str {
    words[random.below(words.len() as u64) as usize]
}

pub(super) fn person(random: &mut Random, out: &mut String) {
    out.push_str(pick(random, &FIRST_NAMES));
    out.push(' ');
    out.push_str(pick(random, &LAST_NAMES));
}

pub(super) fn email(random: &mut Random, out: &mut String) {
    letters(random, 3..8, out);
    out.push('@');
    letters(random, 3..6, out);
    out.push_str(".com");
}

pub(super) fn credit_card(random: &mut Random, out: &mut String) {
    let digits = random.below(10_000_000_000_000_000);
    for group in 0..4 {
        if group > 0 {
            out.push(' ');
        }
        let part = digits / 10_u64.pow(12 - 4 * group) % 10_000;
        // Writing to a string cannot fail.
        let _ = write!(out, "{part:04}");
    }
}

/// Letters of the alphabet; the length is one of `lengths`.
pub(super) fn letters(random: &mut Random, lengths: Range<u64>, out: &mut String) {
    let mut left = lengths.start + random.below(lengths.end - lengths.start);
    while left > 0 {
        // Twelve letters of 26 come out of 64 bits.
        let mut bits = random.next();
        for _ in 0..left.min(12) {
            out.push(char::from(b'a' + (bits % 26) as u8));
            bits /= 26;
        }
        left -= left.min(12);
    }
}

/// Words of letters with spaces between them, none at the ends.
pub(super) fn phrase(random: &mut Random, lengths: Range<u64>, out: &mut String) {
    let length = lengths.start + random.below(lengths.end - lengths.start);
    let mut left = length;
    while left > 0 {
        let word = (1 + random.below(11)).min(left);
        letters(random, word..word + 1, out);
        left -= word;
        // A space takes a place too, and a word follows it.
        if left > 1 {
            out.push(' ');
            left -= 1;
        }
    }
}

/// Where a bid comes through.
#[derive(Clone, Copy)]
pub(super) enum Channel {
    /// The place in [`GREAT_CHANNELS`].
    Great(usize),
    /// One of many without a name.
    Other(u64),
}

pub(super) fn channel(channel: Channel, out: &mut String) {
    match channel {
        Channel::Great(place) => out.push_str(GREAT_CHANNELS[place]),
        Channel::Other(number) => {
            // Writing to a string cannot fail.
            let _ = write!(out, "channel-{number}");
        }
    }
}

/// Each channel has one: nine of ten of those without a name carry a number in it.
pub(super) fn url(channel: Channel, out: &mut String) {
    let place = match channel {
        Channel::Great(place) => place as u64,
        Channel::Other(number) => 100 + number,
    };
    let mut random = Random(mix(place));
    out.push_str("https://www.nexmark.com/");
    for _ in 0..3 {
        letters(&mut random, 3..6, out);
        out.push('/');
    }
    out.push_str("item.htm?query=1");
    if let Channel::Other(number) = channel
        && random.below(10) > 0
    {
        let _ = write!(out, "&channel_id={}", (number as u32).reverse_bits() >> 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(make: impl Fn(&mut Random, &mut String)) -> Vec<String> {
        (0..2000)
            .map(|seed| {
                let mut text = String::new();
                make(&mut Random(mix(seed)), &mut text);
                text
            })
            .collect()
    }

    #[test]
    fn texts_have_the_lengths_that_are_asked_for() {
        for text in texts(|random, out| letters(random, 48..89, out)) {
            assert!((48..89).contains(&text.len()), "{text}");
        }
        for text in texts(|random, out| phrase(random, 3..20, out)) {
            assert!((3..20).contains(&text.len()) && text.trim() == text && !text.contains("  "));
        }
        for text in texts(credit_card) {
            assert!(text.len() == 19 && text.split(' ').all(|group| group.len() == 4));
        }
    }

    #[test]
    fn most_of_the_channels_without_a_name_have_a_number_and_no_two_the_same() {
        let urls: Vec<String> = (0..10_000)
            .map(|number| {
                let mut text = String::new();
                url(Channel::Other(number), &mut text);
                text
            })
            .collect();
        let numbers: std::collections::BTreeSet<_> = urls
            .iter()
            .filter_map(|url| url.split_once("&channel_id="))
            .map(|(_, number)| number.parse::<i64>().unwrap())
            .collect();
        assert!((8800..9200).contains(&numbers.len()), "{}", numbers.len());
        let with = urls.iter().filter(|url| url.contains("channel_id")).count();
        assert_eq!(with, numbers.len());
        assert!(urls.iter().all(|url| url.split('/').count() == 7));
    }
}
