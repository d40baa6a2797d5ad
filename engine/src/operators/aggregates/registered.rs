//! Aggregate functions of a program: their code, row by row, over the typed columns of state.
//!
//! ```text
//!   rows of a batch   ─▶ Row (typed cells of its arguments) ─┐
//!                                                            ├─▶ accumulate, retract ─▶ GroupState: columns of one slot
//!   another group     ─▶ Row (its state)                    ─┴─▶ merge
//!   columns of groups ─▶ Row (its state) ─▶ result ─▶ Value
//! ```
//!
//! Where rows can be taken back and the code takes none back, the values of a group are in a side table, and its state is made of
//! them from nothing whenever the result is asked for.
//!
//! # Invariants
//! 1. What a function keeps is in declared columns, and nowhere else: no state is in memory between two calls.
//! 2. A value that does not fit its column is an error of that row; nothing is cut off.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow::array::{Array, ArrayRef};
use arrow::buffer::BooleanBuffer;
use weir_planner::AggregateSignature;
use weir_planner::plan::Aggregate;
use weir_state::{Columns, Scratch};
use weir_types::{Column, DataType, Diagnostic, Schema};

use super::code_rows::{GroupState, Row, Table, Value, put};
use super::folds::Segments;
use super::{Accumulator, Argument};
use crate::sync::lock;

type Outcome<T> = Result<T, (usize, String)>;

/// The code of an aggregate function. [`Session::register_aggregate`](crate::Session::register_aggregate) has an example.
///
/// # Contract
/// * A group's state begins with NULL in every column. Rows with a NULL among their arguments do not reach the function, as with
///   the aggregates of SQL.
/// * The result is a function of the multiset of rows: their order means nothing, and neither does how they were divided into parts
///   that were merged. Whatever is kept is in the declared columns; `self` never changes.
/// * What is retracted was accumulated before. With `retracts()` declared, retracting all that was accumulated gives a state that
///   has the result of no row.
/// * An error ends the job, which names the row; nothing is committed of its epoch.
pub trait AggregateFunction: Send + Sync {
    /// Adds a row.
    ///
    /// # Errors
    /// Why it cannot, in the user's words.
    fn accumulate(&self, state: &mut GroupState<'_, '_>, row: Row<'_>) -> Result<(), String>;

    /// Takes a row back. Called only if the signature says `retracts()`.
    ///
    /// # Errors
    /// Why it cannot.
    fn retract(&self, state: &mut GroupState<'_, '_>, row: Row<'_>) -> Result<(), String> {
        let _ = (state, row);
        Err("it declares that it takes rows back, and has no code for it".to_owned())
    }

    /// Adds the state of another group.
    ///
    /// # Errors
    /// Why it cannot.
    fn merge(&self, state: &mut GroupState<'_, '_>, other: Row<'_>) -> Result<(), String>;

    /// The result for a state.
    ///
    /// # Errors
    /// Why there is none.
    fn result(&self, state: Row<'_>) -> Result<Value, String>;
}

type Code = Arc<dyn AggregateFunction>;

/// What programs have registered, by the name in plans: a name and a version are one function for the process.
static OF_PROGRAMS: Mutex<BTreeMap<String, (AggregateSignature, Code)>> =
    Mutex::new(BTreeMap::new());

/// Takes a function of the program in. One of that name and version that is there already stays: the version says that its code
/// is the same.
pub(crate) fn register(signature: &AggregateSignature, code: Code) -> crate::Result<()> {
    signature
        .check()
        .map_err(|problem| crate::Error::Plan(problem.into()))?;
    let mut known = lock(&OF_PROGRAMS);
    match known.get(&signature.name_in_plans()) {
        Some((other, _)) if other != signature => Err(crate::Error::Plan(
            Diagnostic::error(
                "R0058",
                format!(
                    "the function `{}` is registered already in this version with other types or state",
                    signature.name()
                ),
            )
            .help("give it another version")
            .into(),
        )),
        Some(_) => Ok(()),
        None => {
            known.insert(signature.name_in_plans(), (signature.clone(), code));
            Ok(())
        }
    }
}

/// The code that a call of a plan means.
fn code_of(aggregate: &Aggregate) -> Result<Code, String> {
    let known = lock(&OF_PROGRAMS);
    let (name, version) = aggregate
        .function
        .split_once('@')
        .unwrap_or((&aggregate.function, "1"));
    match known.get(&aggregate.function) {
        Some((signature, code)) if Some(signature.in_plans()) == aggregate.registered => {
            Ok(Arc::clone(code))
        }
        Some(_) => Err(format!(
            "[R0091] the program has the aggregate function `{name}` in version `{version}`, but the plan knows it with other state: \
             what changes its state is another version"
        )),
        None => {
            let prefix = format!("{name}@");
            let others: Vec<&str> = known
                .keys()
                .filter_map(|known| known.strip_prefix(&prefix))
                .collect();
            let has = match others.as_slice() {
                [] => String::new(),
                others => format!(" (it has {})", others.join(", ")),
            };
            Err(format!(
                "[R0091] the program has not registered the aggregate function `{name}` in version `{version}`{has}: a job that calls it \
                 is run by a program that has it (Session::register_aggregate)"
            ))
        }
    }
}

/// Runs the code of a function over the columns that it keeps.
#[derive(Clone)]
pub(super) struct Registered {
    code: Code,
    kept: Vec<(usize, DataType)>,
    returns: DataType,
}

impl Registered {
    /// `columns` are the places of what it keeps.
    pub(super) fn new(aggregate: &Aggregate, columns: &[usize]) -> Result<Self, String> {
        let code = code_of(aggregate)?;
        let state: &[Column] = aggregate
            .registered
            .as_ref()
            .map_or(&[], |registered| &registered.state);
        if state.len() != columns.len() {
            return Err(format!(
                "{} state columns are not what it declares",
                columns.len()
            ));
        }
        let types = state.iter().map(|column| column.data_type.clone());
        Ok(Self {
            code,
            kept: columns.iter().copied().zip(types).collect(),
            returns: aggregate.data_type.clone(),
        })
    }

    /// With state of its own, from column 0 on.
    fn apart(aggregate: &Aggregate) -> Result<Self, String> {
        let width = aggregate
            .registered
            .as_ref()
            .map_or(0, |registered| registered.state.len());
        Self::new(aggregate, &(0..width).collect::<Vec<_>>())
    }

    /// The first column that it writes.
    pub(super) fn first(&self) -> usize {
        self.kept.first().map_or(0, |(place, _)| *place)
    }

    fn state<'a, 'c>(&'a self, columns: &'a mut Columns<'c>, slot: u32) -> GroupState<'a, 'c> {
        GroupState::new(columns, slot, &self.kept)
    }

    /// The results of the groups whose state columns these are.
    pub(super) fn finish(&self, columns: &[ArrayRef]) -> Outcome<ArrayRef> {
        let rows = columns.first().map_or(0, |column| column.len());
        let table = Table::new(self.kept.iter().map(|(place, _)| &columns[*place]))?;
        self.results(rows, |row| self.code.result(table.row(row)))
    }

    fn results(
        &self,
        rows: usize,
        result: impl Fn(usize) -> Result<Value, String>,
    ) -> Outcome<ArrayRef> {
        let schema: Schema = vec![Column::new("result", self.returns.clone())];
        let mut scratch = Scratch::new(schema);
        scratch.reset(rows);
        let columns = &mut scratch.columns();
        for row in 0..rows {
            let value = result(row).map_err(|why| (row, why))?;
            put(columns, 0, row as u32, &self.returns, &value)
                .map_err(|why| (row, format!("the result {why}")))?;
        }
        let slots: Vec<u32> = (0..rows as u32).collect();
        let mut results = scratch
            .values(&slots)
            .map_err(|error| (0, error.to_string()))?;
        results
            .pop()
            .ok_or_else(|| (0, "no result was made".to_owned()))
    }
}

impl Accumulator for Registered {
    fn update(
        &self,
        state: &mut Columns<'_>,
        slots: &[u32],
        input: &Argument,
        retracted: Option<&BooleanBuffer>,
    ) -> Outcome<()> {
        if input
            .active
            .as_ref()
            .is_some_and(|active| active.null_count() == active.len())
        {
            return Ok(());
        }
        let table = Table::new(&input.values)?;
        input.for_each_active(|row| {
            let mut state = self.state(state, slots[row]);
            let done = match retracted {
                Some(retracted) if retracted.value(row) => {
                    self.code.retract(&mut state, table.row(row))
                }
                _ => self.code.accumulate(&mut state, table.row(row)),
            };
            done.map_err(|why| (row, why))
        })
    }

    fn merge(&self, state: &mut Columns<'_>, slots: &[u32], values: &[ArrayRef]) -> Outcome<()> {
        let table = Table::new(self.kept.iter().map(|(place, _)| &values[*place]))?;
        for (row, &slot) in slots.iter().enumerate() {
            let mut state = self.state(state, slot);
            self.code
                .merge(&mut state, table.row(row))
                .map_err(|why| (row, why))?;
        }
        Ok(())
    }
}

/// A function whose state is made of the rows of a side table.
pub(super) struct Anew {
    function: Registered,
    /// The columns of the side table that are its arguments.
    arguments: Vec<usize>,
    state: Schema,
    distinct: bool,
}

impl Anew {
    pub(super) fn new(
        aggregate: &Aggregate,
        place: &dyn Fn(usize) -> Option<usize>,
    ) -> Result<Self, String> {
        let arguments = aggregate.arguments.iter().map(|&argument| place(argument));
        Ok(Self {
            function: Registered::apart(aggregate)?,
            arguments: arguments
                .collect::<Option<_>>()
                .ok_or("its side table lacks an argument")?,
            state: aggregate
                .registered
                .as_ref()
                .map(|registered| registered.state.clone())
                .unwrap_or_default(),
            distinct: aggregate.distinct,
        })
    }

    /// One value for each group.
    pub(super) fn finish(&self, groups: &Segments) -> Outcome<ArrayRef> {
        let columns = groups.rows.columns();
        let table = Table::new(self.arguments.iter().map(|&column| &columns[column]))?;
        let mut scratch = Scratch::new(self.state.clone());
        scratch.reset(groups.ends.len());
        let state = &mut scratch.columns();
        for (group, range) in groups.ranges().enumerate() {
            let mut state = self.function.state(state, group as u32);
            for row in range {
                let times = if self.distinct { 1 } else { groups.counts[row] };
                for _ in 0..times {
                    let added = self.function.code.accumulate(&mut state, table.row(row));
                    added.map_err(|why| (group, why))?;
                }
            }
        }
        let slots: Vec<u32> = (0..groups.ends.len() as u32).collect();
        let values = scratch
            .values(&slots)
            .map_err(|error| (0, error.to_string()))?;
        self.function.finish(&values)
    }
}
