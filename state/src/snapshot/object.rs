//! Files of a store that `object_store` talks to: memory, and what a URL names.
//!
//! ```text
//!   caller's thread ── request ──▶ thread with a small runtime ── answer, or none within the patience ──▶ caller
//! ```
//!
//! Callers block (see `place.rs`), and some of them run a runtime of their own: so requests run on a thread of the store.
//! Whoever waits longer than the patience gets an error; the request itself is given up.
//!
//! # Invariants
//! 1. An object appears whole or not at all: large ones are sent in parts and completed at the end.
//! 2. [`ObjectPlace::create`] never replaces. Whether it created is asked again where the answer got lost: an object with
//!    the same content is ours. Where the user says that the server has no create-if-absent, it looks first and then writes:
//!    two processes at the same moment could both believe that they created.

use std::fs::File;
use std::future::Future;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path as ObjectPath;
use object_store::{ListResult, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use xxhash_rust::xxh3::Xxh3;

use crate::{Error, Result};

/// Larger objects are sent in parts of this size (S3 wants at least 5 MiB).
const PART_BYTES: usize = 8 << 20;

/// How often a request is made whose answer breaks off.
const ATTEMPTS: usize = 4;

type Answer<T> = object_store::Result<T>;

/// See the module's text.
pub(crate) struct ObjectPlace {
    store: Arc<dyn ObjectStore>,
    prefix: ObjectPath,
    /// The URL that messages name.
    url: String,
    /// How long an answer may take.
    patience: Duration,
    /// The server has create-if-absent.
    conditional: bool,
    driver: Driver,
}

impl std::fmt::Debug for ObjectPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ObjectPlace({})", self.url)
    }
}

/// The thread on which requests run.
struct Driver {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Driver {
    fn start() -> Result<Self> {
        let context = "starting the thread of the checkpoint storage";
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::io(context, error))?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("weir-storage".to_owned())
            .spawn(move || {
                // Ends when the place is dropped; what is under way then is given up.
                let _ = runtime.block_on(stopped);
            })
            .map_err(|error| Error::io(context, error))?;
        Ok(Self {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in a request was seen by whoever waited for its answer.
            let _ = thread.join();
        }
    }
}

impl ObjectPlace {
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        prefix: ObjectPath,
        url: String,
        patience: Duration,
    ) -> Result<Self> {
        Ok(Self {
            store,
            prefix,
            url,
            patience,
            conditional: true,
            driver: Driver::start()?,
        })
    }

    /// The same place in a server without create-if-absent.
    pub(crate) fn without_conditions(self) -> Self {
        Self {
            conditional: false,
            ..self
        }
    }

    pub(crate) fn shown(&self, name: &str) -> String {
        format!("{}/{name}", self.url.trim_end_matches('/'))
    }

    fn object(&self, name: &str) -> ObjectPath {
        // Names are ours and stay as they are: a savepoint that is copied by other tools must find its files.
        let text = match self.prefix.as_ref() {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        };
        ObjectPath::parse(&text).unwrap_or_else(|_| ObjectPath::from(text))
    }

    /// Runs a request on the store's thread and waits for its answer.
    fn ask<T: Send + 'static>(
        &self,
        request: impl Future<Output = Answer<T>> + Send + 'static,
    ) -> Answer<T> {
        let (sender, receiver) = sync_channel(1);
        let task = self.driver.handle.spawn(async move {
            // Nobody listens any more when the patience is over.
            let _ = sender.send(request.await);
        });
        let source = match receiver.recv_timeout(self.patience) {
            Ok(answer) => return answer,
            Err(RecvTimeoutError::Timeout) => {
                task.abort();
                format!("no answer within {} s", self.patience.as_secs_f64())
            }
            Err(RecvTimeoutError::Disconnected) => "the request panicked".to_owned(),
        };
        Err(object_store::Error::Generic {
            store: "checkpoint storage",
            source: source.into(),
        })
    }

    /// [`Self::ask`] for a request that may be made twice: the library does not make one again whose answer broke off, and a
    /// job that starts has nobody else to do so.
    fn ask_again<T, F>(&self, request: impl Fn() -> F) -> Answer<T>
    where
        T: Send + 'static,
        F: Future<Output = Answer<T>> + Send + 'static,
    {
        let mut delay = Duration::from_millis(100);
        for _ in 1..ATTEMPTS {
            match self.ask(request()) {
                Err(error) if is_broken_off(&error) => {}
                answer => return answer,
            }
            self.ask(async move {
                tokio::time::sleep(delay).await;
                Ok(())
            })?;
            delay *= 4;
        }
        self.ask(request())
    }

    fn failed(&self, doing: &str, name: &str, error: object_store::Error) -> Error {
        Error::io(format!("{doing} {}", self.shown(name)), error)
    }

    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let (store, path) = (self.store.clone(), self.object(name));
        match self.ask_again(move || {
            let (store, path) = (store.clone(), path.clone());
            async move { store.get(&path).await?.bytes().await }
        }) {
            Ok(bytes) => Ok(Some(bytes.to_vec())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("reading", name, error)),
        }
    }

    /// What is directly in a folder.
    fn look(&self, folder: &str) -> Result<ListResult> {
        let (store, path) = (self.store.clone(), self.object(folder));
        self.ask_again(move || {
            let (store, path) = (store.clone(), path.clone());
            async move { store.list_with_delimiter(Some(&path)).await }
        })
        .map_err(|error| self.failed("listing", folder, error))
    }

    pub(crate) fn list(&self, folder: &str) -> Result<Vec<String>> {
        let objects = self.look(folder)?.objects;
        Ok(sorted_names(objects.iter().map(|object| &object.location)))
    }

    pub(crate) fn list_all(&self, folder: &str) -> Result<Vec<String>> {
        let (store, path) = (self.store.clone(), self.object(folder));
        let objects: Vec<_> = self
            .ask_again(move || {
                let (store, path) = (store.clone(), path.clone());
                async move { store.list(Some(&path)).try_collect().await }
            })
            .map_err(|error| self.failed("listing", folder, error))?;
        Ok(objects
            .iter()
            .filter_map(|object: &object_store::ObjectMeta| {
                let rest = object.location.prefix_match(&self.prefix)?;
                let parts: Vec<_> = rest.map(|part| part.as_ref().to_owned()).collect();
                Some(parts.join("/"))
            })
            .collect())
    }

    pub(crate) fn adopt(&self, from: &Path, name: &str) -> Result<()> {
        let (store, path, from) = (self.store.clone(), self.object(name), from.to_path_buf());
        self.ask_again(move || {
            let (store, path, from) = (store.clone(), path.clone(), from.clone());
            async move { send(store.as_ref(), &from, &path).await }
        })
        .map_err(|error| self.failed("uploading", name, error))
    }

    pub(crate) fn replace(&self, name: &str, content: &[u8]) -> Result<()> {
        let (store, path) = (self.store.clone(), self.object(name));
        let payload = PutPayload::from(content.to_vec());
        self.ask_again(move || {
            let (store, path, payload) = (store.clone(), path.clone(), payload.clone());
            async move { store.put(&path, payload).await }
        })
        .map(drop)
        .map_err(|error| self.failed("writing", name, error))
    }

    /// Names of the folders directly in a folder.
    pub(crate) fn folders(&self, folder: &str) -> Result<Vec<String>> {
        Ok(sorted_names(self.look(folder)?.common_prefixes.iter()))
    }

    fn put_new(&self, name: &str, content: &[u8]) -> Answer<()> {
        let (store, path) = (self.store.clone(), self.object(name));
        let payload = PutPayload::from(content.to_vec());
        let mode = PutOptions::from(PutMode::Create);
        self.ask(async move { store.put_opts(&path, payload, mode).await.map(drop) })
    }

    pub(crate) fn create(&self, name: &str, content: &[u8]) -> Result<bool> {
        if !self.conditional {
            return match self.read(name)? {
                Some(found) => Ok(found == content),
                None => self.replace(name, content).map(|()| true),
            };
        }
        match self.put_new(name, content) {
            Ok(()) => Ok(true),
            // The answer to an earlier try may have been lost: what stands there with this content is ours.
            Err(object_store::Error::AlreadyExists { .. }) => match self.read(name)? {
                Some(found) => Ok(found == content),
                // Another request for it was under way, and has failed.
                None => self
                    .put_new(name, content)
                    .map(|()| true)
                    .map_err(|error| self.failed("creating", name, error)),
            },
            Err(error) => match self.read(name) {
                Ok(Some(found)) if found == content => Ok(true),
                _ => Err(self.failed("creating", name, error)),
            },
        }
    }

    /// Whether the server keeps what it says of create-if-absent: a second creation of `name` must be refused.
    pub(crate) fn keeps_conditions(&self, name: &str) -> Result<bool> {
        if !self.conditional {
            return Ok(true);
        }
        // A try whose answer broke off may be made again here: what it created answers the question as well.
        let (store, path) = (self.store.clone(), self.object(name));
        let create = move || {
            let (store, path) = (store.clone(), path.clone());
            let mode = PutOptions::from(PutMode::Create);
            async move {
                let payload = PutPayload::from_static(b"create-if-absent\n");
                store.put_opts(&path, payload, mode).await.map(drop)
            }
        };
        for _ in 0..2 {
            match self.ask_again(&create) {
                Err(object_store::Error::AlreadyExists { .. }) => return Ok(true),
                Ok(()) => {}
                // Some servers do not know the header, and say so.
                Err(error) if says_not_implemented(&error) => return Ok(false),
                Err(error) => return Err(self.failed("creating", name, error)),
            }
        }
        Ok(false)
    }

    pub(crate) fn delete(&self, name: &str) -> Result<()> {
        let (store, path) = (self.store.clone(), self.object(name));
        match self.ask_again(move || {
            let (store, path) = (store.clone(), path.clone());
            async move { store.delete(&path).await }
        }) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("removing", name, error)),
        }
    }

    pub(crate) fn size(&self, name: &str) -> Result<Option<u64>> {
        let (store, path) = (self.store.clone(), self.object(name));
        match self.ask_again(move || {
            let (store, path) = (store.clone(), path.clone());
            async move { store.head(&path).await }
        }) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("looking at", name, error)),
        }
    }

    pub(crate) fn checksum(&self, name: &str) -> Result<(u64, String)> {
        let (store, path) = (self.store.clone(), self.object(name));
        self.ask_again(move || {
            let (store, path) = (store.clone(), path.clone());
            async move {
                let mut stream = store.get(&path).await?.into_stream();
                let (mut size, mut sum) = (0, Xxh3::new());
                while let Some(bytes) = stream.next().await {
                    let bytes = bytes?;
                    size += bytes.len() as u64;
                    sum.update(&bytes);
                }
                Ok((size, format!("{:016x}", sum.digest())))
            }
        })
        .map_err(|error| self.failed("reading", name, error))
    }

    pub(crate) fn fetch(&self, name: &str, to: &Path) -> Result<()> {
        let (store, path) = (self.store.clone(), self.object(name));
        let target: PathBuf = to.to_path_buf();
        self.ask_again(move || {
            let (store, path, target) = (store.clone(), path.clone(), target.clone());
            async move {
                let mut stream = store.get(&path).await?.into_stream();
                let mut file = File::create(&target).map_err(local)?;
                while let Some(bytes) = stream.next().await {
                    file.write_all(&bytes?).map_err(local)?;
                }
                Ok(())
            }
        })
        .map_err(|error| self.failed("fetching", name, error))
    }
}

/// A local file's error where an object's is expected.
fn local(error: std::io::Error) -> object_store::Error {
    object_store::Error::Generic {
        store: "local file",
        source: Box::new(error),
    }
}

/// Whether the answer broke off: what the server says of a request is an answer, however bad.
fn is_broken_off(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::Generic { .. }) && error.to_string().contains("HTTP error")
}

/// Whether an error is the server's word that it cannot do such a thing at all.
fn says_not_implemented(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotImplemented { .. })
        || error.to_string().contains("501 Not Implemented")
}

/// Sends a file, in parts if it is large. It is read on the store's own thread, where nobody else waits.
async fn send(store: &dyn ObjectStore, from: &Path, to: &ObjectPath) -> Answer<()> {
    let mut file = File::open(from).map_err(local)?;
    let size = file.metadata().map_err(local)?.len();
    if size <= PART_BYTES as u64 {
        let mut content = Vec::with_capacity(size as usize);
        file.read_to_end(&mut content).map_err(local)?;
        store.put(to, PutPayload::from(content)).await?;
        return Ok(());
    }
    let mut upload = store.put_multipart(to).await?;
    let sent = async {
        loop {
            let mut part = Vec::with_capacity(PART_BYTES);
            (&mut file)
                .take(PART_BYTES as u64)
                .read_to_end(&mut part)
                .map_err(local)?;
            if part.is_empty() {
                return Ok(());
            }
            upload.put_part(PutPayload::from(part)).await?;
        }
    };
    let sent: Answer<()> = sent.await;
    match sent {
        Ok(()) => upload.complete().await.map(drop),
        Err(error) => {
            // Parts that cannot be removed either are the storage's to expire.
            let _ = upload.abort().await;
            Err(error)
        }
    }
}

/// The last parts of paths, in order.
fn sorted_names<'a>(paths: impl Iterator<Item = &'a ObjectPath>) -> Vec<String> {
    let mut names: Vec<String> = paths
        .filter_map(|path| path.filename().map(str::to_owned))
        .collect();
    names.sort();
    names
}
