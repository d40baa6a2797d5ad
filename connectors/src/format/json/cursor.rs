//! A pull parser over the text of one JSON record.
//!
//! It never backtracks and allocates nothing: strings without an escape are slices of the record, others go to a
//! scratch buffer that is used again. What is skipped is checked as strictly as what is read, so that a record with
//! a broken structure is an error whichever columns a query reads.

use super::super::Malformed;
use crate::words;

/// Objects and arrays deeper than this are an error: the parser recurses.
const DEPTH_MAX: usize = 128;

/// A place in a record.
pub(crate) struct Cursor<'a> {
    text: &'a str,
    /// Index of the next byte.
    at: usize,
    depth: usize,
}

type Parsed<T> = Result<T, Malformed>;

/// Bytes of a string that are looked at together.
const BLOCK: usize = 16;

/// Whether any of these bytes ends the simple part of a string.
#[inline]
fn has_special(block: &[u8; BLOCK]) -> bool {
    block
        .iter()
        .fold(false, |any, &byte| any | is_special(byte))
}

#[inline]
fn is_special(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
        }
    }

    /// Index of the next byte.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Goes back (or forth) to a place where a value began.
    pub(crate) fn seek(&mut self, at: usize) {
        self.at = at;
    }

    /// The whole record.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn skip_space(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The first byte of the next token.
    #[inline]
    pub(crate) fn peek(&mut self) -> Parsed<u8> {
        self.skip_space();
        self.byte().ok_or_else(|| self.ended())
    }

    fn ended(&self) -> Malformed {
        Malformed::new(self.at, "the record ends in the middle of a value")
    }

    fn unexpected(&self, expected: &str) -> Malformed {
        match self.text[self.at..].chars().next() {
            None => self.ended(),
            Some(found) => Malformed::new(
                self.at,
                format!("expected {expected}, found `{}`", found.escape_default()),
            ),
        }
    }

    /// Takes this punctuation.
    #[inline]
    fn punctuation(&mut self, byte: u8, expected: &str) -> Parsed<()> {
        if self.peek()? == byte {
            self.at += 1;
            Ok(())
        } else {
            Err(self.unexpected(expected))
        }
    }

    #[inline]
    fn deeper(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Malformed::new(
                self.at,
                format!("more than {DEPTH_MAX} objects and arrays inside each other"),
            ));
        }
        Ok(())
    }

    /// Takes `{`.
    #[inline]
    pub(crate) fn open_object(&mut self) -> Parsed<()> {
        self.punctuation(b'{', "an object")?;
        self.deeper()
    }

    /// The next key with its colon, or `None` at the closing brace. `first`: no comma stands before it.
    #[inline]
    pub(crate) fn next_key<'s>(
        &mut self,
        first: bool,
        scratch: &'s mut String,
    ) -> Parsed<Option<&'s str>>
    where
        'a: 's,
    {
        if self.peek()? == b'}' {
            self.at += 1;
            self.depth -= 1;
            return Ok(None);
        }
        if !first {
            self.punctuation(b',', "`,` or `}`")?;
        }
        if self.peek()? != b'"' {
            return Err(self.unexpected("a key in double quotes"));
        }
        let key = self.string(scratch)?;
        self.punctuation(b':', "`:`")?;
        Ok(Some(key))
    }

    /// Takes `[`.
    pub(crate) fn open_array(&mut self) -> Parsed<()> {
        self.punctuation(b'[', "an array")?;
        self.deeper()
    }

    /// Whether another element follows; takes the comma before it or the closing bracket.
    pub(crate) fn next_element(&mut self, first: bool) -> Parsed<bool> {
        if self.peek()? == b']' {
            self.at += 1;
            self.depth -= 1;
            return Ok(false);
        }
        if !first {
            self.punctuation(b',', "`,` or `]`")?;
            if self.peek()? == b']' {
                return Err(self.unexpected("a value"));
            }
        }
        Ok(true)
    }

    /// Takes one of the three words.
    #[inline]
    pub(crate) fn word(&mut self, word: &'static str) -> Parsed<()> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.unexpected("a value"))
        }
    }

    /// Takes a number; `peek` said that one begins here.
    pub(crate) fn number(&mut self) -> Parsed<&'a str> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.unexpected("a digit")),
        }
        if matches!(self.byte(), Some(b'0'..=b'9')) {
            return Err(Malformed::new(self.at, "a number does not begin with 0"));
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.required_digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.required_digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    /// Takes a whole number as most are: without a sign, of fewer than sixteen digits, and not at the end of the record.
    /// Any other is left where it is, for [`Cursor::number`].
    #[inline]
    pub(crate) fn plain_integer(&mut self) -> Option<i64> {
        let bytes = self.text.as_bytes();
        let (count, mut value) = words::leading_digits(words::load(bytes, self.at)?);
        let mut end = self.at + count;
        if count == 8 {
            let (more, low) = words::leading_digits(words::load(bytes, end)?);
            if more == 8 {
                return None;
            }
            value = value * 10_u64.pow(more as u32) + low;
            end += more;
        }
        let leads_with_zero = bytes[self.at] == b'0' && end - self.at > 1;
        if count == 0 || leads_with_zero || matches!(bytes.get(end), Some(b'.' | b'e' | b'E')) {
            return None;
        }
        self.at = end;
        Some(value as i64)
    }

    fn digits(&mut self) {
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn required_digits(&mut self) -> Parsed<()> {
        if !matches!(self.byte(), Some(b'0'..=b'9')) {
            return Err(self.unexpected("a digit"));
        }
        self.digits();
        Ok(())
    }

    /// Takes a string; `peek` said that one begins here. `scratch` holds it if it has escapes.
    #[inline]
    pub(crate) fn string<'s>(&mut self, scratch: &'s mut String) -> Parsed<&'s str>
    where
        'a: 's,
    {
        let start = self.at + 1;
        if self.simple_part(start)? {
            return Ok(&self.text[start..self.at - 1]);
        }
        scratch.clear();
        scratch.push_str(&self.text[start..self.at]);
        loop {
            // At a backslash.
            self.at += 1;
            let decoded = self.escape()?;
            scratch.push(decoded);
            let part = self.at;
            let closed = self.simple_part(part)?;
            scratch.push_str(&self.text[part..self.at - usize::from(closed)]);
            if closed {
                return Ok(scratch);
            }
        }
    }

    /// Goes on from `from` to behind the closing quote (true) or to a backslash (false).
    fn simple_part(&mut self, from: usize) -> Parsed<bool> {
        let bytes = self.text.as_bytes();
        let mut at = from;
        // The compiler makes a few vector instructions of this test; most strings are longer than a vector.
        while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<BLOCK>())
            && !has_special(block)
        {
            at += BLOCK;
        }
        while let Some(word) = words::load(bytes, at) {
            let simple = words::first_special(word);
            at += simple;
            if simple < 8 {
                break;
            }
        }
        while at < bytes.len() && !is_special(bytes[at]) {
            at += 1;
        }
        self.at = at;
        match bytes.get(at) {
            Some(b'"') => {
                self.at += 1;
                Ok(true)
            }
            Some(b'\\') => Ok(false),
            Some(control) => Err(Malformed::new(
                at,
                format!("byte 0x{control:02x} stands in a string without an escape"),
            )),
            None => Err(Malformed::new(
                at,
                "the record ends in the middle of a string",
            )),
        }
    }

    /// The character that the escape behind a backslash stands for.
    fn escape(&mut self) -> Parsed<char> {
        let kind = self.byte().ok_or_else(|| self.ended())?;
        let simple = match kind {
            b'"' | b'\\' | b'/' => char::from(kind),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode_escape();
            }
            _ => return Err(self.unexpected("an escape such as `\\n`")),
        };
        self.at += 1;
        Ok(simple)
    }

    /// Four hexadecimal digits, or two times four for a character beyond them.
    fn unicode_escape(&mut self) -> Parsed<char> {
        let start = self.at;
        let lone = || Malformed::new(start, "half of a surrogate pair stands alone");
        let high = self.hex4()?;
        let code = match high {
            0xD800..=0xDBFF => {
                if !self.text.as_bytes()[self.at..].starts_with(b"\\u") {
                    return Err(lone());
                }
                self.at += 2;
                let low = self.hex4()?;
                if !(0xDC00..=0xDFFF).contains(&low) {
                    return Err(lone());
                }
                0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)
            }
            code => code,
        };
        char::from_u32(code).ok_or_else(lone)
    }

    fn hex4(&mut self) -> Parsed<u32> {
        let digits = self
            .text
            .as_bytes()
            .get(self.at..self.at + 4)
            .ok_or_else(|| self.ended())?;
        let mut code = 0;
        for (place, digit) in digits.iter().enumerate() {
            let value = char::from(*digit).to_digit(16);
            code = code * 16
                + value.ok_or_else(|| {
                    Malformed::new(self.at + place, "expected four hexadecimal digits")
                })?;
        }
        self.at += 4;
        Ok(code)
    }

    /// Takes any value and forgets it.
    pub(crate) fn skip_value(&mut self, scratch: &mut String) -> Parsed<()> {
        match self.peek()? {
            b'"' => self.string(scratch).map(|_| ()),
            b'{' => {
                self.open_object()?;
                let mut first = true;
                while self.next_key(first, scratch)?.is_some() {
                    first = false;
                    self.skip_value(scratch)?;
                }
                Ok(())
            }
            b'[' => {
                self.open_array()?;
                let mut first = true;
                while self.next_element(first)? {
                    first = false;
                    self.skip_value(scratch)?;
                }
                Ok(())
            }
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            b'-' | b'0'..=b'9' => match self.plain_integer() {
                Some(_) => Ok(()),
                None => self.number().map(|_| ()),
            },
            _ => Err(self.unexpected("a value")),
        }
    }

    /// Nothing but space may follow.
    pub(crate) fn finish(&mut self) -> Parsed<()> {
        self.skip_space();
        if self.at == self.text.len() {
            Ok(())
        } else {
            Err(self.unexpected("the end of the record"))
        }
    }

    /// An error that says what stands here instead of what the column takes.
    pub(crate) fn mismatch(&mut self, expected: &str) -> Malformed {
        let at = self.at;
        let mut scratch = String::new();
        let found = match self.byte() {
            Some(b'"') => match self.string(&mut scratch) {
                Ok(text) => format!("the string \"{}\"", shorten(text)),
                Err(error) => return error,
            },
            Some(b'{') => "an object".to_owned(),
            Some(b'[') => "an array".to_owned(),
            Some(b't' | b'f') => "a boolean".to_owned(),
            Some(b'n') => "null".to_owned(),
            Some(b'-' | b'0'..=b'9') => match self.number() {
                Ok(number) => format!("the number {}", shorten(number)),
                Err(error) => return error,
            },
            _ => return self.unexpected("a value"),
        };
        Malformed::new(at, format!("expected {expected}, found {found}"))
    }
}

/// A value for a message: at most 40 characters.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn accepts(text: &str) -> bool {
        let mut cursor = Cursor::new(text);
        cursor
            .skip_value(&mut String::new())
            .and_then(|()| cursor.finish())
            .is_ok()
    }

    #[test]
    fn strings_are_decoded() {
        let mut scratch = String::new();
        for (text, expected) in [
            (r#""plain""#, "plain"),
            (r#""a\n\"\\\/b""#, "a\n\"\\/b"),
            (r#""\u00e9\ud83d\ude00x""#, "é😀x"),
            (r#""""#, ""),
        ] {
            assert_eq!(Cursor::new(text).string(&mut scratch).unwrap(), expected);
        }
        for text in [
            r#""\ud83d""#,
            r#""\udc00""#,
            r#""\x""#,
            r#""\u12"#,
            "\"a",
            "\"\u{1}\"",
        ] {
            assert!(Cursor::new(text).string(&mut scratch).is_err(), "{text}");
        }
    }

    #[test]
    fn nesting_has_a_limit() {
        assert!(accepts(&format!("{}{}", "[".repeat(128), "]".repeat(128))));
        assert!(!accepts(&format!(
            "{}{}",
            "[".repeat(100_000),
            "]".repeat(100_000)
        )));
    }

    proptest! {
        /// The other parser decides what is JSON. It also refuses numbers beyond f64, which is for a column to say.
        #[test]
        fn exactly_what_is_json_is_accepted(text in r#"[\[\]{}:,"\\0-9eE.+\-tfnrualse\x00-\x20]{0,12}"#) {
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            let huge = theirs.as_ref().is_err_and(|error| error.to_string().starts_with("number out of range"));
            if !huge {
                prop_assert_eq!(accepts(&text), theirs.is_ok(), "{:?}: {:?}", text, theirs);
            }
        }

        #[test]
        fn a_broken_record_is_refused_and_never_a_panic(at in 0usize..60, byte in any::<char>()) {
            let mut text = r#"{"a":[1,-2.5e3,true],"b":{"c":"x\n\u00e9y"},"d":null}"#.to_owned();
            let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
            text.insert(at, byte);
            let theirs = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            prop_assert_eq!(accepts(&text), theirs, "{}", text);
        }
    }
}
