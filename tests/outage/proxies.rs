//! Ways to a database that do harm: one that leads elsewhere, one that loses the answers to
//! commits.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};

/// A name whose server can be changed: new connections go to another one, those that are open stay.
pub(crate) fn moving_proxy(target: &Arc<AtomicU16>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = Arc::clone(target);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            // While it starts again, nobody is there.
            let Ok(server) = TcpStream::connect(("127.0.0.1", target.load(Ordering::SeqCst))) else { continue };
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                std::thread::spawn(move || {
                    std::io::copy(&mut from, &mut to).ok();
                    to.shutdown(Shutdown::Both).ok();
                    from.shutdown(Shutdown::Both).ok();
                });
            }
        }
    });
    port
}

/// The end of a connection on which a COMMIT was forwarded, in place of the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Harm {
    /// It is ended.
    Cut,
    /// It stays open, and nothing comes on it any more.
    Withhold,
}

/// A proxy that does this harm to the next commits, so many times.
pub(crate) fn harming_proxy(target: u16, harm: Harm, times: &Arc<AtomicU64>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let times = Arc::clone(times);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(("127.0.0.1", target)).unwrap();
            let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            let (times, is_mute) = (Arc::clone(&times), Arc::new(AtomicBool::new(false)));
            let hears_nothing = Arc::clone(&is_mute);
            std::thread::spawn(move || backward(from, to, &hears_nothing));
            std::thread::spawn(move || forward(client, server, harm, &times, &is_mute));
        }
    });
    port
}

fn forward(mut client: TcpStream, mut server: TcpStream, harm: Harm, times: &AtomicU64, is_mute: &AtomicBool) {
    let mut buffer = [0; 64 * 1024];
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        let is_commit = buffer[..count].ends_with(b"COMMIT");
        let is_harmed =
            is_commit && times.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        let is_cut = is_harmed && harm == Harm::Cut;
        if is_harmed {
            is_mute.store(true, Ordering::SeqCst);
        }
        if is_cut {
            // Its client hears nothing of the answer.
            client.shutdown(Shutdown::Both).ok();
        }
        if server.write_all(&buffer[..count]).is_err() || is_cut {
            break;
        }
    }
    server.shutdown(Shutdown::Write).ok();
    client.shutdown(Shutdown::Both).ok();
}

fn backward(mut server: TcpStream, mut client: TcpStream, is_mute: &AtomicBool) {
    let mut buffer = [0; 64 * 1024];
    while let Ok(count @ 1..) = server.read(&mut buffer) {
        if !is_mute.load(Ordering::SeqCst) && client.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
}
