// One connection to the server: log-in, requests and their answers, heartbeats, and connecting
// again. It knows no chat and no page. The socket, the clock and chance come from outside, so that
// the rules can be tested without a browser.

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

/** The pause before try number `tries` (0 is the first). Half of it is chance. */
export function backoff(tries, random) {
	const whole = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** Math.min(tries, 16));
	return Math.round(whole * (0.5 + random() / 2));
}

// Answers that an RE_ERROR with the cause may follow directly, and the cause if none does.
const FAILURES = new Map([
	["RE_SIGNUP SF", "NAME_TAKEN"],
	["RE_SIGNUP LF", "WRONG_PASSWORD"],
	["RE_MESSAGE MF", "NOT_FRIENDS"],
]);

/**
 * States: off, connecting, online, waiting (connects again by itself), and three that only the user
 * can end: replaced (logged in elsewhere), refused (by the operator), expired (log in again).
 */
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

	/**
	 * `env`: open(), now(), random(), setTimer(f, ms), clearTimer(id), id().
	 * `on`: state(link), push(push), presence(name, online), token(token), clock(serverMs).
	 */
	constructor(env, on) {
		this.#env = env;
		this.#on = on;
	}

	/** Logs in with a token and stays connected. `login`: {user, token} or {user, pass}. */
	resume(login) {
		this.#login = login;
		this.#tries = 0;
		this.#connect();
	}

	/** The user who is logged in, or "". */
	get user() {
		return this.#login?.user ?? "";
	}

	/**
	 * Signs up, if `signup` has the fields, and logs in with a password. The promise ends with a
	 * token (or "" if the server gave none), or fails with the cause; then the link is off.
	 */
	async enter({ user, pass, signup }) {
		this.stop();
		const login = { user, pass };
		this.#login = login;
		this.#entering = true;
		this.#set("connecting");
		try {
			await this.#open();
			if (signup) await this.#signUp({ ...signup, userName: user, hashValue: pass });
			await this.ask("2", { USER: user, PASS: pass }, LOGIN_MS);
			if (this.#login !== login) throw new ServerError("AWAY");
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

	/** The password was changed, and the token ended with it. */
	usePassword(pass) {
		this.#login = { user: this.#login.user, pass };
	}

	/** Asks for a token, which replaces the password for reconnecting. "" if there is none now. */
	async renewToken() {
		try {
			const answer = await this.ask("TOKEN", { want: "new" });
			if (typeof answer.value !== "string" || answer.value === "") return "";
			this.#login = { user: this.#login.user, token: answer.value };
			this.#on.token(answer.value);
			return answer.value;
		} catch {
			return "";
		}
	}

	/** Ends the connection and forgets who was logged in. */
	stop() {
		this.#login = null;
		this.#entering = false;
		this.#drop();
		this.#set("off");
	}

	/** Connects now instead of after the pause; a connection that is there is tested. */
	nudge() {
		if (this.state === "waiting") this.#connect();
		else if (this.state === "online") this.#heartbeat();
	}

	/** The user wants this connection although another device took over. */
	useHere() {
		if (this.state === "replaced" && this.#login) this.resume(this.#login);
	}

	/** Sends a request that the server answers by its MID. */
	ask(type, content, wait = ANSWER_MS) {
		const mid = `${this.#prefix}${++this.#count}`;
		return this.#send(mid, frame(type, content, mid), wait);
	}

	/** Sends a message or a friend request, which the server answers by its messageId. */
	submit(type, content) {
		return this.#send(content.messageId, frame(type, content), ANSWER_MS);
	}

	/** Acks a push. */
	ack(id, sender) {
		if (this.state === "online") this.#socket.send(frame("5", { MessageId: id, sender }));
	}

	#send(id, data, wait) {
		const open = this.#socket?.readyState === 1;
		if (!open) return Promise.reject(new ServerError("AWAY"));
		if (this.#asked.has(id)) return Promise.reject(new ServerError("RATE_LIMITED"));
		return new Promise((resolve, reject) => {
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
		else this.#timers.delete(name);
	}

	#set(state, sentence = "") {
		this.state = state;
		this.sentence = sentence;
		this.#on.state(this);
	}

	// Ends the socket and everything that waits for it. Its later events are ignored.
	#drop() {
		const socket = this.#socket;
		this.#socket = null;
		this.#failed = null;
		for (const name of [...this.#timers.keys()]) this.#timer(name);
		for (const id of [...this.#asked.keys()]) this.#settle(id, new ServerError("AWAY"));
		if (socket) {
			socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
			socket.close();
		}
	}

	#open() {
		this.#drop();
		this.#prefix = `${this.#env.id()}-`;
		this.#count = 0;
		return new Promise((resolve, reject) => {
			let socket;
			try {
				socket = this.#env.open();
			} catch {
				reject(new ServerError("AWAY"));
				return;
			}
			this.#socket = socket;
			const fail = () => {
				reject(new ServerError("AWAY"));
				this.#lost();
			};
			this.#timer("open", OPEN_MS, fail);
			socket.onopen = () => {
				this.#timer("open");
				resolve();
			};
			socket.onmessage = (event) => this.#frame(event.data);
			socket.onclose = fail;
		});
	}

	async #connect() {
		const login = this.#login;
		this.#set("connecting");
		try {
			await this.#open();
			const secret = login.token ? { TOKEN: login.token } : { PASS: login.pass };
			await this.ask("2", { USER: login.user, ...secret }, LOGIN_MS);
		} catch (error) {
			if (this.#login === login && this.state === "connecting") this.#refused(error);
			return;
		}
		if (this.#login !== login) return;
		this.#online();
		if (!login.token) this.renewToken();
	}

	// Only LF without an RE_ERROR says that the token or password is wrong. After any other failure
	// it may well be right: it is kept and tried again.
	#refused(error) {
		if (error.code === "WRONG_PASSWORD") this.#end("expired", "");
		else if (error.code === "FORBIDDEN") this.#end("refused", error.message);
		else this.#lost();
	}

	#end(state, sentence) {
		this.#drop();
		this.#set(state, sentence);
	}

	#online() {
		this.#onlineSince = this.#env.now();
		this.#set("online");
		this.#timer("beat", HEARTBEAT_MS, () => this.#heartbeat());
	}

	#heartbeat() {
		this.#timer("beat", HEARTBEAT_MS, () => this.#heartbeat());
		this.ask("0", {}, HEARTBEAT_ANSWER_MS).then(
			(answer) => this.#on.clock(Number(answer.value)),
			(error) => {
				if (error.code === "TIMEOUT") this.#lost();
			},
		);
	}

	// The connection is gone, or could not be made. Inside enter() that is reported to the user, who
	// waits for the answer, and not tried again.
	#lost(pause) {
		const steady = this.state === "online" && this.#env.now() - this.#onlineSince >= STEADY_MS;
		this.#drop();
		if (!this.#login || this.#entering) return;
		if (steady) this.#tries = 0;
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

	#answer(found) {
		if (found.type === "RE_ERROR") return this.#error(found);
		const code = FAILURES.get(`${found.type} ${found.value}`);
		if (code) {
			// If the next frame is an RE_ERROR with this id, that is the cause. The heartbeat makes sure
			// that there is a next frame soon.
			this.#failed = { id: found.id, error: new ServerError(code) };
			this.ask("0", {}, HEARTBEAT_ANSWER_MS).catch(() => {});
			return;
		}
		if (found.type === "RE_GETUSER_FAILED") this.#settle(found.id, new ServerError("NO_USER"));
		else this.#settle(found.id, found);
	}

	#error(found) {
		const error = readError(found.value);
		if (found.id !== "") return this.#settle(found.id, error);
		switch (error.code) {
			case "REPLACED":
				return this.#end("replaced", "");
			case "FORBIDDEN":
				return this.#end("refused", error.message);
			case "SHUTTING_DOWN":
				// Not all clients at once.
				return this.#lost(1_000 + Math.round(this.#env.random() * 4_000));
			case "TOO_LARGE":
				return this.#tooLarge(error);
			case "IDLE":
			case "UNAVAILABLE":
				return this.#lost();
		}
	}

	// The error does not say which request it means, since the server did not read it: the largest.
	// That one must not be sent again.
	#tooLarge(error) {
		let largest = null;
		for (const [id, waiting] of this.#asked) {
			if (!largest || waiting.bytes > largest.bytes) largest = { id, bytes: waiting.bytes };
		}
		if (largest) this.#settle(largest.id, error);
	}
}
