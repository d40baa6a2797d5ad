//! The rows of a query, as the program takes them: epoch by epoch, waited for or as a stream.
//!
//! ```text
//!   coordinator ── an epoch's changes ──▶ queue (16 epochs) ──▶ QueryStream: next_within, or futures::Stream
//!        ▲ waits while the queue is full                            │ dropped: the job is stopped
//!        └──────────────────────────────────────────────────────────┘
//! ```
//!
//! # Invariants
//! 1. One item is one whole epoch: whoever folds the items has, after each, the exact answer over a prefix of every input.
//! 2. No thread outlives the stream: dropping it stops the job and waits for its threads.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::Stream;
use weir_planner::plan::{Changelog, OperatorKind, StreamPlan};
use weir_types::{ChangeBatch, Column, Diagnostic};

use super::script::Script;
use crate::job::JobObserver;
use crate::sync::lock;
use crate::{Error, JobHandle, JobOptions, JobSummary, OutputHandler, Progress, Result};

/// So many epochs wait for whoever reads.
const EPOCHS_MAX: usize = 16;

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    epochs: VecDeque<ChangeBatch>,
    /// How the job ended; taken by the reader.
    ended: Option<Result<JobSummary>>,
    over: bool,
    /// Nobody reads any more, or nobody will before the job has ended.
    closed: bool,
    stopping: bool,
    waker: Option<Waker>,
}

impl Queue {
    fn wake(&self, state: &mut State) {
        self.changed.notify_all();
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    fn put(&self, epoch: ChangeBatch) -> ControlFlow<()> {
        let mut state = lock(&self.state);
        while state.epochs.len() >= EPOCHS_MAX && !state.closed && !state.stopping {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return ControlFlow::Break(());
        }
        state.epochs.push_back(epoch);
        self.wake(&mut state);
        ControlFlow::Continue(())
    }

    fn end(&self, ended: Result<JobSummary>) {
        let mut state = lock(&self.state);
        state.ended = Some(ended);
        state.over = true;
        self.wake(&mut state);
    }
}

/// What a look at a query gives.
#[derive(Debug)]
pub enum Next {
    /// The changes of an epoch.
    Epoch(ChangeBatch),
    /// Nothing within the time.
    Nothing,
    /// It has ended, and this is what there is to say about it.
    End(Box<JobSummary>),
}

/// A running SELECT.
pub struct QueryStream {
    queue: Arc<Queue>,
    observer: JobObserver,
    thread: Option<JoinHandle<()>>,
    columns: Vec<Column>,
    unique_key: Option<Vec<usize>>,
    updating: bool,
    bounded: bool,
    script: Script,
    /// What to look at, though it runs.
    pub warnings: Vec<Diagnostic>,
    plan: StreamPlan,
}

impl QueryStream {
    /// Starts a plan that has one bare SELECT.
    pub(super) fn start(
        script: Script,
        plan: StreamPlan,
        options: JobOptions,
        bounded: bool,
    ) -> Result<Self> {
        let output = plan
            .operators
            .iter()
            .find(|operator| matches!(operator.kind, OperatorKind::Output { .. }));
        let Some(output) = output else {
            return Err(Error::Job("[R0012] there is no SELECT to run".to_owned()));
        };
        let OperatorKind::Output { names } = &output.kind else {
            return Err(Error::Job("[R0012] there is no SELECT to run".to_owned()));
        };
        let columns = output
            .schema
            .iter()
            .zip(names)
            .map(|(column, name)| Column {
                external_name: Some(name.clone()),
                ..column.clone()
            })
            .collect();
        let (unique_key, updating) = (
            output.unique_key.clone(),
            output.changelog == Changelog::Retractions,
        );
        let queue = Arc::new(Queue::default());
        let of_handler = queue.clone();
        let handler: OutputHandler = Arc::new(move |event| {
            match ChangeBatch::concat(&event.changes) {
                Ok(epoch) => of_handler.put(epoch),
                // Batches of one operator have one schema.
                Err(error) => {
                    tracing::error!(%error, "changes of one query do not fit together");
                    ControlFlow::Break(())
                }
            }
        });
        let handle = JobHandle::start("query", &script.text, plan.clone(), options, handler)
            .map_err(|error| script.moved(error))?;
        let observer = handle.observer();
        let of_thread = queue.clone();
        let thread = std::thread::Builder::new()
            .name("weir-query".to_owned())
            .spawn(move || of_thread.end(handle.wait()))
            .map_err(|error| Error::Job(format!("cannot start the query: {error}")))?;
        Ok(Self {
            queue,
            observer,
            thread: Some(thread),
            columns,
            unique_key,
            updating,
            bounded,
            script,
            warnings: Vec::new(),
            plan,
        })
    }

    /// The columns of the result; their external names are those that the query gives them.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Columns that identify a row of the result, if there are some.
    pub fn unique_key(&self) -> Option<&[usize]> {
        self.unique_key.as_deref()
    }

    /// Whether rows may be taken back.
    pub fn is_updating(&self) -> bool {
        self.updating
    }

    /// Whether every source ends by itself.
    pub fn is_bounded(&self) -> bool {
        self.bounded
    }

    /// The plan that runs.
    pub fn plan(&self) -> &StreamPlan {
        &self.plan
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.observer.progress()
    }

    /// What each operator has done so far.
    pub fn metrics(&self) -> crate::JobMetrics {
        self.observer.metrics()
    }

    /// Asks it to stop; what it has given so far can still be read, then the stream ends.
    pub fn stop(&self) {
        lock(&self.queue.state).stopping = true;
        self.queue.changed.notify_all();
        self.observer.stop();
    }

    /// Waits for the next epoch, as long as `patience`.
    ///
    /// # Errors
    /// Why the query failed.
    pub fn next_within(&mut self, patience: Duration) -> Result<Next> {
        let state = lock(&self.queue.state);
        let (mut state, _) = self
            .queue
            .changed
            .wait_timeout_while(state, patience, |state| {
                state.epochs.is_empty() && !state.over
            })
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(epoch) = state.epochs.pop_front() {
            self.queue.changed.notify_all();
            return Ok(Next::Epoch(epoch));
        }
        if !state.over {
            return Ok(Next::Nothing);
        }
        match state.ended.take() {
            Some(Ok(summary)) => Ok(Next::End(Box::new(summary))),
            Some(Err(error)) => Err(self.script.moved(error)),
            None => Err(Error::Job("the query has ended already".to_owned())),
        }
    }
}

impl Stream for QueryStream {
    type Item = Result<ChangeBatch>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let mut state = lock(&this.queue.state);
        if let Some(epoch) = state.epochs.pop_front() {
            this.queue.changed.notify_all();
            return Poll::Ready(Some(Ok(epoch)));
        }
        if !state.over {
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        match state.ended.take() {
            Some(Err(error)) => Poll::Ready(Some(Err(this.script.moved(error)))),
            _ => Poll::Ready(None),
        }
    }
}

impl Drop for QueryStream {
    fn drop(&mut self) {
        lock(&self.queue.state).closed = true;
        self.queue.changed.notify_all();
        self.observer.abandon();
        if let Some(thread) = self.thread.take() {
            // A panic there has been told as the job's.
            drop(thread.join());
        }
    }
}
