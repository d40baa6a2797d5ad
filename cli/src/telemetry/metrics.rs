//! Figures as OTLP writes them, and those of a job.
//!
//! Sums are cumulative: each has the time from which on it was counted. What a counter of Weir had when this process began to look
//! is not part of that, and a counter that goes back (a restart from a checkpoint) begins again at a later time.

use std::collections::HashMap;

use serde_json::{Value, json};
use weir_engine::{JobMetrics, OperatorMetrics};
use weir_types::Watermark;

use super::span::{Attribute, attributes_json, nanos};

/// Whether a figure only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// How much there is.
    Gauge,
    /// Counted since some time.
    Sum,
}

/// One figure.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) about: &'static str,
    pub(crate) kind: Kind,
    pub(crate) attributes: Vec<(&'static str, Attribute)>,
    pub(crate) value: i64,
}

/// Remembers since when each sum counts.
#[derive(Debug)]
pub(crate) struct Sums {
    start_micros: i64,
    /// By name and attributes: since when, what it had then, what it had last.
    known: HashMap<String, (i64, i64, i64)>,
}

impl Sums {
    pub(crate) fn new(start_micros: i64) -> Self {
        Self {
            start_micros,
            known: HashMap::new(),
        }
    }

    /// The metrics of a sample, each with all its points under one heading.
    pub(crate) fn metrics(&mut self, figures: &[Figure], now_micros: i64) -> Vec<Value> {
        let mut metrics: Vec<(&Figure, Vec<Value>)> = Vec::new();
        for figure in figures {
            let point = self.point(figure, now_micros);
            match metrics
                .iter_mut()
                .find(|(other, _)| other.name == figure.name)
            {
                Some((_, points)) => points.push(point),
                None => metrics.push((figure, vec![point])),
            }
        }
        let metrics = metrics.into_iter().map(|(figure, points)| {
            let mut metric = json!({
                "name": figure.name, "unit": figure.unit, "description": figure.about,
            });
            match figure.kind {
                Kind::Gauge => metric["gauge"] = json!({"dataPoints": points}),
                // Temporality 2 is cumulative.
                Kind::Sum => {
                    metric["sum"] = json!({
                        "dataPoints": points, "aggregationTemporality": 2, "isMonotonic": true,
                    });
                }
            }
            metric
        });
        metrics.collect()
    }

    fn point(&mut self, figure: &Figure, now_micros: i64) -> Value {
        let attributes = attributes_json(&figure.attributes);
        let mut point = json!({"timeUnixNano": nanos(now_micros)});
        let mut value = figure.value;
        if figure.kind == Kind::Sum {
            let known = self.known.entry(key(figure));
            let known = known.or_insert((self.start_micros, 0, 0));
            if figure.value < known.2 {
                *known = (now_micros, figure.value, figure.value);
            }
            known.2 = figure.value;
            value = figure.value - known.1;
            point["startTimeUnixNano"] = nanos(known.0).into();
        }
        point["asInt"] = value.to_string().into();
        point["attributes"] = attributes;
        point
    }

    /// What counters had before anybody counted here.
    pub(crate) fn begin(&mut self, figures: &[Figure]) {
        for figure in figures {
            let known = (self.start_micros, figure.value, figure.value);
            self.known.insert(key(figure), known);
        }
    }
}

fn key(figure: &Figure) -> String {
    format!("{} {:?}", figure.name, figure.attributes)
}

fn of(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The figures of a job, as docs/telemetry.md lists them.
pub(crate) fn of_job(job: &str, metrics: &JobMetrics) -> Vec<Figure> {
    use Kind::{Gauge, Sum};
    let progress = &metrics.progress;
    let mut figures = Vec::new();
    let mut add = |name, unit, about, kind, value| {
        figures.push(Figure {
            name,
            unit,
            about,
            kind,
            attributes: vec![("weir.job", job.into())],
            value,
        });
    };
    let state = &progress.state;
    add(
        "weir.job.rows_in",
        "{row}",
        "Records read, malformed ones included.",
        Sum,
        of(progress.rows_in),
    );
    add(
        "weir.job.rows_out",
        "{row}",
        "Rows given to sinks.",
        Sum,
        of(progress.rows_out),
    );
    add(
        "weir.job.late_rows",
        "{row}",
        "Rows dropped because they came late.",
        Sum,
        of(progress.late_rows),
    );
    add(
        "weir.job.rejected_rows",
        "{row}",
        "Malformed records that were skipped or kept elsewhere.",
        Sum,
        of(progress.rejected_rows),
    );
    add(
        "weir.job.failed_rows",
        "{row}",
        "Rows left out because an expression failed.",
        Sum,
        of(progress.failed_rows),
    );
    if let Some(checkpoint) = progress.last_checkpoint {
        add(
            "weir.job.last_checkpoint",
            "1",
            "The number of the newest whole checkpoint.",
            Gauge,
            of(checkpoint.0),
        );
    }
    if let Some(watermark) = progress.watermark
        && watermark != Watermark::MIN
        && watermark != Watermark::MAX
    {
        add(
            "weir.job.watermark",
            "us",
            "The least watermark of the sources, since 1970.",
            Gauge,
            watermark.0,
        );
    }
    add(
        "weir.job.state.memory",
        "By",
        "Memory that state takes.",
        Gauge,
        of(state.memory_bytes),
    );
    add(
        "weir.job.state.memory_budget",
        "By",
        "'state.memory'.",
        Gauge,
        of(state.memory_bytes_budget),
    );
    add(
        "weir.job.state.spilled",
        "{entry}",
        "Entries of state that memory had no room for.",
        Sum,
        of(state.entries_spilled),
    );
    for operator in &metrics.operators {
        of_operator(&mut figures, job, operator);
    }
    figures
}

fn of_operator(figures: &mut Vec<Figure>, job: &str, operator: &OperatorMetrics) {
    use Kind::{Gauge, Sum};
    let attributes = || {
        vec![
            ("weir.job", job.into()),
            ("weir.operator", operator.id.as_str().into()),
        ]
    };
    let mut add = |name, unit, about, kind, value| {
        figures.push(Figure {
            name,
            unit,
            about,
            kind,
            attributes: attributes(),
            value: of(value),
        });
    };
    add(
        "weir.operator.rows_in",
        "{row}",
        "Rows that came in.",
        Sum,
        operator.rows_in,
    );
    add(
        "weir.operator.rows_out",
        "{row}",
        "Rows given on.",
        Sum,
        operator.rows_out,
    );
    add(
        "weir.operator.busy",
        "us",
        "Time in the operator's own code, of all workers.",
        Sum,
        operator.busy_micros,
    );
    add(
        "weir.operator.alignment",
        "us",
        "How long first barriers waited for last ones.",
        Sum,
        operator.alignment_micros,
    );
    add(
        "weir.operator.state.entries",
        "{entry}",
        "Entries of its state that are in memory.",
        Gauge,
        operator.state_entries,
    );
    add(
        "weir.operator.state.memory",
        "By",
        "And their bytes, about.",
        Gauge,
        operator.state_bytes,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(kind: Kind, value: i64) -> Figure {
        Figure {
            name: "weir.x",
            unit: "{row}",
            about: "Rows.",
            kind,
            attributes: vec![("weir.job", "j".into())],
            value,
        }
    }

    fn point(metric: &Value) -> (String, String) {
        let point = &metric["sum"]["dataPoints"][0];
        let text = |key: &str| point[key].as_str().unwrap().to_owned();
        (text("startTimeUnixNano"), text("asInt"))
    }

    #[test]
    fn a_sum_counts_from_where_it_was_and_begins_again_when_it_goes_back() {
        let mut sums = Sums::new(1);
        sums.begin(&[figure(Kind::Sum, 100)]);
        let mut at = |value, now| point(&sums.metrics(&[figure(Kind::Sum, value)], now)[0]);
        let told = |start: &str, value: &str| (start.to_owned(), value.to_owned());
        assert_eq!(at(150, 2), told("1000", "50"));
        assert_eq!(at(90, 3), told("3000", "0"));
        assert_eq!(at(95, 4), told("3000", "5"));
    }

    #[test]
    fn points_of_one_name_stand_under_one_heading() {
        let other = Figure {
            attributes: vec![("weir.job", "k".into())],
            ..figure(Kind::Gauge, 7)
        };
        let metrics = Sums::new(0).metrics(&[figure(Kind::Gauge, 5), other], 9);
        assert_eq!(metrics.len(), 1);
        let points = metrics[0]["gauge"]["dataPoints"].as_array().unwrap();
        assert_eq!(points.len(), 2);
        assert_eq!(points[1]["asInt"], "7");
        assert_eq!(points[1]["timeUnixNano"], "9000");
        assert!(points[0].get("startTimeUnixNano").is_none());
    }
}
