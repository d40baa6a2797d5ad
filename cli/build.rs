//! Makes the binary smaller by what the linker can do: nothing is compiled differently for it.
//!
//! ```text
//!   -s                          no names of functions: a quarter of the file
//!   --icf=all                   functions of the same code are there once (lld and mold know it, GNU ld does not)
//!   -z pack-relative-relocs     where addresses have to be mended at the start, as a bitmap
//! ```
//!
//! Each is used if a program that is linked with it runs; else the binary is larger, and works. A system with a glibc before 2.36
//! does not start what has the last one: the probe leaves it out where such a glibc is what the binary is built with.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const OPTIONS: [&str; 3] = ["-Wl,-s", "-Wl,--icf=all", "-Wl,-z,pack-relative-relocs"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=WEIR_KEEP_SYMBOLS");
    // For profilers and backtraces: the binary as the linker makes it by itself.
    if env::var_os("WEIR_KEEP_SYMBOLS").is_some() {
        return;
    }
    for option in OPTIONS {
        if links(option) == Some(true) {
            println!("cargo:rustc-link-arg-bins={option}");
        }
    }
}

/// Whether a program that is linked with the option runs. `None`: it cannot be found out.
fn links(option: &str) -> Option<bool> {
    let target = env::var("TARGET").ok()?;
    // What is built for another machine cannot be tried here.
    if env::var("HOST").ok()? != target || !target.ends_with("-linux-gnu") {
        return None;
    }
    let folder = PathBuf::from(env::var_os("OUT_DIR")?);
    let (source, program) = (folder.join("probe.rs"), folder.join("probe"));
    std::fs::write(
        &source,
        "fn main() { println!(\"{}\", std::env::args().count()) }",
    )
    .ok()?;
    let mut compiler = Command::new(env::var_os("RUSTC")?);
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    compiler.args(flags.split('\u{1f}').filter(|flag| !flag.is_empty()));
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        compiler.arg("-C").arg({
            let mut linked = std::ffi::OsString::from("linker=");
            linked.push(linker);
            linked
        });
    }
    let compiled = compiler
        .args([
            "--edition",
            "2024",
            "-C",
            &format!("link-arg={option}"),
            "-o",
        ])
        .args([&program, &source])
        .output()
        .ok()?;
    if !compiled.status.success() {
        return Some(false);
    }
    let ran = Command::new(&program).output().ok()?;
    Some(ran.status.success())
}
