//! Keys of a terminal in raw mode, without waiting.
//!
//! ```text
//!   /dev/tty ── poll, read ──▶ bytes ──▶ Key: letters, arrows, pages, Ctrl-C
//! ```

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A key that somebody pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Letter(char),
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    /// Ctrl-C, Ctrl-D, Escape alone.
    Leave,
}

/// The terminal in raw mode, as long as this lives.
pub(super) struct Keys {
    tty: File,
}

impl Keys {
    pub(super) fn take() -> std::io::Result<Self> {
        let tty = File::open("/dev/tty")?;
        crossterm::terminal::enable_raw_mode()?;
        Ok(Self { tty })
    }

    /// What was pressed since the last look.
    pub(super) fn pressed(&mut self) -> std::io::Result<Vec<Key>> {
        let mut bytes = Vec::new();
        loop {
            let mut descriptors = [PollFd::new(self.tty.as_fd(), PollFlags::POLLIN)];
            let ready = match poll(&mut descriptors, PollTimeout::ZERO) {
                Ok(count) => count > 0,
                Err(nix::errno::Errno::EINTR) => false,
                Err(error) => return Err(error.into()),
            };
            if !ready {
                return Ok(keys_of(&bytes));
            }
            let mut block = [0; 64];
            let read = self.tty.read(&mut block)?;
            if read == 0 {
                // The terminal is gone.
                return Ok(vec![Key::Leave]);
            }
            bytes.extend_from_slice(&block[..read]);
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // There is nobody to tell.
        drop(crossterm::terminal::disable_raw_mode());
    }
}

/// The keys that bytes stand for; what is not known is left out.
fn keys_of(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut rest = bytes;
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            3 | 4 => keys.push(Key::Leave),
            27 => {
                let (key, length) = escape(behind);
                keys.extend(key);
                rest = &behind[length..];
            }
            32..=126 => keys.push(Key::Letter(char::from(first))),
            _ => {}
        }
    }
    keys
}

/// What follows an escape, and how many bytes it has.
fn escape(rest: &[u8]) -> (Option<Key>, usize) {
    let (Some(b'[' | b'O'), Some(&second)) = (rest.first(), rest.get(1)) else {
        return (rest.is_empty().then_some(Key::Leave), 0);
    };
    let of_digit = |key| {
        (
            Some(key),
            rest.iter()
                .position(|byte| *byte == b'~')
                .map_or(rest.len(), |at| at + 1),
        )
    };
    match second {
        b'A' => (Some(Key::Up), 2),
        b'B' => (Some(Key::Down), 2),
        b'C' => (Some(Key::Right), 2),
        b'D' => (Some(Key::Left), 2),
        b'H' => (Some(Key::Home), 2),
        b'F' => (Some(Key::End), 2),
        b'1' | b'7' => of_digit(Key::Home),
        b'4' | b'8' => of_digit(Key::End),
        b'5' => of_digit(Key::PageUp),
        b'6' => of_digit(Key::PageDown),
        _ => (None, 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_keys() {
        assert_eq!(
            keys_of(b"q\x1b[A\x1b[6~\x1b[5~x\x03"),
            [
                Key::Letter('q'),
                Key::Up,
                Key::PageDown,
                Key::PageUp,
                Key::Letter('x'),
                Key::Leave
            ]
        );
        assert_eq!(keys_of(b"\x1b"), [Key::Leave]);
        assert_eq!(keys_of(b"\x1bOH\x1b[4~"), [Key::Home, Key::End]);
    }
}
