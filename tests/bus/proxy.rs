//! A proxy between a node and a server. It can delay or hold back the bytes of the server.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Hands bytes on to a server at once. The server's bytes are handed back after a delay. On
/// connections that have subscribed, they also wait while the proxy holds them.
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    pace: Arc<Pace>,
}

#[derive(Default)]
struct Pace {
    holds: AtomicBool,
    delay_ms: AtomicU64,
}

impl Proxy {
    pub(crate) fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let pace = Arc::<Pace>::default();
        let given = Arc::clone(&pace);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let (pace, subscribes) = (Arc::clone(&given), Arc::<AtomicBool>::default());
                let has_subscribed = Arc::clone(&subscribes);
                thread::spawn(move || {
                    hand_on(near, far, |bytes| {
                        if bytes.windows(9).any(|word| word == b"SUBSCRIBE") {
                            has_subscribed.store(true, Ordering::SeqCst);
                        }
                    });
                });
                thread::spawn(move || {
                    hand_on(far_too, near_too, |_| {
                        thread::sleep(Duration::from_millis(pace.delay_ms.load(Ordering::SeqCst)));
                        while pace.holds.load(Ordering::SeqCst) && subscribes.load(Ordering::SeqCst) {
                            thread::sleep(Duration::from_millis(5));
                        }
                    });
                });
            }
        });
        Self { addr, pace }
    }

    pub(crate) fn hold(&self, holds: bool) {
        self.pace.holds.store(holds, Ordering::SeqCst);
    }

    pub(crate) fn delay(&self, ms: u64) {
        self.pace.delay_ms.store(ms, Ordering::SeqCst);
    }
}

fn hand_on(mut from: TcpStream, mut to: TcpStream, before: impl Fn(&[u8])) {
    let mut buffer = [0; 4_096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        before(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    from.shutdown(Shutdown::Both).ok();
    to.shutdown(Shutdown::Both).ok();
}
