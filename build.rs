//! Copies the files of the web page for the binary, without what only those who change them need:
//! lines of comment and indentation. Decides whether this is the build after the present one.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=web");
    println!("cargo::rustc-check-cfg=cfg(next_build)");
    // `--all-features` has both, and is the present build.
    let has = |feature: &str| env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    if has("NEXT_BUILD") && !has("PRESENT_BUILD") {
        println!("cargo::rustc-cfg=next_build");
    }
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    let folder = Path::new(&out).join("web");
    fs::create_dir_all(&folder)?;
    for entry in fs::read_dir("web")? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        let script = path.extension().is_some_and(|kind| kind == "js");
        let style = path.extension().is_some_and(|kind| kind == "css");
        let whole = fs::read_to_string(&path)?;
        // No text in these files spans lines, so the beginning of a line is never part of one.
        let lines = whole.lines().map(str::trim_start).filter(|line| !(script && line.starts_with("//")));
        let lean: String = lines.filter(|line| !line.is_empty()).flat_map(|line| [line, "\n"]).collect();
        fs::write(folder.join(name), if script || style { lean } else { whole })?;
    }
    Ok(())
}
