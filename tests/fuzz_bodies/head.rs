//! The head of an HTTP request: each decision is made at the byte that decides it, and an accepted
//! key is answered as tungstenite answers it.

use hongyan::protocol::http::{ClientPortHttpHead, ClientPortHttpRefusal, HEAD_BYTES_MAX, header_values, read_head};

pub fn head(data: &[u8]) {
    let whole = read_head(data);
    let ends = (0..data.len().min(64)).chain((64..data.len()).step_by(37));
    let first = ends.map(|end| read_head(&data[..end])).find(|head| *head != ClientPortHttpHead::More);
    if let Some(first) = first {
        assert_eq!(first, whole, "more input changes the decision");
    }
    match whole {
        ClientPortHttpHead::More => assert!(data.len() < HEAD_BYTES_MAX, "a head that never ends"),
        ClientPortHttpHead::Upgrade { accept, offers_hongyan, length } => {
            assert!(length <= data.len().min(HEAD_BYTES_MAX) && data[..length].ends_with(b"\n"));
            assert_eq!(
                read_head(&data[..length]),
                ClientPortHttpHead::Upgrade { accept: accept.clone(), offers_hongyan, length }
            );
            assert!(!header_values(data, "Sec-WebSocket-Key").is_empty(), "read again, it says the same");
            assert!(read_head(&data[..length - 1]) == ClientPortHttpHead::More, "it ends where it ends");
            let keys = data[..length].split(|byte| *byte == b'\n').filter_map(|line| {
                let colon = line.iter().position(|byte| *byte == b':')?;
                let is_key = line[..colon].eq_ignore_ascii_case(b"sec-websocket-key");
                is_key.then(|| line[colon + 1..].trim_ascii())
            });
            let mut answers = keys.map(tungstenite::handshake::derive_accept_key);
            assert!(answers.any(|answer| answer == accept), "the key is answered otherwise");
        }
        ClientPortHttpHead::Bad(ClientPortHttpRefusal::TooLong) => {
            assert!(data.len() >= HEAD_BYTES_MAX || data.len() > 64)
        }
        ClientPortHttpHead::File(_)
        | ClientPortHttpHead::Health(_)
        | ClientPortHttpHead::Options
        | ClientPortHttpHead::Bad(_) => {}
    }
}
