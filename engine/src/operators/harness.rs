//! Runs one operator as the runtime would, on a real worker's state, and folds what it gives.
//!
//! ```text
//!   test ─▶ send / watermark / end_epoch ─▶ operator ─▶ changes by epoch
//!                                             │
//!        restart: freeze, drop, open again ───┘  on the memory backend, or RocksDB with next to no memory
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Int64Type;
use weir_connectors::SinkWriter;
use weir_planner::accumulator_layout;
use weir_planner::plan::{
    Aggregate, Changelog, Input, Operator as PlanOperator, OperatorKind, PLAN_FORMAT_VERSION,
    Partitioning, StateBound, StateLayout, StateTable, StreamPlan,
};
use weir_state::{
    BackendKind, CheckpointStore, RestoreFrom, SharedState, WorkerOptions, WorkerState,
};
use weir_types::{
    ChangeBatch, CheckpointId, Column, DataType, Generation, KeyGroupRange, OperatorId,
    ProcessingTime, Schema, Span, Watermark, WorkerId,
};

use super::{
    BuildContext, Operator, OperatorContext, Progress, build, gives_standing_rows, table_specs,
};
use crate::expr::row_values;

const KEY_GROUPS: u16 = 8;

/// A row as text, `a=1, b=NULL`, and +1 or −1.
pub(super) type Change = (String, i64);

/// One operator at work.
pub(super) struct Harness {
    plan: StreamPlan,
    backend: BackendKind,
    folder: tempfile::TempDir,
    store: Arc<CheckpointStore>,
    state: Option<WorkerState>,
    operator: Option<Box<dyn Operator>>,
    context: OperatorContext,
    starts: u64,
    watermark: Watermark,
    /// Epochs that have ended.
    epochs: u64,
    /// Whether the input that the operator only looks at has ended.
    side_ended: bool,
    /// For a sink: what its writer was given; it wants the whole result at each checkpoint.
    log: Option<Arc<Mutex<Vec<String>>>>,
    /// Changes of the epoch at hand, in order.
    pub(super) epoch: Vec<Change>,
    /// What all epochs add up to; rows of weight zero are left out.
    pub(super) result: BTreeMap<String, i64>,
}

impl Harness {
    /// An operator of that plan (its last one); `batch_rows` bounds what it gives in a call.
    pub(super) fn new(plan: StreamPlan, backend: BackendKind, batch_rows: usize) -> Self {
        Self::with_log(plan, backend, batch_rows, None)
    }

    /// A sink in snapshot mode whose writer notes what it is given.
    pub(super) fn snapshot_sink(
        plan: StreamPlan,
        backend: BackendKind,
        log: &Arc<Mutex<Vec<String>>>,
    ) -> Self {
        Self::with_log(plan, backend, 100, Some(log.clone()))
    }

    fn with_log(
        plan: StreamPlan,
        backend: BackendKind,
        batch_rows: usize,
        log: Option<Arc<Mutex<Vec<String>>>>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = CheckpointStore::local(folder.path().join("checkpoints")).unwrap();
        let mut harness = Self {
            plan,
            backend,
            folder,
            store,
            state: None,
            operator: None,
            context: OperatorContext::new(ProcessingTime(0), batch_rows),
            starts: 0,
            watermark: Watermark::MIN,
            epochs: 0,
            side_ended: false,
            log,
            epoch: Vec::new(),
            result: BTreeMap::new(),
        };
        harness.open(None);
        harness
    }

    fn open(&mut self, restore: Option<&RestoreFrom>) {
        self.starts += 1;
        // So little that RocksDB is asked for most keys.
        let shared = SharedState::new(
            self.backend,
            if self.backend == BackendKind::Memory {
                64 << 20
            } else {
                1 << 20
            },
        );
        let options = WorkerOptions {
            worker: WorkerId(0),
            range: KeyGroupRange {
                start: 0,
                end: KEY_GROUPS,
            },
            key_groups: KEY_GROUPS,
            generation: Generation(self.starts),
            scratch: self.folder.path().join(format!("scratch-{}", self.starts)),
            inline_writes: true,
            snapshots: weir_state::SnapshotOptions::default(),
        };
        let state =
            WorkerState::open(shared.unwrap(), options, table_specs(&self.plan), restore).unwrap();
        self.operator = Some(self.built(&state));
        self.state = Some(state);
    }

    fn built(&self, state: &WorkerState) -> Box<dyn Operator> {
        let operator = build(BuildContext {
            plan: &self.plan,
            index: self.plan.operators.len() - 1,
            worker: WorkerId(0),
            parallelism: 1,
            key_groups: KEY_GROUPS,
            state,
            batch_rows: self.context.batch_rows,
            sink: self
                .log
                .clone()
                .map(|log| (Box::new(NotingWriter(log)) as Box<dyn SinkWriter>, true)),
            output: None,
        });
        operator.unwrap()
    }

    /// What an operator has given and not taken back follows from its state, if it says so: whatever a test does, at the
    /// ends of its first epochs and of every fourth one.
    fn check_standing(&mut self) {
        self.epochs += 1;
        if self.epochs > 3 && !self.epochs.is_multiple_of(4) {
            return;
        }
        let plan = self.plan.operators.last().unwrap();
        if !gives_standing_rows(plan) {
            return;
        }
        let state = self.state.as_ref().unwrap();
        state.write_back().unwrap();
        // Another instance: what it counts is not the tested one's.
        let mut operator = self.built(state);
        let mut context = OperatorContext::new(self.context.now, self.context.batch_rows);
        let mut standing: BTreeMap<String, i64> = BTreeMap::new();
        // It begins anew after its end.
        for round in 1..=2 {
            let mut progress = Progress::More;
            while progress == Progress::More {
                progress = operator.give_standing(&mut context).unwrap();
                for (text, weight) in self.rows_of(context.output.take()) {
                    assert_eq!(weight, 1, "rows stand, they are not taken back");
                    *standing.entry(text).or_default() += 1;
                }
            }
            let expected = self.result.iter();
            let expected = expected.map(|(text, count)| (text.clone(), count * round));
            assert_eq!(
                standing,
                expected.collect(),
                "what stands is what was given"
            );
        }
    }

    /// Sets the processing time of the epoch at hand, in microseconds.
    pub(super) fn at(&mut self, micros: i64) {
        self.context.now = ProcessingTime(micros);
    }

    /// Rows of weights ±1 come in on an input.
    pub(super) fn send(&mut self, input: usize, batch: ChangeBatch) {
        self.try_send(input, batch).unwrap();
    }

    pub(super) fn try_send(&mut self, input: usize, batch: ChangeBatch) -> crate::Result<()> {
        self.call(|operator, context| operator.on_batch(input, batch, context))?;
        self.state.as_ref().unwrap().maintain()?;
        Ok(())
    }

    pub(super) fn watermark(&mut self, watermark: Watermark) {
        self.watermark = watermark;
        self.call(|operator, context| operator.on_watermark(watermark, context))
            .unwrap();
    }

    /// Ends the epoch and gives its changes.
    pub(super) fn end_epoch(&mut self) -> Vec<Change> {
        self.try_end_epoch().unwrap()
    }

    pub(super) fn try_end_epoch(&mut self) -> crate::Result<Vec<Change>> {
        if self.side_ended {
            self.operator.as_mut().unwrap().on_side_end();
        }
        self.call(|operator, context| operator.on_epoch_end(context))?;
        self.state.as_ref().unwrap().end_epoch().unwrap();
        self.check_standing();
        Ok(std::mem::take(&mut self.epoch))
    }

    /// The input that the operator only looks at ends: it is told at the end of the epoch.
    pub(super) fn end_side(&mut self) {
        self.side_ended = true;
    }

    /// Whether the operator lets no watermark go on, even at the end of the epoch.
    pub(super) fn withholds_watermark(&self) -> bool {
        self.operator.as_ref().unwrap().withholds_watermark()
    }

    /// What a sink does right before a checkpoint.
    pub(super) fn prepare(&mut self) {
        self.operator
            .as_mut()
            .unwrap()
            .prepare(CheckpointId(self.starts))
            .unwrap();
    }

    /// A checkpoint, a crash and a restore, between two epochs.
    pub(super) fn restart(&mut self) {
        assert!(
            self.epoch.is_empty(),
            "a checkpoint is taken between two epochs"
        );
        let checkpoint = CheckpointId(self.starts);
        self.operator.as_mut().unwrap().settle().unwrap();
        let pending = self
            .state
            .as_ref()
            .unwrap()
            .freeze(checkpoint, &self.store)
            .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let part = runtime.block_on(pending.result()).unwrap();
        self.operator = None;
        self.state = None;
        let restore = RestoreFrom {
            store: self.store.clone(),
            backend: self.backend,
            key_groups: KEY_GROUPS,
            tables: table_specs(&self.plan),
            workers: vec![part],
        };
        self.open(Some(&restore));
        self.watermark(self.watermark);
        assert!(
            self.epoch.is_empty(),
            "a restored operator gives nothing again"
        );
    }

    /// Entries of state in memory.
    pub(super) fn kept_entries(&self) -> u64 {
        let state = self.state.as_ref().expect("the harness has state");
        state.in_memory().iter().map(|(entries, _)| entries).sum()
    }

    /// Rows that came late so far.
    pub(super) fn late_rows(&self) -> u64 {
        self.context.late_rows
    }

    /// Rows left out because they failed.
    pub(super) fn rejected_rows(&self) -> u64 {
        self.operator.as_ref().unwrap().rejected_rows()
    }

    fn call(
        &mut self,
        first: impl FnOnce(&mut dyn Operator, &mut OperatorContext) -> crate::Result<Progress>,
    ) -> crate::Result<()> {
        let mut operator = self.operator.take().unwrap();
        let mut progress = first(operator.as_mut(), &mut self.context)?;
        self.collect();
        while progress == Progress::More {
            progress = operator.resume(&mut self.context)?;
            self.collect();
        }
        self.operator = Some(operator);
        Ok(())
    }

    fn collect(&mut self) {
        let batch = self.context.output.take();
        for (text, weight) in self.rows_of(batch) {
            let count = self.result.entry(text.clone()).or_default();
            *count += weight;
            assert!(*count >= 0, "{text} is taken back before it came");
            if *count == 0 {
                self.result.remove(&text);
            }
            self.epoch.push((text, weight));
        }
    }

    /// The rows of a batch that the operator gave.
    fn rows_of(&self, batch: Option<ChangeBatch>) -> Vec<Change> {
        let Some(batch) = batch else {
            return Vec::new();
        };
        assert!(
            batch.num_rows() <= self.context.batch_rows.max(2),
            "a batch of {} rows",
            batch.num_rows()
        );
        let schema = &self.plan.operators.last().unwrap().schema;
        assert_eq!(batch.rows.schema(), DataType::arrow_schema(schema));
        let text = |row: usize| {
            let pairs = row_values(&batch.rows, row, schema);
            let pairs = pairs.iter().map(|(name, value)| format!("{name}={value}"));
            pairs.collect::<Vec<_>>().join(", ")
        };
        (0..batch.num_rows())
            .map(|row| (text(row), batch.weight(row)))
            .collect()
    }
}

/// Notes the first column of what it is given with its sign, and `end` for every end of an epoch.
pub(super) struct NotingWriter(pub(super) Arc<Mutex<Vec<String>>>);

impl SinkWriter for NotingWriter {
    fn write(&mut self, changes: &ChangeBatch) -> weir_connectors::Result<()> {
        let values = changes.rows.column(0).as_primitive::<Int64Type>();
        let mut log = self.0.lock().unwrap();
        log.extend(
            (0..changes.num_rows())
                .map(|row| format!("{:+}", values.value(row) * changes.weight(row))),
        );
        Ok(())
    }

    fn end_epoch(&mut self) -> weir_connectors::Result<()> {
        self.0.lock().unwrap().push("end".to_owned());
        Ok(())
    }

    fn prepare(&mut self, _: CheckpointId) -> weir_connectors::Result<Option<serde_json::Value>> {
        Ok(None)
    }
}

/// A plan of inputs (their columns, whether they can take rows back) and one operator over them.
pub(super) fn plan(
    inputs: Vec<(Schema, Changelog)>,
    kind: OperatorKind,
    schema: Schema,
    state: Vec<StateTable>,
) -> StreamPlan {
    let operator = |id: &str, kind, inputs, schema, changelog, state| PlanOperator {
        id: OperatorId::new(id),
        kind,
        inputs,
        schema,
        changelog,
        unique_key: None,
        event_time: None,
        further_event_times: Vec::new(),
        window: None,
        state,
        ttl: None,
        fingerprint: String::new(),
        upstream_fingerprint: String::new(),
        span: Span::default(),
    };
    let mut operators = Vec::new();
    for (i, (schema, changelog)) in inputs.into_iter().enumerate() {
        let kind = OperatorKind::Source {
            table: format!("t{i}"),
            columns: Vec::new(),
            filter: None,
        };
        operators.push(operator(
            &format!("t{i}/source"),
            kind,
            Vec::new(),
            schema,
            changelog,
            Vec::new(),
        ));
    }
    let edges = (0..operators.len())
        .map(|from| Input {
            from,
            partitioning: Partitioning::Forward,
        })
        .collect();
    operators.push(operator(
        "v/tested",
        kind,
        edges,
        schema,
        Changelog::Retractions,
        state,
    ));
    StreamPlan {
        format_version: PLAN_FORMAT_VERSION,
        job_name: None,
        settings: BTreeMap::new(),
        tables: BTreeMap::new(),
        operators,
        state_from: BTreeMap::new(),
    }
}

/// A state table.
pub(super) fn table(name: &str, layout: StateLayout, key: Schema, value: Schema) -> StateTable {
    StateTable {
        name: name.to_owned(),
        layout,
        key,
        value,
        bound: StateBound::Keys,
        order: Vec::new(),
    }
}

/// The table of an aggregate's groups.
pub(super) fn groups(
    layout: StateLayout,
    input: &Schema,
    keys: &[usize],
    aggregates: &[Aggregate],
    retractions: bool,
) -> StateTable {
    let value = accumulator_layout(aggregates, input, retractions).columns;
    table(
        "groups",
        layout,
        keys.iter().map(|&key| input[key].clone()).collect(),
        value,
    )
}

/// An aggregate call.
pub(super) fn call(function: &str, arguments: &[usize], data_type: DataType) -> Aggregate {
    Aggregate {
        name: format!("{function}({arguments:?})"),
        function: function.to_owned(),
        arguments: arguments.to_vec(),
        distinct: false,
        order_by: Vec::new(),
        parameters: Vec::new(),
        registered: None,
        filter: None,
        data_type,
        span: Span::new((1, 1), (1, 5)),
    }
}

/// Nullable columns by name and type.
pub(super) fn schema(columns: &[(&str, DataType)]) -> Schema {
    columns
        .iter()
        .map(|(name, data_type)| Column::new(*name, data_type.clone()))
        .collect()
}

/// A batch of these columns.
pub(super) fn batch(schema: &Schema, columns: Vec<ArrayRef>, weights: &[i64]) -> ChangeBatch {
    let rows = RecordBatch::try_new(DataType::arrow_schema(schema), columns).unwrap();
    let retracted: BooleanBuffer = weights.iter().map(|&weight| weight < 0).collect();
    let retracted = (retracted.count_set_bits() > 0).then_some(retracted);
    ChangeBatch {
        rows,
        retracted,
        own_watermark: None,
    }
}

/// A column of integers, some of them NULL.
pub(super) fn ints(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Int64Array>())
}

/// Both backends, RocksDB with next to no memory.
pub(super) const BACKENDS: [BackendKind; 2] = [BackendKind::Memory, BackendKind::Rocksdb];
