//! Checks that the recipe for `hashValue` in docs/protocol.md gives the value that the page shows.
//! The server itself never computes it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use sha2::{Digest, Sha256};
use std::fmt::Write;

/// HMAC-SHA-256 (RFC 2104) with a key of at most one block. The key is prepared only once.
struct Hmac {
    inner: Sha256,
    outer: Sha256,
}

impl Hmac {
    fn new(key: &[u8]) -> Self {
        assert!(key.len() <= 64, "longer ones would be hashed first");
        let padded = |with: u8| {
            let mut block = [with; 64];
            block.iter_mut().zip(key).for_each(|(to, from)| *to ^= from);
            Sha256::new_with_prefix(block)
        };
        Self { inner: padded(0x36), outer: padded(0x5c) }
    }

    fn of(&self, text: &[u8]) -> [u8; 32] {
        let inner = self.inner.clone().chain_update(text).finalize();
        self.outer.clone().chain_update(inner).finalize().into()
    }
}

/// PBKDF2 (RFC 8018) of one block.
fn pbkdf2(password: &[u8], salt: &[u8], rounds: u32) -> [u8; 32] {
    let hmac = Hmac::new(password);
    let mut last = hmac.of(&[salt, &1_u32.to_be_bytes()].concat());
    let mut sum = last;
    for _ in 1..rounds {
        last = hmac.of(&last);
        sum.iter_mut().zip(last).for_each(|(sum, byte)| *sum ^= byte);
    }
    sum
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
fn the_reference_agrees_with_a_published_vector() {
    // RFC 7914, section 11.
    let expected = "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc";
    assert_eq!(hex(&pbkdf2(b"passwd", b"salt", 1)), expected);
}

#[test]
fn the_recipe_gives_the_result_of_the_page() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/protocol.md")).unwrap();
    assert!(page.contains("600,000 rounds, 32 bytes"));
    let mut rows = page.lines().skip_while(|line| *line != "| userName | password | hashValue |").skip(2);
    let row = rows.next().expect("the page has a test vector");
    let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
    let [_, user, password, expected, _] = cells[..] else { panic!("three cells: {row}") };
    let salt = Sha256::digest(format!("hongyan:{user}"));
    assert_eq!(hex(&pbkdf2(password.as_bytes(), &salt, 600_000)), expected);
}
