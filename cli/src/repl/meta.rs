//! The commands that begin with a backslash: they speak to the REPL.

use std::time::{Duration, Instant};

use weir_engine::Next;
use weir_planner::plan::StreamPlan;
use weir_types::{Column, DataType};

use super::plot::chart;
use super::shell::{After, Shell, jobs_table};
use super::words::{CLAUSES, COMMANDS, FORMS};
use crate::arguments::Format;

/// \source within \source within …
const DEPTH_MAX: usize = 16;
/// Lines of a chart.
const CHART_LINES: usize = 12;
/// So many values of a chart are kept.
const CHART_VALUES_MAX: usize = 100_000;
/// Between two charts on a terminal.
const CHART_INTERVAL: Duration = Duration::from_millis(200);

/// Runs one command.
pub(super) fn run(shell: &mut Shell, text: &str) -> After {
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    match name {
        "\\q" | "\\quit" | "\\exit" => After::Leave,
        "\\help" | "\\h" | "\\?" => help(shell, rest),
        "\\d" if rest.is_empty() => relations(shell, &["SHOW TABLES", "SHOW VIEWS"]),
        "\\d" => shell.statements(
            &format!("DESCRIBE {}", rest.trim_end_matches(';')),
            "command",
        ),
        "\\dt" => relations(shell, &["SHOW TABLES"]),
        "\\dv" => relations(shell, &["SHOW VIEWS"]),
        "\\df" => functions(shell, rest),
        "\\jobs" => {
            print!("{}", jobs_table(&shell.session.jobs()));
            After::GoOn
        }
        "\\explain" if rest.is_empty() => shell.mistake("\\explain [ANALYZE] QUERY"),
        "\\explain" => shell.statements(&format!("EXPLAIN {rest}"), "command"),
        "\\timing" => switch(shell, rest, "timing"),
        "\\changelog" => switch(shell, rest, "changelog"),
        "\\format" => format(shell, rest),
        "\\source" | "\\i" => source(shell, rest),
        "\\watch" => watch(shell, rest),
        "\\plot" => plot(shell, rest),
        _ => {
            let near = COMMANDS
                .iter()
                .map(|(known, ..)| *known)
                .find(|known| known.starts_with(name));
            let near = near
                .map(|near| format!("did you mean {near}? "))
                .unwrap_or_default();
            shell.mistake(&format!(
                "there is no command {name}; {near}\\help lists them"
            ))
        }
    }
}

fn help(shell: &mut Shell, word: &str) -> After {
    if word.is_empty() {
        let width = COMMANDS
            .iter()
            .map(|(name, usage, _)| name.len() + usage.len() + 1)
            .max()
            .unwrap_or(0);
        for (name, usage, what) in COMMANDS {
            println!("  {:width$}  {what}", format!("{name} {usage}").trim_end());
        }
        println!(
            "\nStatements end with `;`: {}.",
            FORMS
                .iter()
                .map(|(name, _)| *name)
                .collect::<Vec<_>>()
                .join(", ")
        );
        println!("A query without end is shown live: q or Ctrl-C ends it.");
        return After::GoOn;
    }
    let word = word.trim_end_matches(';').to_ascii_uppercase();
    let found = forms_of(&word);
    if found.is_empty() {
        let lower = word.to_lowercase();
        let functions = shell
            .session
            .plan("SHOW FUNCTIONS")
            .map(|planned| planned.explains);
        let known = functions.is_ok_and(|texts| {
            let mut names = texts.iter().flat_map(|text| text.lines());
            names.any(|name| name == lower)
        });
        if known {
            println!(
                "{lower}(…) is a function; docs/sql/functions.md and docs/sql/aggregates.md say what it does"
            );
            return After::GoOn;
        }
        return shell.mistake(&format!(
            "nothing is known of {word}; \\help lists the statements, \\df the functions"
        ));
    }
    for form in found {
        println!("{form}");
    }
    After::GoOn
}

/// Statements and clauses of that name; else those in whose form it stands.
fn forms_of(word: &str) -> Vec<&'static str> {
    let all = || FORMS.iter().chain(CLAUSES);
    let named = all().filter(|(name, _)| {
        name.split(' ').any(|part| part == word)
            || *name == word
            || word.starts_with(&format!("{name} "))
    });
    let named: Vec<_> = named.map(|(_, form)| *form).collect();
    if !named.is_empty() {
        return named;
    }
    let words = |form: &'static str| form.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    let within = all().filter(|(_, form)| words(form).any(|part| part == word));
    within.map(|(_, form)| *form).collect()
}

fn relations(shell: &mut Shell, statements: &[&str]) -> After {
    let mut names = Vec::new();
    for sql in statements {
        match shell.session.plan(sql) {
            Ok(planned) => names.extend(
                planned
                    .explains
                    .iter()
                    .flat_map(|text| text.lines().map(str::to_owned)),
            ),
            Err(error) => return shell.mistake(&error.to_string()),
        }
    }
    if names.is_empty() {
        println!("nothing is declared; SELECT … FROM 'file.csv' needs no declaration");
    }
    names.iter().for_each(|name| println!("{name}"));
    After::GoOn
}

fn functions(shell: &mut Shell, part: &str) -> After {
    match shell.session.plan("SHOW FUNCTIONS") {
        Ok(planned) => {
            let part = part.to_lowercase();
            let names = planned.explains.iter().flat_map(|text| text.lines());
            let found: Vec<&str> = names.filter(|name| name.contains(&part)).collect();
            if found.is_empty() {
                println!("no function has `{part}` in its name");
            }
            found.iter().for_each(|name| println!("{name}"));
            After::GoOn
        }
        Err(error) => shell.mistake(&error.to_string()),
    }
}

fn switch(shell: &mut Shell, word: &str, what: &str) -> After {
    let setting = if what == "timing" {
        &mut shell.timing
    } else {
        &mut shell.changelog
    };
    *setting = match word {
        "on" => true,
        "off" => false,
        "" => !*setting,
        _ => return shell.mistake(&format!("\\{what} is on or off")),
    };
    let word = if *setting { "on" } else { "off" };
    println!("{what} is {word}");
    After::GoOn
}

fn format(shell: &mut Shell, word: &str) -> After {
    shell.format = match word {
        "table" => Format::Table,
        "json" => Format::Json,
        "csv" => Format::Csv,
        _ => return shell.mistake("\\format is table, json or csv"),
    };
    After::GoOn
}

fn source(shell: &mut Shell, path: &str) -> After {
    let path = path.trim_matches('\'').trim_end_matches(';');
    if path.is_empty() {
        return shell.mistake("\\source FILE");
    }
    if shell.depth >= DEPTH_MAX {
        return shell.mistake(&format!(
            "{path}: files that run each other, {DEPTH_MAX} deep"
        ));
    }
    let text = match shell.read(path) {
        Ok(text) => text,
        Err(why) => return shell.mistake(&why),
    };
    shell.depth += 1;
    let after = shell.statements(&text, path);
    shell.depth -= 1;
    after
}

/// `\watch [SECONDS] QUERY`.
fn watch(shell: &mut Shell, rest: &str) -> After {
    let (seconds, query) = match rest.split_once(char::is_whitespace) {
        Some((first, query)) => match first.parse::<f64>() {
            Ok(seconds) if (0.05..=86_400.0).contains(&seconds) => (seconds, query),
            Ok(_) => return shell.mistake("\\watch waits between 0.05 and 86400 seconds"),
            Err(_) => (2.0, rest),
        },
        None => (2.0, rest),
    };
    if query.trim().is_empty() {
        return shell.mistake("\\watch [SECONDS] QUERY");
    }
    loop {
        match shell.statements(query, "command") {
            After::GoOn => {}
            other => return other,
        }
        if !shell.pause(Duration::from_secs_f64(seconds)) {
            return After::GoOn;
        }
    }
}

/// `\plot COLUMN QUERY`: the column's value in each row that comes; of a result that changes, its last value of each epoch.
fn plot(shell: &mut Shell, rest: &str) -> After {
    let Some((column, query)) = rest.split_once(char::is_whitespace) else {
        return shell
            .mistake("\\plot COLUMN QUERY, for example \\plot n SELECT count(*) AS n FROM t");
    };
    let mut rows = match shell.session.query(query.trim()) {
        Ok(rows) => rows,
        Err(error) => return shell.mistake(&error.to_string()),
    };
    let Some(place) = rows
        .columns()
        .iter()
        .position(|known| known.external().eq_ignore_ascii_case(column))
    else {
        let names: Vec<&str> = rows.columns().iter().map(Column::external).collect();
        let message = format!(
            "the query has no column {column}; it has {}",
            names.join(", ")
        );
        return shell.mistake(&message);
    };
    let column = Column::new(column, rows.columns()[place].data_type.clone());
    if !column.data_type.to_arrow().is_numeric()
        && !matches!(column.data_type, DataType::Decimal(..))
    {
        return shell.mistake(&format!(
            "{} is {}, not a number",
            column.name, column.data_type
        ));
    }
    let updating = rows.is_updating();
    let moving = shell.interactive && super::is_capable() && !is_bounded(shell, rows.plan());
    let (mut values, mut drawn, mut lines_drawn) = (Vec::new(), Instant::now(), 0);
    loop {
        if shell.take_interrupt() {
            break;
        }
        match rows.next_within(Duration::from_millis(50)) {
            Ok(Next::Epoch(epoch)) => {
                let texts = weir_connectors::plain_texts(epoch.rows.column(place), &column);
                let mut shown: Vec<usize> = (0..epoch.num_rows())
                    .filter(|&row| !epoch.is_retracted(row))
                    .collect();
                if updating {
                    shown.drain(..shown.len().saturating_sub(1));
                }
                let numbers = shown
                    .into_iter()
                    .filter_map(|row| texts[row].as_ref()?.parse::<f64>().ok());
                values.extend(numbers);
                if values.len() > CHART_VALUES_MAX {
                    values.drain(..CHART_VALUES_MAX / 2);
                }
            }
            Ok(Next::Nothing) => {}
            Ok(Next::End(_)) => break,
            Err(error) => return shell.mistake(&error.to_string()),
        }
        if moving && drawn.elapsed() >= CHART_INTERVAL {
            lines_drawn = draw(&values, lines_drawn);
            drawn = Instant::now();
        }
    }
    drop(rows);
    draw(&values, lines_drawn);
    After::GoOn
}

fn is_bounded(shell: &Shell, plan: &StreamPlan) -> bool {
    shell.session.is_bounded(plan)
}

/// Draws a chart over the one before, and says how many lines it has.
fn draw(values: &[f64], before: usize) -> usize {
    let width = crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns));
    let lines = chart(
        values,
        if width == 0 { 80 } else { width }.min(120),
        CHART_LINES,
    );
    if before > 0 {
        // To the first column too: a Ctrl-C leaves its ^C where the cursor was.
        print!("\r\x1b[{before}A\x1b[0J");
    }
    for line in &lines {
        println!("{line}");
    }
    lines.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_knows_statements_clauses_and_words_that_stand_in_them() {
        let first = |word: &str| forms_of(word).first().copied().unwrap_or_default();
        assert!(first("TUMBLE").starts_with("FROM TUMBLE"));
        assert!(first("GROUP").starts_with("GROUP BY"));
        assert!(first("CREATE TABLE").starts_with("CREATE TABLE"));
        assert!(first("SELECT").starts_with("SELECT"));
        assert!(first("ROLLUP").starts_with("GROUP BY"));
        assert!(first("MATERIALIZED").starts_with("CREATE MATERIALIZED VIEW"));
        assert!(forms_of("CREATE").len() >= 4);
        assert!(forms_of("NONSENSE").is_empty() && forms_of("E").is_empty());
    }
}
