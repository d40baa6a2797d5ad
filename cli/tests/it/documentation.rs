//! Every command of the README and of `docs/` runs, and prints what the page says.
//!
//! A fenced block marked `sh` is run by `sh -e`; all blocks of one page run in one folder, in their order, with the
//! repository's `queries` in it. If a block marked `text` follows, it is what standard output has to be.
//! A block whose every line is in [`EXEMPT`] is left out, because it builds, installs or runs this very test.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::weir::{Folder, binary, root, wait};

/// Beginnings of lines that are not run here.
const EXEMPT: &[&str] = &[
    "make ",
    "git clone ",
    "cd weir",
    "cargo xtask ",
    "scripts/with-toolchain ",
    "#",
];

struct Block {
    language: String,
    text: String,
    line: usize,
}

#[test]
fn every_command_of_the_documentation_runs_and_prints_what_the_page_says() {
    let mut pages = vec![root().join("README.md")];
    find_pages(&root().join("docs"), &mut pages);
    let mut commands = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        let folder = Folder::new();
        std::os::unix::fs::symlink(root().join("queries"), folder.path().join("queries")).unwrap();
        let blocks = blocks(&text);
        for (i, block) in blocks
            .iter()
            .enumerate()
            .filter(|(_, block)| block.language == "sh" && !is_exempt(block))
        {
            let place = format!("{}:{}", page.display(), block.line);
            let ended = wait(shell(&folder, &block.text).spawn().unwrap());
            assert_eq!(
                ended.code, 0,
                "{place} ended with {}\n{}",
                ended.code, ended.stderr
            );
            if let Some(expected) = blocks.get(i + 1).filter(|next| next.language == "text") {
                assert_eq!(
                    ended.stdout, expected.text,
                    "{place} prints something else; standard error was\n{}",
                    ended.stderr
                );
            }
            commands += 1;
        }
    }
    assert!(
        commands >= 4,
        "only {commands} blocks were run: are they marked `sh`?"
    );
}

fn shell(folder: &Folder, script: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("sh");
    command
        .args(["-e", "-c", script])
        .current_dir(folder.path())
        .env(
            "PATH",
            format!("{}:{path}", binary().parent().unwrap().display()),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn is_exempt(block: &Block) -> bool {
    block.text.lines().all(|line| {
        line.trim().is_empty()
            || EXEMPT
                .iter()
                .any(|start| line.trim_start().starts_with(start))
    })
}

fn find_pages(folder: &Path, pages: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            find_pages(&path, pages);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
}

/// The fenced blocks of a page.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (i, line) in page.lines().enumerate() {
        if let Some(language) = line.strip_prefix("```") {
            open = !open;
            if open {
                blocks.push(Block {
                    language: language.trim().to_owned(),
                    text: String::new(),
                    line: i + 1,
                });
            }
        } else if open && let Some(block) = blocks.last_mut() {
            block.text.push_str(line);
            block.text.push('\n');
        }
    }
    blocks
}

#[test]
fn blocks_are_found_with_their_language_and_text() {
    let blocks = blocks("a\n```sh\nweir check q.sql\n```\n\n```text\nok\n```\n");
    let found: Vec<_> = blocks
        .iter()
        .map(|block| (block.language.as_str(), block.text.as_str(), block.line))
        .collect();
    assert_eq!(
        found,
        [("sh", "weir check q.sql\n", 2), ("text", "ok\n", 6)]
    );
}
