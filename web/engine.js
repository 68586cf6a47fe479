// The work of the leading tab for all tabs: it holds the connection, stores each push before it
// acks it, and sends the messages that wait. Other tabs call it over the bus and hear of every
// change.

import { emit, on, tab } from "./bus.js";
import { afterFailure, afterRoster, agreeKeys, isNew, lastOf, noteRow, rowOf } from "./chat.js";
import { Keyring } from "./keyring.js";
import { Link, backoff } from "./link.js";
import { SYSTEM, ServerError, readBlocked, readProfile, readRoster } from "./protocol.js";
import { UserStore, getValue, removeUser, setValue } from "./store.js";

const BATCH = 256;
const ROSTER_PAUSE_MS = 1_000;
const PASSWORD_MS = 45_000;
const TOKEN_AGE_MS = 7 * 24 * 3600_000;

const link = new Link(
	{
		open: () => new WebSocket(new URL("./", location.href).href.replace(/^http/, "ws"), "hongyan"),
		now: () => Date.now(),
		random: Math.random,
		setTimer: (f, ms) => setTimeout(f, ms),
		clearTimer: (id) => clearTimeout(id),
		id: () => crypto.randomUUID(),
	},
	{
		state: stateChanged,
		push: pushed,
		presence: (name, state) => presence([[name, state]]),
		token: keepToken,
		clock: (ms) => Number.isFinite(ms) && (skew = ms - Date.now()),
	},
);

let store = null;
let ring = null;
let me = null;
// The users whom this one blocks.
let blocked = [];
let skew = 0;
const online = new Set();
const views = new Map();

// Continues the session of this browser, if there is one. The answer: the functions that tabs may
// call.
export async function startEngine() {
	on("view", ({ tab: who, peer }) => {
		if (peer === undefined) views.delete(who);
		else views.set(who, peer);
		checkViews();
	});
	on("flush", send);
	on("nudge", () => link.nudge());
	await resume();
	return {
		hello: () => ({ status: status(), online: [...online], me, skew, blocked }),
		find: profile,
		check: (name) => ring.check(name),
		...{ enter, logout, useHere, ask, drop, answer, block, retry },
		...{ setProfile, setPassword, deleteAccount, publish, agree },
	};
}

// --- Session

async function resume() {
	const session = await getValue("session");
	if (!session?.token) return;
	await begin(session.user);
	link.resume(session);
}

async function begin(user) {
	const base = await UserStore.open(user);
	const keys = new Keyring(base, {
		profile,
		changed: keysChanged,
		now: () => performance.now(),
	});
	await keys.load();
	[store, ring, me, blocked] = [base, keys, null, []];
}

function leave() {
	link.stop();
	store?.close();
	store = ring = me = null;
	queue.length = 0;
}

async function end(notice, remove) {
	const user = store?.user;
	leave();
	// The chats that were open are none of the next user's.
	views.clear();
	await setValue("session", null);
	if (user && remove) await removeUser(user);
	emit("session", { user: null, last: remove ? "" : user, notice });
}

let entering = Promise.resolve();

// One after another: two tabs may ask at the same time, for two users.
function enter(login) {
	entering = entering.catch(() => {}).then(() => enterNow(login));
	return entering;
}

async function enterNow({ user, pass, signup }) {
	// Messages to this user must not be stored, and then acked, in another user's database.
	leave();
	let token;
	try {
		token = await link.enter({ user, pass, signup });
		await begin(user);
	} catch (error) {
		link.stop();
		await resume();
		throw error;
	}
	await setValue("session", { user, token, tokenAt: Date.now() });
	emit("session", { user });
	connected();
	// Pushes that came before the database was open.
	drain();
}

// Keys that a tab has made or imported. They come by the database, since a browser may not let
// private keys into a message between tabs. The answer: whether they are there.
async function takeKeys(text) {
	const kept = (await getValue("made-keys")) ?? [];
	const made = kept.find((keys) => keys.text === text);
	if (!made) return false;
	await ring.setOwn(made);
	const others = kept.filter((keys) => keys.text !== text);
	await setValue("made-keys", others.length > 0 ? others : null);
	return true;
}

async function logout({ remove, force }) {
	await link.ask("TOKEN", { want: "revoke" }).catch((error) => {
		if (!force) throw error;
	});
	await end("out", remove);
}

async function useHere() {
	if (link.state === "replaced" || link.state === "refused") link.resume(await getValue("session"));
}

async function keepToken(token) {
	const session = await getValue("session");
	// At the first log-in there is no session yet: enter() stores it.
	if (session?.user === link.user) await setValue("session", { ...session, token, tokenAt: Date.now() });
}

const status = () => ({ state: link.state, retryAt: link.retryAt, sentence: link.sentence });

function stateChanged() {
	if (link.state !== "online" && online.size > 0) {
		online.clear();
		emit("presence", { reset: true, changes: [] });
	}
	emit("status", status());
	if (store && link.state === "online") connected();
	if (store && link.state === "expired") end("expired", false);
}

async function connected() {
	const now = store;
	try {
		ring.forget();
		await readMe();
		await roster();
		// A server from before BLOCK has nobody blocked.
		await block({}).catch((error) => {
			if (error.code !== "UNKNOWN_TYPE") throw error;
		});
		await readHeld();
		checkViews();
		for (const name of await now.peersIn("open")) send(name);
		if (Date.now() - (await getValue("session")).tokenAt > TOKEN_AGE_MS) link.renewToken();
	} catch (error) {
		// The connection was lost, or the session ended, in the middle of it.
		if (!(error instanceof ServerError) && store === now) throw error;
	}
}

// --- Profiles and keys

// Users who look at a chat see that the friend's keys changed before they write.
function checkViews() {
	if (!store || link.state !== "online") return;
	for (const name of views.values()) {
		if (name && name !== SYSTEM) ring.check(name).catch(() => {});
	}
}

// With keys that were not known before, messages that were held can be read.
function keysChanged(peer) {
	emit("peers", [peer]);
	readHeldOf(peer.name).catch(() => {});
}

async function profile(name) {
	return readProfile((await link.ask("3", name)).value);
}

async function readMe() {
	const own = await profile(link.user);
	const text = own.rsaPublicKey;
	let keys = await ring.ownState(text);
	// The keys of a sign-up. If its answer got lost, these are still the only ones.
	if (keys !== "ok" && (await takeKeys(text))) keys = await ring.ownState(text);
	me = { profile: own, keys };
	emit("me", me);
}

async function setProfile(fields) {
	await link.ask("PROFILE", fields);
	await readMe();
}

// Publishes keys that a tab has just made or imported, or those of this browser again.
async function publish(text) {
	await takeKeys(text);
	if (me?.profile.rsaPublicKey !== ring.own.text) {
		await link.ask("PROFILE", { rsaPublicKey: ring.own.text });
	}
	await readMe();
	await readHeld();
}

// The user agrees to a peer's other keys: to those that they saw, and no others.
async function agree(name, text) {
	const found = await ring.read(text);
	const same = (peer) => void (peer.alert?.text === text && agreeKeys(peer, found));
	emit("peers", [await store.changePins(name, same)]);
	await readHeldOf(name);
}

async function setPassword({ old, pass }) {
	await link.ask("PASSWORD", { old, new: pass }, PASSWORD_MS);
	link.usePassword(pass);
	await link.renewToken();
}

async function deleteAccount(pass) {
	await link.ask("ACCOUNT", { want: "delete", PASS: pass }, PASSWORD_MS);
	await end("deleted", true);
}

// --- Friends

let rosterTimer = 0;

async function roster() {
	clearTimeout(rosterTimer);
	const now = store;
	const found = { friends: new Map(), incoming: new Map(), outgoing: new Map(), cut: false };
	let after;
	do {
		const answered = await link.ask("ROSTER", { after, watch: true }).catch((error) => {
			// A server from before ROSTER: friends are those whom this browser knows.
			if (error.code !== "UNKNOWN_TYPE") throw error;
		});
		if (!answered) return;
		const page = readRoster(answered.value);
		for (const kind of ["friends", "incoming", "outgoing"]) {
			for (const item of page[kind]) found[kind].set(item.name, item);
		}
		found.cut ||= page.incoming.length >= 100 || page.outgoing.length >= 100;
		after = page.more ? page.friends.at(-1)?.name : undefined;
	} while (after !== undefined);
	if (store !== now) return;
	const names = [found.friends, found.incoming, found.outgoing].flatMap((map) => [...map.keys()]);
	emit("peers", await store.changePeers(names, (peer, old) => afterRoster(peer, old, found)));
	const ended = [...online].filter((name) => !found.friends.has(name)).map((name) => [name, false]);
	presence([...ended, ...[...found.friends.values()].map((one) => [one.name, one.online])]);
}

function rosterSoon() {
	clearTimeout(rosterTimer);
	rosterTimer = setTimeout(() => roster().catch(() => {}), ROSTER_PAUSE_MS);
}

function presence(states) {
	const changes = states.filter(([name, state]) => online.has(name) !== state);
	for (const [name, state] of changes) {
		if (state) online.add(name);
		else online.delete(name);
	}
	if (changes.length > 0) emit("presence", { reset: false, changes });
}

async function friendship(name, more, change) {
	const names = { sender: link.user, receiver: name };
	const request = { messageId: crypto.randomUUID(), ...names, content: "", ...more };
	const { value } = await link.submit("6", request);
	const time = Number(value);
	emit("peers", [await store.changePeer(name, (peer) => change(peer, time, request))]);
	rosterSoon();
}

const ask = (name, text) =>
	friendship(name, { content: text, type: "1" }, (peer, time, request) => {
		if (!peer.friend) peer.outgoing ??= { id: request.messageId, text, time };
	});

// Ends a friendship, or withdraws a request of ours.
const drop = (name) =>
	friendship(name, { type: "4" }, (peer) => void Object.assign(peer, { friend: false, outgoing: null }));

async function answer(name, accept) {
	const { incoming } = await store.peer(name);
	const names = { messageId: incoming?.id ?? "", sender: name, receiver: link.user };
	try {
		await friendship(name, { ...names, type: accept ? "2" : "3" }, (peer) => {
			peer.incoming = null;
			if (accept) Object.assign(peer, { friend: true, outgoing: null });
		});
	} catch (error) {
		if (error.code === "NO_SUCH_REQUEST") {
			emit("peers", [await store.changePeer(name, (peer) => void (peer.incoming = null))]);
			rosterSoon();
		}
		throw error;
	}
}

// {block: name}, {unblock: name} or {}. The answer: all who are blocked.
async function block(request) {
	const now = store;
	const { value } = await link.ask("BLOCK", request);
	if (store !== now) throw new ServerError("AWAY");
	blocked = readBlocked(value);
	emit("blocked", blocked);
	if (request.block) {
		const gone = { friend: false, incoming: null, outgoing: null };
		const peer = await store.changePeer(request.block, (one) => void Object.assign(one, gone));
		emit("peers", [peer]);
		rosterSoon();
	}
	return blocked;
}

// --- Incoming pushes

const queue = [];
let draining = false;

function pushed(push) {
	queue.push(push);
	drain();
}

async function drain() {
	if (draining) return;
	draining = true;
	try {
		while (queue.length > 0 && store) await receive(queue.splice(0, BATCH));
	} catch (error) {
		// Not stored, so not acked: the server sends it again.
		queue.length = 0;
		console.error("A push could not be stored.", error);
		emit("trouble");
	}
	draining = false;
}

async function receive(pushes) {
	const now = store;
	const seen = new Set(views.values());
	const items = [];
	ring.begin();
	for (const push of pushes) {
		const row = rowOf(push);
		if (!row) continue;
		if (row.kind === "text") await ring.readInto(row, push.content, true);
		const judge = (same) => isNew(row, same);
		items.push({ row, judge, note: (peer) => noteRow(peer, row, seen.has(row.peer)) });
	}
	if (store !== now) return;
	const { rows, peers } = await now.receive(items);
	if (store !== now) return;
	for (const push of pushes) link.ack(push.id, push.sender);
	if (rows.length === 0) return;
	emit("peers", peers);
	emit("rows", rows);
	emit("arrived", { rows, visible: views.size > 0, leader: tab });
	// Nobody is told that a friendship ended, but a friend has nothing to ask for.
	const friends = new Set(peers.filter((peer) => peer.friend).map((peer) => peer.name));
	const ended = ({ kind, peer }) => kind === "ask" && friends.has(peer);
	if (rows.some((row) => row.kind === "accept" || ended(row))) rosterSoon();
}

async function readHeld() {
	for (const name of await store.peersIn("held")) await readHeldOf(name);
}

async function readHeldOf(name) {
	const changed = [];
	ring.begin();
	for (const row of await store.heldRows(name)) {
		const { lock } = row;
		await ring.readInto(row, row.raw, false);
		if (row.lock === lock) continue;
		await store.putRow(row);
		changed.push(row);
	}
	if (changed.length === 0) return;
	emit("rows", changed);
	const note = (peer) => {
		const last = changed.find((row) => row.seq === peer.last?.seq);
		if (last) peer.last = lastOf(last);
	};
	emit("peers", [await store.changePeer(name, note)]);
}

// --- Outgoing messages

// The peers to whom messages are being sent; true if more were written meanwhile.
const sending = new Map();

// One message at a time to each friend, so that they arrive in the order in which they were
// written, whatever happens to one of them.
async function send(name) {
	if (sending.has(name)) return void sending.set(name, true);
	const now = store;
	let tries = 0;
	try {
		do {
			sending.set(name, false);
			for (;;) {
				const row = link.state === "online" && store === now && (await now.firstOpen(name));
				if (!row) break;
				const { state, pause } = await sendOne(now, row);
				if (!pause && state === "wait") break;
				tries = pause ? tries + 1 : 0;
				if (pause) await new Promise((go) => setTimeout(go, backoff(tries - 1, Math.random)));
			}
		} while (sending.get(name));
	} catch (error) {
		// Logged out in the middle of it.
		if (store !== now) return;
		console.error("The result of a message could not be stored.", error);
		emit("trouble");
	} finally {
		sending.delete(name);
	}
}

async function sendOne(now, row) {
	const set = async (state, values) => {
		const changed = await now.changeRow(row.seq, (old) => {
			Object.assign(old, values, { state });
			if (state === "safe" || state === "failed") delete old.open;
		});
		if (changed) emit("rows", [changed]);
	};
	try {
		const { content, lock } = await ring.seal(row);
		await set("sent", { lock, reason: "" });
		const names = { sender: now.user, receiver: row.peer };
		await link.submit("4", { messageId: row.id, ...names, content });
	} catch (error) {
		if (store !== now) throw error;
		if (!(error instanceof ServerError)) console.error("A message was not sent.", error);
		const reason = error.code ?? "BAD_FIELD";
		const result = afterFailure(reason);
		await set(result.state, { reason });
		if (reason === "NOT_FRIENDS") rosterSoon();
		return result;
	}
	// If this fails, the message stays one to be sent again, under its id. It did not fail.
	await set("safe");
	return { state: "safe" };
}

async function retry(seq) {
	const row = await store.changeRow(seq, (old) => {
		if (old.state === "failed") Object.assign(old, { state: "wait", open: old.peer, reason: "" });
	});
	if (!row) return;
	emit("rows", [row]);
	send(row.peer);
}
