//! Licences of everything that is linked in, against a list of those that ask no more than a notice.

use anyhow::{Result, bail};
use cargo_metadata::Metadata;

/// Licences that go together with Apache-2.0 in one binary.
const ALLOWED: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT",
    "MIT-0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "0BSD",
    "ISC",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Every package of the lock file.
pub(crate) fn check(metadata: &Metadata) -> Result<()> {
    let wrong: Vec<_> = metadata
        .packages
        .iter()
        .filter(|package| !package.license.as_deref().is_some_and(allowed))
        .map(|package| {
            format!(
                "{} {}: {}",
                package.name,
                package.version,
                package.license.as_deref().unwrap_or("none")
            )
        })
        .collect();
    if !wrong.is_empty() {
        bail!(
            "licences that are not in the list of xtask/src/licences.rs:\n{}",
            wrong.join("\n")
        );
    }
    Ok(())
}

/// Whether an SPDX expression can be satisfied with allowed licences alone. `/` is the old way to write OR.
fn allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = tokens.as_slice();
    let satisfied = any(&mut rest);
    satisfied && rest.is_empty()
}

/// `a OR b`: one is enough. Both sides are always read, so that the rest of the text is found.
fn any(rest: &mut &[&str]) -> bool {
    let mut satisfied = all(rest);
    while let ["OR", tail @ ..] = *rest {
        *rest = tail;
        satisfied |= all(rest);
    }
    satisfied
}

/// `a AND b`: both.
fn all(rest: &mut &[&str]) -> bool {
    let mut satisfied = one(rest);
    while let ["AND", tail @ ..] = *rest {
        *rest = tail;
        satisfied &= one(rest);
    }
    satisfied
}

/// A licence, with its exception, or an expression in parentheses.
fn one(rest: &mut &[&str]) -> bool {
    match *rest {
        ["(", tail @ ..] => {
            *rest = tail;
            let satisfied = any(rest);
            match *rest {
                [")", tail @ ..] => {
                    *rest = tail;
                    satisfied
                }
                _ => false,
            }
        }
        [licence, "WITH", exception, tail @ ..] => {
            *rest = tail;
            ALLOWED.contains(&format!("{licence} WITH {exception}").as_str())
        }
        [licence, tail @ ..] => {
            *rest = tail;
            ALLOWED.contains(licence)
        }
        [] => false,
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn expressions_are_satisfied_by_allowed_licences_alone() {
        for yes in [
            "MIT",
            "MIT/Apache-2.0",
            "MIT OR GPL-3.0",
            "(MIT OR GPL-3.0) AND Zlib",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(allowed(yes), "{yes}");
        }
        for no in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(MIT OR Zlib) AND GPL-3.0",
            "Apache-2.0 WITH GCC-exception",
            "",
            "MIT )",
        ] {
            assert!(!allowed(no), "{no}");
        }
    }
}
