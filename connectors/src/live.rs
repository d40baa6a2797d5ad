//! What stdin and a socket have in common: a thread that reads, a bounded channel, and a dealer that never waits.
//!
//! ```text
//!   reader thread ── blocks of up to 64 KiB ──▶ channel of 16 ──▶ LiveDealer: RecordCutter ──▶ chunks
//!   (blocks in read; stops reading while the channel is full: that is the back pressure)
//! ```
//!
//! The thread ends with its input, or at the first block after the dealer is gone. A thread that is blocked in a read
//! of stdin cannot be woken; it ends with the process.

use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use crate::error::{Error, IoContext, Result};
use crate::filesystem::{dealer_chunk, record_too_long};
use crate::format::Settings;
use crate::framing::{NoCut, RecordCutter};
use crate::source::{Deal, Dealer, Position};

const BLOCK_BYTES: usize = 1 << 16;
const BLOCKS_MAX: usize = 16;

type Block = std::io::Result<Vec<u8>>;

/// Deals what a thread reads.
pub(crate) struct LiveDealer {
    table: String,
    origin: Arc<str>,
    blocks: Receiver<Block>,
    cutter: RecordCutter,
    ended: bool,
}

impl LiveDealer {
    /// Starts the reading thread. `connect` runs there, so that a slow host holds nobody up.
    pub(crate) fn start<R: Read>(
        table: &str,
        origin: &str,
        settings: &Settings,
        connect: impl FnOnce() -> std::io::Result<R> + Send + 'static,
    ) -> Result<Self> {
        let (sender, blocks) = sync_channel(BLOCKS_MAX);
        std::thread::Builder::new()
            .name(format!("read {table}"))
            .spawn(move || match connect() {
                Ok(reader) => read_blocks(reader, &sender),
                Err(error) => drop(sender.send(Err(error))),
            })
            .context(|| format!("cannot start a thread that reads {origin}"))?;
        let cutter = RecordCutter::new(settings.framing(), settings.has_header());
        Ok(Self {
            table: table.to_owned(),
            origin: origin.into(),
            blocks,
            cutter,
            ended: false,
        })
    }

    /// Takes what has come, up to about `max_bytes`.
    fn receive(&mut self, max_bytes: usize) -> Result<()> {
        while !self.ended && self.cutter.buffered() < max_bytes {
            match self.blocks.try_recv() {
                Ok(block) => {
                    let block = block.context(|| format!("cannot read {}", self.origin))?;
                    self.cutter.push(&block);
                }
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => self.ended = true,
            }
        }
        Ok(())
    }
}

fn read_blocks(mut reader: impl Read, sender: &SyncSender<Block>) {
    loop {
        let mut block = vec![0; BLOCK_BYTES];
        let read = match reader.read(&mut block) {
            Ok(0) => return,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return drop(sender.send(Err(error))),
        };
        block.truncate(read);
        if sender.send(Ok(block)).is_err() {
            return;
        }
    }
}

impl Dealer for LiveDealer {
    fn deal(&mut self, max_bytes: usize, max_records: u64) -> Result<Deal> {
        if max_records == 0 {
            return Ok(Deal::Pending);
        }
        let mut wanted = max_bytes.max(1);
        loop {
            self.receive(wanted)?;
            match self.cutter.cut(max_bytes, max_records, self.ended) {
                Ok(cut) => return Ok(Deal::Chunk(dealer_chunk(cut, &self.origin, &self.cutter))),
                Err(NoCut::TooLong { line, offset }) => {
                    return Err(record_too_long(&self.table, &self.origin, line, offset));
                }
                Err(NoCut::Incomplete) if self.ended => return Ok(Deal::End),
                // A record longer than `max_bytes`: as much again, if it has come.
                Err(NoCut::Incomplete) if self.cutter.buffered() >= wanted => {
                    wanted = 2 * self.cutter.buffered()
                }
                Err(NoCut::Incomplete) => return Ok(Deal::Pending),
            }
        }
    }

    /// For display: nothing can be read again.
    fn position(&self) -> Position {
        let (offset, line) = self.cutter.place();
        serde_json::json!({ "offset": offset, "line": line })
    }

    fn progress(&self) -> (u64, Option<u64>) {
        (self.cutter.place().0, None)
    }
}

/// The error when a live input is opened a second time in one process.
pub(crate) fn taken(what: &str) -> Error {
    Error::Inconsistent(format!(
        "{what} is being read already: two tables cannot share it"
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write;

    use super::*;
    use crate::source::Payload;
    use crate::table::TableRequest;

    fn request(options: &[(&str, String)]) -> TableRequest {
        let options = options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()));
        let column = weir_types::Column::new("line", weir_types::DataType::String);
        TableRequest {
            table: "t".to_owned(),
            options: options.collect::<BTreeMap<_, _>>(),
            columns: vec![column.clone()],
            declared: vec![column],
            ..TableRequest::default()
        }
    }

    /// Asks until something comes; the thread on the other side is really another one.
    fn await_deal(dealer: &mut dyn Dealer, max_records: u64) -> Deal {
        loop {
            match dealer.deal(1 << 20, max_records).unwrap() {
                Deal::Pending => std::thread::yield_now(),
                deal => return deal,
            }
        }
    }

    #[test]
    fn a_socket_gives_lines_as_they_come_and_ends_with_its_peer() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let options = [
            ("connector", "socket"),
            ("host", "127.0.0.1"),
            ("format", "text"),
        ];
        let mut options: Vec<_> = options.map(|(key, value)| (key, value.to_owned())).into();
        options.push(("port", port.to_string()));
        let source = crate::open_source(request(&options)).unwrap();
        assert!(!source.replayable() && !source.bounded());
        let listing = source.splits(&BTreeMap::new()).unwrap();
        let mut dealer = source.dealer(&listing.splits[0], None).unwrap();
        assert!(matches!(dealer.deal(1 << 20, 10).unwrap(), Deal::Pending));
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(b"one\ntw").unwrap();
        let Deal::Chunk(chunk) = await_deal(&mut *dealer, 10) else {
            panic!("a chunk was due")
        };
        assert!(matches!(&chunk.payload, Payload::Text(text) if text == "one\n"));
        peer.write_all(b"o\nlast").unwrap();
        drop(peer);
        let mut rest = Vec::new();
        while let Deal::Chunk(chunk) = await_deal(&mut *dealer, 1) {
            let Payload::Text(text) = &chunk.payload else {
                panic!("text was due")
            };
            rest.extend_from_slice(text);
            assert_eq!(
                (&*chunk.origin, chunk.records),
                (format!("127.0.0.1:{port}").as_str(), 1)
            );
        }
        assert_eq!(rest, b"two\nlast");
    }

    #[test]
    fn a_reader_is_held_up_while_nobody_deals() {
        let settings = Settings::of(&request(&[("format", "text".to_owned())]));
        let endless = std::io::repeat(b'\n');
        let mut dealer = LiveDealer::start("t", "x", &settings, move || Ok(endless)).unwrap();
        let Deal::Chunk(chunk) = await_deal(&mut dealer, u64::MAX) else {
            panic!("a chunk was due")
        };
        let Payload::Text(text) = chunk.payload else {
            panic!("text was due")
        };
        assert!(text.len() <= (1 << 20) + BLOCK_BYTES, "{}", text.len());
    }
}
