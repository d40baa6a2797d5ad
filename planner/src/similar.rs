//! SIMILAR TO: SQL's own patterns, written as the regular expressions that the engine runs.
//!
//! ```text
//!   'a(b|c)%_.'   ──▶   ^(?s:a(?:b|c).*.\.)$
//! ```
//!
//! The whole text has to match. `%`, `_`, `|`, `*`, `+`, `?`, `{m,n}`, `(…)` and `[…]` are special, everything else
//! stands for itself, and so does what follows the escape character (the backslash unless ESCAPE names another).

/// The regular expression of a pattern, or what is wrong with the pattern.
pub(crate) fn regular_expression(pattern: &str, escape: Option<char>) -> Result<String, String> {
    let escape = escape.unwrap_or('\\');
    let mut regular = String::with_capacity(pattern.len() + 12);
    regular.push_str("^(?s:");
    let mut characters = pattern.chars().peekable();
    let mut open_groups = 0_usize;
    while let Some(character) = characters.next() {
        match character {
            c if c == escape => match characters.next() {
                Some(literal) => push_literal(&mut regular, literal),
                None => return Err("the pattern ends with its escape character".to_owned()),
            },
            '%' => regular.push_str(".*"),
            '_' => regular.push('.'),
            '(' => {
                open_groups += 1;
                regular.push_str("(?:");
            }
            ')' => {
                open_groups = open_groups
                    .checked_sub(1)
                    .ok_or("a `)` closes nothing in the pattern")?;
                regular.push(')');
            }
            '[' => bracket(&mut regular, &mut characters, escape)?,
            '{' => repetition(&mut regular, &mut characters)?,
            '|' | '*' | '+' | '?' => regular.push(character),
            literal => push_literal(&mut regular, literal),
        }
    }
    if open_groups > 0 {
        return Err("a `(` is never closed in the pattern".to_owned());
    }
    regular.push_str(")$");
    Ok(regular)
}

/// `{2}`, `{2,}`, `{2,3}`.
fn repetition(
    regular: &mut String,
    characters: &mut std::iter::Peekable<std::str::Chars<'_>>,
) -> Result<(), String> {
    regular.push('{');
    for character in characters.by_ref() {
        match character {
            '0'..='9' | ',' => regular.push(character),
            '}' if !regular.ends_with('{') => {
                regular.push('}');
                return Ok(());
            }
            _ => break,
        }
    }
    Err("a `{` stands in the pattern without numbers and a `}`".to_owned())
}

/// `[…]`: members and ranges as they are; what only regular expressions know there stands for itself.
fn bracket(
    regular: &mut String,
    characters: &mut std::iter::Peekable<std::str::Chars<'_>>,
    escape: char,
) -> Result<(), String> {
    regular.push('[');
    if characters.peek() == Some(&'^') {
        characters.next();
        regular.push('^');
    }
    let mut members = 0_usize;
    while let Some(character) = characters.next() {
        match character {
            // A bracket that closes at once is a member: `[]a]`.
            ']' if members > 0 => {
                regular.push(']');
                return Ok(());
            }
            '[' if characters.peek() == Some(&':') => {
                regular.push('[');
                for class in characters.by_ref() {
                    regular.push(class);
                    if class == ']' {
                        break;
                    }
                }
            }
            '-' => regular.push('-'),
            c if c == escape => {
                let literal = characters.next();
                let literal = literal.ok_or("the pattern ends with its escape character")?;
                push_literal(regular, literal);
            }
            literal => push_literal(regular, literal),
        }
        members += 1;
    }
    Err("a `[` is never closed in the pattern".to_owned())
}

fn push_literal(regular: &mut String, literal: char) {
    if literal.is_ascii_punctuation() {
        regular.push('\\');
    }
    regular.push(literal);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pattern: &str) -> String {
        regular_expression(pattern, None).unwrap()
    }

    #[test]
    fn a_pattern_is_anchored_and_only_its_own_signs_are_special() {
        assert_eq!(of("bc"), "^(?s:bc)$");
        assert_eq!(of("a.c^$"), r"^(?s:a\.c\^\$)$");
        assert_eq!(of("%b_"), "^(?s:.*b.)$");
        assert_eq!(of("a(b|c){2,3}+"), "^(?s:a(?:b|c){2,3}+)$");
    }

    #[test]
    fn the_escape_character_makes_signs_literal() {
        assert_eq!(of(r"5\%"), r"^(?s:5\%)$");
        assert_eq!(
            regular_expression("5#%#a", Some('#')).unwrap(),
            r"^(?s:5\%a)$"
        );
        assert!(regular_expression("a\\", None).is_err());
    }

    #[test]
    fn brackets_keep_ranges_and_classes() {
        assert_eq!(of("[a-c]"), "^(?s:[a-c])$");
        assert_eq!(of("[^]%&&x]"), r"^(?s:[^\]\%\&\&x])$");
        assert_eq!(of("[[:digit:]_]"), r"^(?s:[[:digit:]\_])$");
        assert!(regular_expression("[ab", None).is_err());
        assert!(regular_expression("(ab", None).is_err());
        assert!(regular_expression("ab)", None).is_err());
        assert!(regular_expression("a{}", None).is_err());
        assert!(regular_expression("a{b}", None).is_err());
    }
}
