//! Arrow columns into leaves: for every value its levels, and the value where there is one.

use crate::encoding::{Reader, Values};
use crate::{Error, Result};

use super::levels::Levels;
use super::schema::{Kind, Leaf, Node, Physical, scale};

/// What a row group has of one leaf so far.
#[derive(Default)]
pub(super) struct LeafBuffer {
    pub(super) definitions: Levels,
    pub(super) repetitions: Levels,
    /// Levels so far: values and NULLs.
    pub(super) count: usize,
    /// Values in PLAIN encoding; BOOLEANs one a byte.
    pub(super) values: Vec<u8>,
    /// Values that are not NULL.
    pub(super) present: usize,
    /// Least and greatest, of signed integers.
    pub(super) range: Option<(i64, i64)>,
}

impl LeafBuffer {
    #[inline]
    fn level(&mut self, repetition: u8, definition: u8) {
        self.repetitions.push(repetition);
        self.definitions.push(definition);
        self.count += 1;
    }

    #[inline]
    fn integer(&mut self, physical: Physical, value: i64) {
        match physical {
            Physical::Int32 => self.values.extend_from_slice(&(value as i32).to_le_bytes()),
            _ => self.values.extend_from_slice(&value.to_le_bytes()),
        }
        let (least, greatest) = self.range.unwrap_or((value, value));
        self.range = Some((least.min(value), greatest.max(value)));
        self.present += 1;
    }

    fn bytes(&mut self, value: &[u8]) {
        self.values
            .extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.values.extend_from_slice(value);
        self.present += 1;
    }

    fn fixed(&mut self, value: &[u8]) {
        self.values.extend_from_slice(value);
        self.present += 1;
    }

    /// The values as the page holds them.
    pub(super) fn put_values(&self, leaf: &Leaf, out: &mut Vec<u8>) {
        if leaf.physical != Physical::Boolean {
            out.extend_from_slice(&self.values);
            return;
        }
        for eight in self.values.chunks(8) {
            let bits = eight.iter().enumerate();
            out.push(bits.fold(0, |byte, (bit, value)| byte | value << bit));
        }
    }
}

/// Adds row `row` of a column. `repetition` and `definition` are the levels that its surroundings have.
pub(super) fn put(
    node: &Node,
    reader: &Reader<'_>,
    row: usize,
    (repetition, definition): (u8, u8),
    leaves: &mut [LeafBuffer],
) -> Result<()> {
    if reader.is_null(row) {
        if !node.optional {
            return Err(Error::damaged(&format!(
                "column '{}' is NULL where NULL cannot be",
                node.name
            )));
        }
        leaves[node.leaves.clone()]
            .iter_mut()
            .for_each(|leaf| leaf.level(repetition, definition));
        return Ok(());
    }
    match (&node.kind, &reader.values) {
        (Kind::Leaf(physical), values) => {
            let leaf = &mut leaves[node.leaves.start];
            leaf.level(repetition, node.present);
            put_value(node, *physical, values, row, leaf)
        }
        (Kind::Interval, Values::Interval(values)) => {
            let value = values[row];
            let parts = [
                (Physical::Int32, i64::from(value.months)),
                (Physical::Int32, i64::from(value.days)),
                (Physical::Int64, value.nanoseconds),
            ];
            for (leaf, (physical, part)) in leaves[node.leaves.clone()].iter_mut().zip(parts) {
                leaf.level(repetition, node.present);
                leaf.integer(physical, part);
            }
            Ok(())
        }
        (Kind::Row(nodes), Values::Row(fields)) => {
            if fields.is_empty() {
                leaves[node.leaves.start].level(repetition, node.present);
            }
            nodes.iter().zip(fields).try_for_each(|(node_of, field)| {
                put(node_of, field, row, (repetition, node.present), leaves)
            })
        }
        (Kind::List(item), Values::Array { offsets, items }) => {
            let range = offsets[row] as usize..offsets[row + 1] as usize;
            put_items(
                node,
                range,
                repetition,
                leaves,
                &mut |at, levels, leaves| put(item, items, at, levels, leaves),
            )
        }
        (
            Kind::Map(key, value),
            Values::Map {
                offsets,
                keys,
                values,
            },
        ) => {
            let range = offsets[row] as usize..offsets[row + 1] as usize;
            put_items(
                node,
                range,
                repetition,
                leaves,
                &mut |at, levels, leaves| {
                    put(key, keys, at, levels, leaves)?;
                    put(value, values, at, levels, leaves)
                },
            )
        }
        _ => unreachable!("the tree was made from the type of the column"),
    }
}

/// The items of an array or a map: the first one starts where its surroundings do, the others repeat.
fn put_items(
    node: &Node,
    range: std::ops::Range<usize>,
    repetition: u8,
    leaves: &mut [LeafBuffer],
    put: &mut dyn FnMut(usize, (u8, u8), &mut [LeafBuffer]) -> Result<()>,
) -> Result<()> {
    if range.is_empty() {
        leaves[node.leaves.clone()]
            .iter_mut()
            .for_each(|leaf| leaf.level(repetition, node.present));
        return Ok(());
    }
    let start = range.start;
    for at in range {
        let level = if at == start {
            repetition
        } else {
            node.repeated
        };
        put(at, (level, node.present + 1), leaves)?;
    }
    Ok(())
}

fn put_value(
    node: &Node,
    physical: Physical,
    values: &Values<'_>,
    row: usize,
    leaf: &mut LeafBuffer,
) -> Result<()> {
    match values {
        Values::Boolean(values) => leaf.fixed(&[u8::from(values.value(row))]),
        Values::Int(values) => {
            let value = values[row].checked_mul(scale(&node.data_type));
            let value = value.ok_or_else(|| {
                Error::Incompatible(format!(
                    "the {} {} of column '{}' does not fit into a Parquet file, which counts milliseconds: declare the \
                     column as TIMESTAMP(3)",
                    node.data_type, values[row], node.name
                ))
            })?;
            leaf.integer(physical, value);
        }
        Values::Float32(values) => leaf.fixed(&values[row].to_le_bytes()),
        Values::Float64(values) => leaf.fixed(&values[row].to_le_bytes()),
        Values::Decimal(values) => leaf.fixed(&values[row].to_be_bytes()),
        Values::Decimal256(values) => leaf.fixed(&values[row].to_be_bytes()),
        Values::String(values) => leaf.bytes(values.value(row).as_bytes()),
        Values::Bytes(values) => leaf.bytes(values.value(row)),
        _ => unreachable!("a leaf is no nested column"),
    }
    Ok(())
}
