//! Asking a server: where it is, with which token, and its errors as people read them.

mod commands;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use reqwest::blocking::{Client as Http, RequestBuilder};
use serde_json::Value;
use weir_types::Diagnostics;

pub(crate) use self::commands::{
    LogsOptions, NamedOptions, SubmitOptions, delete, jobs, logs, savepoint, start, stop, submit,
    upgrade,
};
use crate::exit::{Code, Failure};
use crate::serve::problem::Problem;
use crate::serve::token::Token;
use crate::serve::{DATA, LISTEN};

/// Where the server is.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ServerFlags {
    /// The server's URL [default: WEIR_SERVER].
    #[arg(long, value_name = "URL", help_heading = "Server")]
    pub(crate) server: Option<String>,
    /// The file with the server's token [default: WEIR_TOKEN, or .weir-server/token].
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    pub(crate) token_file: Option<PathBuf>,
}

impl ServerFlags {
    /// The server that a flag or the environment names; `None`: the command is about folders of this machine.
    pub(crate) fn named(&self) -> Result<Option<Client>, Failure> {
        match self.url() {
            Some(url) => Client::new(url, true, self.token_file.as_deref()).map(Some),
            None => Ok(None),
        }
    }

    /// The server, for commands that need one: the one of the current folder unless another is named.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let url = self.url().or_else(|| {
            let text = std::fs::read(Path::new(DATA).join("server.json")).ok()?;
            let place: Value = serde_json::from_slice(&text).ok()?;
            place["url"].as_str().map(str::to_owned)
        });
        let named = url.is_some();
        let url = url.unwrap_or_else(|| format!("http://{LISTEN}"));
        Client::new(url, named, self.token_file.as_deref())
    }

    fn url(&self) -> Option<String> {
        self.server.clone().or_else(|| {
            std::env::var("WEIR_SERVER")
                .ok()
                .filter(|url| !url.is_empty())
        })
    }
}

/// A server.
pub(crate) struct Client {
    http: Http,
    url: String,
    token: Token,
    /// Whether it is on this machine.
    pub(crate) near: bool,
}

/// A good answer.
pub(crate) struct Answered {
    pub(crate) body: Vec<u8>,
    pub(crate) next_offset: Option<u64>,
}

impl Answered {
    pub(crate) fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Failure::failed(format!("the server's answer cannot be read: {error}"))
        })
    }
}

impl Client {
    /// `named`: somebody has said that there is a server.
    fn new(url: String, named: bool, token_file: Option<&Path>) -> Result<Self, Failure> {
        let url = url.trim_end_matches('/').to_owned();
        let parsed = reqwest::Url::parse(&url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let parsed = parsed.ok_or_else(|| {
            Failure::usage(format!(
                "`{url}` is no server's URL: write it as http://127.0.0.1:7717"
            ))
        })?;
        let near = match parsed.host_str() {
            Some("localhost") => true,
            Some(host) => host
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback()),
            None => false,
        };
        let own = Path::new(DATA).join("token");
        let token = match Token::given(token_file)? {
            Some(token) => token,
            // Never to another machine: it was not made for that.
            None if near && own.is_file() => Token::read(&own)?,
            // Nobody has said that there is one, and nothing here says so.
            None if !named => {
                return Err(Failure::refused(
                    "[J0095] there is no server here: start one with `weir serve`, or say where it is with --server URL or WEIR_SERVER",
                ));
            }
            None => {
                return Err(Failure::refused(
                    "[J0095] the server wants a token: name the file that has it with --token-file, or set WEIR_TOKEN (the server \
                     keeps its own in DATA/token)",
                ));
            }
        };
        let mut http = Http::builder()
            .connect_timeout(Duration::from_secs(5))
            // A savepoint or an upgrade takes as long as it takes.
            .timeout(None)
            // The token is for this server alone.
            .redirect(reqwest::redirect::Policy::none());
        if near {
            http = http.no_proxy();
        } else if parsed.scheme() == "http" {
            eprintln!(
                "warning: {url} is on another machine, and the token goes there unencrypted: use https"
            );
        }
        let http = http
            .build()
            .map_err(|error| Failure::failed(format!("cannot ask a server: {error}")))?;
        Ok(Self {
            http,
            url,
            token,
            near,
        })
    }

    pub(crate) fn get(&self, path: &str) -> Result<Answered, Failure> {
        self.send(self.http.get(self.at(path)), None)
    }

    pub(crate) fn delete(&self, path: &str) -> Result<Answered, Failure> {
        self.send(self.http.delete(self.at(path)), None)
    }

    pub(crate) fn post(&self, path: &str, body: Option<&Value>) -> Result<Answered, Failure> {
        self.post_text(path, body, None)
    }

    /// With a query's text that errors point into: how it is shown, and the text.
    pub(crate) fn post_text(
        &self,
        path: &str,
        body: Option<&Value>,
        text: Option<(&str, &str)>,
    ) -> Result<Answered, Failure> {
        let request = self.http.post(self.at(path));
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        self.send(request, text)
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn send(
        &self,
        request: RequestBuilder,
        text: Option<(&str, &str)>,
    ) -> Result<Answered, Failure> {
        let gone = |error: reqwest::Error| {
            Failure::failed(format!(
                "[J0095] the server at {} does not answer: {error}; start it with `weir serve`, or say where it is with --server",
                self.url
            ))
        };
        let response = request
            .header("authorization", self.token.header())
            .send()
            .map_err(gone)?;
        let status = response.status().as_u16();
        let next_offset = response
            .headers()
            .get("weir-next-offset")
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let body = response.bytes().map_err(gone)?.to_vec();
        if (200..300).contains(&status) {
            return Ok(Answered { body, next_offset });
        }
        Err(self.refusal(status, &body, text))
    }

    /// The server's error, as the commands of this machine print theirs.
    fn refusal(&self, status: u16, body: &[u8], text: Option<(&str, &str)>) -> Failure {
        let code = match status {
            400 | 404 | 405 | 413 => Code::Usage,
            401 | 409 => Code::Refused,
            _ => Code::Failed,
        };
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        let problems: Vec<Problem> =
            serde_json::from_value(answer["errors"].clone()).unwrap_or_default();
        if problems.is_empty() {
            return Failure::failed(format!(
                "[J0095] {} answered {status}, and not as a server of Weir does",
                self.url
            ));
        }
        let diagnostics = problems.iter().map(Problem::to_diagnostic).collect();
        let (shown, sql) = text.unwrap_or_default();
        let mut rendered = Diagnostics(diagnostics).render(shown, sql);
        if let Some(report) = answer["report"]["text"].as_str() {
            rendered = format!("{report}{rendered}");
        }
        if !rendered.ends_with('\n') {
            rendered.push('\n');
        }
        Failure::rendered(code, rendered)
    }
}

/// A name as a part of a path.
pub(crate) fn path_of(job: &str, what: &str) -> Result<String, Failure> {
    crate::serve::store::check_name(job)
        .map_err(|error| Failure::usage(error.problems[0].message.clone()))?;
    Ok(format!("/v1/jobs/{job}{what}"))
}
