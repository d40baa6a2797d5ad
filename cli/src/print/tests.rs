//! Printed results: what each format and form makes of the same changes.

use arrow::array::{ArrayRef, BinaryArray, Float64Array, Int64Array, StringViewArray};
use weir_planner::plan::{Input, Operator, PLAN_FORMAT_VERSION, Partitioning};
use weir_types::{OperatorId, Span};

use super::*;

/// What was printed, to look at from outside.
#[derive(Clone, Default)]
struct Sheet(Arc<Mutex<Vec<u8>>>);

impl Write for Sheet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sheet {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Nobody reads.
struct ClosedPipe;

impl Write for ClosedPipe {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

/// A plan of some SELECTs over columns `k` (the key) and `n`.
fn plan(selects: usize, changelog: Changelog) -> StreamPlan {
    let operators = (1..=selects).map(|i| Operator {
        id: OperatorId::new(if i == 1 {
            "select/output".to_owned()
        } else {
            format!("select_{i}/output")
        }),
        kind: OperatorKind::Output {
            names: vec!["k".to_owned(), "N".to_owned()],
        },
        inputs: vec![Input {
            from: 0,
            partitioning: Partitioning::Forward,
        }],
        schema: vec![
            Column::new("k", DataType::String),
            Column::new("n", DataType::Int64),
        ],
        changelog,
        unique_key: Some(vec![0]),
        event_time: None,
        further_event_times: Vec::new(),
        window: None,
        state: Vec::new(),
        ttl: None,
        fingerprint: String::new(),
        upstream_fingerprint: String::new(),
        span: Span::default(),
    });
    StreamPlan {
        format_version: PLAN_FORMAT_VERSION,
        job_name: None,
        settings: Default::default(),
        tables: Default::default(),
        operators: operators.collect(),
        state_from: Default::default(),
    }
}

/// Changes such as `("-", "a", Some(1))`: a retraction of the row `a, 1`.
type Rows<'a> = &'a [(&'a str, &'a str, Option<i64>)];

fn changes(rows: Rows<'_>) -> ChangeBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(
            rows.iter()
                .map(|(_, k, _)| Some(*k))
                .collect::<StringViewArray>(),
        ),
        Arc::new(rows.iter().map(|(_, _, n)| *n).collect::<Int64Array>()),
    ];
    let schema = DataType::arrow_schema(&[
        Column::new("k", DataType::String),
        Column::new("n", DataType::Int64),
    ]);
    let retracted: Vec<bool> = rows.iter().map(|(op, ..)| *op == "-").collect();
    ChangeBatch {
        rows: RecordBatch::try_new(schema, columns).unwrap(),
        retracted: retracted.contains(&true).then(|| retracted.into()),
        own_watermark: None,
    }
}

fn print(plan: &StreamPlan, options: PrintOptions, epochs: &[(usize, Rows<'_>)]) -> String {
    let sheet = Sheet::default();
    let mut printer = Printer::to(
        plan,
        options,
        Arc::new(StatusLine::new(false)),
        Box::new(sheet.clone()),
        None,
    )
    .unwrap();
    for (operator, rows) in epochs {
        let event = OutputEvent {
            operator: *operator,
            changes: vec![changes(rows)],
        };
        assert!(printer.take(event).is_continue());
    }
    printer.finish().unwrap();
    sheet.text()
}

fn bounded(format: Format) -> PrintOptions {
    PrintOptions {
        format,
        changelog: false,
        bounded: true,
        live: false,
    }
}

const UPDATES: &[(usize, Rows<'static>)] = &[
    (0, &[("+", "b", Some(1)), ("+", "a", Some(1))]),
    (
        0,
        &[
            ("-", "b", Some(1)),
            ("+", "b", Some(20)),
            ("-", "a", Some(1)),
            ("+", "c", None),
        ],
    ),
];

#[test]
fn a_bounded_updating_query_prints_its_final_rows_sorted() {
    let table = print(
        &plan(1, Changelog::Retractions),
        bounded(Format::Table),
        UPDATES,
    );
    assert_eq!(
        table,
        " k │    N\n───┼──────\n b │   20\n c │ NULL\n(2 rows)\n"
    );
    let csv = print(
        &plan(1, Changelog::Retractions),
        bounded(Format::Csv),
        UPDATES,
    );
    assert_eq!(csv, "k,N\nb,20\nc,\n");
    let json = print(
        &plan(1, Changelog::Retractions),
        bounded(Format::Json),
        UPDATES,
    );
    assert_eq!(json, "{\"k\":\"b\",\"N\":20}\n{\"k\":\"c\",\"N\":null}\n");
}

#[test]
fn a_changelog_pairs_updates_of_one_key_in_one_epoch() {
    let options = PrintOptions {
        changelog: true,
        ..bounded(Format::Json)
    };
    let json = print(&plan(1, Changelog::Retractions), options, UPDATES);
    let ops: Vec<_> = json
        .lines()
        .map(|line| (&line[7..9], line.contains("\"b\"")))
        .collect();
    assert_eq!(
        ops,
        [
            ("+I", true),
            ("+I", false),
            ("-U", true),
            ("+U", true),
            ("-D", false),
            ("+I", false)
        ]
    );
}

#[test]
fn without_a_key_a_changelog_has_no_pairs() {
    let mut plan = plan(1, Changelog::Retractions);
    plan.operators[0].unique_key = None;
    let csv = print(
        &plan,
        PrintOptions {
            changelog: true,
            ..bounded(Format::Csv)
        },
        UPDATES,
    );
    assert_eq!(
        csv,
        "op,k,N\n+I,b,1\n+I,a,1\n-D,b,1\n+I,b,20\n-D,a,1\n+I,c,\n"
    );
}

#[test]
fn an_updating_query_without_an_end_prints_changes() {
    let options = PrintOptions {
        bounded: false,
        ..bounded(Format::Csv)
    };
    assert!(
        print(&plan(1, Changelog::Retractions), options, UPDATES).starts_with("op,k,N\n+I,b,1\n")
    );
}

#[test]
fn append_only_rows_come_in_their_order_of_arrival() {
    let epochs: &[(usize, &[_])] = &[
        (0, &[("+", "z", Some(1))]),
        (0, &[("+", "a", Some(2)), ("+", "a", Some(2))]),
    ];
    assert_eq!(
        print(
            &plan(1, Changelog::AppendOnly),
            bounded(Format::Csv),
            epochs
        ),
        "k,N\nz,1\na,2\na,2\n"
    );
}

#[test]
fn each_of_several_queries_is_printed_as_a_whole() {
    let epochs: &[(usize, &[_])] = &[
        (1, &[("+", "x", Some(1))]),
        (0, &[("+", "y", Some(2))]),
        (1, &[("+", "z", Some(3))]),
    ];
    let csv = print(
        &plan(2, Changelog::AppendOnly),
        bounded(Format::Csv),
        epochs,
    );
    assert_eq!(csv, "-- select\nk,N\ny,2\n\n-- select_2\nk,N\nx,1\nz,3\n");
}

#[test]
fn an_empty_result_shows_its_columns() {
    assert_eq!(
        print(&plan(1, Changelog::AppendOnly), bounded(Format::Table), &[]),
        " k │ N\n───┼───\n(0 rows)\n"
    );
    assert_eq!(
        print(&plan(1, Changelog::Retractions), bounded(Format::Csv), &[]),
        "k,N\n"
    );
}

#[test]
fn a_retraction_of_an_earlier_start_is_not_shown_as_a_row() {
    let epochs: &[(usize, &[_])] = &[(0, &[("-", "a", Some(1)), ("+", "a", Some(2))])];
    assert_eq!(
        print(
            &plan(1, Changelog::Retractions),
            bounded(Format::Csv),
            epochs
        ),
        "k,N\na,2\n"
    );
}

#[test]
fn a_closed_pipe_asks_the_job_to_stop() {
    let plan = plan(1, Changelog::AppendOnly);
    let status = Arc::new(StatusLine::new(false));
    let mut printer = Printer::to(
        &plan,
        bounded(Format::Csv),
        status,
        Box::new(ClosedPipe),
        None,
    )
    .unwrap();
    let event = OutputEvent {
        operator: 0,
        changes: vec![changes(&[("+", "a", Some(1))])],
    };
    assert!(printer.take(event).is_break());
    assert!(is_closed_pipe(&printer.finish().unwrap_err()));
}

#[test]
fn values_that_could_break_a_format_are_escaped() {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringViewArray::from(vec!["a,\"b\"\n", ""])),
        Arc::new(Float64Array::from(vec![f64::NAN, 0.5])),
        Arc::new(BinaryArray::from(vec![&[0xCA_u8, 0xFE][..], &[]])),
    ];
    let names = ["s", "f", "b"];
    let rows = RecordBatch::try_from_iter(names.into_iter().zip(columns)).unwrap();
    let written = |format| {
        let mut out = Vec::new();
        let types = [DataType::String, DataType::Float64, DataType::Bytes];
        let columns = names.into_iter().zip(types);
        let columns = columns.map(|(name, data_type)| Column::new(name, data_type));
        let mut writer = writer(bounded(format), columns.collect(), false, None).unwrap();
        writer.write(&rows, None, &mut out).unwrap();
        writer.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        written(Format::Json),
        "{\"s\":\"a,\\\"b\\\"\\n\",\"f\":\"NaN\",\"b\":\"yv4=\"}\n{\"s\":\"\",\"f\":0.5,\"b\":\"\"}\n"
    );
    assert_eq!(
        written(Format::Csv),
        "s,f,b\n\"a,\"\"b\"\"\n\",NaN,yv4=\n\"\",0.5,\"\"\n"
    );
    assert!(written(Format::Table).contains(" a,\\\"b\\\"\\n │ NaN │ yv4=\n"));
}

#[test]
fn a_failed_job_shows_the_rows_that_were_on_their_way() {
    let sheet = Sheet::default();
    let plan = plan(1, Changelog::AppendOnly);
    let status = Arc::new(StatusLine::new(false));
    let mut printer = Printer::to(
        &plan,
        bounded(Format::Table),
        status,
        Box::new(sheet.clone()),
        None,
    )
    .unwrap();
    let event = OutputEvent {
        operator: 0,
        changes: vec![changes(&[("+", "a", Some(1))])],
    };
    assert!(printer.take(event).is_continue());
    assert_eq!(
        sheet.text(),
        "",
        "a bounded table waits for the widths of its columns"
    );
    printer.abandon();
    assert_eq!(sheet.text(), " k │ N\n───┼───\n a │ 1\n");
}

#[test]
fn rows_that_a_terminal_has_no_room_for_are_lists() {
    let columns = || {
        vec![
            Column::new("k", DataType::String),
            Column::new("number", DataType::Int64),
        ]
    };
    let rows = changes(&[("+", "a long text", Some(1)), ("+", "東京", None)]).rows;
    let printed = |terminal: usize| {
        let mut out = Vec::new();
        let mut table = Table::new(columns(), false).within(Some(terminal));
        table.write(&rows, None, &mut out).unwrap();
        table.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert!(printed(22).starts_with(" k           │ number\n"));
    assert_eq!(
        printed(20),
        "─ row 1 ────────────\n k      │ a long text\n number │ 1\n─ row 2 ────────────\n k      │ 東京\n number │ NULL\n(2 rows)\n"
    );
}
