//! The auction house: which event has which number, which ids exist by then, and who is hot.
//!
//! ```text
//!   event   0        1        2        3        4 … 49      50 …
//!           person   auction  auction  auction  bid × 46    the next fifty
//! ```
//!
//! This is the standard model of the Nexmark benchmark: of fifty events one is a person who registers, three are auctions that
//! open, and forty-six are bids. Its constants are kept, so that queries select what they select elsewhere.
//!
//! # Invariants
//! 1. Whatever holds for an event follows from the seed and its number: no event looks at another one.
//! 2. Each value has its own stream of random numbers: leaving one out changes no other.

use weir_types::hash::mix;

/// Fifty events are one round.
pub(super) const ROUND: u64 = 50;
const PERSONS: u64 = 1;
const AUCTIONS: u64 = 3;
const BIDS: u64 = 46;

/// The ids of persons and of auctions begin here.
const FIRST_ID: u64 = 1000;
const FIRST_CATEGORY: u64 = 10;
const CATEGORIES: u64 = 5;

/// A person may be chosen who is among the last so many, or one of the next few.
const ACTIVE_PERSONS: u64 = 1000;
/// An auction may be chosen that is among the last so many, or one of the next few.
const OPEN_AUCTIONS: u64 = 100;
/// "The next few".
const AHEAD: u64 = 10;
/// Of so many ids in a row the first one is the hot one.
const HOT_EVERY: u64 = 100;
/// One in so many sellers and bidders is not the hot one.
const COLD_PERSONS: u64 = 4;
/// One in so many auctions that get a bid is not the hot one.
const COLD_AUCTIONS: u64 = 2;

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Person,
    Auction,
    Bid,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Person, Self::Auction, Self::Bid];

    pub(super) fn of(event: u64) -> Self {
        match event % ROUND {
            0 => Self::Person,
            place if place < PERSONS + AUCTIONS => Self::Auction,
            _ => Self::Bid,
        }
    }

    /// The name of its table, and of its column.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Auction => "auction",
            Self::Bid => "bid",
        }
    }

    /// How many of a round are of this kind.
    pub(super) fn share(self) -> u64 {
        match self {
            Self::Person => PERSONS,
            Self::Auction => AUCTIONS,
            Self::Bid => BIDS,
        }
    }

    fn first_place(self) -> u64 {
        match self {
            Self::Person => 0,
            Self::Auction => PERSONS,
            Self::Bid => PERSONS + AUCTIONS,
        }
    }

    /// The event that is the `row`th of this kind.
    pub(super) fn event(self, row: u64) -> u64 {
        row / self.share() * ROUND + self.first_place() + row % self.share()
    }

    /// How many of the first `events` events are of this kind.
    pub(super) fn rows_among(self, events: u64) -> u64 {
        let rest = (events % ROUND).saturating_sub(self.first_place());
        events / ROUND * self.share() + rest.min(self.share())
    }
}

/// What the options say of the house.
#[derive(Clone, Copy, Debug)]
pub(super) struct Model {
    pub(super) seed: u64,
    /// Event time of the first event, in nanoseconds since the Unix epoch.
    pub(super) first_nanos: i64,
    /// Event time from one event to the next, in nanoseconds.
    pub(super) gap_nanos: i64,
    /// Event times are in disorder within groups of so many events.
    pub(super) disorder: u64,
}

impl Model {
    /// The random number of an event for one purpose.
    pub(super) fn random(&self, purpose: u64, event: u64) -> u64 {
        let salt = mix(self.seed ^ mix(purpose));
        mix(salt.wrapping_add(event.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    /// A random number below `bound`.
    pub(super) fn below(&self, purpose: u64, event: u64, bound: u64) -> u64 {
        // The high half of a product is uniform over the span, without a division.
        ((u128::from(self.random(purpose, event)) * u128::from(bound)) >> 64) as u64
    }

    /// The place in time of an event: its number, but in disorder within its group.
    fn place_in_time(&self, event: u64) -> u64 {
        // A prime that does not divide the size of the group: this is a permutation of it.
        let prime = [953, 947, 941]
            .into_iter()
            .find(|prime| !self.disorder.is_multiple_of(*prime))
            .unwrap_or(1);
        let within = event % self.disorder;
        event - within + (within % self.disorder * prime) % self.disorder
    }

    /// Event time in nanoseconds.
    pub(super) fn time_nanos(&self, event: u64) -> i64 {
        let place = self.place_in_time(event) as i64;
        self.first_nanos
            .wrapping_add(place.wrapping_mul(self.gap_nanos))
    }

    /// When an auction closes: most do while it is among the open ones.
    pub(super) fn expires_nanos(&self, purpose: u64, event: u64) -> i64 {
        let open_events = (OPEN_AUCTIONS * ROUND / AUCTIONS) as i64;
        let milli = 1_000_000;
        let horizon = open_events.saturating_mul(self.gap_nanos) / milli;
        let length = 1 + self.below(purpose, event, (horizon * 2).max(1) as u64) as i64;
        self.time_nanos(event)
            .wrapping_add(length.wrapping_mul(milli))
    }

    /// The id of the person or auction that this event brings in.
    pub(super) fn own_id(&self, kind: Kind, event: u64) -> i64 {
        let earlier = kind.rows_among(event);
        (FIRST_ID + earlier) as i64
    }

    /// Who opens the auction.
    pub(super) fn seller(&self, purpose: u64, event: u64) -> i64 {
        let count = Kind::Person.rows_among(event + 1);
        let number = if self.below(purpose, event, COLD_PERSONS) > 0 {
            (count - 1) / HOT_EVERY * HOT_EVERY
        } else {
            self.active_person(purpose, event, count)
        };
        (FIRST_ID + number) as i64
    }

    /// Who bids: the hot bidder is the neighbour of the hot seller.
    pub(super) fn bidder(&self, purpose: u64, event: u64) -> i64 {
        let count = Kind::Person.rows_among(event + 1);
        let number = if self.below(purpose, event, COLD_PERSONS) > 0 {
            (count - 1) / HOT_EVERY * HOT_EVERY + 1
        } else {
            self.active_person(purpose, event, count)
        };
        (FIRST_ID + number) as i64
    }

    fn active_person(&self, purpose: u64, event: u64, count: u64) -> u64 {
        let active = count.min(ACTIVE_PERSONS);
        count - active + self.below(!purpose, event, active + AHEAD)
    }

    /// Which auction gets the bid.
    pub(super) fn auction_of_bid(&self, purpose: u64, event: u64) -> i64 {
        let last = Kind::Auction.rows_among(event + 1).saturating_sub(1);
        let number = if self.below(purpose, event, COLD_AUCTIONS) > 0 {
            last / HOT_EVERY * HOT_EVERY
        } else {
            let first = last.saturating_sub(OPEN_AUCTIONS);
            first + self.below(!purpose, event, last - first + 1 + AHEAD)
        };
        (FIRST_ID + number) as i64
    }

    pub(super) fn category(&self, purpose: u64, event: u64) -> i64 {
        (FIRST_CATEGORY + self.below(purpose, event, CATEGORIES)) as i64
    }

    /// A price in cents, from one dollar to a million: each power of ten is as likely as the next.
    pub(super) fn price(&self, purpose: u64, event: u64) -> i64 {
        let unit = (self.random(purpose, event) >> 11) as f64 / (1_u64 << 53) as f64;
        // `powf` of different platforms may differ in the last bit; rounded to cents it does not.
        (10_f64.powf(unit * 6.0) * 100.0).round() as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: Model = Model {
        seed: 7,
        first_nanos: 0,
        gap_nanos: 100_000,
        disorder: 1,
    };

    #[test]
    fn each_event_is_of_one_kind_and_counted_there() {
        for kind in Kind::ALL {
            let mut rows = 0;
            for event in 0..333 {
                assert_eq!(kind.rows_among(event), rows, "{kind:?} before {event}");
                if Kind::of(event) == kind {
                    assert_eq!(kind.event(rows), event);
                    rows += 1;
                }
            }
        }
        assert_eq!(Kind::ALL.map(|kind| kind.rows_among(50)), [1, 3, 46]);
    }

    #[test]
    fn a_bid_is_on_an_auction_that_is_open_or_opens_soon() {
        for event in (0..20_000).filter(|event| Kind::of(*event) == Kind::Bid) {
            let open = Kind::Auction.rows_among(event + 1);
            let auction = MODEL.auction_of_bid(3, event) as u64 - FIRST_ID;
            assert!(
                auction < open + AHEAD && auction + OPEN_AUCTIONS + HOT_EVERY >= open,
                "event {event}: auction {auction} of {open}"
            );
        }
    }

    #[test]
    fn half_of_all_bids_are_on_hot_auctions_and_three_of_four_by_hot_bidders() {
        let bids: Vec<u64> = (0..46_000).map(|row| Kind::Bid.event(row)).collect();
        let share = |hot: &dyn Fn(u64) -> bool| {
            bids.iter().filter(|event| hot(**event)).count() as f64 / bids.len() as f64
        };
        let auctions =
            share(&|event| (MODEL.auction_of_bid(3, event) as u64).is_multiple_of(HOT_EVERY));
        let bidders = share(&|event| MODEL.bidder(4, event) as u64 % HOT_EVERY == 1);
        assert!((0.48..0.54).contains(&auctions), "{auctions}");
        assert!((0.73..0.78).contains(&bidders), "{bidders}");
    }

    #[test]
    fn disorder_moves_event_times_within_their_group_only() {
        let model = Model {
            disorder: 20,
            ..MODEL
        };
        let times: Vec<i64> = (0..1000)
            .map(|event| model.time_nanos(event) / model.gap_nanos)
            .collect();
        assert!(times.iter().zip(0..).any(|(time, event)| *time != event));
        for (group, times) in times.chunks(20).enumerate() {
            let mut sorted = times.to_vec();
            sorted.sort_unstable();
            let first = group as i64 * 20;
            assert_eq!(sorted, (first..first + 20).collect::<Vec<_>>());
        }
    }

    #[test]
    fn prices_spread_over_six_powers_of_ten() {
        let prices: Vec<i64> = (0..10_000).map(|event| MODEL.price(5, event)).collect();
        assert!(
            prices
                .iter()
                .all(|price| (100..=100_000_000).contains(price))
        );
        let cheap = prices.iter().filter(|price| **price < 1000).count();
        assert!((1500..1850).contains(&cheap), "{cheap} below ten dollars");
    }
}
