//! What the tests of this crate share: requests from a few words, sources read to their end, rows as text.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use weir_types::{Column, Generation, SplitId};

use crate::{
    Deal, DecodedBatch, Payload, Position, RecordError, Result, SinkEnvironment, Source,
    TableRequest,
};

/// A table with these options and columns.
pub(crate) fn request(base: &Path, options: &[(&str, &str)], columns: &[Column]) -> TableRequest {
    let options = options
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    TableRequest {
        table: "t".to_owned(),
        options: options.collect::<BTreeMap<_, _>>(),
        columns: columns.to_vec(),
        declared: columns.to_vec(),
        base: base.to_path_buf(),
        ..TableRequest::default()
    }
}

/// One start of the job `job.1`.
pub(crate) fn environment(base: &Path, generation: u64) -> SinkEnvironment {
    SinkEnvironment {
        job: "job.1".to_owned(),
        sink: "t/sink".to_owned(),
        generation: Generation(generation),
        exactly_once: true,
        base: base.to_path_buf(),
    }
}

/// Each row as `+` or `-` and its values.
pub(crate) fn texts(batches: &[DecodedBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        assert!(batch.rows.num_rows() <= crate::BATCH_ROWS);
        assert_eq!(batch.rows.num_rows(), batch.offsets.len());
        let columns: Vec<_> = batch
            .rows
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
            .collect();
        for row in 0..batch.rows.num_rows() {
            let sign = if batch.retracted.as_ref().is_some_and(|bits| bits.value(row)) {
                '-'
            } else {
                '+'
            };
            let values: Vec<_> = columns
                .iter()
                .map(|column| column.value(row).to_string())
                .collect();
            rows.push(format!("{sign}{}", values.join("|")));
        }
    }
    rows
}

/// How a split was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    pub(crate) rows: Vec<String>,
    pub(crate) rejected: Vec<RecordError>,
    /// Before each chunk, and after the last: how many rows and rejected records had been given.
    pub(crate) positions: Vec<(usize, usize, Position)>,
}

/// Reads a split from a position until it ends, or has nothing for now.
pub(crate) fn read(
    source: &dyn Source,
    split: &SplitId,
    position: Option<&Position>,
    max_bytes: usize,
    max_records: u64,
) -> Result<Reading> {
    let mut dealer = source.dealer(split, position)?;
    let mut decoder = source.decoder()?;
    let mut reading = Reading::default();
    loop {
        reading.positions.push((
            reading.rows.len(),
            reading.rejected.len(),
            dealer.position(),
        ));
        match dealer.deal(max_bytes, max_records)? {
            Deal::End | Deal::Pending => return Ok(reading),
            Deal::Chunk(chunk) => {
                assert!(chunk.records <= max_records);
                if let Payload::Text(text) = &chunk.payload {
                    assert!(
                        chunk.records <= 1 || text.len() <= max_bytes,
                        "a chunk of {} bytes",
                        text.len()
                    );
                }
                let decoded = decoder.decode(&chunk)?;
                let rows = texts(&decoded.batches);
                assert_eq!(
                    rows.len() + decoded.rejected.len(),
                    chunk.records as usize,
                    "records are counted"
                );
                reading.rows.extend(rows);
                reading.rejected.extend(decoded.rejected);
            }
        }
    }
}

/// Reads all splits of a source from the start.
pub(crate) fn read_all(source: &dyn Source) -> Result<Reading> {
    let mut all = Reading::default();
    for split in source.splits(&BTreeMap::new())?.splits {
        let reading = read(source, &split, None, 1 << 20, u64::MAX)?;
        all.rows.extend(reading.rows);
        all.rejected.extend(reading.rejected);
    }
    Ok(all)
}
