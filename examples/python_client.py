#!/usr/bin/env python3
"""A small client with the rules that every client keeps (docs/protocol.md), by the standard
library alone.
    python_client.py HOST PORT USER PASSWORD_FILE TOKEN_FILE
It writes each push as a line of JSON to stdout and acks it after that; it accepts every friend
request. A line NAME TEXT on stdin sends TEXT to NAME. It writes to stderr whether a message is
safe, which requests the server refused for good, and whether the connection is there. It has no TLS
and no encryption: use it beside the server, or in a tunnel. Messages without a promise are lost
when it ends. It keeps on no disk which pushes it has seen, so a push may come out twice, once
before and once after a restart of it or of the server (then with another time)."""
import hashlib, json, os, queue, random, select, socket, sys, threading, time, unicodedata, uuid
class Stop(Exception): """Do not connect again."""
class Again(Exception): """This connection is over."""
def hash_value(user, password):
    salt, password = hashlib.sha256(f"hongyan:{user}".encode()).digest(), unicodedata.normalize("NFC", password).encode()
    return hashlib.pbkdf2_hmac("sha256", password, salt, 600_000, 32).hex()
def say(*words):  # what the server wrote must not control the terminal
    print("".join(it if it.isprintable() else "?" for it in " ".join(map(str, words))[:500]), file=sys.stderr, flush=True)
def envelope(kind, content, mid="x"):
    return json.dumps({"TYPE": kind, "MID": mid, "CONTENT": content}, ensure_ascii=False).encode(errors="replace")
def read_frame(line):  # its TYPE, and the texts in its CONTENT that are used here
    push = ("messageId", "sender", "receiver", "time", "content")
    try:
        kind, content = map(json.loads(line).get, ("TYPE", "CONTENT"))
        keys = ("MessageId", "Content") if kind.startswith("RE_") else {"4": push, "6": (*push, "type")}.get(kind, ())
        content = json.loads(content) if keys and isinstance(content, str) else content
        if all(isinstance(content[key], str) for key in keys): return kind, {key: content[key] for key in keys}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError): pass
    raise Again("the server sent something that is no frame")

class Client:
    def __init__(self, host, port, user, password, token_file, handle):
        self.address, self.user, self.password, self.token_file, self.handle = (host, int(port)), user, password, token_file, handle
        self.token = open(token_file).read(1024).strip() if os.path.exists(token_file) else None
        # Messages of other threads; the last 8,192 pushes that were handled; and, until it is
        # promised, id: [TYPE, envelope, time of the next sending, the next delay].
        self.outbox, self.seen, self.waiting = queue.Queue(256), {}, {}
    def write(self, *request): self.socket.sendall(envelope(*request) + b"\n")
    def read(self):
        if b"\n" in self.buffer:
            line, _, self.buffer = self.buffer.partition(b"\n")
            self.hear(*read_frame(line))
        elif select.select([self.socket], [], [], 0.2)[0]:
            data = self.socket.recv(65536)
            if not data or len(self.buffer) > 1 << 20: raise Again("the server closed the connection")
            self.buffer, self.dead = self.buffer + data, None if self.online else self.dead
    def log_in(self):
        secret, self.dead = {"TOKEN": self.token} if self.token else {"PASS": hash_value(self.user, self.password)}, time.monotonic() + 20
        self.write("2", {"USER": self.user, **secret}, "log-in")
    def wait(self, kind, content):  # a larger one would end the connection, and the next one again
        mid, line = content["messageId"], envelope(kind, content)
        if len(line) <= 65536: self.waiting[mid] = [kind, line, 0, 1]
        else: say(mid, f"not sent: it has {len(line)} bytes, and a server takes 65536")
    def talk(self):
        self.socket, self.buffer, self.suspect = socket.create_connection(self.address, 10), b"", None
        self.log_in()
        beat = time.monotonic() + 30
        self.waiting = {mid: [kind, line, 0, 1] for mid, (kind, line, *_) in self.waiting.items()}
        while True:
            now = time.monotonic()
            if self.dead and now > self.dead: raise Again("the server does not answer")
            if self.online and now > beat:
                self.write("0", {})
                beat, self.dead = now + 30, now + 10
            while not self.outbox.empty() and sum(it[0] == "4" for it in self.waiting.values()) < 256: self.wait("4", self.outbox.get())
            for waiting in [it for it in self.waiting.values() if self.online and now >= it[2]]:
                self.socket.sendall(waiting[1] + b"\n")
                waiting[2] = now + 60
            self.read()
    def hear(self, kind, content):
        mid, said = content.get("MessageId", content.get("messageId")), content.get("Content")
        code, waiting = said.split(":")[0] if kind == "RE_ERROR" else None, self.waiting.get(mid)
        suspect, self.suspect = self.suspect, None
        if code and not mid:  # about the connection, or what is too large
            if code == "TOO_LARGE" and self.online: self.done(max(self.waiting, key=lambda it: len(self.waiting[it][1]), default=0), said)
            raise Stop(said) if code in ("REPLACED", "FORBIDDEN") else Again(said)
        elif suspect == "log-in":  # LF came before: this frame says why, or the credential is wrong
            if code and mid == suspect: raise Stop(said) if code in ("FORBIDDEN", "BAD_FIELD") else Again(said)
            if not self.token: raise Stop("wrong name or password")
            self.token = None
            self.log_in()
        elif code == "NOT_LOGGED_IN": raise Again(said)  # the next connection takes it
        elif suspect and not (code and mid == suspect): self.done(suspect, "not friends")  # only MF
        elif waiting and (code in ("UNAVAILABLE", "SHUTTING_DOWN") or code == "RATE_LIMITED" and waiting[0] == "4"):
            waiting[2:] = [time.monotonic() + waiting[3], min(2 * waiting[3], 60)]  # once more
        # A friend request whose accept is RATE_LIMITED (too many friends) or FULL stays pending.
        elif code: self.done(mid, said)
        if said in ("LF", "MF") and kind in ("RE_SIGNUP", "RE_MESSAGE"):
            self.suspect = mid
            self.write("0", {})  # the cause comes before its answer, if the server sends one
        elif said == "LS" and kind == "RE_SIGNUP":
            self.online, self.dead = True, None
            say("online")
            self.token or self.write("TOKEN", {"want": "new"}, "token")
        elif kind == "RE_TOKEN" and len(said) <= 1024:
            self.token = said
            with open(os.open(self.token_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file: file.write(said)
        elif kind in ("RE_MESSAGE", "RE_FRI_REQ"): self.done(mid, "safe")
        elif kind in ("4", "6"):
            # All but the text.
            key = hashlib.sha256(json.dumps([kind, {**content, "content": ""}]).encode()).digest()
            if key not in self.seen:
                asks = content.get("type") == "1"
                # Without an ack: it comes again in 15 s.
                if asks and (waiting or len(self.waiting) >= 512): return
                self.handle({"TYPE": kind, **content})
                if asks: self.wait("6", {**content, "content": "", "type": "2"})
                self.seen = dict([*self.seen.items()][-8191:] + [(key, None)])
            self.write("5", {"MessageId": mid, "sender": content["sender"]})  # duplicates, too
    def done(self, mid, how): self.waiting.pop(mid, None) and say(mid, how)
    def send(self, name, text): self.outbox.put({"messageId": str(uuid.uuid4()), "sender": self.user, "receiver": name, "content": text})
    def run(self):
        delay = 1
        while True:
            self.online, began = False, time.monotonic()
            try: self.talk()
            except (Again, OSError, ValueError) as error: say("offline:", error)
            delay = 2 if time.monotonic() - began > 30 else min(2 * delay, 60)
            time.sleep(random.uniform(delay / 2, delay))
if __name__ == "__main__":
    sys.stdin.reconfigure(encoding="utf-8", errors="replace")
    host, port, user, password_file, token_file = sys.argv[1:]
    password, show = open(password_file).read().rstrip("\n"), lambda push: print(json.dumps(push), flush=True)
    client = Client(host, port, user, password, token_file, show)
    threading.Thread(target=lambda: [client.send(*line.rstrip("\n").split(" ", 1)) for line in sys.stdin if " " in line], daemon=True).start()
    try: client.run()
    except Stop as stop: sys.exit(say("stopped:", stop) or 1)
