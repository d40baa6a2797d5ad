//! What a running job is asked for from outside: savepoints, a stop, a drain.
//!
//! The asker keeps a clone of the [`JobControl`] that it put into the job's options; the coordinator looks into it whenever it
//! decides about an epoch.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;
use weir_planner::Wanted;
use weir_state::{CheckpointStore, Savepoint, StorageSettings};
use weir_types::CheckpointId;

use super::create::{Target, prune_periodic, write_of};
use crate::sync::lock;
use crate::views::{ViewRequest, ViewRows};
use crate::{Error, Result};

/// How a running job is asked for something. Clones speak of the same job.
#[derive(Clone, Default)]
pub struct JobControl {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    desk: Mutex<Desk>,
    stopping: AtomicBool,
    draining: AtomicBool,
}

#[derive(Default)]
struct Desk {
    /// Asked for; no checkpoint has begun for them.
    waiting: Vec<Request>,
    /// Their checkpoint is in the making.
    taken: BTreeMap<CheckpointId, Vec<Request>>,
    /// To be made of the last checkpoint, when the job has stopped.
    at_end: Vec<Request>,
    /// Views to be read at the end of an epoch.
    views: Vec<ViewRequest>,
    /// Views to be read at the end of the last one.
    last_views: Vec<ViewRequest>,
    /// Threads that write.
    writing: Vec<JoinHandle<()>>,
    last_periodic: Option<Duration>,
    /// Wakes the coordinator of the start that runs.
    wake: Option<Arc<Notify>>,
    /// Why there is nobody to ask any more.
    closed: Option<String>,
}

struct Request {
    order: SavepointOrder,
    /// `None`: a periodic one, which nobody waits for.
    reply: Option<Sender<Result<Savepoint>>>,
}

impl Request {
    fn answer(self, result: Result<Savepoint>) {
        match (self.reply, result) {
            // Whoever asked may be gone.
            (Some(reply), result) => drop(reply.send(result)),
            (None, Err(error)) => tracing::warn!(%error, "a periodic savepoint failed"),
            (None, Ok(_)) => {}
        }
    }
}

/// A savepoint that somebody wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavepointOrder {
    /// Where to, a folder or a URL; below the job's folder unless it is named.
    pub folder: Option<PathBuf>,
    /// Its name; `savepoint-N` of checkpoint N, or the folder's, unless it is given.
    pub name: Option<String>,
    /// A note to be kept with it.
    pub note: Option<String>,
}

/// A stop that somebody wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopOrder {
    /// With a savepoint of the last checkpoint.
    pub savepoint: Option<SavepointOrder>,
    /// As if every input had ended: windows that are open fire, and the job is over for good.
    pub drain: bool,
}

/// What the coordinator knows of its job.
#[derive(Clone)]
pub(crate) struct Around {
    pub(crate) store: Arc<CheckpointStore>,
    /// The job's folder.
    pub(crate) state_dir: PathBuf,
    pub(crate) wall_micros: i64,
    /// Periodic savepoints to keep.
    pub(crate) retain: usize,
    /// Where periodic savepoints go, if not into the job's folder.
    pub(crate) periodic_dir: Option<PathBuf>,
    /// How stores of the network are reached.
    pub(crate) settings: StorageSettings,
    /// Write on the caller's thread (simulation).
    pub(crate) inline: bool,
}

impl std::fmt::Debug for JobControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JobControl")
    }
}

fn over(why: &str) -> Error {
    Error::Job(format!("[S0028] {why}"))
}

fn ended_for_view(view: &str, why: &str) -> Error {
    Error::Job(format!("[R0052] view `{view}` cannot be read: {why}"))
}

impl JobControl {
    /// Asks for a savepoint; the answer comes when it is written.
    pub fn savepoint(&self, order: SavepointOrder) -> Receiver<Result<Savepoint>> {
        self.ask(order, |desk| &mut desk.waiting)
    }

    /// Asks for a stop. With a savepoint there is an answer, when it is written.
    pub fn stop(&self, order: StopOrder) -> Option<Receiver<Result<Savepoint>>> {
        let answer = order
            .savepoint
            .map(|order| self.ask(order, |desk| &mut desk.at_end));
        let flag = if order.drain {
            &self.inner.draining
        } else {
            &self.inner.stopping
        };
        flag.store(true, Ordering::Release);
        self.wake();
        answer
    }

    /// Asks for the rows of a materialized view at the newest epoch; the answer comes when that is complete. A job that
    /// starts again meanwhile drops the request: [`JobControl::view_rows`] asks again.
    pub fn view(&self, name: &str) -> Receiver<Result<ViewRows>> {
        self.view_where(name, &[])
    }

    /// The same of the rows that have wanted values, as [`crate::view_rows_where`] gives them.
    pub fn view_where(&self, name: &str, wanted: &[Wanted]) -> Receiver<Result<ViewRows>> {
        let receiver = self.ask_for_view(name, wanted, |desk| &mut desk.views);
        self.wake();
        receiver
    }

    /// The rows of a materialized view at the newest epoch.
    ///
    /// # Errors
    /// If the job has ended, or has no such view.
    pub fn view_rows(&self, name: &str) -> Result<ViewRows> {
        self.view_rows_where(name, &[])
    }

    /// The same of the rows that have wanted values, as [`crate::view_rows_where`] gives them.
    ///
    /// # Errors
    /// As of [`JobControl::view_rows`].
    pub fn view_rows_where(&self, name: &str, wanted: &[Wanted]) -> Result<ViewRows> {
        loop {
            // Without an answer the job has failed and is being started again, or will have been closed.
            if let Ok(answer) = self.view_where(name, wanted).recv() {
                return answer;
            }
        }
    }

    /// Asks for the rows of a view as they are at the end of the job. Nothing comes if it fails.
    pub(crate) fn view_at_end(&self, name: &str) -> Receiver<Result<ViewRows>> {
        self.ask_for_view(name, &[], |desk| &mut desk.last_views)
    }

    fn ask_for_view(
        &self,
        name: &str,
        wanted: &[Wanted],
        list: impl Fn(&mut Desk) -> &mut Vec<ViewRequest>,
    ) -> Receiver<Result<ViewRows>> {
        let (reply, receiver) = channel();
        let mut desk = lock(&self.inner.desk);
        match desk.closed.clone() {
            Some(why) => drop(reply.send(Err(ended_for_view(name, &why)))),
            None => list(&mut desk).push(ViewRequest {
                view: name.to_owned(),
                wanted: wanted.to_vec(),
                reply,
            }),
        }
        receiver
    }

    /// Whether somebody waits for a view.
    pub(crate) fn wants_view(&self) -> bool {
        !lock(&self.inner.desk).views.is_empty()
    }

    /// The views that are read at the end of the epoch that is closed now; `last`: it ends the job.
    pub(crate) fn take_view_requests(&self, last: bool) -> Vec<ViewRequest> {
        let mut desk = lock(&self.inner.desk);
        let mut requests = std::mem::take(&mut desk.views);
        if last {
            requests.append(&mut desk.last_views);
        }
        requests
    }

    fn ask(
        &self,
        order: SavepointOrder,
        list: impl Fn(&mut Desk) -> &mut Vec<Request>,
    ) -> Receiver<Result<Savepoint>> {
        let (sender, receiver) = channel();
        let request = Request {
            order,
            reply: Some(sender),
        };
        let mut desk = lock(&self.inner.desk);
        match desk.closed.clone() {
            Some(why) => request.answer(Err(over(&why))),
            None => list(&mut desk).push(request),
        }
        drop(desk);
        self.wake();
        receiver
    }

    fn wake(&self) {
        if let Some(wake) = &lock(&self.inner.desk).wake {
            wake.notify_one();
        }
    }

    /// Whether a stop was asked for.
    pub(crate) fn is_stopping(&self) -> bool {
        self.inner.stopping.load(Ordering::Acquire)
    }

    /// Whether a drain was asked for.
    pub(crate) fn is_draining(&self) -> bool {
        self.inner.draining.load(Ordering::Acquire)
    }

    /// A start of the job looks into this from now on. What an earlier start did not finish waits again.
    pub(crate) fn attach(&self, wake: &Arc<Notify>) {
        let mut desk = lock(&self.inner.desk);
        desk.wake = Some(wake.clone());
        let unfinished: Vec<Request> = std::mem::take(&mut desk.taken)
            .into_values()
            .flatten()
            .collect();
        desk.waiting.extend(unfinished);
    }

    /// Whether the next barrier should be a checkpoint for a savepoint. `periodic`: 'savepoint.interval'; `news`:
    /// something has happened since the last one.
    pub(crate) fn wants_checkpoint(
        &self,
        now: Duration,
        periodic: Option<Duration>,
        news: bool,
    ) -> bool {
        let mut desk = lock(&self.inner.desk);
        if let Some(interval) = periodic {
            let last = *desk.last_periodic.get_or_insert(now);
            if news && now >= last + interval {
                desk.last_periodic = Some(now);
                desk.waiting.push(Request {
                    order: SavepointOrder::default(),
                    reply: None,
                });
            }
        }
        !desk.waiting.is_empty()
    }

    /// Whether the end of the job is to have a savepoint.
    pub(crate) fn wants_at_end(&self) -> bool {
        let desk = lock(&self.inner.desk);
        !desk.at_end.is_empty() || !desk.waiting.is_empty()
    }

    /// The barrier of a checkpoint is sent: whoever waits gets this one.
    pub(crate) fn on_begin(&self, checkpoint: CheckpointId, store: &CheckpointStore) {
        let mut desk = lock(&self.inner.desk);
        let requests = std::mem::take(&mut desk.waiting);
        if !requests.is_empty() {
            store.pin(checkpoint);
            desk.taken.entry(checkpoint).or_default().extend(requests);
        }
    }

    /// A checkpoint will not be; `None`: none of those that are in the making.
    pub(crate) fn on_failed(
        &self,
        checkpoint: Option<CheckpointId>,
        reason: &str,
        store: &CheckpointStore,
    ) {
        let mut desk = lock(&self.inner.desk);
        let failed: BTreeMap<CheckpointId, Vec<Request>> = match checkpoint {
            None => std::mem::take(&mut desk.taken),
            Some(failed) => desk.taken.remove_entry(&failed).into_iter().collect(),
        };
        drop(desk);
        for (checkpoint, requests) in failed {
            for request in requests {
                request.answer(Err(Error::Job(format!(
                    "[S0029] the checkpoint for the savepoint failed: {reason}; ask for it again"
                ))));
            }
            store.unpin(checkpoint);
        }
    }

    /// A checkpoint is published and its sinks have committed: its savepoints are written.
    pub(crate) fn on_published(&self, checkpoint: CheckpointId, around: Around) {
        let Some(requests) = lock(&self.inner.desk).taken.remove(&checkpoint) else {
            return;
        };
        let inline = around.inline;
        let work = move || {
            for request in requests {
                let result = write(&request, checkpoint, &around);
                request.answer(result);
            }
            around.store.unpin(checkpoint);
        };
        if inline {
            return work();
        }
        // If no thread can be had, the requests are dropped with the closure, and whoever waits is told so.
        match std::thread::Builder::new()
            .name("weir-savepoint".to_owned())
            .spawn(work)
        {
            Ok(thread) => lock(&self.inner.desk).writing.push(thread),
            Err(error) => tracing::warn!(%error, "no thread for a savepoint"),
        }
    }

    /// The job has stopped after this checkpoint: its savepoints are written before anybody is told.
    pub(crate) fn write_at_end(&self, last: Option<CheckpointId>, around: Option<Around>) {
        let requests = std::mem::take(&mut lock(&self.inner.desk).at_end);
        for request in requests {
            let result = match (last, &around) {
                (Some(last), Some(around)) => write(&request, last, around),
                _ => Err(Error::Job(
                    "[S0030] a job that keeps no state has no savepoint: give it an INSERT into a table".to_owned(),
                )),
            };
            request.answer(result);
        }
        self.join();
    }

    /// Nobody can be asked any more: whoever waits is told why.
    pub fn close(&self, why: &str) {
        let mut desk = lock(&self.inner.desk);
        desk.closed.get_or_insert_with(|| why.to_owned());
        let mut requests = std::mem::take(&mut desk.waiting);
        requests.append(&mut desk.at_end);
        requests.extend(std::mem::take(&mut desk.taken).into_values().flatten());
        let mut views = std::mem::take(&mut desk.views);
        views.append(&mut desk.last_views);
        drop(desk);
        for request in views {
            drop(request.reply.send(Err(ended_for_view(&request.view, why))));
        }
        for request in requests {
            request.answer(Err(over(why)));
        }
        self.join();
    }

    /// Waits for savepoints that are being written.
    fn join(&self) {
        let threads = std::mem::take(&mut lock(&self.inner.desk).writing);
        for thread in threads {
            // A panic has dropped the senders: whoever waits knows.
            drop(thread.join());
        }
    }
}

fn write(request: &Request, checkpoint: CheckpointId, around: &Around) -> Result<Savepoint> {
    let periodic = request.reply.is_none();
    let mut order = request.order.clone();
    if periodic {
        order.name = Some(format!("periodic-{checkpoint:08}"));
        if let Some(folder) = &around.periodic_dir {
            order.folder = order.name.as_ref().map(|name| folder.join(name));
        }
    }
    let target = Target::new(&around.state_dir, checkpoint, &order)?;
    let written = write_of(
        &around.store,
        checkpoint,
        &around.state_dir,
        target,
        around.wall_micros,
        &around.settings,
    )?;
    if periodic {
        prune_periodic(
            &around.state_dir,
            around.periodic_dir.as_deref(),
            around.retain,
            &around.settings,
        )?;
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_who_asked_gets_an_answer() {
        let folder = tempfile::tempdir().unwrap();
        let store = CheckpointStore::local(folder.path().to_owned()).unwrap();
        let control = JobControl::default();
        let first = control.savepoint(SavepointOrder::default());
        assert!(control.wants_checkpoint(Duration::ZERO, None, false));
        control.on_begin(CheckpointId(3), &store);
        assert!(!control.wants_checkpoint(Duration::ZERO, None, false));
        control.on_failed(Some(CheckpointId(3)), "disk full", &store);
        let text = first.recv().unwrap().unwrap_err().to_string();
        assert!(
            text.contains("disk full") && text.contains("S0029"),
            "{text}"
        );
        // A restart of the job in this process takes up what was begun.
        let second = control.savepoint(SavepointOrder::default());
        control.on_begin(CheckpointId(4), &store);
        control.attach(&Arc::default());
        assert!(control.wants_checkpoint(Duration::ZERO, None, false));
        let at_end = control.stop(StopOrder {
            savepoint: Some(SavepointOrder::default()),
            drain: false,
        });
        assert!(control.is_stopping() && control.wants_at_end());
        control.close("the job failed");
        for receiver in [
            second,
            at_end.unwrap(),
            control.savepoint(SavepointOrder::default()),
        ] {
            let text = receiver.recv().unwrap().unwrap_err().to_string();
            assert!(text.contains("the job failed"), "{text}");
        }
    }

    #[test]
    fn a_periodic_savepoint_is_due_after_its_interval_if_something_happened() {
        let control = JobControl::default();
        let every = Some(Duration::from_secs(10));
        let due = |seconds: u64, news| {
            control.wants_checkpoint(Duration::from_secs(seconds), every, news)
        };
        assert!(!due(100, true), "the first interval begins now");
        assert!(!due(109, true));
        assert!(!due(115, false));
        assert!(due(115, true));
    }
}
