//! A server of a test in a folder of its own, and plain HTTP to speak to it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use weir_tests::process::{binary, text_of, wait_for};

/// A server, killed when the test ends.
pub(super) struct Place {
    pub(super) folder: PathBuf,
    pub(super) address: String,
    pub(super) token: String,
    server: Option<Child>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of an error that says all that errors say.
    pub(super) fn code(&self) -> String {
        let body = self.json();
        let error = &body["error"];
        let whole = error["code"].is_string()
            && error["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
            && error["where"]["in"].is_string()
            && error["help"]
                .as_array()
                .is_some_and(|help| !help.is_empty())
            && body["errors"][0] == *error;
        assert!(whole, "an error says what, where and what to do: {self:?}");
        error["code"].as_str().unwrap().to_owned()
    }
}

impl Place {
    /// Starts a server on a free port.
    pub(super) fn new(folder: &Path) -> Self {
        let mut place = Self {
            folder: folder.to_owned(),
            address: String::new(),
            token: String::new(),
            server: None,
        };
        place.serve();
        place
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.join(".weir-server")
    }

    /// A command in the folder, without what the environment says of servers.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .current_dir(&self.folder)
            .args(arguments)
            .env_remove("WEIR_SERVER")
            .env_remove("WEIR_TOKEN")
            .env_remove("WEIR_LOG")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command against the server.
    pub(super) fn weir(&self, arguments: &[&str]) -> Output {
        self.command(arguments)
            .env("WEIR_SERVER", format!("http://{}", self.address))
            .output()
            .unwrap()
    }

    /// The same; it has to end well. What it printed.
    pub(super) fn must(&self, arguments: &[&str]) -> String {
        let output = self.weir(arguments);
        assert!(
            output.status.success(),
            "weir {arguments:?} ended with {}\n{}\n{}",
            output.status,
            text_of(&output),
            self.log()
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts the server (again).
    pub(super) fn serve(&mut self) {
        assert!(self.server.is_none(), "it runs");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("server.log"))
            .unwrap();
        let mut command =
            self.command(&["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
        command.stderr(log).stdout(Stdio::null()).process_group(0);
        self.server = Some(command.spawn().unwrap());
        let place = self.data().join("server.json");
        let pid = self.server.as_ref().unwrap().id();
        let url = until("the server listens", || {
            let place: Value = serde_json::from_slice(&std::fs::read(&place).ok()?).ok()?;
            (place["pid"] == pid).then(|| place["url"].as_str().unwrap().to_owned())
        });
        self.address = url.trim_start_matches("http://").to_owned();
        self.token = std::fs::read_to_string(self.data().join("token"))
            .unwrap()
            .trim()
            .to_owned();
    }

    /// SIGKILL for the server alone: its jobs' processes are left behind.
    pub(super) fn kill(&mut self) {
        let mut server = self.server.take().expect("it runs");
        assert!(weir_tests::process::kill(&mut server), "{}", self.log());
    }

    /// SIGTERM; it ends by itself, and well.
    pub(super) fn end(&mut self) {
        let mut server = self.server.take().expect("it runs");
        signal(server.id(), libc::SIGTERM);
        let status = wait_for(&mut server, Duration::from_secs(60));
        assert!(
            status.is_some_and(|status| status.success()),
            "{}",
            self.log()
        );
    }

    /// What server and jobs have said.
    pub(super) fn log(&self) -> String {
        let mut text = std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
        for entry in std::fs::read_dir(self.data().join("jobs"))
            .into_iter()
            .flatten()
        {
            let path = entry.unwrap().path().join("log");
            let log = std::fs::read_to_string(&path).unwrap_or_default();
            text.push_str(&format!("--- {}\n{log}", path.display()));
        }
        text
    }

    /// A request with the token.
    pub(super) fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let token = format!("Authorization: Bearer {}\r\n", self.token);
        self.raw(method, path, &token, body.as_bytes())
    }

    pub(super) fn get(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, "");
        assert_eq!(answer.status, 200, "{answer:?}\n{}", self.log());
        answer.json()
    }

    /// A POST that has to end well.
    pub(super) fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.ask("POST", path, &body.to_string());
        assert!(answer.status < 300, "{path}: {answer:?}\n{}", self.log());
        answer.json()
    }

    /// A request with these headers.
    pub(super) fn raw(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
        );
        self.bytes(head.as_bytes(), &[body])
    }

    /// Whatever these bytes are answered with. A server may answer before it has read them all.
    pub(super) fn bytes(&self, head: &[u8], rest: &[&[u8]]) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(120)))
            .unwrap();
        stream.write_all(head).unwrap();
        for piece in rest {
            if stream.write_all(piece).is_err() {
                break;
            }
        }
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        let text = String::from_utf8(text).unwrap();
        let (headers, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no answer: {text:?}\n{}", self.log()));
        let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
        Answer {
            status,
            headers: headers.to_lowercase(),
            body: body.to_owned(),
        }
    }

    pub(super) fn state(&self, job: &str) -> String {
        let status = self.get(&format!("/v1/jobs/{job}/status"));
        status["state"].as_str().unwrap().to_owned()
    }

    /// Waits for a state.
    pub(super) fn until_state(&self, job: &str, state: &str) {
        let started = Instant::now();
        loop {
            let now = self.state(job);
            if now == state {
                return;
            }
            assert!(
                started.elapsed() < Duration::from_secs(240),
                "{job} is {now} and not {state}\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a job has so many rows and a checkpoint.
    pub(super) fn until_rows(&self, job: &str, rows: u64) {
        until(&format!("{job} has {rows} rows and a checkpoint"), || {
            let status = self.get(&format!("/v1/jobs/{job}/status"));
            let progress = &status["progress"];
            let enough =
                progress["rows_in"].as_u64()? >= rows && progress["last_checkpoint"].is_u64();
            enough.then_some(())
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Its jobs stop by themselves when it is gone.
        if let Some(server) = &mut self.server {
            drop(server.kill());
            drop(server.wait());
        }
        let left = Instant::now();
        let running = || {
            std::fs::read_dir(self.data().join("jobs"))
                .into_iter()
                .flatten()
                .flatten()
                .any(|entry| entry.path().join("state/control.json").exists())
        };
        while running() && left.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Sends a signal to a process of this test.
pub(super) fn signal(pid: u32, signal: i32) {
    let sent = Command::new("kill")
        .args([format!("-{signal}"), pid.to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
}

/// Waits for something, however slow the machine is.
pub(super) fn until<T>(what: &str, happened: impl Fn() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = happened() {
            return found;
        }
        assert!(
            started.elapsed() < Duration::from_secs(240),
            "it never happened: {what}"
        );
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// A job that counts a generator's rows and copies them, each once.
pub(super) fn counting(rows: Option<u64>, per_second: u64, out: &str) -> String {
    let rows = rows.map_or_else(String::new, |rows| format!("'rows' = '{rows}', "));
    format!(
        "SET 'checkpoint.interval' = '200ms';
SET 'parallelism' = '1';
SET 'state.memory' = '32MiB';
CREATE TABLE clicks (id BIGINT)
WITH ('connector' = 'datagen', {rows}'rows-per-second' = '{per_second}');
CREATE TABLE seen (bucket BIGINT, clicks BIGINT, total BIGINT)
WITH ('connector' = 'filesystem', 'path' = '{out}/seen', 'format' = 'changelog-json');
CREATE TABLE copied (id BIGINT)
WITH ('connector' = 'filesystem', 'path' = '{out}/copied', 'format' = 'json');
INSERT INTO seen SELECT id % 7 AS bucket, count(*) AS clicks, sum(id) AS total FROM clicks GROUP BY id % 7;
INSERT INTO copied SELECT id FROM clicks;
"
    )
}

/// Compares what such a job has written with what it has to write.
pub(super) fn assert_counted(out: &Path, rows: u64, log: impl Fn() -> String) {
    use weir_tests::value::{Multiset, Value};
    let mut expected = Multiset::default();
    for bucket in 0..7u64 {
        let ids: Vec<u64> = (0..rows).filter(|id| id % 7 == bucket).collect();
        // In the order of the columns' names.
        let row = vec![
            Value::Int(bucket as i64),
            Value::Int(ids.len() as i64),
            Value::Int(ids.iter().sum::<u64>() as i64),
        ];
        expected.add(row, 1);
    }
    let seen = weir_tests::process::folded_changelog(&out.join("seen"));
    assert_eq!(seen, expected, "{}\n{}", out.display(), log());
    let ids = copied(out);
    assert!(
        ids.iter().copied().eq(0..rows),
        "{}: each row once, and there are {}\n{}",
        out.display(),
        ids.len(),
        log()
    );
}

/// The rows that such a job has copied, in their order.
pub(super) fn copied(out: &Path) -> Vec<u64> {
    let mut ids: Vec<u64> = weir_tests::process::published_lines(&out.join("copied"), None)
        .iter()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["id"]
                .as_u64()
                .unwrap()
        })
        .collect();
    ids.sort_unstable();
    ids
}
