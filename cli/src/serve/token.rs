//! The token of a server: who has it may do everything, who has not may ask whether the server is there.
//!
//! ```text
//!   --token-file FILE  ▶  WEIR_TOKEN  ▶  DATA/token, made at the first start (0600)
//! ```
//!
//! It is never an argument: those are shown to everybody on the machine.

use std::io::Read;
use std::path::Path;

use super::own_file::write_own;
use crate::exit::Failure;

/// Bytes that a token has at least: one that can be guessed is none.
const BYTES_MIN: usize = 16;
/// Random bytes of a token that is made here.
const BYTES_MADE: usize = 32;

/// The token.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Token {
    /// The token of a server, and whether it was made just now. `public`: others than this machine can reach the server, and then
    /// somebody has to have decided on a token.
    pub(crate) fn of_server(
        data: &Path,
        given: Option<&Path>,
        public: bool,
    ) -> Result<(Self, bool), Failure> {
        if let Some(token) = Self::given(given)? {
            return Ok((token, false));
        }
        let path = data.join("token");
        if path.is_file() {
            return Ok((Self::read(&path)?, false));
        }
        if public {
            return Err(Failure::refused(
                "[J0082] others than this machine could reach the server, and nobody has given it a token: name a file with \
                 --token-file, or set WEIR_TOKEN",
            ));
        }
        Ok((Self::make(&path)?, true))
    }

    /// What a flag or the environment says.
    pub(crate) fn given(file: Option<&Path>) -> Result<Option<Self>, Failure> {
        if let Some(file) = file {
            return Self::read(file).map(Some);
        }
        match std::env::var("WEIR_TOKEN") {
            Ok(text) => Self::check(text.trim(), "WEIR_TOKEN").map(Some),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(error) => Err(Failure::usage(format!("WEIR_TOKEN: {error}"))),
        }
    }

    /// The token in a file.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::usage(format!("cannot read the token in {shown}: {error}"))
        })?;
        Self::check(text.trim(), &shown.to_string())
    }

    fn check(text: &str, place: &str) -> Result<Self, Failure> {
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.len() < BYTES_MIN || !plain {
            return Err(Failure::refused(format!(
                "[J0082] {place} holds no token that can be used: at least {BYTES_MIN} letters, digits and signs without spaces, \
                 for example the output of `openssl rand -hex 32`"
            )));
        }
        Ok(Self(text.to_owned()))
    }

    /// A new one, in a file that only its owner reads.
    fn make(path: &Path) -> Result<Self, Failure> {
        let attempt = || -> std::io::Result<String> {
            let mut random = [0u8; BYTES_MADE];
            std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
            let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
            write_own(path, format!("{text}\n").as_bytes())?;
            Ok(text)
        };
        attempt().map(Self).map_err(|error| {
            Failure::failed(format!(
                "cannot make a token in {}: {error}",
                path.display()
            ))
        })
    }

    /// Whether somebody has it. The time that this takes says nothing of how much of it was right.
    pub(crate) fn matches(&self, offered: &str) -> bool {
        let (own, offered) = (self.0.as_bytes(), offered.as_bytes());
        let mut difference = own.len() ^ offered.len();
        for (at, byte) in own.iter().enumerate() {
            let other = offered.get(at).copied().unwrap_or(0);
            difference |= usize::from(std::hint::black_box(byte ^ other));
        }
        std::hint::black_box(difference) == 0
    }

    /// As a header carries it.
    pub(crate) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let made = Token::make(&path).unwrap();
        assert_eq!(made.0.len(), 2 * BYTES_MADE);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (read, new) = Token::of_server(folder.path(), None, true).unwrap();
        assert!(!new && read.matches(&made.0));
    }

    #[test]
    fn only_the_whole_token_matches() {
        let token = Token::check("0123456789abcdef", "a test").unwrap();
        assert!(token.matches("0123456789abcdef"));
        for other in [
            "",
            "0123456789abcde",
            "0123456789abcdef0",
            "0123456789abcdeF",
        ] {
            assert!(!token.matches(other), "{other}");
        }
        assert!(Token::check("short", "a test").is_err());
        assert!(Token::check("0123456789 abcdef", "a test").is_err());
    }
}
