//! `weir generate`: rows of a generator as a file, the same every time.
//!
//! It is a query over the connector `nexmark` or `datagen` whose rows are written as lines, by one worker, in their order.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use weir_connectors::{PrintFormat, row_encoder};
use weir_engine::{Next, Session, SessionOptions};

use crate::arguments::key_and_value;
use crate::exit::{Code, Failure};
use crate::print::is_closed_pipe;
use crate::query_file::QueryFile;

/// `weir generate`.
#[derive(Args)]
#[command(after_help = "Examples:
  weir generate nexmark bid --events 100000 --format csv --out bids.csv
  weir generate nexmark auction --events 1000 | head
  weir generate datagen --rows 1000 --columns 'id BIGINT, city STRING' --with fields.id.kind=sequence")]
pub(crate) struct GenerateOptions {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Events of the Nexmark benchmark: people, auctions and their bids.
    #[command(after_help = "Examples:
  weir generate nexmark bid --events 100000 --format csv --out bids.csv
  weir generate nexmark auction --events 1000 | head")]
    Nexmark(NexmarkOptions),
    /// Rows of your own columns (docs/connectors/datagen.md).
    #[command(after_help = "Examples:
  weir generate datagen --columns 'id BIGINT, city STRING' --rows 5
  weir generate datagen --columns 'id BIGINT, km DOUBLE' --with fields.id.kind=sequence --with seed=7 --format csv")]
    Datagen(DatagenOptions),
}

#[derive(Args)]
struct NexmarkOptions {
    /// Which rows.
    #[arg(value_enum)]
    table: Table,
    /// Events in all, of which a fiftieth are people, three are auctions, and the others bids.
    #[arg(long, default_value_t = 10_000)]
    events: u64,
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
struct DatagenOptions {
    /// The columns, as CREATE TABLE writes them.
    #[arg(long)]
    columns: String,
    /// How many rows.
    #[arg(long, default_value_t = 1000)]
    rows: u64,
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
struct Output {
    /// An option of the generator, for example seed=7.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    with: Vec<(String, String)>,
    /// How rows are written.
    #[arg(long, value_enum, default_value_t = Lines::Json)]
    format: Lines,
    /// As --format json, which it is anyway.
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// The file; standard output unless it is named.
    #[arg(long, short = 'o', value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Lines {
    /// One JSON object a line.
    Json,
    /// CSV with a header.
    Csv,
}

#[derive(Clone, Copy, ValueEnum)]
enum Table {
    Person,
    Auction,
    Bid,
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Auction => "auction",
            Self::Bid => "bid",
        }
    }

    fn columns(self) -> &'static str {
        match self {
            Self::Person => {
                "id BIGINT, name STRING, email_address STRING, credit_card STRING, city STRING, state STRING, \
                 date_time TIMESTAMP(3), extra STRING"
            }
            Self::Auction => {
                "id BIGINT, item_name STRING, description STRING, initial_bid BIGINT, reserve BIGINT, \
                 date_time TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra STRING"
            }
            Self::Bid => {
                "auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, date_time TIMESTAMP(3), extra STRING"
            }
        }
    }
}

/// Runs the command.
pub(crate) fn generate(options: &GenerateOptions) -> Result<Code, Failure> {
    let (connector, columns, mut with, output) = match &options.what {
        What::Nexmark(options) => {
            let with = vec![
                ("table", options.table.name().to_owned()),
                ("events", options.events.to_string()),
            ];
            ("nexmark", options.table.columns(), with, &options.output)
        }
        What::Datagen(options) => {
            let with = vec![("rows", options.rows.to_string())];
            ("datagen", options.columns.as_str(), with, &options.output)
        }
    };
    with.insert(0, ("connector", connector.to_owned()));
    let given = output
        .with
        .iter()
        .map(|(key, value)| (key.as_str(), value.clone()));
    let options: Vec<String> = with
        .into_iter()
        .chain(given)
        .map(|(key, value)| {
            format!(
                "'{}' = '{}'",
                key.replace('\'', "''"),
                value.replace('\'', "''")
            )
        })
        .collect();
    let sql = format!(
        "CREATE TABLE generated ({columns}) WITH ({});\nSELECT * FROM generated",
        options.join(", ")
    );
    write(&QueryFile::of_text("generator", &sql), output)
}

fn write(file: &QueryFile, output: &Output) -> Result<Code, Failure> {
    let failed = |error: weir_engine::Error| Failure::engine(file, &error);
    let mut session = Session::with_options(SessionOptions {
        state_root: None,
        // Several workers would write their rows in an order of their own.
        settings: vec![("parallelism".to_owned(), "1".to_owned())],
        ..SessionOptions::default()
    });
    let mut rows = None;
    for done in session.execute(&file.sql).map_err(failed)? {
        if let weir_engine::Answer::Rows(query) = done.answer {
            rows = Some(*query);
        }
    }
    let mut rows = rows.ok_or_else(|| Failure::usage("the generator gives no rows"))?;
    let format = match output.format {
        _ if output.json => PrintFormat::Json,
        Lines::Json => PrintFormat::Json,
        Lines::Csv => PrintFormat::Csv,
    };
    let mut encoder = row_encoder(format, rows.columns());
    let mut out: Box<dyn Write> = match &output.out {
        Some(path) => Box::new(BufWriter::new(std::fs::File::create(path).map_err(
            |error| Failure::failed(format!("cannot make {}: {error}", path.display())),
        )?)),
        None => Box::new(BufWriter::new(std::io::stdout())),
    };
    let mut written = out.write_all(encoder.header().unwrap_or_default());
    while written.is_ok() {
        match rows.next_within(Duration::from_secs(1)).map_err(failed)? {
            Next::Nothing => {}
            Next::End(_) => break,
            Next::Epoch(epoch) => encoder.encode(&epoch, &[], &mut |_, line| {
                if written.is_ok() {
                    written = out.write_all(line);
                }
            }),
        }
    }
    match written.and_then(|()| out.flush()) {
        Err(error) if !is_closed_pipe(&error) => {
            Err(Failure::failed(format!("cannot write: {error}")))
        }
        _ => Ok(Code::Done),
    }
}
