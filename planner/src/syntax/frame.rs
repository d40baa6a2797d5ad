//! EXCLUDE of a frame, which sqlparser does not read: it travels as the name of the window that the window is built on.
//!
//! ```text
//!   (w ORDER BY x ROWS 2 PRECEDING EXCLUDE TIES)  ─▶  ("⟨exclude ties⟩w" ORDER BY x ROWS 2 PRECEDING)
//! ```

use sqlparser::ast::Ident;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::cursor::is_keyword;
use crate::over::Exclusion;

/// What the name begins with; no name that a user can type has a zero byte.
const MARK: &str = "\0exclude ";

const FORMS: [(&[&str], &str, Exclusion); 4] = [
    (&["CURRENT", "ROW"], "current row", Exclusion::CurrentRow),
    (&["GROUP"], "group", Exclusion::Group),
    (&["TIES"], "ties", Exclusion::Ties),
    (&["NO", "OTHERS"], "no others", Exclusion::NoOthers),
];

/// If `tokens` begins with the EXCLUDE of the frame that ends `before`: marks the window, and says how many tokens that were.
pub(super) fn taken(tokens: &[TokenWithSpan], before: &mut Vec<TokenWithSpan>) -> Option<usize> {
    if !is_keyword(&tokens[0].token, "EXCLUDE") {
        return None;
    }
    let last = before.last()?;
    let ends_frame = ["ROW", "PRECEDING", "FOLLOWING"];
    if !ends_frame.iter().any(|word| is_keyword(&last.token, word)) {
        return None;
    }
    let (words, text, _) = FORMS.iter().find(|(words, ..)| {
        let given = tokens.get(1..=words.len()).unwrap_or_default();
        given.len() == words.len()
            && given
                .iter()
                .zip(*words)
                .all(|(token, word)| is_keyword(&token.token, word))
    })?;
    let taken = words.len() + 1;
    if tokens.get(taken)?.token != Token::RParen {
        return None;
    }
    let open = opening(before)?;
    let base = before.get(open + 1).and_then(|token| match &token.token {
        Token::Word(word) if word.keyword == Keyword::NoKeyword => Some(word.value.clone()),
        _ => None,
    });
    // Unquoted names fold to lower case; quoted, they stay as they are.
    let base_value = base.as_ref().map(|value| match &before[open + 1].token {
        Token::Word(word) if word.quote_style.is_none() => value.to_ascii_lowercase(),
        _ => value.clone(),
    });
    let word = Token::Word(Word {
        value: format!("{MARK}{text}\0{}", base_value.unwrap_or_default()),
        quote_style: Some('"'),
        keyword: Keyword::NoKeyword,
    });
    if base.is_some() {
        before[open + 1].token = word;
    } else {
        before.insert(open + 1, TokenWithSpan::new(word, tokens[0].span));
    }
    Some(taken)
}

/// The parenthesis that is open at the end.
fn opening(tokens: &[TokenWithSpan]) -> Option<usize> {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().rev() {
        match token.token {
            Token::RParen => depth += 1,
            Token::LParen if depth == 0 => return Some(index),
            Token::LParen => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The EXCLUDE that a window's base name carries, and the name itself.
pub(crate) fn exclusion(base: Ident) -> (Option<Exclusion>, Option<Ident>) {
    let Some(marked) = base.value.strip_prefix(MARK) else {
        return (None, Some(base));
    };
    let (text, name) = marked.split_once('\0').unwrap_or((marked, ""));
    let form = FORMS.iter().find(|(_, known, _)| *known == text);
    let exclude = form.map_or(Exclusion::NoOthers, |(.., exclude)| *exclude);
    let name = (!name.is_empty()).then(|| Ident {
        value: name.to_owned(),
        ..base.clone()
    });
    (Some(exclude), name)
}
