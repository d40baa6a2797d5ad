//! Operators that share a name but for a number: they are found by what they do, and only then by counting.
//!
//! ```text
//!   old   o/aggregate    price < 10      new   o/aggregate   price >= 10     o/aggregate_2 goes on under the name o/aggregate,
//!         o/aggregate_2  price >= 10                                         o/aggregate is dropped
//! ```
//!
//! 1. What does the same over the same goes on, in the order of the numbers.
//! 2. Then what does the same by itself, if that is one of each query.
//! 3. What is left goes by its name, unless fewer are left than there were: then nobody knows which are gone.

use std::collections::{BTreeMap, BTreeSet};

use super::trace::{keeps_state, renamed};
use crate::plan::{Operator, StreamPlan};

/// What is called so is not in the new plan.
const GONE: &str = " (gone)";

/// Whether a name is that of an operator that is gone.
pub(super) fn is_gone(name: &str) -> bool {
    name.ends_with(GONE)
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Ordinals {
    /// IDs of the old plan by what the new one calls them, where that is another.
    pub(super) renames: BTreeMap<String, String>,
    /// IDs of the new plan that may be one of several of the old one.
    pub(super) unclear: BTreeMap<String, Vec<String>>,
}

/// The ID without the number that tells it apart.
fn base(id: &str) -> &str {
    match id.rsplit_once('_') {
        Some((base, number))
            if !number.is_empty()
                && number.bytes().all(|byte| byte.is_ascii_digit())
                && base.contains('/') =>
        {
            base
        }
        _ => id,
    }
}

type Group<'a> = Vec<(String, &'a Operator)>;

fn groups<'a>(
    plan: &'a StreamPlan,
    renames: &BTreeMap<String, String>,
) -> BTreeMap<String, Group<'a>> {
    let mut groups: BTreeMap<String, Group<'a>> = BTreeMap::new();
    for operator in plan.operators.iter().filter(|of| keeps_state(of)) {
        let id = renamed(operator.id.as_str(), renames);
        let group = groups.entry(base(&id).to_owned()).or_default();
        group.push((id, operator));
    }
    groups
}

/// Finds the operators of the new plan among those of the old one, paths of which are called otherwise by `renames`.
pub(super) fn matched(
    old: &StreamPlan,
    new: &StreamPlan,
    renames: &BTreeMap<String, String>,
) -> Ordinals {
    let none = BTreeMap::new();
    let (mut olds, news) = (groups(old, renames), groups(new, &none));
    let mut found = Ordinals::default();
    for (name, news) in news {
        let olds = olds.remove(&name).unwrap_or_default();
        if !olds.is_empty() && olds.len().max(news.len()) > 1 {
            found.add(olds, news);
        }
    }
    found
}

impl Ordinals {
    fn add(&mut self, olds: Group<'_>, news: Group<'_>) {
        let mut pairs: Vec<(usize, usize)> = Vec::new();
        let same = |old: &Operator, new: &Operator| {
            old.fingerprint == new.fingerprint
                && old.upstream_fingerprint == new.upstream_fingerprint
        };
        let mut left: (BTreeSet<usize>, BTreeSet<usize>) =
            ((0..olds.len()).collect(), (0..news.len()).collect());
        for (place, (id, new)) in news.iter().enumerate() {
            let fits = |old: &&usize| same(olds[**old].1, new);
            let by_name = left.0.iter().filter(fits).find(|old| olds[**old].0 == *id);
            if let Some(&old) = by_name.or_else(|| left.0.iter().find(fits)) {
                pairs.push((old, place));
                left.0.remove(&old);
                left.1.remove(&place);
            }
        }
        for place in left.1.clone() {
            let print = &news[place].1.fingerprint;
            let of_old = left
                .0
                .iter()
                .filter(|old| olds[**old].1.fingerprint == *print);
            let of_new = left
                .1
                .iter()
                .filter(|new| news[**new].1.fingerprint == *print);
            if let (&[&old], 1) = (&of_old.collect::<Vec<_>>()[..], of_new.count()) {
                pairs.push((old, place));
                left.0.remove(&old);
                left.1.remove(&place);
            }
        }
        if left.0.len() > left.1.len() {
            for &place in &left.1 {
                let olds = left.0.iter().map(|&old| olds[old].1.id.to_string());
                self.unclear.insert(news[place].0.clone(), olds.collect());
            }
        } else {
            let by_name = |old: usize| {
                let mut places = left.1.iter();
                places.find(|place| news[**place].0 == olds[old].0).copied()
            };
            let found: Vec<(usize, usize)> = left
                .0
                .iter()
                .filter_map(|&old| Some((old, by_name(old)?)))
                .collect();
            for (old, new) in &found {
                left.0.remove(old);
                left.1.remove(new);
            }
            pairs.extend(found);
            let rest: Vec<(usize, usize)> =
                left.0.iter().copied().zip(left.1.iter().copied()).collect();
            for (old, _) in &rest {
                left.0.remove(old);
            }
            pairs.extend(rest);
        }
        for (old, new) in pairs {
            if olds[old].0 != news[new].0 {
                let id = olds[old].1.id.to_string();
                self.renames.insert(id, news[new].0.clone());
            }
        }
        // What is gone must not be taken for what has its name now.
        for old in left.0 {
            let id = olds[old].1.id.to_string();
            let gone = format!("{id}{GONE}");
            self.renames.insert(id, gone);
        }
    }
}
