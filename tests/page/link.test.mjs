// The connection's rules, with a socket and a clock of the test's own.

import assert from "node:assert/strict";
import test from "node:test";
import { Link, backoff } from "../../web/link.js";

class World {
	now = 0;
	timers = new Map();
	sockets = [];
	states = [];
	pushes = [];
	tokens = [];
	#ids = 0;

	constructor() {
		const env = {
			open: () => {
				if (this.noNetwork) throw new Error("no network");
				const socket = new Socket();
				this.sockets.push(socket);
				return socket;
			},
			now: () => this.now,
			random: () => 0.5,
			setTimer: (f, ms) => {
				this.timers.set(++this.#ids, { at: this.now + ms, f });
				return this.#ids;
			},
			clearTimer: (id) => this.timers.delete(id),
			id: () => `id${this.sockets.length}`,
		};
		this.link = new Link(env, {
			state: () => this.states.push(this.link.state),
			push: (push) => this.pushes.push(push),
			presence: () => {},
			token: (token) => this.tokens.push(token),
			clock: () => {},
		});
	}

	get socket() {
		return this.sockets.at(-1);
	}

	/** Lets the time pass, timer by timer. */
	async pass(ms) {
		const end = this.now + ms;
		for (;;) {
			const due = [...this.timers].filter(([, timer]) => timer.at <= end);
			if (due.length === 0) break;
			const [id, timer] = due.sort((a, b) => a[1].at - b[1].at)[0];
			this.timers.delete(id);
			this.now = timer.at;
			timer.f();
			await settle();
		}
		this.now = end;
		await settle();
	}

	/** Logs in with a token, up to "online". */
	async online() {
		this.link.resume({ user: "ann", token: "t" });
		await this.socket.opened();
		await this.socket.answer("RE_SIGNUP", "LS");
		assert.equal(this.link.state, "online");
	}
}

class Socket {
	readyState = 0;
	sent = [];

	async opened() {
		this.readyState = 1;
		this.onopen();
		await settle();
	}

	send(data) {
		this.sent.push(JSON.parse(data));
	}

	get last() {
		return this.sent.at(-1);
	}

	async says(frame) {
		this.onmessage?.({ data: JSON.stringify(frame) });
		await settle();
	}

	answer(type, content, id = this.last.MID) {
		return this.says({ CONTENT: { MessageId: id, Content: content }, TYPE: type });
	}

	async breaks() {
		this.readyState = 3;
		this.onclose?.();
		await settle();
	}

	close() {
		this.readyState = 3;
		this.closed = true;
	}
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

test("pauses grow up to a minute, and half of each is chance", () => {
	assert.deepEqual(
		[0, 1, 2, 3, 10, 1000].map((tries) => backoff(tries, () => 1)),
		[1000, 2000, 4000, 8000, 60000, 60000],
	);
	assert.equal(backoff(2, () => 0), 2000);
});

test("logs in, gets pushes, sends and is answered", async () => {
	const world = new World();
	await world.online();
	const { link, socket } = world;
	assert.deepEqual(socket.last.CONTENT, { USER: "ann", TOKEN: "t" });
	await socket.says({
		CONTENT: { messageId: "m", sender: "bob", receiver: "ann", time: "5", content: "hi" },
		TYPE: "4",
	});
	assert.equal(world.pushes[0].content, "hi");
	link.ack("m", "bob");
	assert.deepEqual(socket.last, { CONTENT: { MessageId: "m", sender: "bob" }, TYPE: "5" });
	const sent = link.submit("4", { messageId: "n", sender: "ann", receiver: "bob", content: "x" });
	await socket.answer("RE_MESSAGE", "MS", "n");
	assert.equal((await sent).value, "MS");
});

test("the cause of a failure is the RE_ERROR directly behind it, and no other", async () => {
	const world = new World();
	await world.online();
	const { link, socket } = world;
	const send = (id) =>
		link.submit("4", { messageId: id, sender: "ann", receiver: "bob", content: "x" });
	const full = assert.rejects(send("a"), { code: "FULL", message: "no room" });
	await socket.answer("RE_MESSAGE", "MF", "a");
	await socket.answer("RE_ERROR", "FULL: no room", "a");
	await full;
	const stranger = assert.rejects(send("b"), { code: "NOT_FRIENDS" });
	await socket.answer("RE_MESSAGE", "MF", "b");
	assert.equal(socket.last.TYPE, "0", "a heartbeat makes a next frame come");
	await socket.answer("RE_HEARTBEAT", "7");
	await stranger;
});

test("a token is kept after any failure but a plain LF", async () => {
	for (const error of ["UNAVAILABLE: later", "RATE_LIMITED: slow down"]) {
		const world = new World();
		world.link.resume({ user: "ann", token: "t" });
		await world.socket.opened();
		const { MID } = world.socket.last;
		await world.socket.answer("RE_SIGNUP", "LF", MID);
		await world.socket.answer("RE_ERROR", error, MID);
		assert.equal(world.link.state, "waiting", error);
		await world.pass(1_000);
		await world.socket.opened();
		assert.deepEqual(world.socket.last.CONTENT, { USER: "ann", TOKEN: "t" });
	}
	const world = new World();
	world.link.resume({ user: "ann", token: "t" });
	await world.socket.opened();
	await world.socket.answer("RE_SIGNUP", "LF");
	await world.socket.answer("RE_ERROR", "NOT_LOGGED_IN: log in");
	assert.equal(world.link.state, "expired");
	await world.pass(3600_000);
	assert.equal(world.sockets.length, 1);
});

test("a banned user is told, and the page does not try again", async () => {
	const world = new World();
	world.link.resume({ user: "ann", token: "t" });
	await world.socket.opened();
	const { MID } = world.socket.last;
	await world.socket.answer("RE_SIGNUP", "LF", MID);
	await world.socket.answer("RE_ERROR", "FORBIDDEN: banned", MID);
	assert.equal(world.link.state, "refused");
	assert.equal(world.link.sentence, "banned");
	await world.pass(3600_000);
	assert.equal(world.sockets.length, 1);
});

test("connects again after a break, and never after REPLACED without the user", async () => {
	const world = new World();
	await world.online();
	await world.socket.breaks();
	assert.equal(world.link.state, "waiting");
	await world.pass(1_000);
	await world.socket.opened();
	await world.socket.answer("RE_SIGNUP", "LS");
	assert.equal(world.link.state, "online");
	await world.socket.answer("RE_ERROR", "REPLACED: elsewhere", "");
	assert.equal(world.link.state, "replaced");
	const count = world.sockets.length;
	await world.pass(3600_000);
	world.link.nudge();
	assert.equal(world.sockets.length, count);
	world.link.resume({ user: "ann", token: "t" });
	assert.equal(world.sockets.length, count + 1);
});

test("the pause grows while the server is away, and starts again after a steady time", async () => {
	const world = new World();
	await world.online();
	const pauses = [];
	for (let i = 0; i < 4; i++) {
		await world.socket.breaks();
		pauses.push(world.link.retryAt - world.now);
		await world.pass(pauses.at(-1));
	}
	assert.deepEqual(pauses, [750, 1500, 3000, 6000]);
	await world.socket.opened();
	await world.socket.answer("RE_SIGNUP", "LS");
	for (let i = 0; i < 3; i++) {
		await world.pass(15_000);
		if (world.socket.last.TYPE === "0") await world.socket.answer("RE_HEARTBEAT", "1");
	}
	await world.socket.breaks();
	assert.equal(world.link.retryAt - world.now, 750);
});

test("a browser without network is like a server that is away", async () => {
	const world = new World();
	world.noNetwork = true;
	world.link.resume({ user: "ann", token: "t" });
	await settle();
	assert.equal(world.link.state, "waiting");
	world.noNetwork = false;
	world.link.nudge();
	await world.socket.opened();
	await world.socket.answer("RE_SIGNUP", "LS");
	assert.equal(world.link.state, "online");
});

test("a heartbeat every 30 s; without an answer the connection is dead after 10 s", async () => {
	const world = new World();
	await world.online();
	await world.pass(30_000);
	assert.equal(world.socket.last.TYPE, "0");
	await world.socket.answer("RE_HEARTBEAT", "1");
	await world.pass(30_000);
	await world.pass(9_999);
	assert.equal(world.link.state, "online");
	await world.pass(1);
	assert.equal(world.link.state, "waiting");
	assert.ok(world.socket.closed);
});

test("what waits for an answer fails when the connection is lost", async () => {
	const world = new World();
	await world.online();
	const sent = world.link.submit("4", { messageId: "n", content: "x" });
	const caught = assert.rejects(sent, { code: "AWAY" });
	await world.socket.breaks();
	await caught;
	await assert.rejects(world.link.ask("3", "bob"), { code: "AWAY" });
});

test("before log-in nothing is asked that the server would not answer", async () => {
	const world = new World();
	world.link.resume({ user: "ann", token: "t" });
	await world.socket.opened();
	await assert.rejects(world.link.ask("3", "bob"), { code: "AWAY" });
	await assert.rejects(world.link.submit("4", { messageId: "n" }), { code: "AWAY" });
	await world.socket.answer("RE_SIGNUP", "LS");
	const found = world.link.ask("3", "bob");
	await world.socket.answer("RE_GETUSER_SUC", { userName: "bob" });
	assert.deepEqual((await found).value, { userName: "bob" });
});

test("sign-up: the answer SF of a repeated one may be the first one's work", async () => {
	const world = new World();
	const entered = world.link.enter({ user: "ann", pass: "p", signup: { nickName: "A" } });
	const { socket } = world;
	await socket.opened();
	assert.deepEqual(socket.last.CONTENT, { nickName: "A", userName: "ann", hashValue: "p" });
	const { MID } = socket.last;
	await socket.answer("RE_SIGNUP", "SF", MID);
	await socket.answer("RE_ERROR", "UNAVAILABLE: later", MID);
	assert.equal(socket.last.TYPE, "1");
	const again = socket.last.MID;
	await socket.answer("RE_SIGNUP", "SF", again);
	await socket.answer("RE_HEARTBEAT", "1", socket.last.MID);
	assert.equal(socket.last.TYPE, "2");
	await socket.answer("RE_SIGNUP", "LS");
	assert.equal(socket.last.TYPE, "TOKEN");
	await socket.answer("RE_TOKEN", "secret");
	assert.equal(await entered, "secret");
	assert.deepEqual(world.tokens, ["secret"]);
});

test("a wrong password is reported, and not tried again", async () => {
	const world = new World();
	const entered = world.link.enter({ user: "ann", pass: "p" });
	const wrong = assert.rejects(entered, { code: "WRONG_PASSWORD" });
	await world.socket.opened();
	await world.socket.answer("RE_SIGNUP", "LF");
	await world.socket.answer("RE_HEARTBEAT", "1");
	await wrong;
	assert.equal(world.link.state, "off");
	const away = world.link.enter({ user: "ann", pass: "p" });
	const caught = assert.rejects(away, { code: "AWAY" });
	await world.socket.breaks();
	await caught;
	await world.pass(3600_000);
	assert.equal(world.sockets.length, 2);
});

test("TOO_LARGE names no request: the largest fails, the others are sent again", async () => {
	const world = new World();
	await world.online();
	const small = world.link.submit("4", { messageId: "a", content: "x" });
	const large = world.link.submit("4", { messageId: "b", content: "x".repeat(1000) });
	const both = Promise.all([
		assert.rejects(small, { code: "AWAY" }),
		assert.rejects(large, { code: "TOO_LARGE" }),
	]);
	await world.socket.answer("RE_ERROR", "TOO_LARGE: too large", "");
	await world.socket.breaks();
	await both;
});

test("a server that stops is asked again after a random pause of some seconds", async () => {
	const world = new World();
	await world.online();
	await world.socket.answer("RE_ERROR", "SHUTTING_DOWN: bye", "");
	assert.equal(world.link.state, "waiting");
	assert.equal(world.link.retryAt - world.now, 3_000);
});

test("nothing that a server says breaks the connection's rules", async () => {
	const world = new World();
	await world.online();
	const odd = [
		...["", "x", "[]", "null", "{}", '{"TYPE":4}', '{"TYPE":"4","CONTENT":"["}'],
		'{"TYPE":"RE_ERROR","CONTENT":{"Content":{}}}',
		'{"TYPE":"RE_SIGNUP","CONTENT":{"MessageId":[],"Content":{}}}',
		'{"TYPE":"4","CONTENT":{"messageId":1,"sender":{}}}',
		'{"TYPE":"__proto__","CONTENT":{"MessageId":"__proto__","Content":"x"}}',
		'{"TYPE":"PRESENCE","CONTENT":{"online":true}}',
	];
	for (const data of odd) world.socket.onmessage({ data });
	world.socket.onmessage({ data: new ArrayBuffer(3) });
	assert.equal(world.link.state, "online");
	assert.equal(world.pushes.length, 0);
});
