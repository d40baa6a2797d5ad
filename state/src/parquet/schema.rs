//! Which Parquet columns stand for a SQL type.
//!
//! | SQL | Parquet |
//! |---|---|
//! | BOOLEAN | BOOLEAN |
//! | integers, DATE | INT32 or INT64 with their logical type |
//! | TIME, TIMESTAMP | INT64, TIME or TIMESTAMP of the unit; seconds are written as milliseconds |
//! | REAL, DOUBLE | FLOAT, DOUBLE |
//! | DECIMAL(p, s) | 16 bytes (p ≤ 38) or 32, big endian, DECIMAL |
//! | STRING, BYTES | BYTE_ARRAY |
//! | INTERVAL | group of `months`, `days`, `nanoseconds` |
//! | ARRAY, MAP, ROW | LIST, MAP, group |

use std::ops::Range;

use weir_types::{DataType, TimeUnit};

use super::thrift::Struct;
use crate::{Error, Result};

/// A column of a file.
#[derive(Clone, Debug)]
pub(crate) struct FileColumn {
    pub(crate) name: String,
    pub(crate) data_type: DataType,
    /// NULL cannot occur: the file says so, and has no levels for it.
    pub(crate) required: bool,
}

/// What a leaf's values are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Physical {
    Boolean,
    Int32,
    Int64,
    Float,
    Double,
    Bytes,
    Fixed(usize),
}

impl Physical {
    /// Parquet's number of it.
    pub(super) fn number(self) -> i32 {
        match self {
            Self::Boolean => 0,
            Self::Int32 => 1,
            Self::Int64 => 2,
            Self::Float => 4,
            Self::Double => 5,
            Self::Bytes => 6,
            Self::Fixed(_) => 7,
        }
    }
}

/// A column, or a part of a nested one.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) data_type: DataType,
    pub(super) optional: bool,
    /// Definition level at which it is there.
    pub(super) present: u8,
    /// Of an array or a map: the repetition level of its second item.
    pub(super) repeated: u8,
    /// Its leaves, in the order of the file.
    pub(super) leaves: Range<usize>,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Leaf(Physical),
    Row(Vec<Node>),
    Interval,
    List(Box<Node>),
    Map(Box<Node>, Box<Node>),
}

/// A leaf as the footer describes it.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) path: Vec<String>,
    pub(super) physical: Physical,
    pub(super) max_definition: u8,
    pub(super) max_repetition: u8,
    /// Whether least and greatest are those of signed integers.
    pub(super) ordered: bool,
}

/// The columns of a file as a tree, and their leaves.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) columns: Vec<Node>,
    pub(super) leaves: Vec<Leaf>,
}

impl Tree {
    pub(super) fn new(columns: &[FileColumn]) -> Self {
        let mut leaves = Vec::new();
        let columns = columns
            .iter()
            .map(|column| {
                let place = Place {
                    optional: !column.required,
                    definition: 0,
                    repetition: 0,
                    path: &[],
                };
                node(&column.name, &column.data_type, place, &mut leaves)
            })
            .collect();
        Self { columns, leaves }
    }

    /// The schema of a footer: a flat list, groups before their children.
    pub(super) fn elements(&self) -> Vec<Struct> {
        let mut all = vec![
            Struct::default()
                .binary(4, b"state")
                .i32(5, self.columns.len() as i32),
        ];
        self.columns.iter().for_each(|node| put(node, &mut all));
        all
    }
}

/// Whether a column of this type can be in a file.
pub(crate) fn check_type(data_type: &DataType) -> Result<(), String> {
    match data_type {
        DataType::Decimal(precision, scale) => {
            if *scale < 0 || u8::try_from(*scale).is_ok_and(|scale| scale > *precision) {
                return Err(format!(
                    "{data_type} has a scale that Parquet does not know"
                ));
            }
            Ok(())
        }
        DataType::Array(item) => check_type(item),
        DataType::Row(fields) => fields
            .iter()
            .try_for_each(|field| check_type(&field.data_type)),
        DataType::Map(key, value) => check_type(key).and_then(|()| check_type(value)),
        _ => Ok(()),
    }
}

/// Where a node stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    optional: bool,
    definition: u8,
    repetition: u8,
    path: &'a [String],
}

fn node(name: &str, data_type: &DataType, at: Place<'_>, leaves: &mut Vec<Leaf>) -> Node {
    let present = at.definition + u8::from(at.optional);
    let path: Vec<String> = at.path.iter().cloned().chain([name.to_owned()]).collect();
    let first = leaves.len();
    let mut repeated = at.repetition;
    let within = |optional: bool| Place {
        optional,
        definition: present,
        repetition: at.repetition,
        path: &path,
    };
    let kind = match data_type {
        DataType::Row(fields) if fields.is_empty() => {
            // A group without a child is none: a column of nothing but NULLs holds its place.
            Kind::Row(vec![node("_", &DataType::Null, within(true), leaves)])
        }
        DataType::Row(fields) => Kind::Row(
            fields
                .iter()
                .map(|field| node(&field.name, &field.data_type, within(true), leaves))
                .collect(),
        ),
        DataType::Interval => {
            for (name, physical) in INTERVAL {
                let path = path.iter().cloned().chain([name.to_owned()]).collect();
                leaves.push(leaf(path, physical, present, at.repetition, false));
            }
            Kind::Interval
        }
        DataType::Array(item) => {
            repeated += 1;
            let path: Vec<String> = path.iter().cloned().chain(["list".to_owned()]).collect();
            let place = items(true, present, repeated, &path);
            Kind::List(Box::new(node("element", item, place, leaves)))
        }
        DataType::Map(key, value) => {
            repeated += 1;
            let entries = ["key_value".to_owned()];
            let path: Vec<String> = path.iter().cloned().chain(entries).collect();
            Kind::Map(
                Box::new(node(
                    "key",
                    key,
                    items(false, present, repeated, &path),
                    leaves,
                )),
                Box::new(node(
                    "value",
                    value,
                    items(true, present, repeated, &path),
                    leaves,
                )),
            )
        }
        _ => {
            let physical = physical(data_type);
            let ordered = matches!(physical, Physical::Int32 | Physical::Int64)
                && !matches!(
                    data_type,
                    DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64
                );
            leaves.push(leaf(
                path.clone(),
                physical,
                present,
                at.repetition,
                ordered,
            ));
            Kind::Leaf(physical)
        }
    };
    Node {
        name: name.to_owned(),
        data_type: data_type.clone(),
        optional: at.optional,
        present,
        repeated,
        leaves: first..leaves.len(),
        kind,
    }
}

/// The place of what repeats within an array or a map: the repeated group is a level of its own.
fn items(optional: bool, present: u8, repetition: u8, path: &[String]) -> Place<'_> {
    Place {
        optional,
        definition: present + 1,
        repetition,
        path,
    }
}

fn leaf(
    path: Vec<String>,
    physical: Physical,
    max_definition: u8,
    max_repetition: u8,
    ordered: bool,
) -> Leaf {
    Leaf {
        path,
        physical,
        max_definition,
        max_repetition,
        ordered,
    }
}

/// The parts of an INTERVAL.
const INTERVAL: [(&str, Physical); 3] = [
    ("months", Physical::Int32),
    ("days", Physical::Int32),
    ("nanoseconds", Physical::Int64),
];

fn physical(data_type: &DataType) -> Physical {
    use DataType::*;
    match data_type {
        Boolean => Physical::Boolean,
        Null | Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32 | Date => Physical::Int32,
        Float32 => Physical::Float,
        Float64 => Physical::Double,
        Decimal(precision, _) => Physical::Fixed(if *precision <= 38 { 16 } else { 32 }),
        String | Bytes => Physical::Bytes,
        _ => Physical::Int64,
    }
}

/// Repetition: required, optional, repeated.
const REQUIRED: i32 = 0;
const OPTIONAL: i32 = 1;
const REPEATED: i32 = 2;

fn put(node: &Node, all: &mut Vec<Struct>) {
    let repetition = if node.optional { OPTIONAL } else { REQUIRED };
    let group = |name: &str, repetition: i32, children: usize| {
        Struct::default()
            .i32(3, repetition)
            .binary(4, name.as_bytes())
            .i32(5, children as i32)
    };
    match &node.kind {
        Kind::Leaf(physical) => all.push(leaf_element(node, *physical, repetition)),
        Kind::Row(fields) => {
            all.push(group(&node.name, repetition, fields.len()));
            fields.iter().for_each(|field| put(field, all));
        }
        Kind::Interval => {
            all.push(group(&node.name, repetition, INTERVAL.len()));
            for (name, physical) in INTERVAL {
                all.push(
                    Struct::default()
                        .i32(1, physical.number())
                        .i32(3, REQUIRED)
                        .binary(4, name.as_bytes()),
                );
            }
        }
        Kind::List(item) => {
            let list = Struct::default().structure(3, Struct::default());
            all.push(
                group(&node.name, repetition, 1)
                    .i32(6, 3)
                    .structure(10, list),
            );
            all.push(group("list", REPEATED, 1));
            put(item, all);
        }
        Kind::Map(key, value) => {
            let map = Struct::default().structure(2, Struct::default());
            all.push(
                group(&node.name, repetition, 1)
                    .i32(6, 1)
                    .structure(10, map),
            );
            all.push(group("key_value", REPEATED, 2));
            put(key, all);
            put(value, all);
        }
    }
}

fn leaf_element(node: &Node, physical: Physical, repetition: i32) -> Struct {
    use DataType as D;
    let element = Struct::default().i32(1, physical.number());
    let element = match physical {
        Physical::Fixed(bytes) => element.i32(2, bytes as i32),
        _ => element,
    };
    let element = element.i32(3, repetition).binary(4, node.name.as_bytes());
    let empty = Struct::default;
    let logical = |id: i16, of: Struct| Struct::default().structure(id, of);
    let integer = |bits: u8, signed: bool, converted: i32| {
        let of = empty().byte(1, bits).flag(2, signed);
        (Some(converted), Some(logical(10, of)))
    };
    let (converted, logical) = match &node.data_type {
        D::Null => (None, Some(logical(11, empty()))),
        D::String => (Some(0), Some(logical(1, empty()))),
        D::Int8 => integer(8, true, 15),
        D::Int16 => integer(16, true, 16),
        D::Int32 => integer(32, true, 17),
        D::Int64 => integer(64, true, 18),
        D::UInt8 => integer(8, false, 11),
        D::UInt16 => integer(16, false, 12),
        D::UInt32 => integer(32, false, 13),
        D::UInt64 => integer(64, false, 14),
        D::Date => (Some(6), Some(logical(6, empty()))),
        D::Time => (
            None,
            Some(logical(
                7,
                empty().flag(1, false).structure(2, unit(TimeUnit::Nano)),
            )),
        ),
        D::Timestamp(of) => (
            None,
            Some(logical(8, empty().flag(1, false).structure(2, unit(*of)))),
        ),
        D::TimestampLtz(of) => (
            None,
            Some(logical(8, empty().flag(1, true).structure(2, unit(*of)))),
        ),
        D::Decimal(precision, scale) => {
            let (precision, scale) = (i32::from(*precision), i32::from(*scale));
            return element
                .i32(6, 5)
                .i32(7, scale)
                .i32(8, precision)
                .structure(10, logical(5, empty().i32(1, scale).i32(2, precision)));
        }
        _ => (None, None),
    };
    element
        .maybe(converted, |element, converted| element.i32(6, converted))
        .maybe(logical, |element, logical| element.structure(10, logical))
}

fn unit(unit: TimeUnit) -> Struct {
    let id = match unit {
        TimeUnit::Second | TimeUnit::Milli => 1,
        TimeUnit::Micro => 2,
        TimeUnit::Nano => 3,
    };
    Struct::default().structure(id, Struct::default())
}

/// How often a stored unit is in one of the file: Parquet has no seconds.
pub(super) fn scale(data_type: &DataType) -> i64 {
    match data_type {
        DataType::Timestamp(TimeUnit::Second) | DataType::TimestampLtz(TimeUnit::Second) => 1000,
        _ => 1,
    }
}

/// What the reader says of a file that has another schema than the manifest.
pub(super) fn other_schema(what: &str) -> Error {
    Error::damaged(&format!("a Parquet file has {what} than its manifest says"))
}
