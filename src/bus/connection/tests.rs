//! Servers that are none.

use super::*;
use crate::config::BusUrls;
use std::net::TcpListener;
use std::thread;

const SHORT: Duration = Duration::from_millis(300);

/// Answers the first connection with this, after it has read something.
fn server(says: impl FnOnce(TcpStream) + Send + 'static) -> RedisInstanceAddress {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        assert!(socket.read(&mut [0; 512]).unwrap() > 0, "a command comes first");
        says(socket);
    });
    let urls = BusUrls::parse(&format!("redis://u:geheim@127.0.0.1:{port}")).unwrap();
    RedisInstanceAddress { url: urls.iter().next().unwrap().clone(), tls: None }
}

fn answers(bytes: &'static [u8]) -> RedisInstanceAddress {
    server(move |mut socket| {
        socket.write_all(bytes).ok();
        // Until the other side goes.
        _ = socket.read(&mut [0; 1]);
    })
}

fn why(place: &RedisInstanceAddress) -> String {
    let Err(fault) = BusConnection::open(place, SHORT) else { panic!("it is let in") };
    assert!(!fault.0.contains("geheim") && !fault.0.contains('\n'), "{fault}");
    fault.0
}

#[test]
fn errors_never_contain_the_password() {
    for (answer, said) in [
        (&b"-WRONGPASS geheim\r\n"[..], "it refuses the user or the password"),
        (b"-ERR unknown command 'AUTH', with args beginning with: 'u' 'geheim'\r\n", "it refuses the log-in"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", RUBBISH),
        (b"+OK\r\n-NOAUTH Authentication required.\r\n", "it wants a password"),
        (b"+OK\r\n-LOADING it loads\r\n", "it says"),
        (b"+OK\r\n:1\r\n", RUBBISH),
        (b"", "no answer came in time"),
        (b"+O", "no answer came in time"),
    ] {
        let why = why(&answers(answer));
        assert!(why.starts_with(said), "{answer:?}: {why}");
    }
    assert_eq!(why(&server(drop)), "the connection was closed");
    let nowhere = |url: &str| RedisInstanceAddress {
        url: BusUrls::parse(url).unwrap().iter().next().unwrap().clone(),
        tls: None,
    };
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_eq!(why(&nowhere(&format!("redis://127.0.0.1:{free}"))), "nobody listens there");
    assert!(why(&nowhere("redis://no.such.host.invalid")).starts_with("the address of its host cannot be found"));
}

#[test]
fn an_endless_answer_is_not_read_forever() {
    for start in [&b"+"[..], b"$999999999\r\n", b"*999999999\r\n$999999999\r\n", b"*2\r\n+"] {
        let place = server(move |mut socket| {
            socket.write_all(start).unwrap();
            // More than any answer has.
            for _ in 0..64 {
                if socket.write_all(&[b'a'; 64 * 1024]).is_err() {
                    return;
                }
            }
        });
        assert_eq!(why(&place), RUBBISH);
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let mut random = fastrand::Rng::with_seed(23);
    let kinds = b"+-:$*%|~_,#!=(>\r\n0123456789a";
    let mut all: Vec<Vec<u8>> = vec![b"*1\r\n".repeat(10_000), b"|-1\r\n".to_vec(), b"$-1\r\n".to_vec()];
    for _ in 0..2_000 {
        let length = random.usize(..60);
        all.push((0..length).map(|_| kinds[random.usize(..kinds.len())]).collect());
    }
    for bytes in all {
        // On a stack as small as that of a thread of the bus.
        let read = move || {
            let (mut parser, mut rest) = (Parser::new(), &bytes[..]);
            while parser.parse_value(&mut rest).is_ok() {}
        };
        thread::spawn(read).join().unwrap();
    }
}
