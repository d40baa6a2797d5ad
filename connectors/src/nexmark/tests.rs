//! The connector as a whole: counts, splits, and the events themselves.

use std::path::Path;

use super::*;
use crate::testing::{read_all, request, texts};

/// The columns of a table of one kind.
fn columns_of(kind: Kind) -> Vec<Column> {
    let fields = kind.fields().iter().map(|field| {
        let data_type = match field.holds {
            fields::Holds::Int => DataType::Int32,
            fields::Holds::Long => DataType::Int64,
            fields::Holds::Text => DataType::String,
            fields::Holds::Time => DataType::Timestamp(TimeUnit::Milli),
        };
        Column::new(field.name, data_type)
    });
    fields.collect()
}

fn all_columns() -> Vec<Column> {
    let mut columns = vec![
        Column::new("event_type", DataType::Int32),
        Column::new("date_time", DataType::Timestamp(TimeUnit::Milli)),
    ];
    columns.extend(Kind::ALL.map(|kind| Column::new(kind.name(), DataType::Row(columns_of(kind)))));
    columns
}

fn rows(options: &[(&str, &str)], columns: &[Column]) -> Vec<String> {
    let mut all = vec![("connector", "nexmark"), ("events", "5000")];
    all.extend(options);
    let source = crate::open_source(request(Path::new("."), &all, columns)).unwrap();
    read_all(&*source).unwrap().rows
}

#[test]
fn one_event_in_fifty_is_a_person_three_are_auctions_and_the_others_bids() {
    for (table, count) in [("person", 100), ("auction", 300), ("bid", 4600)] {
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| kind.name() == table)
            .unwrap();
        assert_eq!(
            rows(&[("table", table)], &columns_of(kind)).len(),
            count,
            "{table}"
        );
    }
    assert_eq!(rows(&[], &all_columns()).len(), 5000);
}

#[test]
fn splits_share_the_same_rows() {
    for columns in [columns_of(Kind::Bid), columns_of(Kind::Auction)] {
        let table = if columns.len() == 7 { "bid" } else { "auction" };
        let mut one = rows(&[("table", table), ("events", "60000")], &columns);
        let mut three = rows(
            &[("table", table), ("events", "60000"), ("splits", "3")],
            &columns,
        );
        one.sort_unstable();
        three.sort_unstable();
        assert_eq!(one, three);
    }
}

#[test]
fn events_that_are_made_beforehand_are_the_same() {
    let bids = columns_of(Kind::Bid);
    for (columns, options) in [
        (all_columns(), vec![("events", "20000"), ("splits", "3")]),
        (bids, vec![("events", "20000"), ("table", "bid")]),
    ] {
        let made = rows(&options, &columns);
        let mut prepared = options.clone();
        prepared.push(("prepared", "true"));
        assert_eq!(rows(&prepared, &columns), made);
    }
    let endless = request(
        Path::new("."),
        &[("connector", "nexmark"), ("prepared", "true")],
        &all_columns(),
    );
    let found = crate::check_table(&endless, crate::Role::Source);
    assert_eq!(found[0].code, "C0003");
}

#[test]
fn a_column_is_the_same_whatever_else_is_read() {
    let whole = rows(&[("table", "bid")], &columns_of(Kind::Bid));
    for (at, column) in columns_of(Kind::Bid).into_iter().enumerate() {
        let alone = rows(&[("table", "bid")], std::slice::from_ref(&column));
        for (whole, alone) in whole.iter().zip(&alone) {
            let value = whole[1..].split('|').nth(at).unwrap();
            assert_eq!(&alone[1..], value, "{}", column.name);
        }
    }
}

#[test]
fn an_event_is_the_same_in_the_table_of_all_and_in_that_of_its_kind() {
    let column = Column::new(
        "bid",
        DataType::Row(vec![
            Column::new("price", DataType::Int64),
            Column::new("channel", DataType::String),
        ]),
    );
    let nested: Vec<String> = rows(&[], &[column])
        .into_iter()
        .filter(|row| row != "+NULL")
        .collect();
    let flat: Vec<String> = rows(
        &[("table", "bid")],
        &[
            Column::new("price", DataType::Int64),
            Column::new("channel", DataType::String),
        ],
    )
    .iter()
    .map(|row| {
        let (price, channel) = row[1..].split_once('|').unwrap();
        format!("+{{price: {price}, channel: {channel}}}")
    })
    .collect();
    assert_eq!(nested, flat);
}

#[test]
fn every_auction_has_a_seller_who_registers_before_long_and_closes_after_it_opened() {
    let auctions = rows(&[("table", "auction")], &columns_of(Kind::Auction));
    for (number, auction) in auctions.iter().enumerate() {
        let values: Vec<&str> = auction[1..].split('|').collect();
        assert_eq!(values[0], (1000 + number).to_string());
        let seller: u64 = values[7].parse().unwrap();
        assert!(
            (1000..1000 + 100 + 11).contains(&seller),
            "seller {seller} of 100 persons"
        );
        assert!(values[6] > values[5], "{auction}");
        let category: u64 = values[8].parse().unwrap();
        assert!((10..15).contains(&category));
        let (initial, reserve): (u64, u64) =
            (values[3].parse().unwrap(), values[4].parse().unwrap());
        assert!(reserve > initial);
    }
}

#[test]
fn event_time_begins_where_it_is_told_and_goes_on_by_the_gap() {
    let options = [
        ("first.event.time", "2024-12-31 23:59:59"),
        ("event.gap", "250ms"),
        ("events", "6"),
    ];
    let time = Column::new("date_time", DataType::Timestamp(TimeUnit::Milli));
    let expected = [
        "2024-12-31T23:59:59",
        "2024-12-31T23:59:59.250",
        "2024-12-31T23:59:59.500",
        "2024-12-31T23:59:59.750",
        "2025-01-01T00:00:00",
        "2025-01-01T00:00:00.250",
    ];
    assert_eq!(
        rows(&options, &[time]),
        expected.map(|time| format!("+{time}"))
    );
}

#[test]
fn another_seed_gives_other_bids() {
    let price = [Column::new("price", DataType::Int64)];
    let first = rows(&[("table", "bid")], &price);
    assert_eq!(first, rows(&[("table", "bid"), ("seed", "0")], &price));
    let other = rows(&[("table", "bid"), ("seed", "1")], &price);
    let same = first.iter().zip(&other).filter(|(a, b)| a == b).count();
    assert!(same < 100, "{same} prices are the same");
}

/// What this page of the model's history holds to: a change of it is a change of every benchmark.
#[test]
fn the_first_events_are_these() {
    let mut all = rows(&[("events", "5")], &all_columns());
    all.truncate(5);
    let expected = include_str!("first_events.txt");
    if std::env::var_os("UPDATE").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/nexmark/first_events.txt");
        std::fs::write(path, all.join("\n") + "\n").unwrap();
        return;
    }
    assert_eq!(all.join("\n") + "\n", expected);
}

#[test]
fn the_decoder_makes_what_is_asked_for_and_nothing_else() {
    let columns = [Column::new("bidder", DataType::Int64)];
    let mut asked = request(
        Path::new("."),
        &[
            ("connector", "nexmark"),
            ("table", "bid"),
            ("events", "100"),
        ],
        &columns_of(Kind::Bid),
    );
    asked.columns = columns.to_vec();
    asked.metadata = vec![("offset".to_owned(), Column::new("offset", DataType::Int64))];
    let source = crate::open_source(asked).unwrap();
    let split = source.splits(&BTreeMap::new()).unwrap().splits.remove(0);
    let mut dealer = source.dealer(&split, None).unwrap();
    let crate::Deal::Chunk(chunk) = dealer.deal(1 << 20, 50).unwrap() else {
        panic!("there are rows")
    };
    let decoded = source.decoder().unwrap().decode(&chunk).unwrap();
    assert_eq!(decoded.batches[0].rows.num_columns(), 2);
    let offsets: Vec<String> = texts(&decoded.batches)
        .iter()
        .map(|row| row.split_once('|').unwrap().1.to_owned())
        .collect();
    let expected = (4..50).chain(54..58).map(|event| event.to_string());
    assert_eq!(offsets, expected.collect::<Vec<_>>());
}
