//! The report as a colleague would put it: a paragraph for each thing that is not as it was.

use super::report::{
    Exactness, OperatorReport, Report, SinkVerdict, SourceVerdict, StateFrom, Verdict, Work,
};

const WIDTH: usize = 100;

/// The report for people.
pub fn advice(report: &Report) -> String {
    let mut out = summary(report);
    for operator in &report.operators {
        if operator.verdict != Verdict::Unchanged || operator.exact != Exactness::Yes {
            out.push('\n');
            out.push_str(&paragraph(operator));
        }
    }
    for sink in report
        .sinks
        .iter()
        .filter(|sink| sink.verdict != SinkVerdict::Unchanged || !sink.exact)
    {
        let inexact = if sink.exact {
            ""
        } else {
            " It is not the new query's answer over all input."
        };
        out.push('\n');
        out.push_str(&format!("{}: {}\n", sink.id, sink.verdict.word()));
        out.push_str(&indented(&format!(
            "{}.{inexact}",
            capitalized(&sink.reason)
        )));
    }
    for source in report
        .sources
        .iter()
        .filter(|source| source.verdict != SourceVerdict::Kept)
    {
        out.push('\n');
        out.push_str(&format!("{}: {}\n", source.id, source.verdict.word()));
        out.push_str(&indented(&format!("{}.", capitalized(&source.reason))));
    }
    if let Some(why) = &report.refused {
        out.push_str("\nThis edit is refused as it is:\n");
        out.push_str(&indented(why));
    }
    out
}

fn summary(report: &Report) -> String {
    let operators = report.operators.iter();
    let changed = operators
        .clone()
        .filter(|operator| operator.verdict != Verdict::Unchanged)
        .count();
    let inexact = operators
        .filter(|operator| operator.exact != Exactness::Yes)
        .count();
    let sinks = report
        .sinks
        .iter()
        .filter(|sink| sink.verdict != SinkVerdict::Unchanged)
        .count();
    if report.is_unchanged() {
        return "Nothing changes: every operator keeps its state, every sink goes on where it was.\n".to_owned();
    }
    let plural = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        count => format!("{count} {word}s"),
    };
    let exact = match (report.is_exact(), inexact) {
        (true, _) => "Every result stays exact.".to_owned(),
        (false, 0) => {
            "All state stays exact, but not every sink will hold the new answer.".to_owned()
        }
        (false, count) => format!(
            "{} will not be exact, or not at once.",
            plural(count, "operator")
        ),
    };
    format!(
        "{} of {} changed, {} of {}. {exact}\n",
        changed,
        plural(report.operators.len(), "operator"),
        sinks,
        plural(report.sinks.len(), "sink"),
    )
}

fn paragraph(operator: &OperatorReport) -> String {
    let line = match operator.span.start.line {
        0 => String::new(),
        line => format!(", line {line}"),
    };
    let renamed = operator
        .renamed_from
        .as_ref()
        .map(|from| format!(" (was {from})"));
    let mut text = format!("{}. {}", capitalized(&operator.reason), operator.effect);
    for side in &operator.inputs {
        text.push_str(&format!(
            " Its {} side is {}.",
            side.side,
            side.verdict.word()
        ));
    }
    match operator.work {
        Some(Work::Entries(rows)) => text.push_str(&format!(
            " That is {} of state to read.",
            counted(rows, "row", "rows")
        )),
        Some(Work::Records(records)) => text.push_str(&format!(
            " That is {} to read again.",
            counted(records, "record", "records")
        )),
        None => {}
    }
    if operator.exact == Exactness::No && operator.state != StateFrom::Nothing {
        text.push_str(match operator.verdict {
            _ if !operator.moved.is_empty() => " Its results are not exact from then on.",
            Verdict::Unchanged | Verdict::Migrated => {
                " It was inexact before this edit, and stays so."
            }
            _ => " It will not be exact again by itself.",
        });
    }
    if !operator.inherited_from.is_empty() {
        let from: Vec<String> = operator
            .inherited_from
            .iter()
            .map(|id| format!("`{id}`"))
            .collect();
        text.push_str(&format!(
            " It inherits what is inexact from {}.",
            from.join(", ")
        ));
    }
    let advice = match operator.advice.as_str() {
        "" => String::new(),
        advice => indented(&format!("What to do: {advice}.")),
    };
    format!(
        "{}{}: {}{line}\n{}{advice}",
        operator.id,
        renamed.unwrap_or_default(),
        operator.verdict.word(),
        indented(&text)
    )
}

/// `1,204,311 rows`.
fn counted(count: u64, one: &str, many: &str) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped} {}", if count == 1 { one } else { many })
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// Wrapped at words, two spaces before each line.
fn indented(text: &str) -> String {
    let mut lines = vec![String::from(" ")];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        if lines[last].chars().count() + 1 + word.chars().count() > WIDTH
            && lines[last].trim() != ""
        {
            lines.push(format!("  {word}"));
        } else {
            lines[last].push(' ');
            lines[last].push_str(word);
        }
    }
    lines.join("\n") + "\n"
}
