//! Paths, roles and operator IDs: EVOLUTION 1, for users in `docs/operator-ids.md`.
//!
//! ```text
//!   top_sellers . recent . x / join(a)
//!   └ global ┘   └─ local ─┘   └ role ┘      path/role; what repeats gets an ordinal: aggregate, aggregate_2
//! ```
//!
//! # Invariants
//! 1. An ID is made from the user's text alone, in the order of the text, for stateful operators first: a stateless
//!    operator never takes a name away from a stateful one.
//! 2. A part outside `[a-z0-9_]` is quoted, so that `"a.b"` is not `a` → `b`.

use std::collections::{BTreeMap, BTreeSet};

use weir_types::OperatorId;

/// The path of a query node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Path(String);

impl Path {
    /// The path of a global node: a table, a view, a sink, a bare SELECT.
    pub(crate) fn global(name: &str) -> Self {
        Self(quoted(name))
    }

    /// The path of a CTE, a derived table or a hinted block inside this node.
    pub(crate) fn local(&self, name: &str) -> Self {
        Self(format!("{}.{}", self.0, quoted(name)))
    }

    /// Its first part: the global node that it belongs to.
    pub(crate) fn global_part(&self) -> &str {
        let mut quoted = false;
        let end = self.0.find(|c: char| {
            quoted ^= c == '"';
            c == '.' && !quoted
        });
        &self.0[..end.unwrap_or(self.0.len())]
    }

    /// As it is printed.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name as a part of an ID.
pub(crate) fn quoted(name: &str) -> String {
    let plain = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if plain {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// Gives out IDs, and knows which rest on an ordinal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    taken: BTreeSet<String>,
    next: BTreeMap<String, usize>,
}

/// An ID that was given out.
pub(crate) struct Named {
    /// The ID.
    pub(crate) id: OperatorId,
    /// 1 for the first of its path and role; more than 1: the ID rests on an ordinal.
    pub(crate) ordinal: usize,
}

impl Names {
    /// The ID of the next operator of that path and role.
    pub(crate) fn take(&mut self, path: &Path, role: &str) -> Named {
        let base = format!("{}/{role}", path.as_str());
        let next = self.next.entry(base.clone()).or_insert(0);
        loop {
            *next += 1;
            let id = if *next == 1 {
                base.clone()
            } else {
                format!("{base}_{next}")
            };
            // `x/join(a)_2` could be the first of a role of its own: then the next number is taken.
            if self.taken.insert(id.clone()) {
                return Named {
                    id: OperatorId::new(id),
                    ordinal: *next,
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_in_a_name_is_not_a_step_of_the_path() {
        assert_eq!(Path::global("a.b").as_str(), "\"a.b\"");
        assert_eq!(Path::global("a").local("b").as_str(), "a.b");
        assert_eq!(Path::global("a\"b").as_str(), "\"a\"\"b\"");
        assert_eq!(Path::global("Top").as_str(), "\"Top\"");
        let path = Path::global("a.b\"c").local("d").local("e");
        assert_eq!(path.global_part(), "\"a.b\"\"c\"");
    }

    #[test]
    fn what_repeats_gets_an_ordinal() {
        let mut names = Names::default();
        let path = Path::global("v");
        let ids: Vec<_> = (0..3)
            .map(|_| names.take(&path, "aggregate").id.to_string())
            .collect();
        assert_eq!(ids, ["v/aggregate", "v/aggregate_2", "v/aggregate_3"]);
    }
}
