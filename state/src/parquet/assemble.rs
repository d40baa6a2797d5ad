//! Leaves back into columns: the levels say what is there, what is NULL and what repeats.

use arrow::datatypes::{IntervalMonthDayNano, i256};

use crate::encoding::{Builder, Building};
use crate::{Error, Result};

use super::levels::{LevelCursor, Levels};
use super::schema::{Kind, Leaf, Node, Physical, scale};

/// A leaf of a row group, and how far it was read.
pub(super) struct LeafCursor {
    body: Vec<u8>,
    /// Next byte of a value; of BOOLEANs, next bit.
    at: usize,
    start: usize,
    count: usize,
    definitions: Option<LevelCursor>,
    repetitions: Option<LevelCursor>,
}

fn cut() -> Error {
    Error::damaged("a Parquet page ends within its values")
}

impl LeafCursor {
    pub(super) fn new(body: Vec<u8>, leaf: &Leaf, count: usize) -> Result<Self> {
        let mut rest = body.as_slice();
        let mut levels = |max: u8| {
            (max > 0)
                .then(|| Levels::take(&mut rest, count).map(Levels::cursor))
                .transpose()
        };
        let repetitions = levels(leaf.max_repetition)?;
        let definitions = levels(leaf.max_definition)?;
        let start = body.len() - rest.len();
        Ok(Self {
            at: if leaf.physical == Physical::Boolean {
                0
            } else {
                start
            },
            start,
            body,
            count,
            definitions,
            repetitions,
        })
    }

    /// Whether all values were taken.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.count == 0
    }

    /// The definition level of the next value.
    fn peek(&mut self) -> Result<u8> {
        if self.count == 0 {
            return Err(cut());
        }
        match &mut self.definitions {
            Some(levels) => levels.peek().ok_or_else(cut),
            None => Ok(0),
        }
    }

    /// Goes on by one level.
    fn step(&mut self) -> Result<()> {
        self.count = self.count.checked_sub(1).ok_or_else(cut)?;
        if let Some(levels) = &mut self.definitions {
            levels.next();
        }
        if let Some(levels) = &mut self.repetitions {
            levels.next();
        }
        Ok(())
    }

    /// Whether the next value repeats at `level`.
    fn repeats(&mut self, level: u8) -> bool {
        self.count > 0
            && self
                .repetitions
                .as_mut()
                .and_then(LevelCursor::peek)
                .is_some_and(|next| next >= level)
    }

    fn bytes(&mut self, length: usize) -> Result<&[u8]> {
        let end = self.at.checked_add(length).ok_or_else(cut)?;
        let bytes = self.body.get(self.at..end).ok_or_else(cut)?;
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.bytes(N)?.first_chunk::<N>().copied().ok_or_else(cut)
    }

    fn bit(&mut self) -> Result<bool> {
        let byte = self.body.get(self.start + self.at / 8).ok_or_else(cut)?;
        let bit = byte >> (self.at % 8) & 1;
        self.at += 1;
        Ok(bit == 1)
    }

    fn integer(&mut self, physical: Physical) -> Result<i64> {
        Ok(match physical {
            Physical::Int32 => i64::from(i32::from_le_bytes(self.array()?)),
            _ => i64::from_le_bytes(self.array()?),
        })
    }
}

/// Takes the next value of a column into its builder.
pub(super) fn take(node: &Node, leaves: &mut [LeafCursor], builder: &mut Builder) -> Result<()> {
    let own = node.leaves.clone();
    if leaves[own.start].peek()? < node.present {
        leaves[own].iter_mut().try_for_each(LeafCursor::step)?;
        builder.push_null();
        return Ok(());
    }
    match &node.kind {
        Kind::Leaf(physical) => {
            let leaf = &mut leaves[own.start];
            take_value(node, *physical, leaf, builder)?;
            return leaf.step();
        }
        Kind::Interval => {
            let mut parts = [0; 3];
            let kinds = [Physical::Int32, Physical::Int32, Physical::Int64];
            for ((leaf, part), kind) in leaves[own].iter_mut().zip(&mut parts).zip(kinds) {
                *part = leaf.integer(kind)?;
                leaf.step()?;
            }
            if let Building::Interval(values) = &mut builder.values {
                values.push(IntervalMonthDayNano::new(
                    parts[0] as i32,
                    parts[1] as i32,
                    parts[2],
                ));
            }
        }
        Kind::Row(nodes) => match &mut builder.values {
            Building::Row(fields) if fields.is_empty() => leaves[own.start].step()?,
            Building::Row(fields) => {
                for (field, builder) in nodes.iter().zip(fields) {
                    take(field, leaves, builder)?;
                }
            }
            _ => unreachable!("the tree was made from the type of the column"),
        },
        Kind::List(item) => {
            let Building::Array { offsets, items } = &mut builder.values else {
                unreachable!("the tree was made from the type of the column")
            };
            take_items(node, leaves, &mut |leaves| take(item, leaves, items))?;
            offsets.push(offset(items.len())?);
        }
        Kind::Map(key, value) => {
            let Building::Map {
                offsets,
                keys,
                values,
            } = &mut builder.values
            else {
                unreachable!("the tree was made from the type of the column")
            };
            take_items(node, leaves, &mut |leaves| {
                take(key, leaves, keys)?;
                take(value, leaves, values)
            })?;
            offsets.push(offset(keys.len())?);
        }
    }
    builder.mark_valid();
    Ok(())
}

fn offset(items: usize) -> Result<i32> {
    i32::try_from(items).map_err(|_| Error::damaged("a row group has too many items"))
}

/// Takes the items of an array or a map; none if it is empty.
fn take_items(
    node: &Node,
    leaves: &mut [LeafCursor],
    take: &mut dyn FnMut(&mut [LeafCursor]) -> Result<()>,
) -> Result<()> {
    let own = node.leaves.clone();
    if leaves[own.start].peek()? == node.present {
        return leaves[own].iter_mut().try_for_each(LeafCursor::step);
    }
    loop {
        take(leaves)?;
        if !leaves[own.start].repeats(node.repeated) {
            return Ok(());
        }
    }
}

fn take_value(
    node: &Node,
    physical: Physical,
    leaf: &mut LeafCursor,
    builder: &mut Builder,
) -> Result<()> {
    match (physical, &mut builder.values) {
        (_, Building::Null) => {
            return Err(Error::damaged(
                "a Parquet file has a value where only NULL can be",
            ));
        }
        (Physical::Boolean, _) => {
            let value = leaf.bit()?;
            builder.push_i64(i64::from(value));
        }
        (Physical::Int32 | Physical::Int64, _) => {
            let value = leaf.integer(physical)?;
            let scale = scale(&node.data_type);
            if value % scale != 0 {
                return Err(Error::damaged(
                    "a Parquet file has a fraction of a second in a TIMESTAMP(0)",
                ));
            }
            builder.push_i64(value / scale);
        }
        (Physical::Float, _) => {
            let value = f32::from_le_bytes(leaf.array()?);
            // Not through f64: a NaN keeps its bits.
            if let Building::Float32(values) = &mut builder.values {
                values.push(value);
            }
            builder.mark_valid();
        }
        (Physical::Double, _) => {
            let value = f64::from_le_bytes(leaf.array()?);
            builder.push_f64(value);
        }
        (Physical::Fixed(16), _) => {
            let value = i128::from_be_bytes(leaf.array()?);
            builder.push_i128(value);
        }
        (Physical::Fixed(_), Building::Decimal256(values)) => {
            values.push(i256::from_be_bytes(leaf.array()?));
            builder.mark_valid();
        }
        (Physical::Bytes, _) => {
            let length = u32::from_le_bytes(leaf.array()?) as usize;
            return builder.push_bytes(leaf.bytes(length)?);
        }
        (Physical::Fixed(_), _) => unreachable!("the tree was made from the type of the column"),
    }
    Ok(())
}
