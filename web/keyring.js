// Which keys count: our own, and those of others, pinned when they were first seen. It decides what
// is encrypted to whom, and which messages are shown as genuine.

import { noteKeys } from "./chat.js";
import * as e2e from "./e2e.js";
import { ServerError } from "./protocol.js";

// A friend may publish other keys at any time, so keys that were read are not believed for long.
const FRESH_MS = 10_000;
const SUSPECT_MS = 1_000;

// A row's `lock` says what is known about a message:
//   ok          encrypted, and signed with the keys of its sender
//   none        plain, from somebody who has no keys
//   plain       plain, although its sender has keys
//   nokey       encrypted, and this browser has no keys
//   receiver    encrypted for other keys than this browser's
//   unverified  signed with keys that are not those known of its sender
//   forged      its signature or encryption is wrong
// These can change, and keep the content as it came (`raw`, `held`):
const HELD = new Set(["nokey", "receiver", "unverified"]);

export class Keyring {
	#store;
	#env;
	#read = new Map();
	#public = new Map();
	#peers = new Map();
	#ownPublic = null;
	// The last result of ownState; "" if our profile was not read since.
	#ownState = "";
	own = null;

	// `env`: profile(name), changed(peer), now().
	constructor(store, env) {
		this.#store = store;
		this.#env = env;
	}

	async load() {
		this.own = (await this.#store.keys()) ?? null;
		this.#ownPublic = this.own && (await e2e.readPublic(this.own.text));
	}

	async setOwn(keys) {
		await this.#store.setKeys(keys);
		this.#ownState = "";
		await this.load();
	}

	// Forgets when profiles were read: a new connection reads them again.
	forget() {
		this.#read.clear();
		this.#ownState = "";
	}

	// How our published keys and those of this browser fit: ok, none, missing, other, hidden.
	async ownState(text) {
		const published = await this.read(text);
		this.#ownState = this.#compare(published);
		return this.#ownState;
	}

	#compare(published) {
		if (!this.own) return published ? "missing" : "none";
		if (!published) return "hidden";
		const same = published.encrypt === this.own.encrypt && published.sign === this.own.sign;
		return same ? "ok" : "other";
	}

	async read(text) {
		if (!text) return null;
		if (!this.#public.has(text)) {
			if (this.#public.size >= 256) this.#public.clear();
			this.#public.set(text, await e2e.readPublic(text));
		}
		return this.#public.get(text);
	}

	// Reads the keys in a peer's profile, unless that was done just now. The answer: the peer.
	async check(name, fresh = FRESH_MS) {
		if (this.#env.now() - this.#read.get(name) < fresh) return this.#store.peer(name);
		const { rsaPublicKey: text } = await this.#env.profile(name);
		const found = await this.read(text);
		if (this.#read.size >= 10_000) this.#read.clear();
		this.#read.set(name, this.#env.now());
		let changed = false;
		const peer = await this.#store.changePins(name, (one) => {
			const before = JSON.stringify(one);
			noteKeys(one, found, text);
			return (changed = JSON.stringify(one) !== before);
		});
		if (changed) this.#env.changed(peer);
		return peer;
	}

	// The next messages that come in may be of peers that changed.
	begin() {
		this.#peers.clear();
	}

	// Fills in text and lock of a message that came in. `ask`: profiles may be asked for.
	async readInto(row, content, ask) {
		const { text = "", lock } = await this.#open(row, content, ask);
		Object.assign(row, { text, lock, raw: content, held: row.peer });
		if (HELD.has(lock)) return;
		delete row.raw;
		delete row.held;
	}

	async #open(row, content, ask) {
		const envelope = e2e.readEnvelope(content);
		const known = this.#peers.get(row.peer);
		let peer = known ?? (await this.#store.peer(row.peer));
		// Somebody whose keys are pinned is not asked for. A friend without keys who encrypts has made
		// some since.
		if (!known && !peer.keys && ask) {
			peer = await this.check(row.peer, envelope ? 0 : Infinity).catch((error) => {
				if (error instanceof ServerError) return peer;
				throw error;
			});
		}
		this.#peers.set(row.peer, peer);
		if (!envelope) {
			if (peer.keys && ask) await this.#suspect(row.peer);
			return { text: content, lock: peer.keys ? "plain" : "none" };
		}
		if (!this.own) return { lock: "nokey" };
		const signer = await this.read(peer.keys?.text);
		if (!signer) return { lock: "unverified" };
		const { user } = this.#store;
		const names = { user, sender: row.peer, receiver: user, messageId: row.id };
		const { text, fault } = await e2e.open({ ...names, envelope, own: this.own, signer });
		if (fault === undefined) return { text, lock: "ok" };
		if (fault !== "signer") return { lock: fault };
		if (ask) await this.#suspect(row.peer);
		return { lock: "unverified" };
	}

	// No keys, or others than the pinned ones: if the profile says so, too, the user is warned.
	async #suspect(name) {
		await this.check(name, SUSPECT_MS).catch(() => {});
	}

	// The content of a message of ours: {content, lock}. Fails if it must not be sent.
	async seal({ peer: name, id, text }) {
		const { alert, keys } = await this.check(name);
		if (alert) throw new ServerError("KEYS_CHANGED");
		if (!keys) return { content: text, lock: "none" };
		// Signed with keys that our profile does not show, it would be taken for a forgery.
		const { user } = this.#store;
		const state = this.#ownState || (await this.ownState((await this.#env.profile(user)).rsaPublicKey));
		if (state !== "ok") throw new ServerError("NO_KEYS_HERE");
		const names = { sender: user, receiver: name, messageId: id };
		const theirs = await this.read(keys.text);
		const all = { own: this.own, ownPublic: this.#ownPublic, theirs };
		return { content: await e2e.seal({ ...names, text, ...all }), lock: "ok" };
	}

	async safetyNumber(name, text) {
		const found = await this.read(text);
		if (!this.own || !found) return "";
		const us = { name: this.#store.user, encrypt: this.own.encrypt, sign: this.own.sign };
		return e2e.safetyNumber(us, { name, encrypt: found.encrypt, sign: found.sign });
	}
}
