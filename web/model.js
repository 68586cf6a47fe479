// The knowledge of one tab, which it shows: a copy of the database's peers, kept up to date by the
// events of the leader; and the actions of the user.

import { emit, call, on, tab, tell } from "./bus.js";
import { isListed, lastOf } from "./chat.js";
import * as e2e from "./e2e.js";
import { Keyring } from "./keyring.js";
import { ENVELOPE_BYTES_MAX, SYSTEM, TEXT_BYTES_MAX, byteLength, frame } from "./protocol.js";
import { UserStore, getValue, setValue } from "./store.js";

// Each sign-up that failed leaves a pair that nobody needs.
const KEPT_KEYS_MAX = 8;

let ring = null;

export const model = {
	user: null,
	store: null,
	peers: new Map(),
	online: new Set(),
	blocked: new Set(),
	status: { state: "off", retryAt: 0, sentence: "" },
	// Our own {profile, keys}, once the server has told.
	me: null,
	// How far the server's clock is ahead of ours, in ms.
	skew: 0,
	// The chat that is open, or "".
	open: "",
};

// --- Events from the leader

// Listens, and loads the session of this browser, if there is one.
export async function loadModel() {
	on("session", session);
	on("leader", greet);
	on("status", (status) => set({ status }));
	on("me", (me) => set({ me }));
	on("blocked", (names) => set({ blocked: new Set(names) }));
	on("presence", presence);
	on("peers", (peers) => {
		for (const peer of peers) if (model.store) model.peers.set(peer.name, peer);
		tell("list", new Set(peers.map((peer) => peer.name)));
	});
	const kept = await getValue("session");
	if (kept) await enter(kept.user);
}

function set(values) {
	Object.assign(model, values);
	tell("list", null);
}

async function greet() {
	const { status, online, me, skew, blocked } = await call("hello");
	set({ status, me, skew, online: new Set(online), blocked: new Set(blocked) });
	tell("status", status);
	look();
}

async function enter(user) {
	model.store?.close();
	model.store = await UserStore.open(user);
	ring = new Keyring(model.store, {});
	await ring.load();
	model.user = user;
	model.peers = new Map((await model.store.peers()).map((peer) => [peer.name, peer]));
}

async function session({ user, last, notice }) {
	// At once: the events of the new user follow.
	Object.assign(model, { me: null, online: new Set(), blocked: new Set(), open: "" });
	if (user) await enter(user);
	else {
		model.store?.close();
		ring = null;
		Object.assign(model, { store: null, user: null, peers: new Map() });
	}
	tell("entered", { last, notice });
}

function presence({ reset, changes }) {
	if (reset) model.online.clear();
	for (const [name, online] of changes) {
		if (online) model.online.add(name);
		else model.online.delete(name);
	}
	tell("list", null);
}

// --- Questions of the views

export const peerOf = (name) => model.peers.get(name) ?? null;

export const listed = () => [...model.peers.values()].filter(isListed);

export function requests() {
	const all = [...model.peers.values()];
	return {
		incoming: all.filter((peer) => peer.incoming),
		outgoing: all.filter((peer) => peer.outgoing && !peer.friend),
	};
}

export function unread() {
	let sum = 0;
	for (const peer of model.peers.values()) sum += peer.unread + (peer.incoming ? 1 : 0);
	return sum;
}

// Whether the keys that our profile shows are not, or not yet, those of this browser.
export const keysMissing = () => Boolean(model.me) && model.me.keys !== "ok";

export const canWrite = (peer) => peer.name !== SYSTEM && peer.friend && !peer.alert;

// The safety numbers with a peer: with the pinned keys, and with those that differ; "" if none.
export async function safetyNumbers({ name, keys, alert }) {
	// Another tab may have made or imported our keys.
	await ring.load();
	return {
		known: await ring.safetyNumber(name, keys?.text),
		changed: await ring.safetyNumber(name, alert?.text),
	};
}

export function problem(name, text) {
	const content = { messageId: tab, sender: model.user, receiver: name, content: text };
	const fits = byteLength(frame("4", content)) <= ENVELOPE_BYTES_MAX;
	return fits && byteLength(text) <= TEXT_BYTES_MAX ? null : "text.long";
}

// --- Actions of the user

export function look() {
	const shown = document.visibilityState === "visible";
	emit("view", { tab, peer: shown ? model.open : undefined });
	if (shown && peerOf(model.open)?.unread) change(model.open, { unread: 0 });
}

export function show(name) {
	model.open = name;
	look();
}

export async function change(name, values) {
	emit("peers", [await model.store.changePeer(name, (peer) => void Object.assign(peer, values))]);
}

export async function saveDraft(name, draft) {
	const peer = peerOf(name);
	if (peer && peer.draft !== draft) await change(name, { draft });
}

export async function send(name, text) {
	const row = { peer: name, id: crypto.randomUUID(), mine: true, kind: "text", text };
	row.time = Date.now() + model.skew;
	row.lock = peerOf(name)?.keys ? "ok" : "none";
	Object.assign(row, { state: "wait", open: name });
	const note = (peer) => Object.assign(peer, { last: lastOf(row), draft: "" });
	const { rows, peers } = await model.store.receive([{ row, judge: () => true, note }]);
	emit("peers", peers);
	emit("rows", rows);
	emit("flush", name);
}

export async function discard({ peer, seq }) {
	await model.store.removeRow(seq);
	emit("gone", { peer, seq });
}

// --- Account and keys

const hash = (password) => e2e.hashValue(model.user, password);

export async function logIn(user, password) {
	await call("enter", { user, pass: await e2e.hashValue(user, password) });
}

// Signs up with new keys. The answer: the keys' bytes, for one backup. `step` names the steps.
export async function signUp(user, password, nickName, step) {
	step("enter.keys");
	const pass = await e2e.hashValue(user, password);
	const { keys, exportable } = await e2e.createKeys();
	step("enter.account");
	await keepKeys(keys);
	await call("enter", { user, pass, signup: { nickName, rsaPublicKey: keys.text } });
	return exportable;
}

export async function changePassword(old, password) {
	await call("setPassword", { old: await hash(old), pass: await hash(password) });
}

export async function deleteAccount(password) {
	await call("deleteAccount", await hash(password));
}

// For the leader, and until a profile shows them: the answer to a sign-up may get lost.
async function keepKeys(keys) {
	const kept = (await getValue("made-keys")) ?? [];
	await setValue("made-keys", [...kept, keys].slice(-KEPT_KEYS_MAX));
}

// New keys for this account. The answer: their bytes, for one backup.
export async function makeKeys() {
	const { keys, exportable } = await e2e.createKeys();
	await publish(keys);
	return exportable;
}

export async function importKeys(text, passphrase) {
	await publish((await e2e.importKeys(model.user, text, passphrase)).keys);
}

// Publishes new keys, or again those of this browser.
export async function publish(keys) {
	if (keys) await keepKeys(keys);
	await call("publish", keys?.text);
	await ring.load();
}
