//! The control socket of a job that runs in the foreground: one request and one answer a connection, a line of JSON each.
//!
//! ```text
//!   STATE/control/socket       0600, in a folder of 0700; elsewhere if that path is too long for a socket
//!   STATE/control.json         {"version": 1, "socket": PATH, "pid": N}
//!
//!   {"version": 1, "do": "savepoint", "folder": …, "name": …, "note": …}      {"savepoint": FOLDER}
//!   {"version": 1, "do": "stop", "savepoint": null or {…}, "drain": false}    {"stopping": true, "savepoint": FOLDER or null}
//!   {"version": 1, "do": "status"}                                            {"status": what the job says of itself}
//!                                                                             {"error": TEXT}
//!   {"version": 1, "do": "view", "name": VIEW, "wanted": [{…}]}               a line and an Arrow stream: `views/wire.rs`
//! ```
//!
//! Whoever listens holds the job's lock, so a socket that is there already is a dead one's and is replaced.

use std::hash::{Hash, Hasher};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_planner::Wanted;

use super::{JobControl, SavepointOrder, StopOrder};
use crate::sync::lock;
use crate::{Error, Result};

const VERSION: u32 = 1;
/// Bytes of a socket's path on every system that we know.
const PATH_BYTES_MAX: usize = 100;
/// Bytes of a request.
const REQUEST_BYTES_MAX: u64 = 1 << 16;
/// Whoever connects says what it wants within this time.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Deserialize, Serialize)]
struct Request {
    version: u32,
    #[serde(flatten)]
    what: What,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum What {
    Savepoint(Order),
    Stop {
        savepoint: Option<Order>,
        #[serde(default)]
        drain: bool,
    },
    Status,
    View {
        name: String,
        /// A job of a release that does not know it gives all rows.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        wanted: Vec<Wanted>,
    },
}

/// What a job says of itself when it is asked for its status.
pub type StatusReport = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

#[derive(Debug, Default, Deserialize, Serialize)]
struct Order {
    folder: Option<PathBuf>,
    name: Option<String>,
    note: Option<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
struct Answer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    savepoint: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// `control.json`: where the socket is.
#[derive(Debug, Deserialize, Serialize)]
struct Address {
    version: u32,
    socket: PathBuf,
    pid: u32,
}

impl From<Order> for SavepointOrder {
    fn from(order: Order) -> Self {
        Self {
            folder: order.folder,
            name: order.name,
            note: order.note,
        }
    }
}

impl From<SavepointOrder> for Order {
    fn from(order: SavepointOrder) -> Self {
        Self {
            folder: order.folder,
            name: order.name,
            note: order.note,
        }
    }
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::Job(format!("[S0034] {what} {}: {error}", path.display()))
}

/// The listening side.
pub struct ControlServer {
    socket: PathBuf,
    address: PathBuf,
    control: JobControl,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ControlServer {
    /// Listens in a job's folder, whose lock the caller's job holds.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn start(state_dir: &Path, control: JobControl) -> Result<Self> {
        Self::start_with(state_dir, control, None)
    }

    /// The same; `status` answers whoever asks how the job is.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn start_with(
        state_dir: &Path,
        control: JobControl,
        status: Option<StatusReport>,
    ) -> Result<Self> {
        let socket = socket_path(state_dir)?;
        match std::fs::remove_file(&socket) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(failed("cannot remove the old socket", &socket, &error));
            }
            _ => {}
        }
        let listener = UnixListener::bind(&socket)
            .map_err(|error| failed("cannot listen at", &socket, &error))?;
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600))
            .map_err(|error| failed("cannot protect", &socket, &error))?;
        let address = state_dir.join("control.json");
        let text = serde_json::to_vec(&Address {
            version: VERSION,
            socket: socket.clone(),
            pid: std::process::id(),
        })
        .map_err(|error| Error::Job(format!("cannot write the socket's address: {error}")))?;
        let part = state_dir.join("control.part");
        std::fs::write(&part, text)
            .and_then(|()| std::fs::rename(&part, &address))
            .map_err(|error| failed("cannot write", &address, &error))?;
        let ended = Arc::new(AtomicBool::new(false));
        let thread = {
            let (control, ended) = (control.clone(), ended.clone());
            std::thread::Builder::new()
                .name("weir-control".to_owned())
                .spawn(move || accept(&listener, &control, status.as_ref(), &ended))
                .map_err(|error| Error::Job(format!("cannot listen for requests: {error}")))?
        };
        Ok(Self {
            socket,
            address,
            control,
            ended,
            thread: Some(thread),
        })
    }
}

impl Drop for ControlServer {
    /// Answers whoever waits, and leaves nothing behind.
    fn drop(&mut self) {
        self.control.close("the job has ended");
        self.ended.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        drop(UnixStream::connect(&self.socket));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
        // Files that stay are replaced by the next start.
        drop(std::fs::remove_file(&self.socket));
        drop(std::fs::remove_file(&self.address));
    }
}

/// A path that is short enough, in a folder that is ours alone.
fn socket_path(state_dir: &Path) -> Result<PathBuf> {
    let absolute =
        std::path::absolute(state_dir).map_err(|error| failed("cannot find", state_dir, &error))?;
    let mut folder = absolute.join("control");
    let mut socket = folder.join("socket");
    if socket.as_os_str().len() > PATH_BYTES_MAX {
        let hash = {
            let mut hasher = std::hash::DefaultHasher::new();
            absolute.hash(&mut hasher);
            hasher.finish()
        };
        folder = std::env::temp_dir().join(format!("weir-{hash:016x}"));
        socket = folder.join("socket");
    }
    if socket.as_os_str().len() > PATH_BYTES_MAX {
        return Err(Error::Job(format!(
            "[S0034] the path {} is too long for a socket: set TMPDIR to a shorter one",
            socket.display()
        )));
    }
    match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(failed("cannot make", &folder, &error));
        }
        _ => {}
    }
    // It may be another's who was there first: then nothing of ours is put into it.
    let owner = |path: &Path| {
        std::fs::symlink_metadata(path)
            .map(|metadata| (metadata.uid(), metadata.is_dir()))
            .map_err(|error| failed("cannot look at", path, &error))
    };
    let (theirs, is_folder) = owner(&folder)?;
    if !is_folder || theirs != owner(&absolute)?.0 {
        return Err(Error::Job(format!(
            "[S0034] {} belongs to somebody else: set TMPDIR to a folder of your own",
            folder.display()
        )));
    }
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700))
        .map_err(|error| failed("cannot protect", &folder, &error))?;
    Ok(socket)
}

fn accept(
    listener: &UnixListener,
    control: &JobControl,
    status: Option<&StatusReport>,
    ended: &AtomicBool,
) {
    // One thread a connection: a savepoint may take long, and a stop must not wait for it.
    let threads: Mutex<Vec<JoinHandle<()>>> = Mutex::default();
    for stream in listener.incoming() {
        if ended.load(Ordering::Acquire) {
            break;
        }
        let Ok(stream) = stream else { continue };
        let (control, status) = (control.clone(), status.cloned());
        let thread = std::thread::Builder::new()
            .name("weir-request".to_owned())
            .spawn(move || serve(stream, &control, status.as_ref()));
        let mut threads = lock(&threads);
        threads.retain(|thread| !thread.is_finished());
        // Without a thread the connection is closed, which is an answer.
        threads.extend(thread);
    }
    for thread in threads.into_inner().unwrap_or_default() {
        drop(thread.join());
    }
}

fn serve(stream: UnixStream, control: &JobControl, status: Option<&StatusReport>) {
    let answer = match read_request(&stream) {
        Ok(Request {
            what: What::View { name, wanted },
            ..
        }) => {
            let mut out = std::io::BufWriter::new(&stream);
            // Whoever asked may be gone.
            drop(crate::views::write_answer(
                &mut out,
                control.view_rows_where(&name, &wanted),
            ));
            drop(out.flush());
            return;
        }
        Ok(request) => obey(request, control, status),
        Err(error) => Answer {
            error: Some(error),
            ..Answer::default()
        },
    };
    if let Ok(mut text) = serde_json::to_vec(&answer) {
        text.push(b'\n');
        // Whoever asked may be gone.
        drop((&stream).write_all(&text));
    }
}

fn read_request(stream: &UnixStream) -> std::result::Result<Request, String> {
    stream
        .set_read_timeout(Some(PATIENCE))
        .map_err(|error| error.to_string())?;
    let mut line = String::new();
    BufReader::new(stream.take(REQUEST_BYTES_MAX))
        .read_line(&mut line)
        .map_err(|error| format!("the request cannot be read: {error}"))?;
    let request: Request =
        serde_json::from_str(&line).map_err(|error| format!("not a request: {error}"))?;
    if request.version != VERSION {
        return Err(format!(
            "[S0035] the job runs with a release that speaks version {VERSION} and was asked in version {}: use the same \
             release of `weir` for both",
            request.version
        ));
    }
    Ok(request)
}

fn obey(request: Request, control: &JobControl, status: Option<&StatusReport>) -> Answer {
    let answer = match request.what {
        What::Status => {
            return Answer {
                status: status.map(|report| report()),
                ..Answer::default()
            };
        }
        What::Savepoint(order) => Some(control.savepoint(order.into())),
        What::Stop { savepoint, drain } => control.stop(StopOrder {
            savepoint: savepoint.map(SavepointOrder::from),
            drain,
        }),
        // It has an answer of its own.
        What::View { .. } => None,
    };
    let Some(answer) = answer else {
        return Answer::default();
    };
    match answer.recv() {
        Ok(Ok(savepoint)) => Answer {
            savepoint: Some(match savepoint.is_remote() {
                true => savepoint.folder,
                false => std::path::absolute(&savepoint.folder).unwrap_or(savepoint.folder),
            }),
            ..Answer::default()
        },
        Ok(Err(error)) => Answer {
            error: Some(error.to_string()),
            ..Answer::default()
        },
        Err(_) => Answer {
            error: Some("the savepoint was given up: the job has ended".to_owned()),
            ..Answer::default()
        },
    }
}

fn gone(error: std::io::Error) -> Error {
    Error::Job(format!(
        "[S0036] the job ended before it answered: {error}; its messages say why"
    ))
}

/// The asking side.
pub struct ControlClient {
    stream: UnixStream,
}

impl ControlClient {
    /// Connects to the job that runs in a folder; `None` if none does.
    ///
    /// # Errors
    /// When the socket is there and cannot be spoken to.
    pub fn connect(state_dir: &Path) -> Result<Option<Self>> {
        let address = state_dir.join("control.json");
        let text = match std::fs::read(&address) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("cannot read", &address, &error)),
        };
        let Ok(found) = serde_json::from_slice::<Address>(&text) else {
            return Ok(None);
        };
        match UnixStream::connect(&found.socket) {
            Ok(stream) => Ok(Some(Self { stream })),
            // A process that was killed leaves its socket behind.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionRefused | ErrorKind::NotFound
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(failed("cannot speak to the job at", &found.socket, &error)),
        }
    }

    /// Asks for a savepoint and waits for it: its folder.
    ///
    /// # Errors
    /// What the job says.
    pub fn savepoint(self, order: SavepointOrder) -> Result<PathBuf> {
        let answer = self.ask(What::Savepoint(order.into()))?;
        answer
            .savepoint
            .ok_or_else(|| Error::Job("the job answered without a savepoint".to_owned()))
    }

    /// Asks for a stop; with a savepoint waits for that: its folder.
    ///
    /// # Errors
    /// What the job says.
    pub fn stop(self, order: StopOrder) -> Result<Option<PathBuf>> {
        let answer = self.ask(What::Stop {
            savepoint: order.savepoint.map(Order::from),
            drain: order.drain,
        })?;
        Ok(answer.savepoint)
    }

    /// Asks how the job is and waits no longer than `patience`; `None`: it says nothing of itself.
    ///
    /// # Errors
    /// When it does not answer in time, or what it says.
    pub fn status(self, patience: Duration) -> Result<Option<serde_json::Value>> {
        self.stream
            .set_read_timeout(Some(patience))
            .map_err(|error| Error::Job(format!("cannot ask the job: {error}")))?;
        Ok(self.ask(What::Status)?.status)
    }

    /// Asks for the rows of a materialized view at the newest epoch, those that have wanted values ([`crate::view_rows_where`]).
    ///
    /// # Errors
    /// What the job says.
    pub fn view(mut self, name: &str, wanted: &[Wanted]) -> Result<crate::ViewRows> {
        let mut what = What::View {
            name: name.to_owned(),
            wanted: wanted.to_vec(),
        };
        // What is too long to be said is left to whoever reads.
        let text = serde_json::to_vec(&what).map_or(usize::MAX, |text| text.len());
        if let What::View { wanted, .. } = &mut what
            && text as u64 > REQUEST_BYTES_MAX / 2
        {
            wanted.clear();
        }
        self.send(what)?;
        crate::views::read_answer(BufReader::new(&self.stream))
    }

    fn send(&mut self, what: What) -> Result<()> {
        let request = Request {
            version: VERSION,
            what,
        };
        let mut text = serde_json::to_vec(&request)
            .map_err(|error| Error::Job(format!("cannot ask the job: {error}")))?;
        text.push(b'\n');
        self.stream.write_all(&text).map_err(gone)
    }

    fn ask(mut self, what: What) -> Result<Answer> {
        self.send(what)?;
        let mut line = String::new();
        BufReader::new(&self.stream)
            .read_line(&mut line)
            .map_err(gone)?;
        if line.is_empty() {
            return Err(gone(ErrorKind::UnexpectedEof.into()));
        }
        let answer: Answer = serde_json::from_str(&line)
            .map_err(|error| Error::Job(format!("the job's answer cannot be read: {error}")))?;
        match answer.error {
            Some(error) => Err(Error::Job(error)),
            None => Ok(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_socket_is_replaced_and_nobody_else_may_use_it() {
        let base = tempfile::tempdir().unwrap();
        let state = base.path();
        assert!(ControlClient::connect(state).unwrap().is_none());
        std::fs::create_dir(state.join("control")).unwrap();
        drop(UnixListener::bind(state.join("control/socket")).unwrap());
        let control = JobControl::default();
        let report: StatusReport = Arc::new(|| serde_json::json!({"rows_in": 3}));
        let server = ControlServer::start_with(state, control.clone(), Some(report)).unwrap();
        let mode = |path: &str| std::fs::metadata(state.join(path)).unwrap().mode() & 0o777;
        assert_eq!((mode("control"), mode("control/socket")), (0o700, 0o600));
        let client = ControlClient::connect(state).unwrap().unwrap();
        let status = client.status(PATIENCE).unwrap().unwrap();
        assert_eq!(status["rows_in"], 3);
        let client = ControlClient::connect(state).unwrap().unwrap();
        assert_eq!(client.stop(StopOrder::default()).unwrap(), None);
        assert!(control.is_stopping());
        drop(server);
        assert!(ControlClient::connect(state).unwrap().is_none());
    }

    #[test]
    fn a_long_path_is_no_hindrance() {
        let base = tempfile::tempdir().unwrap();
        let state = base.path().join("x".repeat(60)).join("y".repeat(90));
        std::fs::create_dir_all(&state).unwrap();
        let server = ControlServer::start(&state, JobControl::default()).unwrap();
        assert!(server.socket.as_os_str().len() <= PATH_BYTES_MAX);
        assert!(ControlClient::connect(&state).unwrap().is_some());
    }

    #[test]
    fn an_end_answers_whoever_waits_and_nonsense_gets_an_error() {
        let base = tempfile::tempdir().unwrap();
        let state = base.path();
        let server = ControlServer::start(state, JobControl::default()).unwrap();
        let mut stream = UnixStream::connect(&server.socket).unwrap();
        stream
            .write_all(b"{\"version\": 7, \"do\": \"stop\", \"savepoint\": null}\n")
            .unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        assert!(line.contains("S0035"), "{line}");
        let client = ControlClient::connect(state).unwrap().unwrap();
        #[expect(clippy::disallowed_methods, reason = "a client of another process")]
        let waits = std::thread::spawn(move || client.savepoint(SavepointOrder::default()));
        // Whether it asks before or after the end: it gets an answer.
        drop(server);
        assert!(waits.join().unwrap().is_err());
    }
}
