//! An S3 server for tests: moto (from PyPI, `requirements.txt`), and in front of it a proxy that does what a script says.
//!
//! ```text
//!   weir ── HTTP ──▶ proxy ── HTTP ──▶ moto_server       one connection a request behind the proxy
//!                      └ script: pass · answer 503 · drop before or after it was done · stall · cut the answer
//! ```
//!
//! The server is somebody else's, so that we do not test our own notion of S3; the failures are ours.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::python;

/// The bucket that is there.
pub const BUCKET: &str = "weir-test";

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is handed on.
    Pass,
    /// It is answered with this status and not handed on.
    Status(u16),
    /// The connection is closed before anything is done.
    DropBefore,
    /// It is done, and the connection is closed before the answer.
    DropAfter,
    /// It waits, then it is handed on.
    Stall(Duration),
    /// The end of the answer is missing.
    CutAnswer,
    /// It is handed on without its conditions, as to a server that does not know them.
    Unconditional,
}

/// A request, as the script sees it.
#[derive(Clone, Debug)]
pub struct Request {
    /// `PUT`, `GET`, …
    pub method: String,
    /// Path and query.
    pub target: String,
    /// How many came before it.
    pub number: u64,
    head: Vec<String>,
    body: Vec<u8>,
}

impl Request {
    /// Whether it has this header, whatever its value.
    pub fn has_header(&self, name: &str) -> bool {
        self.head
            .iter()
            .any(|line| header(line).is_some_and(|(key, _)| key.eq_ignore_ascii_case(name)))
    }
}

type Script = dyn Fn(&Request) -> Fault + Send + Sync;

/// A server that runs; it ends with this value.
pub struct S3 {
    moto: Child,
    port: u16,
    script: Arc<Mutex<Arc<Script>>>,
    faults: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

impl S3 {
    /// Starts the server, with an empty bucket and no failures.
    ///
    /// # Panics
    /// When it does not start within a minute.
    pub fn start() -> Self {
        let moto_port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let moto = Command::new(python::python())
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p"])
            .arg(moto_port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto starts");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self {
            moto,
            port,
            script: Arc::new(Mutex::new(Arc::new(|_: &Request| Fault::Pass))),
            faults: Arc::default(),
            requests: Arc::default(),
            ended: Arc::default(),
        };
        let started = Instant::now();
        // Making the bucket is how we see that it listens.
        while ask(moto_port, &format!("PUT /{BUCKET} HTTP/1.1")).is_none() {
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "moto does not listen"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        server.listen(listener, moto_port);
        server
    }

    fn listen(&self, listener: TcpListener, moto: u16) {
        let (script, ended) = (self.script.clone(), self.ended.clone());
        let (faults, requests) = (self.faults.clone(), self.requests.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Acquire) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let (script, faults, requests) = (script.clone(), faults.clone(), requests.clone());
                std::thread::spawn(move || serve(stream, moto, &script, &faults, &requests));
            }
        });
    }

    /// What becomes of each request from now on.
    pub fn script(&self, script: impl Fn(&Request) -> Fault + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Arc::new(script);
    }

    /// Failures so far.
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::SeqCst)
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// The URL of a folder of the bucket.
    pub fn url(&self, path: &str) -> String {
        format!("s3://{BUCKET}/{path}")
    }

    /// By what the server is reached.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The environment in which `weir` reaches it: credentials, and where it is.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
        ]
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        let _ = self.moto.kill();
        let _ = self.moto.wait();
    }
}

fn header(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    Some((key.trim(), value.trim()))
}

/// Reads a head and a body, as its headers say; `None`: the other side is gone. A body without a length lasts to the end if
/// `to_end`.
fn read_message(from: &mut impl BufRead, to_end: bool) -> Option<(Vec<String>, Vec<u8>)> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if from.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        head.push(line);
    }
    let value = |name: &str| {
        let found = head.iter().filter_map(|line| header(line));
        found
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
            .next()
    };
    let mut body = Vec::new();
    if let Some(length) = value("content-length").and_then(|text| text.parse::<u64>().ok()) {
        from.take(length).read_to_end(&mut body).ok()?;
        if (body.len() as u64) < length {
            return None;
        }
    } else if to_end {
        from.read_to_end(&mut body).ok()?;
    }
    Some((head, body))
}

fn serve(
    stream: TcpStream,
    moto: u16,
    script: &Mutex<Arc<Script>>,
    faults: &AtomicU64,
    requests: &AtomicU64,
) {
    let Ok(mut answers) = stream.try_clone() else {
        return;
    };
    let mut reader = BufReader::new(stream);
    if let Some((head, body)) = read_message(&mut reader, false) {
        let mut words = head[0].split(' ');
        let request = Request {
            method: words.next().unwrap_or_default().to_owned(),
            target: words.next().unwrap_or_default().to_owned(),
            number: requests.fetch_add(1, Ordering::SeqCst),
            head,
            body,
        };
        let decide = script.lock().unwrap().clone();
        let fault = decide(&request);
        if fault != Fault::Pass {
            faults.fetch_add(1, Ordering::SeqCst);
        }
        match fault {
            Fault::DropBefore => return,
            Fault::Status(status) => {
                let text = format!(
                    "HTTP/1.1 {status} As The Script Says\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
                let _ = answers.write_all(text.as_bytes());
                return;
            }
            Fault::Stall(time) => std::thread::sleep(time),
            Fault::Pass | Fault::DropAfter | Fault::CutAnswer | Fault::Unconditional => {}
        }
        let Some(answer) = hand_on(&request, fault, moto) else {
            return;
        };
        let cut = match fault {
            Fault::DropAfter => return,
            Fault::CutAnswer => answer.len() - answer.len() / 4,
            _ => answer.len(),
        };
        // One request a connection: simple, and it does not matter here.
        let _ = answers.write_all(&answer[..cut]);
    }
}

/// The server's whole answer, with the length that its body has.
fn hand_on(request: &Request, fault: Fault, moto: u16) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", moto)).ok()?;
    let mut text = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
    for line in &request.head[1..] {
        let known = header(line).map(|(key, _)| key.to_ascii_lowercase());
        let left_out = match known.as_deref() {
            Some("connection" | "expect") => true,
            Some("if-none-match") => fault == Fault::Unconditional,
            _ => false,
        };
        if !left_out {
            text.push_str(line);
            text.push_str("\r\n");
        }
    }
    text.push_str("Connection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).ok()?;
    stream.write_all(&request.body).ok()?;
    let mut reader = BufReader::new(stream);
    let to_end = request.method != "HEAD";
    let (head, body) = match to_end {
        true => read_message(&mut reader, true)?,
        false => {
            let mut text = String::new();
            reader.read_to_string(&mut text).ok()?;
            let head = text.split("\r\n").take_while(|line| !line.is_empty());
            (head.map(str::to_owned).collect(), Vec::new())
        }
    };
    let mut answer = format!("{}\r\n", head.first()?);
    let mut has_length = false;
    for line in &head[1..] {
        let key = header(line).map(|(key, _)| key.to_ascii_lowercase());
        has_length |= key.as_deref() == Some("content-length");
        if !matches!(key.as_deref(), Some("connection" | "transfer-encoding")) {
            answer.push_str(line);
            answer.push_str("\r\n");
        }
    }
    if !has_length && to_end {
        answer.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    answer.push_str("Connection: close\r\n\r\n");
    let mut answer = answer.into_bytes();
    answer.extend(body);
    Some(answer)
}

/// A request without a body; the first line of its answer.
fn ask(port: u16, line: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let text =
        format!("{line}\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).ok()?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).ok()?;
    answer.starts_with("HTTP/1.1 200").then_some(answer)
}
