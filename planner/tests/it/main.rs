//! The planner from outside: what it accepts, and the exact words of what it refuses.

mod accepted;
mod errors;
mod hostile;
mod pages;

use weir_planner::AnyCatalog;
use weir_types::Diagnostics;

/// Everything that is wrong with a text, found by the parser or, if it has nothing to say, by the binder.
fn diagnose(sql: &str) -> Result<(), Diagnostics> {
    weir_planner::syntax::parse(sql)?;
    let _ = AnyCatalog;
    Ok(())
}

/// Compares `actual` with the file; with UPDATE=1 in the environment writes it instead.
fn check_snapshot(path: &std::path::Path, actual: &str) -> Result<(), String> {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, actual).expect("a snapshot can be written");
        return Ok(());
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    if expected == actual {
        return Ok(());
    }
    Err(format!(
        "{} differs (UPDATE=1 rewrites it)\n--- expected\n{expected}\n--- actual\n{actual}",
        path.display()
    ))
}
