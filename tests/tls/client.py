"""Clients that speak TLS by Python's ssl module: client.py SCENARIO PORT CA. Ends with a traceback
when the server does not do what it should."""

import base64
import hashlib
import json
import socket
import ssl
import struct
import sys

SCENARIO, PORT, CA = sys.argv[1], int(sys.argv[2]), sys.argv[3]
PATIENCE_S = 20
VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
BEAT = '{"MID":"h","TYPE":"0"}'


def context(version, trusted=CA):
    made = ssl.create_default_context(cafile=trusted)
    made.minimum_version = made.maximum_version = VERSIONS[version]
    return made


def connect(how, name="localhost", session=None):
    plain = socket.create_connection(("127.0.0.1", PORT), PATIENCE_S)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # An end without close_notify is an error.
    return how.wrap_socket(plain, server_hostname=name, session=session, suppress_ragged_eofs=False)


def sign_up(name):
    return json.dumps({"MID": "s", "CONTENT": {"userName": name, "hashValue": "x"}, "TYPE": "1"})


def log_in(name):
    return json.dumps({"MID": "l", "CONTENT": {"USER": name, "PASS": "x"}, "TYPE": "2"})


class Raw:
    """Envelopes and lines. `send` may tear what it is given."""

    def __init__(self, stream, send=None):
        self.stream, self.got = stream, b""
        self.send_bytes = send or stream.sendall

    def send(self, text):
        self.send_bytes(text.encode())

    def expect(self, word):
        while b"\n" not in self.got:
            more = self.stream.recv(4096)
            assert more, f"the end instead of {word}"
            self.got += more
        line, self.got = self.got.split(b"\n", 1)
        assert word in line.decode(), f"{line} instead of {word}"

    def ask(self, text, word):
        self.send(text)
        self.expect(word)


class WebSocket(Raw):
    """The same over an upgraded connection."""

    KEY = base64.b64encode(b"sixteen bytes...").decode()

    def upgrade(self):
        self.send_bytes(
            f"GET /chat HTTP/1.1\r\nHost: localhost\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {self.KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self.got:
            more = self.stream.recv(4096)
            assert more, "the end instead of an upgrade"
            self.got += more
        head, self.got = self.got.split(b"\r\n\r\n", 1)
        accept = hashlib.sha1((self.KEY + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        assert head.startswith(b"HTTP/1.1 101 "), head
        assert base64.b64encode(accept) in head, head

    def send_frame(self, first, payload):
        assert len(payload) < 126
        mask = b"\x37\xfa\x21\x3d"
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        self.send_bytes(bytes([first, 0x80 | len(payload)]) + mask + masked)

    def send(self, text):
        # In two fragments.
        data = text.encode()
        self.send_frame(0x01, data[:7])
        self.send_frame(0x80, data[7:])

    def take(self, count):
        while len(self.got) < count:
            more = self.stream.recv(4096)
            assert more, "the end within a frame"
            self.got += more
        taken, self.got = self.got[:count], self.got[count:]
        return taken

    def frame(self):
        first, length = self.take(2)
        if length == 126:
            (length,) = struct.unpack(">H", self.take(2))
        return first, self.take(length)

    def expect(self, word):
        first, payload = self.frame()
        assert first == 0x81 and word in payload.decode(), f"{first:x} {payload} instead of {word}"


def a_byte_a_record(stream):
    def send(data):
        for byte in data:
            assert stream.send(bytes([byte])) == 1

    return send


def talk():
    """Both versions, with and without ALPN; each end is said and heard."""
    for number, version in enumerate(VERSIONS):
        how = context(version)
        stream = connect(how)
        assert stream.version() == version and stream.selected_alpn_protocol() is None
        raw = Raw(stream)
        raw.ask(sign_up(f"talk{number}"), "SS")
        raw.ask(log_in(f"talk{number}"), "LS")
        raw.ask(BEAT, "RE_HEARTBEAT")
        # Waits for the server's close_notify.
        plain = stream.unwrap()
        assert plain.recv(1) == b""
        how.set_alpn_protocols(["h2", "http/1.1"])
        stream = connect(how)
        assert stream.selected_alpn_protocol() == "http/1.1"
        Raw(stream).ask(log_in(f"talk{number}"), "LS")


def websocket():
    """wss: the upgrade, fragments, a ping, and the end of both protocols."""
    for number, version in enumerate(VERSIONS):
        how = context(version)
        how.set_alpn_protocols(["http/1.1"])
        stream = connect(how)
        client = WebSocket(stream)
        client.upgrade()
        client.ask(sign_up(f"web{number}"), "SS")
        client.ask(log_in(f"web{number}"), "LS")
        client.send_frame(0x89, b"are you there?")
        assert client.frame() == (0x8A, b"are you there?")
        client.ask(BEAT, "RE_HEARTBEAT")
        client.send_frame(0x88, struct.pack(">H", 1000))
        first, payload = client.frame()
        assert first == 0x88 and payload[:2] == struct.pack(">H", 1000), payload
        assert stream.recv(1) == b"", "a clean end"


def torn():
    """A record for each byte, and a segment for each byte of the records."""
    for number, version in enumerate(VERSIONS):
        stream = connect(context(version))
        raw = Raw(stream, a_byte_a_record(stream))
        raw.ask(sign_up(f"torn{number}"), "SS")
        raw.ask(log_in(f"torn{number}"), "LS")
        raw.ask(BEAT, "RE_HEARTBEAT")
        stream = connect(context(version))
        client = WebSocket(stream, a_byte_a_record(stream))
        client.upgrade()
        client.ask(log_in(f"torn{number}"), "LS")
        client.ask(BEAT, "RE_HEARTBEAT")
        torn_records = Torn(version)
        Raw(torn_records).ask(log_in(f"torn{number}"), "LS")


class Torn:
    """TLS whose records go out a byte at a time, the handshake's too."""

    def __init__(self, version):
        self.plain = socket.create_connection(("127.0.0.1", PORT), PATIENCE_S)
        self.plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        how = context(version)
        self.session = how.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.until_done(self.session.do_handshake)

    def flush(self, most=None):
        for byte in self.outgoing.read()[:most]:
            self.plain.sendall(bytes([byte]))

    def until_done(self, work):
        while True:
            try:
                done = work()
                self.flush()
                return done
            except ssl.SSLWantReadError:
                self.flush()
                more = self.plain.recv(4096)
                assert more, "the end"
                self.incoming.write(more)

    def sendall(self, data):
        self.session.write(data)
        self.flush()

    def recv(self, count):
        return self.until_done(lambda: self.session.read(count))


def unclean():
    """Connections that end without close_notify: between records, within one, one way only."""
    for number, version in enumerate(VERSIONS):
        name = f"unclean{number}"
        stream = connect(context(version))
        raw = Raw(stream)
        raw.ask(sign_up(name), "SS")
        raw.ask(log_in(name), "LS")
        socket.socket.close(stream)
        cut = Torn(version)
        Raw(cut).ask(log_in(name), "LS")
        cut.session.write(BEAT.encode())
        cut.flush(20)
        cut.plain.close()
        stream = connect(context(version))
        raw = Raw(stream)
        raw.ask(log_in(name), "LS")
        raw.send(BEAT)
        # Of the socket, not of the session.
        socket.socket.shutdown(stream, socket.SHUT_WR)
        raw.expect("RE_HEARTBEAT")
        assert stream.recv(1) == b"", "the server says the end"


def garbage():
    """Bytes that are no record of this session, behind the handshake."""
    for number, version in enumerate(VERSIONS):
        name = f"garbage{number}"
        Raw(connect(context(version))).ask(sign_up(name), "SS")
        for data in [
            b"GET / HTTP/1.1\r\n\r\n",
            log_in(name).encode(),
            # Not encrypted with the keys of this session; too long; empty; of the handshake, in the
            # clear; a hello.
            b"\x17\x03\x03\x00\x40" + bytes(64),
            b"\x17\x03\x03\xff\xff" + bytes(40_000),
            b"\x17\x03\x03\x00\x00" * 50,
            b"\x16\x03\x03\x00\x04\x00\x00\x00\x00",
            b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03",
            b"\x15\x03\x03\x00\x02\x02\x28",
        ]:
            stream = connect(context(version))
            raw = Raw(stream)
            raw.ask(log_in(name), "LS")
            socket.socket.sendall(stream, data)
            try:
                while stream.recv(4096):
                    pass
            except (ssl.SSLError, ConnectionError):
                # An alert, or a reset. Anything else is a mistake, also if nothing comes in time.
                pass
        Raw(connect(context(version))).ask(log_in(name), "LS")


def names():
    """A wrong name and an unknown root are the client's to find; the server goes on."""
    for version in VERSIONS:
        stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        stranger.minimum_version = stranger.maximum_version = VERSIONS[version]
        for how, name in [(context(version), "chat.example"), (stranger, "localhost")]:
            try:
                connect(how, name)
                raise AssertionError(f"{name} is believed")
            except ssl.SSLCertVerificationError:
                pass
        for name in ["localhost", "127.0.0.1"]:
            Raw(connect(context(version), name)).ask(BEAT, "NOT_LOGGED_IN")


def resume():
    """The next handshake is a shorter one."""
    for version in VERSIONS:
        how = context(version)
        first = connect(how)
        Raw(first).ask(BEAT, "NOT_LOGGED_IN")
        assert not first.session_reused
        second = connect(how, session=first.session)
        Raw(second).ask(BEAT, "NOT_LOGGED_IN")
        assert second.session_reused, version


{one.__name__: one for one in [talk, websocket, torn, unclean, garbage, names, resume]}[SCENARIO]()
