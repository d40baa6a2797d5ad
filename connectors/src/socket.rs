//! A TCP connection as a source: Weir connects and reads lines until the other side closes.
//!
//! It cannot be read again: a crash loses what was not checkpointed, and the job says so at its start.

use std::collections::BTreeMap;
use std::net::TcpStream;

use weir_types::SplitId;

use crate::error::Result;
use crate::format::{Settings, TextDecoder};
use crate::live::LiveDealer;
use crate::options::{Form, OptionInfo, Options};
use crate::registry::{ConnectorInfo, TEXT_METADATA};
use crate::source::{Dealer, Decoder, Position, Source, SplitListing};
use crate::table::TableRequest;

const HOST: OptionInfo = OptionInfo {
    key: "host",
    default: Some("localhost"),
    form: Form::Required,
    help: "name or address of the machine to connect to",
};
const PORT: OptionInfo = OptionInfo {
    key: "port",
    default: None,
    form: Form::Port,
    help: "the TCP port to connect to",
};

/// The connector's description.
pub(crate) const INFO: ConnectorInfo = ConnectorInfo {
    name: "socket",
    help: "a TCP connection that Weir opens and reads records from; try it with `nc -l 9999`",
    source: true,
    sink: false,
    formatted: true,
    options: &[HOST, PORT],
    metadata: TEXT_METADATA,
    guarantee: "It cannot be read again: a crash loses what was read since the last checkpoint.",
};

/// Reads from a TCP connection.
pub(crate) struct SocketSource {
    request: TableRequest,
    host: String,
    port: u16,
}

impl SocketSource {
    pub(crate) fn open(request: TableRequest) -> Result<Self> {
        let options = Options(&request.options);
        let host = options.word(&HOST).to_owned();
        let port = options
            .count(&PORT)
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or_default();
        Ok(Self {
            request,
            host,
            port,
        })
    }
}

impl Source for SocketSource {
    fn splits(&self, _restored: &BTreeMap<SplitId, Position>) -> Result<SplitListing> {
        Ok(SplitListing::one(format!("{}:{}", self.host, self.port)))
    }

    fn dealer(&self, split: &SplitId, _position: Option<&Position>) -> Result<Box<dyn Dealer>> {
        let (host, port) = (self.host.clone(), self.port);
        let connect = move || TcpStream::connect((host.as_str(), port));
        Ok(Box::new(LiveDealer::start(
            &self.request.table,
            &split.0,
            &Settings::of(&self.request),
            connect,
        )?))
    }

    fn decoder(&self) -> Result<Box<dyn Decoder>> {
        Ok(Box::new(TextDecoder::new(&self.request)))
    }

    fn bounded(&self) -> bool {
        false
    }

    fn replayable(&self) -> bool {
        false
    }
}
