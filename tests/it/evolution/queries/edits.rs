//! Random edits of random queries: one change of one view, of a source's delay, or of what is written.

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::{Given, Kind, Text, View, call, condition, pick};

impl Text {
    /// One random change, and what it is; `None` if it cannot be made here.
    pub(in crate::evolution) fn edited(
        &self,
        rng: &mut SmallRng,
        fresh: &str,
    ) -> Option<(Self, String)> {
        let mut text = self.clone();
        let at = rng.random_range(0..text.views.len());
        let given = text.given(&text.views[at].inputs[0])?;
        let names = text.names()[..at + 2].to_vec();
        let plain = given.plain();
        let word = text.views[at].edit(rng, &given, &plain);
        let what = match word {
            Some(what) => what,
            None => match rng.random_range(0..6) {
                0 => {
                    let which = rng.random_range(0..2);
                    text.delays[which] = *[2, 3, 4, 8].choose(rng)?;
                    "the watermark's delay"
                }
                1 => {
                    let view = text.random_view(rng, fresh)?;
                    text.sinks.insert(view.name.clone());
                    text.views.push(view);
                    "a view more"
                }
                2 => {
                    let gone = text.views[at].name.clone();
                    let read = text.views.iter().any(|view| view.inputs.contains(&gone));
                    if read || text.views.len() < 3 {
                        return None;
                    }
                    text.views.remove(at);
                    text.sinks.remove(&gone);
                    "a view less"
                }
                3 => {
                    let side = rng.random_range(0..text.views[at].inputs.len());
                    text.views[at].inputs[side] = pick(rng, &names)?;
                    "another input"
                }
                4 => {
                    let name = text.views[at].name.clone();
                    if !text.sinks.remove(&name) {
                        text.sinks.insert(name);
                    }
                    "a sink more or less"
                }
                _ => {
                    let second = text.given(text.views[at].inputs.get(1)?)?;
                    text.views[at].conditions[1] = vec![condition(rng, &second)?];
                    "a condition over the second input"
                }
            },
        };
        let fits = text.views.iter().all(|view| text.fits(view)) && !text.sinks.is_empty();
        fits.then(|| (text, what.to_owned()))
    }
}

impl View {
    /// A change of the view itself; `None`: none was drawn.
    fn edit(
        &mut self,
        rng: &mut SmallRng,
        given: &Given,
        plain: &[String],
    ) -> Option<&'static str> {
        match (rng.random_range(0..10), &mut self.kind) {
            (0, _) => {
                self.conditions[0] = vec![condition(rng, given)?];
                Some("the condition")
            }
            (1, _) => {
                self.conditions[0].push(condition(rng, given)?);
                Some("a condition more")
            }
            (2, _) => {
                self.conditions[0].clear();
                Some("no condition")
            }
            (3 | 4, Kind::Aggregate | Kind::Window(_)) => {
                let number = rng.random_range(2..90);
                self.calls.push(call(rng, given, number)?);
                Some("an aggregate more")
            }
            (5, Kind::Aggregate | Kind::Window(_)) if self.calls.len() > 1 => {
                self.calls.pop();
                Some("an aggregate less")
            }
            (6, Kind::Aggregate) => {
                self.having = rng.random_bool(0.6).then(|| rng.random_range(0..4));
                Some("HAVING")
            }
            (7, Kind::Aggregate) if self.keys.len() > 1 => {
                self.keys.pop();
                Some("a key less")
            }
            (8, Kind::Aggregate) => {
                self.keys.push(pick(rng, plain)?);
                Some("a key more")
            }
            (6..9, Kind::Window(seconds)) => {
                *seconds = *[5, 10, 20].choose(rng)?;
                Some("the window's length")
            }
            (3 | 4, Kind::Join(kind, ..)) => {
                *kind = ["inner", "left", "semi", "anti"].choose(rng)?;
                if matches!(*kind, "semi" | "anti") {
                    self.out.retain(|(_, from)| from.starts_with("l."));
                }
                Some("the kind of join")
            }
            (5, Kind::Join(_, (left, _), _)) => {
                *left = pick(rng, plain)?;
                Some("the join's key")
            }
            (6, Kind::Join(_, (left, right), further)) => {
                let pair = (left.clone(), right.clone());
                *further = if further.is_none() { Some(pair) } else { None };
                Some("the join's further condition")
            }
            (3 | 4, Kind::Rank(_, _, rows)) => {
                *rows = rng.random_range(1..5);
                Some("how many rows")
            }
            (5, Kind::Rank(order, ..)) => {
                *order = pick(rng, plain)?;
                Some("the order")
            }
            (7, _) if self.out.len() > 1 => {
                let gone = rng.random_range(0..self.out.len());
                self.out.remove(gone);
                Some("a column less")
            }
            (8, Kind::Select | Kind::Rank(..)) => {
                let column = pick(rng, &given.columns)?;
                self.out.push((column.clone(), column));
                Some("a column more")
            }
            (9, _) if !self.out.is_empty() => {
                self.out.shuffle(rng);
                Some("the columns' order")
            }
            _ => None,
        }
    }
}
