//! The page `docs/evolution.md`: every command of it is run, one after another in one folder, and prints what the page shows.

use std::process::Command;

use weir_tests::process::{binary, root, text_of};

#[test]
fn every_command_of_the_page_prints_what_stands_below_it() {
    let path = root().join("docs/evolution.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let weir = binary();
    let weir = weir.parent().unwrap();
    let paths = format!("{}:{}", weir.display(), std::env::var("PATH").unwrap());
    let mut updated = String::new();
    let mut rest = page.as_str();
    let mut printed: Option<String> = None;
    let mut commands = 0;
    while let Some(start) = rest.find("```") {
        let (kind, body) = rest[start + 3..].split_once('\n').unwrap();
        let (block, after) = body.split_once("```").unwrap();
        updated.push_str(&rest[..start]);
        match kind {
            "sh" => {
                commands += 1;
                let output = Command::new("sh")
                    .args(["-e", "-c", block])
                    .current_dir(folder.path())
                    .env("PATH", &paths)
                    .env_remove("WEIR_FAILPOINT")
                    .output()
                    .unwrap();
                assert!(output.status.success(), "{block}\n{}", text_of(&output));
                printed = Some(String::from_utf8_lossy(&output.stdout).into_owned());
                updated.push_str(&format!("```sh\n{block}```"));
            }
            "text" => {
                let said = printed.take().expect("a command before what it prints");
                updated.push_str(&format!("```text\n{said}```"));
            }
            other => updated.push_str(&format!("```{other}\n{block}```")),
        }
        rest = after;
    }
    updated.push_str(rest);
    assert!(commands >= 8, "{commands} commands");
    if updated == page {
        return;
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, updated).unwrap();
        return;
    }
    let differs = updated
        .lines()
        .zip(page.lines())
        .find(|(now, was)| now != was);
    panic!("docs/evolution.md is not up to date (UPDATE=1 rewrites it): {differs:?}");
}
