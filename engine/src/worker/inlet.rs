//! The receiving end of an exchange on one worker: a channel from every worker, read in turns.
//!
//! # Invariants
//! 1. A channel whose barrier came is not read until the worker begins the next epoch.
//! 2. The inlet's barrier has come when that of every channel has.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Notify;

use crate::exchange::{Channel, Message};

/// One input of one operator, fed by all workers.
pub(crate) struct Inlet {
    /// The operator and which of its inputs this is.
    pub(crate) node: usize,
    pub(crate) input: usize,
    channels: Vec<(Arc<Channel>, Arc<Notify>)>,
    at_barrier: Vec<bool>,
    /// When the first barrier of the epoch came: for statistics.
    barrier_since: Option<Instant>,
    next: usize,
}

/// What the inlet received.
pub(crate) enum Received {
    /// A message of the upstream worker, other than a barrier.
    Message(usize, Message),
    /// The barriers of all workers have come.
    Barrier,
}

impl Inlet {
    /// `channels`: from each worker, with the wake-up of that worker (it may wait for room).
    pub(crate) fn new(
        node: usize,
        input: usize,
        channels: Vec<(Arc<Channel>, Arc<Notify>)>,
    ) -> Self {
        let at_barrier = vec![false; channels.len()];
        Self {
            node,
            input,
            channels,
            at_barrier,
            barrier_since: None,
            next: 0,
        }
    }

    /// The next message, channels in turns.
    pub(crate) fn receive(&mut self) -> Option<Received> {
        for step in 0..self.channels.len() {
            let index = (self.next + step) % self.channels.len();
            if self.at_barrier[index] {
                continue;
            }
            let (channel, sender) = &self.channels[index];
            let Some(message) = channel.pop() else {
                continue;
            };
            sender.notify_one();
            self.next = index + 1;
            if matches!(message, Message::Barrier) {
                self.at_barrier[index] = true;
                self.barrier_since.get_or_insert_with(Instant::now);
                if self.at_barrier.iter().all(|&came| came) {
                    return Some(Received::Barrier);
                }
                // The others may have something.
                return self.receive();
            }
            return Some(Received::Message(index, message));
        }
        None
    }

    /// When the first barrier of this epoch came.
    pub(crate) fn take_barrier_since(&mut self) -> Option<Instant> {
        self.barrier_since.take()
    }

    /// The worker begins the next epoch: what waited behind the barriers may come.
    pub(crate) fn begin_epoch(&mut self) {
        debug_assert!(self.at_barrier.iter().all(|&came| came));
        self.at_barrier.fill(false);
    }
}
