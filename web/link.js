// One connection to the server: log-in, requests and their answers, heartbeats, and connecting
// again. The socket, the clock and chance come from outside, so that tests need no browser.

import { ServerError, frame, parseFrame, readError } from "./protocol.js";

const HEARTBEAT_MS = 30_000;
const HEARTBEAT_ANSWER_MS = 10_000;
const OPEN_MS = 10_000;
const ANSWER_MS = 20_000;
const LOGIN_MS = 45_000;
const BACKOFF_FIRST_MS = 1_000;
const BACKOFF_MAX_MS = 60_000;
// A connection that lasted this long has shown that the server is well.
const STEADY_MS = 30_000;

// The pause before try number `tries` (0 is the first). Half of it is chance.
export function backoff(tries, random) {
	const whole = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** Math.min(tries, 16));
	return Math.round(whole * (0.5 + random() / 2));
}

// The requests that can be sent before log-in.
const EARLY = new Set(["0", "1", "2"]);

// Answers that an RE_ERROR with the cause may follow directly, and the cause if none does.
const FAILURES = new Map([
	["RE_SIGNUP SF", "NAME_TAKEN"],
	["RE_SIGNUP LF", "WRONG_PASSWORD"],
	["RE_MESSAGE MF", "NOT_FRIENDS"],
]);

// States: off, connecting, online, waiting (connects again by itself), and three that only the user
// can end: replaced (logged in elsewhere), refused (by the operator), expired (log in again).
export class Link {
	#env;
	#on;
	#socket = null;
	#asked = new Map();
	#failed = null;
	#timers = new Map();
	#tries = 0;
	#login = null;
	#prefix = "";
	#count = 0;
	#onlineSince = 0;
	#entering = false;
	state = "off";
	retryAt = 0;
	sentence = "";

	// `env`: open(), now(), random(), setTimer(f, ms), clearTimer(id), id().
	// `on`: state(), push(push), presence(name, online), token(token), clock(serverMs).
	constructor(env, on) {
		this.#env = env;
		this.#on = on;
	}

	get user() {
		return this.#login?.user ?? "";
	}

	// Logs in and stays connected. `login`: {user, token} or {user, pass}.
	resume(login) {
		this.#login = login;
		this.#tries = 0;
		this.#connect();
	}

	// Signs up, if `signup` has the fields, and logs in with a password. The promise ends with a
	// token (or "" if the server gave none), or fails with the cause; then the link is off.
	async enter({ user, pass, signup }) {
		this.stop();
		const login = { user, pass };
		this.#login = login;
		this.#entering = true;
		this.#set("connecting");
		try {
			await this.#open();
			if (signup) await this.#signUp({ ...signup, userName: user, hashValue: pass });
			await this.#logIn(login);
		} catch (error) {
			if (this.#login === login) this.stop();
			throw error;
		}
		this.#entering = false;
		this.#online();
		return this.renewToken();
	}

	// Not promised is not the same as not done: a sign-up that the server finished too late finds its
	// own name taken when it is repeated. The log-in that follows tells which it was.
	async #signUp(fields) {
		try {
			await this.ask("1", fields, LOGIN_MS);
		} catch (error) {
			if (error.code !== "UNAVAILABLE" && error.code !== "TIMEOUT") throw error;
			await this.ask("1", fields, LOGIN_MS).catch((again) => {
				if (again.code !== "NAME_TAKEN") throw again;
			});
		}
	}

	async #logIn(login) {
		const secret = login.token ? { TOKEN: login.token } : { PASS: login.pass };
		await this.ask("2", { USER: login.user, ...secret }, LOGIN_MS);
		if (this.#login !== login) throw new ServerError("AWAY");
	}

	// The password was changed, and the token ended with it.
	usePassword(pass) {
		this.#login = { user: this.user, pass };
	}

	// Asks for a token, which replaces the password for reconnecting. "" if there is none now.
	async renewToken() {
		try {
			const { value } = await this.ask("TOKEN", { want: "new" });
			if (typeof value !== "string") return "";
			this.#login = { user: this.user, token: value };
			this.#on.token(value);
			return value;
		} catch {
			return "";
		}
	}

	// Ends the connection and forgets who was logged in.
	stop() {
		this.#login = null;
		this.#entering = false;
		this.#end("off");
	}

	// Connects now instead of after the pause; a connection that is there is tested.
	nudge() {
		if (this.state === "waiting") this.#connect();
		else if (this.state === "online") this.#heartbeat();
	}

	// Sends a request that the server answers by its MID.
	ask(type, content, wait = ANSWER_MS) {
		const mid = `${this.#prefix}${++this.#count}`;
		return this.#send(mid, type, frame(type, content, mid), wait);
	}

	// Sends a message or a friend request, which the server answers by its messageId.
	submit(type, content) {
		return this.#send(content.messageId, type, frame(type, content), ANSWER_MS);
	}

	ack(id, sender) {
		if (this.state === "online") this.#socket.send(frame("5", { MessageId: id, sender }));
	}

	#send(id, type, data, wait) {
		return new Promise((resolve, reject) => {
			// Before log-in the server does not answer all requests.
			const early = this.state !== "online" && !EARLY.has(type);
			if (early || this.#socket?.readyState !== 1) throw new ServerError("AWAY");
			if (this.#asked.has(id)) throw new ServerError("RATE_LIMITED");
			const timer = this.#env.setTimer(() => this.#settle(id, new ServerError("TIMEOUT")), wait);
			this.#asked.set(id, { resolve, reject, timer, bytes: data.length });
			this.#socket.send(data);
		});
	}

	#settle(id, result) {
		const waiting = this.#asked.get(id);
		if (!waiting) return;
		this.#asked.delete(id);
		this.#env.clearTimer(waiting.timer);
		if (result instanceof Error) waiting.reject(result);
		else waiting.resolve(result);
	}

	#timer(name, ms, f) {
		this.#env.clearTimer(this.#timers.get(name));
		if (f) this.#timers.set(name, this.#env.setTimer(f, ms));
	}

	#set(state, sentence = "") {
		this.state = state;
		this.sentence = sentence;
		this.#on.state();
	}

	#end(state, sentence) {
		this.#drop();
		this.#set(state, sentence);
	}

	// Ends the socket and everything that waits for it. Its later events are ignored.
	#drop() {
		const socket = this.#socket;
		this.#socket = this.#failed = null;
		for (const name of this.#timers.keys()) this.#timer(name);
		for (const id of [...this.#asked.keys()]) this.#settle(id, new ServerError("AWAY"));
		if (!socket) return;
		socket.onopen = socket.onmessage = socket.onclose = null;
		socket.close();
	}

	#open() {
		this.#drop();
		this.#prefix = `${this.#env.id()}-`;
		this.#count = 0;
		return new Promise((resolve, reject) => {
			const fail = () => {
				reject(new ServerError("AWAY"));
				this.#lost();
			};
			this.#timer("open", OPEN_MS, fail);
			try {
				this.#socket = this.#env.open();
			} catch {
				return fail();
			}
			this.#socket.onopen = () => {
				this.#timer("open");
				resolve();
			};
			this.#socket.onmessage = (event) => this.#frame(event.data);
			this.#socket.onclose = fail;
		});
	}

	async #connect() {
		const login = this.#login;
		this.#set("connecting");
		try {
			await this.#open();
			await this.#logIn(login);
		} catch (error) {
			if (this.#login !== login || this.state !== "connecting") return;
			// Only LF without an RE_ERROR says that the token or password is wrong. After any other
			// failure it may well be right: it is kept and tried again.
			if (error.code === "WRONG_PASSWORD") this.#end("expired");
			else if (error.code === "FORBIDDEN") this.#end("refused", error.message);
			else this.#lost();
			return;
		}
		this.#online();
		if (!login.token) this.renewToken();
	}

	#online() {
		this.#onlineSince = this.#env.now();
		this.#set("online");
		this.#timer("beat", HEARTBEAT_MS, () => this.#heartbeat());
	}

	#heartbeat() {
		this.#timer("beat", HEARTBEAT_MS, () => this.#heartbeat());
		this.ask("0", {}, HEARTBEAT_ANSWER_MS).then(
			({ value }) => this.#on.clock(Number(value)),
			({ code }) => code === "TIMEOUT" && this.#lost(),
		);
	}

	// The connection is gone, or could not be made. Inside enter() that is reported to the user, who
	// waits for the answer, and not tried again.
	#lost(pause) {
		if (this.state === "online" && this.#env.now() - this.#onlineSince >= STEADY_MS) this.#tries = 0;
		this.#drop();
		if (!this.#login || this.#entering) return;
		const ms = pause ?? backoff(this.#tries++, this.#env.random);
		this.retryAt = this.#env.now() + ms;
		this.#set("waiting");
		this.#timer("retry", ms, () => this.#connect());
	}

	#frame(data) {
		const found = parseFrame(data);
		if (!found) return;
		const failed = this.#failed;
		this.#failed = null;
		if (failed) {
			const cause = found.type === "RE_ERROR" && found.id === failed.id;
			this.#settle(failed.id, cause ? readError(found.value) : failed.error);
			if (cause) return;
		}
		if (found.kind === "push") this.#on.push(found);
		else if (found.kind === "presence") this.#on.presence(found.name, found.online);
		else this.#answer(found);
	}

	#answer({ type, id, value }) {
		const code = FAILURES.get(`${type} ${value}`);
		if (code) {
			// If the next frame is an RE_ERROR with this id, that is the cause. The heartbeat makes
			// sure that there is a next frame soon.
			this.#failed = { id, error: new ServerError(code) };
			this.ask("0", {}, HEARTBEAT_ANSWER_MS).catch(() => {});
		} else if (type === "RE_ERROR" && id === "") this.#fault(readError(value));
		else if (type === "RE_ERROR") this.#settle(id, readError(value));
		else if (type === "RE_GETUSER_FAILED") this.#settle(id, new ServerError("NO_USER"));
		else this.#settle(id, { value });
	}

	// An error that is about the connection, and not about one request.
	#fault(error) {
		const { code, message } = error;
		if (code === "REPLACED") this.#end("replaced");
		else if (code === "FORBIDDEN") this.#end("refused", message);
		else if (code === "IDLE" || code === "UNAVAILABLE") this.#lost();
		// Not all clients at once.
		else if (code === "SHUTTING_DOWN") this.#lost(1_000 + Math.round(this.#env.random() * 4_000));
		else if (code === "TOO_LARGE") {
			// The server did not read which request it is: the largest. It must not be sent again.
			const [first] = [...this.#asked].sort(([, a], [, b]) => b.bytes - a.bytes);
			if (first) this.#settle(first[0], error);
		}
	}
}
