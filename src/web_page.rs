//! The web page: the files of the folder `web/`, and the headers that each is sent with. They are
//! in the binary, without comments and indentation (`build.rs` strips them); there is no other
//! build step.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use std::sync::LazyLock;

/// The files that are served, by their names in the folder.
macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_bytes!(concat!(env!("OUT_DIR"), "/web/", $name)))),+]
    };
}

const CONTENTS: &[(&str, &[u8])] = &files![
    "bus.js",
    "chat.js",
    "chatview.js",
    "dialogs.js",
    "dom.js",
    "e2e.js",
    "engine.js",
    "goose.svg",
    "i18n.js",
    "index.html",
    "keyring.js",
    "link.js",
    "list.js",
    "main.js",
    "messages.js",
    "model.js",
    "protocol.js",
    "settings.js",
    "status.js",
    "store.js",
    "style.css",
    "texts.js",
    "welcome.js",
];

/// The file that is the page itself, at `/`.
const INDEX: &str = "index.html";
/// The folder of the others.
const FOLDER: &str = "/web/";

/// A page may load files of this server and talk to this server, and nothing else.
/// Trusted types leave no way to make markup out of text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// The number of hash bytes in an ETag: enough that no two versions of a file share one.
const ETAG_BYTES: usize = 12;

/// One file of the page, with its headers.
#[derive(Debug)]
pub struct WebPageFile {
    /// Its name in the folder.
    pub name: &'static str,
    /// Its content.
    pub bytes: &'static [u8],
    etag: String,
    head: String,
    head_unchanged: String,
}

static FILES: LazyLock<Vec<WebPageFile>> =
    LazyLock::new(|| CONTENTS.iter().map(|&(name, bytes)| WebPageFile::new(name, bytes)).collect());

/// All files, ready to be sent.
pub fn files() -> &'static [WebPageFile] {
    &FILES
}

/// The file at this path.
#[must_use]
pub fn find(path: &str) -> Option<&'static WebPageFile> {
    files().iter().find(|file| file.is_at(path))
}

impl WebPageFile {
    fn new(name: &'static str, bytes: &'static [u8]) -> Self {
        let hash = digest(&SHA256, bytes);
        let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&hash.as_ref()[..ETAG_BYTES]));
        // A browser may cache the file, and must revalidate it each time.
        let always = format!(
            "ETag: {etag}\r\nCache-Control: no-cache\r\nContent-Security-Policy: {POLICY}\r\n\
             X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
             Cross-Origin-Opener-Policy: same-origin\r\nCross-Origin-Resource-Policy: same-origin\r\n\
             Connection: close\r\n\r\n"
        );
        let (kind, length) = (content_type(name), bytes.len());
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{always}");
        let head_unchanged = format!("HTTP/1.1 304 Not Modified\r\n{always}");
        Self { name, bytes, etag, head, head_unchanged }
    }

    /// The path of its URL.
    #[must_use]
    pub fn path(&self) -> String {
        if self.name == INDEX { "/".to_owned() } else { format!("{FOLDER}{}", self.name) }
    }

    fn is_at(&self, path: &str) -> bool {
        match path.strip_prefix(FOLDER) {
            Some(name) => name == self.name && name != INDEX,
            None => path == "/" && self.name == INDEX,
        }
    }

    /// The head of a response with this file.
    #[must_use]
    pub fn head(&self) -> &str {
        &self.head
    }

    /// The head of a 304 response: the client has the file already.
    #[must_use]
    pub fn head_unchanged(&self) -> &str {
        &self.head_unchanged
    }

    /// Does the client have this version, by the values of its `If-None-Match` headers?
    #[must_use]
    pub fn is_among(&self, etags: &[&[u8]]) -> bool {
        let mut etags = etags.iter().flat_map(|value| value.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);
        // Strong and weak ones count as the same here (RFC 9110 §13.1.2). None of ours has a comma.
        etags.any(|etag| etag == b"*" || etag.strip_prefix(b"W/").unwrap_or(etag) == self.etag.as_bytes())
    }
}

/// The type of a file by the ending of its name.
fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// All files together, in bytes.
    const PAGE_BYTES_MAX: usize = 150 * 1024;

    #[test]
    fn every_file_of_the_folder_is_served_and_together_they_are_small() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let served: BTreeSet<String> = files().iter().map(|file| file.name.to_owned()).collect();
        assert_eq!(served, names.collect(), "the list in src/web_page.rs is that of the folder");
        let bytes: usize = files().iter().map(|file| file.bytes.len()).sum();
        assert!(bytes <= PAGE_BYTES_MAX, "{bytes} bytes");
    }

    #[test]
    fn every_file_has_a_type_and_a_head_that_a_stranger_may_hold() {
        for file in files() {
            assert_ne!(content_type(file.name), "application/octet-stream", "{}", file.name);
            for head in [file.head(), file.head_unchanged()] {
                assert!(head.ends_with("\r\n\r\n") && head.matches("\r\n\r\n").count() == 1, "{head}");
                // The smallest --output-before-log-in-max.
                assert!(head.len() <= 1_024, "{}", head.len());
            }
            assert!(file.head().contains(&format!("\r\nContent-Length: {}\r\n", file.bytes.len())));
            assert!(!file.head_unchanged().contains("Content-Length"));
        }
    }

    #[test]
    fn paths_name_files_and_nothing_else() {
        assert!(find("/").is_some_and(|file| file.name == INDEX));
        for path in ["", "//", "/web", "/web/", "/web/../Cargo.toml", "/web/index.html", "/index.html", "/x.js", "*"] {
            assert!(find(path).is_none(), "{path}");
        }
        for file in files() {
            assert!(find(&file.path()).is_some_and(|found| found.name == file.name), "{}", file.name);
        }
    }

    #[test]
    fn an_etag_is_found_among_those_that_a_client_has() {
        let (one, other) = (WebPageFile::new("a.js", b"one"), WebPageFile::new("a.js", b"other"));
        assert_ne!(one.etag, other.etag);
        let (strong, weak) = (one.etag.clone(), format!("W/{}", one.etag));
        let list = format!("\"x\", {weak} ,\"y\"");
        for etags in [&strong, &weak, &list, "*"] {
            assert!(one.is_among(&[b"\"z\"", etags.as_bytes()]), "{etags}");
        }
        let bare = one.etag.trim_matches('"').to_owned();
        for etags in [&other.etag, &bare, "", "\"*\""] {
            assert!(!one.is_among(&[etags.as_bytes()]), "{etags}");
        }
        assert!(!one.is_among(&[]));
    }
}
