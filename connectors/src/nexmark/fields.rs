//! The fields of persons, auctions and bids, each a function of the event's number.
//!
//! A field is generated for a list of events at once, and only if somebody reads it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, StringViewBuilder};
use weir_types::hash::mix;
use weir_types::{DataType, TimeUnit};
use xxhash_rust::xxh3::xxh3_64;

use super::model::{Kind, Model};
use super::words;
use crate::format::columns::typed;
use crate::format::value::per_second;

/// A field of the model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) holds: Holds,
    pub(super) help: &'static str,
}

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Int,
    Long,
    Text,
    /// A timestamp of any precision, with or without a zone.
    Time,
}

impl Holds {
    pub(super) fn accepts(self, data_type: &DataType) -> bool {
        match self {
            Self::Int => *data_type == DataType::Int32,
            Self::Long => *data_type == DataType::Int64,
            Self::Text => *data_type == DataType::String,
            Self::Time => data_type.is_timestamp(),
        }
    }

    /// As it is declared.
    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::Int => "INT",
            Self::Long => "BIGINT",
            Self::Text => "STRING",
            Self::Time => "TIMESTAMP(3)",
        }
    }
}

const fn field(name: &'static str, holds: Holds, help: &'static str) -> Field {
    Field { name, holds, help }
}

const EXTRA: Field = field(
    "extra",
    Holds::Text,
    "letters without meaning, so that the event has its size",
);

/// What is known of an event whatever it is.
pub(super) const EVENT: &[Field] = &[
    field(
        "event_type",
        Holds::Int,
        "0 for a person, 1 for an auction, 2 for a bid",
    ),
    field("date_time", Holds::Time, "when it happened"),
];

const PERSON: &[Field] = &[
    field("id", Holds::Long, "from 1000 on"),
    field("name", Holds::Text, "first and last name"),
    field("email_address", Holds::Text, ""),
    field("credit_card", Holds::Text, "four times four digits"),
    field("city", Holds::Text, "one of ten"),
    field("state", Holds::Text, "one of six, two letters"),
    field("date_time", Holds::Time, "when the person registered"),
    EXTRA,
];

const AUCTION: &[Field] = &[
    field("id", Holds::Long, "from 1000 on"),
    field("item_name", Holds::Text, ""),
    field("description", Holds::Text, ""),
    field("initial_bid", Holds::Long, "in cents"),
    field(
        "reserve",
        Holds::Long,
        "in cents: below this it is not sold",
    ),
    field("date_time", Holds::Time, "when the auction opened"),
    field("expires", Holds::Time, "when it closes"),
    field(
        "seller",
        Holds::Long,
        "the id of a person: three of four are a hot one",
    ),
    field("category", Holds::Long, "10 to 14"),
    EXTRA,
];

const BID: &[Field] = &[
    field(
        "auction",
        Holds::Long,
        "the id of an auction: every other one is a hot one",
    ),
    field(
        "bidder",
        Holds::Long,
        "the id of a person: three of four are a hot one",
    ),
    field("price", Holds::Long, "in cents"),
    field(
        "channel",
        Holds::Text,
        "`Google`, `Facebook`, `Baidu`, `Apple`, or one of ten thousand others",
    ),
    field(
        "url",
        Holds::Text,
        "where the bid was made; most of the other channels have their number in it",
    ),
    field("date_time", Holds::Time, "when the bid was made"),
    EXTRA,
];

impl Kind {
    pub(super) fn fields(self) -> &'static [Field] {
        match self {
            Self::Person => PERSON,
            Self::Auction => AUCTION,
            Self::Bid => BID,
        }
    }
}

/// The number that tells the random streams of fields apart.
fn purpose(kind: Kind, name: &str) -> u64 {
    xxh3_64(name.as_bytes()) ^ mix(kind.share())
}

/// Half of all bids come through one of the great channels, the others through one of so many.
const CHANNELS: u64 = 10_000;

impl Model {
    /// A field of these events, all of one kind.
    pub(super) fn generate(
        &self,
        kind: Kind,
        name: &str,
        data_type: &DataType,
        events: &[u64],
    ) -> ArrayRef {
        let own = purpose(kind, name);
        let numbers = |of: &dyn Fn(u64) -> i64| -> ArrayRef {
            Arc::new(
                events
                    .iter()
                    .map(|event| of(*event))
                    .collect::<Int64Array>(),
            )
        };
        match (kind, name) {
            (_, "date_time") => self.times(data_type, events, |event| self.time_nanos(event)),
            (Kind::Auction, "expires") => {
                self.times(data_type, events, |event| self.expires_nanos(own, event))
            }
            (Kind::Person | Kind::Auction, "id") => numbers(&|event| self.own_id(kind, event)),
            (Kind::Auction, "initial_bid") => numbers(&|event| self.price(own, event)),
            (Kind::Auction, "reserve") => {
                let initial = purpose(kind, "initial_bid");
                numbers(&|event| self.price(initial, event) + self.price(own, event))
            }
            (Kind::Auction, "seller") => numbers(&|event| self.seller(own, event)),
            (Kind::Auction, "category") => numbers(&|event| self.category(own, event)),
            (Kind::Bid, "auction") => numbers(&|event| self.auction_of_bid(own, event)),
            (Kind::Bid, "bidder") => numbers(&|event| self.bidder(own, event)),
            (Kind::Bid, "price") => numbers(&|event| self.price(own, event)),
            _ => self.texts(kind, name, events),
        }
    }

    /// The field `event_type`.
    pub(super) fn event_types(events: &[u64]) -> ArrayRef {
        let types = events.iter().map(|event| match Kind::of(*event) {
            Kind::Person => 0,
            Kind::Auction => 1,
            Kind::Bid => 2,
        });
        Arc::new(types.collect::<Int32Array>())
    }

    /// Event times in the unit of the column.
    pub(super) fn times(
        &self,
        data_type: &DataType,
        events: &[u64],
        nanos: impl Fn(u64) -> i64,
    ) -> ArrayRef {
        let (unit, zoned) = match data_type {
            DataType::Timestamp(unit) => (*unit, false),
            DataType::TimestampLtz(unit) => (*unit, true),
            _ => (TimeUnit::Milli, false),
        };
        let divisor = 1_000_000_000 / per_second(unit);
        let values = events.iter().map(|event| nanos(*event).div_euclid(divisor));
        typed(&values.collect::<Int64Array>(), unit, zoned)
    }

    fn texts(&self, kind: Kind, name: &str, events: &[u64]) -> ArrayRef {
        let mut builder = StringViewBuilder::with_capacity(events.len());
        let own = purpose(kind, name);
        let mut text = String::with_capacity(512);
        for &event in events {
            text.clear();
            let mut random = words::Random(self.random(own, event));
            match (kind, name) {
                (Kind::Person, "name") => words::person(&mut random, &mut text),
                (Kind::Person, "email_address") => words::email(&mut random, &mut text),
                (Kind::Person, "credit_card") => words::credit_card(&mut random, &mut text),
                (Kind::Person, "city") => text.push_str(words::pick(&mut random, &words::CITIES)),
                (Kind::Person, "state") => text.push_str(words::pick(&mut random, &words::STATES)),
                (Kind::Auction, "item_name") => words::phrase(&mut random, 3..20, &mut text),
                (Kind::Auction, "description") => words::phrase(&mut random, 3..100, &mut text),
                (Kind::Bid, "channel") => words::channel(self.channel(event), &mut text),
                (Kind::Bid, "url") => words::url(self.channel(event), &mut text),
                (Kind::Person, _) => words::letters(&mut random, 89..170, &mut text),
                (Kind::Auction, _) => words::letters(&mut random, 224..425, &mut text),
                (Kind::Bid, _) => words::letters(&mut random, 48..89, &mut text),
            }
            builder.append_value(&text);
        }
        Arc::new(builder.finish())
    }

    /// Through which channel a bid comes: one of the great ones, or the number of another.
    fn channel(&self, event: u64) -> words::Channel {
        let own = purpose(Kind::Bid, "channel");
        if self.below(own, event, 2) > 0 {
            words::Channel::Great(
                self.below(!own, event, words::GREAT_CHANNELS.len() as u64) as usize
            )
        } else {
            words::Channel::Other(self.below(!own, event, CHANNELS))
        }
    }
}
