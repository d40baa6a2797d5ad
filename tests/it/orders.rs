//! The job that is killed, resumed and corrupted: orders into four kinds of files.
//!
//! ```text
//!   data/orders/*.jsonl ─┬─ TUMBLE 1 min, by shop ──▶ out/minutes      JSON lines, appended
//!                        ├─ GROUP BY customer ──────▶ out/customers    changelog-json
//!                        ├─ GROUP BY shop ──────────▶ out/shops.json   snapshot
//!   data/shops.csv ──────┴─ JOIN, GROUP BY city ────▶ out/cities       changelog-json
//! ```
//!
//! What must come out is computed here, by plain loops over the same orders.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use weir_tests::process::{folded_changelog, published_lines, row_of_json};
use weir_tests::value::{Multiset, Value};

/// Shops, and so keys of the windows.
const SHOPS: u64 = 23;

/// The orders of a test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Orders {
    pub(crate) rows: u64,
    pub(crate) customers: u64,
}

/// One order.
struct Order {
    /// Seconds since 2024-01-01.
    at: i64,
    shop: u64,
    customer: u64,
    amount: i64,
}

/// A well-mixed number for each row.
fn mixed(row: u64) -> u64 {
    weir_types::hash::mix(row.wrapping_add(0x1234_5678))
}

const DELAY_SECONDS: i64 = 30;

/// The query file. Paths are relative to the folder of a `Place`; the data lies beside that folder.
pub(crate) const SQL: &str = "\
SET 'checkpoint.interval' = '200ms';
SET 'epoch.interval' = '5ms';

CREATE TABLE orders (at TIMESTAMP(3), shop INT, customer BIGINT, amount INT,
  WATERMARK FOR at AS at - INTERVAL '30' SECOND)
WITH ('connector' = 'filesystem', 'path' = '../data/orders', 'format' = 'json');

CREATE TABLE shops (shop INT, city STRING)
WITH ('connector' = 'filesystem', 'path' = '../data/shops.csv', 'format' = 'csv');

CREATE TABLE minutes (minute TIMESTAMP(3), shop INT, orders BIGINT, amount BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'out/minutes', 'format' = 'json');

CREATE TABLE by_customer (customer BIGINT, orders BIGINT, amount BIGINT, largest INT)
WITH ('connector' = 'filesystem', 'path' = 'out/customers', 'format' = 'changelog-json');

CREATE TABLE by_shop (shop INT, orders BIGINT, amount BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'out/shops.json', 'format' = 'json', 'mode' = 'snapshot');

CREATE TABLE by_city (city STRING, orders BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'out/cities', 'format' = 'changelog-json');

INSERT INTO minutes
SELECT window_start, shop, count(*), sum(amount) FROM TUMBLE(orders, at, INTERVAL '1' MINUTE)
GROUP BY window_start, window_end, shop;

INSERT INTO by_customer SELECT customer, count(*), sum(amount), max(amount) FROM orders GROUP BY customer;

INSERT INTO by_shop SELECT shop, count(*), sum(amount) FROM orders GROUP BY shop;

INSERT INTO by_city SELECT s.city, count(*) FROM orders AS o JOIN shops AS s ON o.shop = s.shop GROUP BY s.city;
";

impl Orders {
    fn order(self, row: u64) -> Order {
        let random = mixed(row);
        // Time runs on by a second every 50 orders; one order in ten comes up to two minutes behind.
        let behind = if random.is_multiple_of(10) {
            (random >> 8) % 120
        } else {
            0
        };
        Order {
            at: (row / 50) as i64 - behind as i64,
            shop: (random >> 16) % SHOPS,
            customer: (random >> 24) % self.customers,
            amount: ((random >> 40) % 1000) as i64,
        }
    }

    /// Writes the data into `root/data`, the orders in four files.
    pub(crate) fn write(self, root: &Path) {
        let folder = root.join("data/orders");
        std::fs::create_dir_all(&folder).unwrap();
        let per_file = self.rows.div_ceil(4).max(1);
        for file in 0..4 {
            let mut text = String::new();
            for row in file * per_file..((file + 1) * per_file).min(self.rows) {
                let Order {
                    at,
                    shop,
                    customer,
                    amount,
                } = self.order(row);
                let at = time_text(at);
                let _ = writeln!(
                    text,
                    r#"{{"at":"{at}","shop":{shop},"customer":{customer},"amount":{amount}}}"#
                );
            }
            std::fs::write(folder.join(format!("{file}.jsonl")), text).unwrap();
        }
        let mut shops = String::from("shop,city\n");
        // The last shops are in no city: their orders find no partner. One shop is in two cities.
        (0..SHOPS - 2).for_each(|shop| {
            let _ = writeln!(shops, "{shop},city-{}", shop % 5);
        });
        shops.push_str("0,elsewhere\n");
        std::fs::write(root.join("data/shops.csv"), shops).unwrap();
    }

    /// What the four outputs must hold.
    pub(crate) fn expected(self) -> Results {
        let (mut minutes, mut customers, mut shops) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut watermark = i64::MIN;
        for row in 0..self.rows {
            let Order {
                at,
                shop,
                customer,
                amount,
            } = self.order(row);
            let minute = at.div_euclid(60) * 60;
            if minute + 60 > watermark {
                let (orders, sum) = minutes.entry((minute, shop)).or_insert((0i64, 0i64));
                *orders += 1;
                *sum += amount;
            }
            watermark = watermark.max(at - DELAY_SECONDS);
            let (orders, sum, largest) = customers.entry(customer).or_insert((0i64, 0i64, 0i64));
            *orders += 1;
            *sum += amount;
            *largest = amount.max(*largest);
            let (orders, sum) = shops.entry(shop).or_insert((0i64, 0i64));
            *orders += 1;
            *sum += amount;
        }
        let mut cities: BTreeMap<String, i64> = BTreeMap::new();
        for (shop, (orders, _)) in &shops {
            if *shop < SHOPS - 2 {
                *cities.entry(format!("city-{}", shop % 5)).or_default() += orders;
            }
            if *shop == 0 {
                *cities.entry("elsewhere".to_owned()).or_default() += orders;
            }
        }
        let int = |value: i64| Value::Int(value);
        let id = |value: u64| Value::Int(value as i64);
        // The columns in the order of their names, as `row_of_json` gives them.
        Results {
            minutes: Multiset::of(
                minutes
                    .into_iter()
                    .map(|((minute, shop), (orders, amount))| {
                        vec![
                            int(amount),
                            Value::Text(time_text(minute)),
                            int(orders),
                            id(shop),
                        ]
                    }),
            ),
            customers: Multiset::of(customers.into_iter().map(
                |(customer, (orders, amount, largest))| {
                    vec![int(amount), id(customer), int(largest), int(orders)]
                },
            )),
            shops: Multiset::of(
                shops
                    .into_iter()
                    .map(|(shop, (orders, amount))| vec![int(amount), int(orders), id(shop)]),
            ),
            cities: Multiset::of(
                cities
                    .into_iter()
                    .map(|(city, orders)| vec![Value::Text(city), int(orders)]),
            ),
        }
    }
}

fn time_text(seconds_of_2024: i64) -> String {
    weir_types::EventTime((1_704_067_200 + seconds_of_2024) * 1_000_000).to_string()
}

/// What the four outputs hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Results {
    pub(crate) minutes: Multiset,
    pub(crate) customers: Multiset,
    pub(crate) shops: Multiset,
    pub(crate) cities: Multiset,
}

impl Results {
    /// Reads what was published below `folder`.
    pub(crate) fn read(folder: &Path) -> Self {
        let rows = |lines: Vec<String>| {
            Multiset::of(lines.iter().map(|line| {
                let fields: serde_json::Map<_, _> = serde_json::from_str(line).unwrap();
                let mut row = row_of_json(&fields);
                row.iter_mut().for_each(as_plain_time);
                row
            }))
        };
        let snapshot = std::fs::read_to_string(folder.join("out/shops.json")).unwrap_or_default();
        Self {
            minutes: rows(published_lines(&folder.join("out/minutes"), None)),
            customers: folded_changelog(&folder.join("out/customers")),
            shops: rows(snapshot.lines().map(str::to_owned).collect()),
            cities: folded_changelog(&folder.join("out/cities")),
        }
    }

    /// How `self` differs from what is expected, output by output.
    pub(crate) fn difference(&self, expected: &Self) -> Option<String> {
        let pairs = [
            ("minutes", &self.minutes, &expected.minutes),
            ("customers", &self.customers, &expected.customers),
            ("shops", &self.shops, &expected.shops),
            ("cities", &self.cities, &expected.cities),
        ];
        let text: String = pairs
            .into_iter()
            .filter_map(|(name, found, expected)| {
                Some(format!("out/{name}: {}", found.difference(expected)?))
            })
            .collect();
        (!text.is_empty()).then_some(text)
    }

    /// Fails with what differs.
    pub(crate) fn assert(folder: &Path, expected: &Self, context: &str) {
        if let Some(difference) = Self::read(folder).difference(expected) {
            panic!("{context}: {difference}\nin {}", folder.display());
        }
    }
}

/// Sinks may write a timestamp with `T` or with fraction digits; the test does not care.
fn as_plain_time(value: &mut Value) {
    if let Value::Text(text) = value
        && text.len() >= 19
        && text.as_bytes()[4] == b'-'
    {
        let plain = text.replace('T', " ");
        *text = plain
            .trim_end_matches('Z')
            .trim_end_matches(".000")
            .to_owned();
    }
}
