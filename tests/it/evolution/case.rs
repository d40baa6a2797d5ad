//! The form of the data files: sections that begin with `@`, cases that begin with `===`.

use std::collections::BTreeMap;
use std::path::Path;

/// One edit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Case {
    /// `file: name`.
    pub(crate) name: String,
    /// DDL that stands before both queries.
    tables: String,
    pub(crate) old: String,
    /// Queries that ran between the two, in their order: each with where it stopped, and its flags.
    pub(crate) between: Vec<Between>,
    pub(crate) new: String,
    /// Rows of each source table: one JSON object a line.
    pub(crate) inputs: BTreeMap<String, Vec<String>>,
    /// How many rows the old query reads: of each table, or of all (`""`).
    pub(crate) stop: BTreeMap<String, u64>,
    /// Where the new query stops, if one of its sources does not end.
    pub(crate) end: BTreeMap<String, u64>,
    /// As on the command line.
    pub(crate) flags: Vec<String>,
    /// `id: verdict, exactness`, in the order of the report; operators, then sinks.
    pub(crate) verdicts: Option<Vec<String>>,
    /// Parts of the message of a refusal.
    pub(crate) refused: Vec<String>,
    /// Of each sink the query that defines what it holds in the end.
    pub(crate) expected: BTreeMap<String, String>,
}

/// An edit before the one that is judged.
#[derive(Clone, Debug)]
pub(crate) struct Between {
    pub(crate) query: String,
    pub(crate) stop: BTreeMap<String, u64>,
    pub(crate) flags: Vec<String>,
}

/// The cases of a file.
pub(crate) fn read(path: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(path).unwrap();
    let file = path.file_stem().unwrap().to_string_lossy().into_owned();
    let mut parts = text.split("\n===");
    let mut shared = Case::default();
    shared.fill(&file, parts.next().unwrap_or_default());
    let mut cases = Vec::new();
    for part in parts {
        let (name, body) = part.split_once('\n').unwrap_or((part, ""));
        let mut case = shared.clone();
        case.name = format!("{file}: {}", name.trim());
        case.fill(&case.name.clone(), body);
        case.check();
        cases.push(case);
    }
    assert!(
        !cases.is_empty(),
        "{file} has no case: one begins with a line `=== name`"
    );
    cases
}

impl Case {
    /// Takes sections; one that is there again replaces that of the file.
    fn fill(&mut self, context: &str, text: &str) {
        let mut section: Option<(String, String)> = None;
        for line in text.lines() {
            if let Some(head) = line.strip_prefix('@') {
                self.take(context, section.take());
                section = Some((head.trim().to_owned(), String::new()));
            } else if line.starts_with('#') {
                // Of the reader.
            } else if let Some((_, body)) = &mut section {
                body.push_str(line);
                body.push('\n');
            } else {
                assert!(line.trim().is_empty(), "{context}: what is `{line}`?");
            }
        }
        self.take(context, section);
    }

    fn take(&mut self, context: &str, section: Option<(String, String)>) {
        let Some((head, body)) = section else {
            return;
        };
        let (word, rest) = head.split_once(' ').unwrap_or((&head, ""));
        let lines = || {
            let lines = body.lines().map(str::trim).filter(|line| !line.is_empty());
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        match word {
            "tables" => self.tables = body,
            "old" => self.old = body,
            "new" => self.new = body,
            "between" => {
                let (stop, flags) = rest.split_once(' ').unwrap_or((rest, ""));
                self.between.push(Between {
                    query: body,
                    stop: counts(stop),
                    flags: words(flags),
                });
            }
            "input" => drop(self.inputs.insert(rest.to_owned(), lines())),
            "stop" => self.stop = counts(rest),
            "end" => self.end = counts(rest),
            "flags" => self.flags = words(rest),
            "verdicts" => self.verdicts = Some(lines()),
            "refused" => self.refused = lines(),
            "expect" => drop(self.expected.insert(rest.to_owned(), body)),
            other => panic!("{context}: there is no section `@{other}`"),
        }
    }

    fn check(&self) {
        let name = &self.name;
        assert!(
            !self.old.is_empty() && !self.new.is_empty(),
            "{name}: @old and @new"
        );
        assert!(!self.stop.is_empty(), "{name}: @stop");
        assert!(
            self.verdicts.is_some() || !self.refused.is_empty(),
            "{name}: @verdicts"
        );
        assert!(
            self.expected.is_empty() != self.refused.is_empty(),
            "{name}: either @expect or @refused"
        );
    }

    /// A query with its tables. `${in T}` and `${out T}` stand for the options of a source and a sink.
    pub(crate) fn sql(&self, query: &str) -> String {
        let mut text = format!("{}\n{query}", self.tables);
        // A table that the query declares itself is not that of the file.
        for (word, format) in [
            ("in", "'path' = '{}.json', 'format' = 'json'"),
            ("out", "'path' = 'out/{}', 'format' = 'changelog-json'"),
            ("append", "'path' = 'out/{}', 'format' = 'json'"),
        ] {
            let open = format!("${{{word} ");
            while let Some(start) = text.find(&open) {
                let rest = &text[start + open.len()..];
                let end = rest.find('}').unwrap();
                let table = &rest[..end];
                let options = format!(
                    "WITH ('connector' = 'filesystem', {})",
                    format.replace("{}", table)
                );
                text.replace_range(start..start + open.len() + end + 1, &options);
            }
        }
        text
    }
}

/// `orders=1,users=2`, or one number for all tables.
fn counts(text: &str) -> BTreeMap<String, u64> {
    let count = |part: &str| match part.trim().split_once('=') {
        Some((table, rows)) => (table.to_owned(), rows.parse().unwrap()),
        None => (String::new(), part.trim().parse().unwrap()),
    };
    text.split(',').map(count).collect()
}

/// Words as a shell cuts them: blanks, and single quotes around what holds some.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut any) = (String::new(), false, false);
    for c in text.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                any = true;
            }
            ' ' if !quoted => {
                if any {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => {
                word.push(c);
                any = true;
            }
        }
    }
    if any {
        words.push(word);
    }
    words
}

#[test]
fn flags_are_cut_as_a_shell_does() {
    assert_eq!(
        words("--accept 'a.b/join(c)',x --upgrade"),
        ["--accept", "a.b/join(c),x", "--upgrade"]
    );
}
