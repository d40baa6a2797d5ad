//! What an operator's inputs have promised: the minimum of watermarks, idleness and barriers over inputs and workers.
//!
//! # Invariants
//! 1. The combined watermark is the minimum over all channels that are not idle, and never goes back.
//! 2. If every channel is idle, so is the operator; its watermark stays what it was.
//! 3. A barrier counts once for each input; the operator is aligned when every input's has come.

use weir_types::Watermark;

/// The marks of one operator on one worker.
#[derive(Debug)]
pub(crate) struct Alignment {
    inputs: Vec<Input>,
    /// An input that is only looked at: its watermark holds nothing back.
    side: Option<usize>,
    combined: Watermark,
    idle: bool,
    barriers: usize,
}

#[derive(Debug)]
struct Input {
    /// One for each upstream worker; a single one for a local edge.
    channels: Vec<Mark>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    watermark: Watermark,
    idle: bool,
}

/// What changed for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    None,
    /// Its watermark rose, or it woke at the watermark that it had.
    Watermark(Watermark),
    /// All that it reads is idle.
    Idle,
}

impl Alignment {
    /// `channels`: of each input the number of upstream workers. `restored`: of each input its watermark.
    pub(crate) fn new(channels: &[usize], restored: &[Watermark], side: Option<usize>) -> Self {
        let inputs: Vec<Input> = channels
            .iter()
            .zip(restored)
            .map(|(&count, &watermark)| Input {
                channels: vec![
                    Mark {
                        watermark,
                        idle: false
                    };
                    count
                ],
            })
            .collect();
        let counts = restored
            .iter()
            .enumerate()
            .filter(|(input, _)| Some(*input) != side);
        let combined = counts.map(|(_, &restored)| restored).min();
        Self {
            combined: combined.unwrap_or(Watermark::MIN),
            side,
            inputs,
            idle: false,
            barriers: 0,
        }
    }

    /// The operator's watermark.
    pub(crate) fn watermark(&self) -> Watermark {
        self.combined
    }

    /// The watermark of each input: for the manifest.
    pub(crate) fn input_watermarks(&self) -> Vec<Watermark> {
        self.inputs
            .iter()
            .map(|input| {
                let least = input.channels.iter().map(|mark| mark.watermark).min();
                least.unwrap_or(Watermark::MIN)
            })
            .collect()
    }

    /// Whether an input is only looked at, and all of its channels have ended.
    pub(crate) fn side_has_ended(&self) -> bool {
        let side = self.side.and_then(|side| self.inputs.get(side));
        side.is_some_and(|input| {
            let mut channels = input.channels.iter();
            channels.all(|mark| mark.watermark == Watermark::MAX)
        })
    }

    /// A watermark came on a channel.
    pub(crate) fn on_watermark(
        &mut self,
        input: usize,
        channel: usize,
        value: Watermark,
    ) -> Change {
        let mark = &mut self.inputs[input].channels[channel];
        mark.watermark = mark.watermark.max(value);
        mark.idle = false;
        self.combine()
    }

    /// A channel became idle.
    pub(crate) fn on_idle(&mut self, input: usize, channel: usize) -> Change {
        self.inputs[input].channels[channel].idle = true;
        self.combine()
    }

    /// The barrier of one input came; whether all have now. Then counting starts anew.
    pub(crate) fn on_barrier(&mut self) -> bool {
        self.barriers += 1;
        assert!(
            self.barriers <= self.inputs.len(),
            "an input sent two barriers in one epoch"
        );
        let aligned = self.barriers == self.inputs.len();
        if aligned {
            self.barriers = 0;
        }
        aligned
    }

    fn combine(&mut self) -> Change {
        let side = self.side;
        let counts = self
            .inputs
            .iter()
            .enumerate()
            .filter(|(input, _)| Some(*input) != side);
        let active = counts
            .flat_map(|(_, input)| &input.channels)
            .filter(|mark| !mark.idle)
            .map(|mark| mark.watermark)
            .min();
        match active {
            None if self.idle => Change::None,
            None => {
                self.idle = true;
                Change::Idle
            }
            Some(least) => {
                let woke = std::mem::take(&mut self.idle);
                if least > self.combined {
                    self.combined = least;
                    Change::Watermark(least)
                } else if woke {
                    Change::Watermark(self.combined)
                } else {
                    Change::None
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_is_the_least_of_all_channels_and_never_goes_back() {
        let mut marks = Alignment::new(&[2, 1], &[Watermark::MIN; 2], None);
        assert_eq!(marks.on_watermark(0, 0, Watermark(10)), Change::None);
        assert_eq!(marks.on_watermark(0, 1, Watermark(20)), Change::None);
        assert_eq!(
            marks.on_watermark(1, 0, Watermark(5)),
            Change::Watermark(Watermark(5))
        );
        assert_eq!(marks.on_watermark(1, 0, Watermark(3)), Change::None);
        assert_eq!(
            marks.on_watermark(1, 0, Watermark(30)),
            Change::Watermark(Watermark(10))
        );
        assert_eq!(marks.input_watermarks(), [Watermark(10), Watermark(30)]);
    }

    #[test]
    fn an_idle_channel_holds_nothing_back_and_wakes_where_the_others_are() {
        let mut marks = Alignment::new(&[2], &[Watermark::MIN], None);
        marks.on_watermark(0, 0, Watermark(10));
        assert_eq!(marks.on_idle(0, 1), Change::Watermark(Watermark(10)));
        assert_eq!(marks.on_idle(0, 0), Change::Idle);
        assert_eq!(marks.on_idle(0, 0), Change::None);
        assert_eq!(
            marks.on_watermark(0, 0, Watermark(10)),
            Change::Watermark(Watermark(10))
        );
        assert_eq!(marks.on_watermark(0, 1, Watermark(4)), Change::None);
        assert_eq!(marks.watermark(), Watermark(10));
    }

    #[test]
    fn an_input_that_is_only_looked_at_holds_nothing_back_and_its_end_is_known() {
        let mut marks = Alignment::new(&[1, 2], &[Watermark(7), Watermark::MIN], Some(1));
        assert_eq!(marks.watermark(), Watermark(7));
        assert_eq!(
            marks.on_watermark(0, 0, Watermark(9)),
            Change::Watermark(Watermark(9))
        );
        assert_eq!(marks.on_watermark(1, 0, Watermark::MAX), Change::None);
        assert!(!marks.side_has_ended());
        assert_eq!(marks.on_watermark(1, 1, Watermark::MAX), Change::None);
        assert!(marks.side_has_ended());
        let restored = Alignment::new(&[1, 1], &[Watermark(7), Watermark::MAX], Some(1));
        assert!(restored.side_has_ended());
    }

    #[test]
    fn an_operator_is_aligned_when_the_barrier_of_every_input_has_come() {
        let mut marks = Alignment::new(&[3, 1], &[Watermark::MIN; 2], None);
        assert!(!marks.on_barrier());
        assert!(marks.on_barrier());
        assert!(!marks.on_barrier());
    }
}
