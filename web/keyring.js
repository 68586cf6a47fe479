// Which keys count: our own, and those of others, pinned when they were first seen. It decides what
// is encrypted to whom, and which messages are shown as genuine.

import { noteKeys } from "./chat.js";
import * as e2e from "./e2e.js";
import { ServerError } from "./protocol.js";

const FRESH_MS = 60_000;

// A row's `lock` says what is known about a message:
//   ok          encrypted, and signed with the keys of its sender
//   none        plain, from somebody who has no keys
//   plain       plain, although its sender has keys
//   nokey       encrypted, and this browser has no keys
//   receiver    encrypted for other keys than this browser's
//   unverified  signed with keys that are not those known of its sender
//   forged      its signature or encryption is wrong
// All but ok, none, plain and forged can change, and keep the content as it came (`raw`, `held`).
const HELD = new Set(["nokey", "receiver", "unverified"]);

export class Keyring {
	#store;
	#env;
	#read = new Map();
	#public = new Map();
	#ownPublic = null;
	own = null;

	/** `env`: profile(name), changed(peer), now(). */
	constructor(store, env) {
		this.#store = store;
		this.#env = env;
	}

	async load() {
		await this.#useOwn(await this.#store.keys());
	}

	async setOwn(keys) {
		await this.#store.setKeys(keys);
		await this.#useOwn(keys);
	}

	async #useOwn(keys) {
		this.own = keys ?? null;
		this.#ownPublic = keys ? await e2e.readPublic(keys.text) : null;
	}

	/** Forgets when profiles were read: a new connection reads them again. */
	forget() {
		this.#read.clear();
	}

	/** How our published keys and those of this browser fit: ok, none, missing, other, hidden. */
	async ownState(text) {
		const published = await this.read(text);
		if (!this.own) return published ? "missing" : "none";
		if (!published) return "hidden";
		const same = published.encrypt === this.own.encrypt && published.sign === this.own.sign;
		return same ? "ok" : "other";
	}

	/** readPublic with a small memory: reading keys costs more than a message. */
	async read(text) {
		if (!text) return null;
		if (!this.#public.has(text)) {
			if (this.#public.size >= 256) this.#public.clear();
			this.#public.set(text, await e2e.readPublic(text));
		}
		return this.#public.get(text);
	}

	/** Reads the keys in a peer's profile, unless that was done just now. The answer: the peer. */
	async check(name, fresh = FRESH_MS) {
		const at = this.#read.get(name);
		if (at !== undefined && this.#env.now() - at < fresh) return this.#store.peer(name);
		const profile = await this.#env.profile(name);
		const found = await this.read(profile.rsaPublicKey);
		if (this.#read.size >= 10_000) this.#read.clear();
		this.#read.set(name, this.#env.now());
		let before;
		const peer = await this.#store.changePeer(name, (one) => {
			before = JSON.stringify(one);
			noteKeys(one, found, profile.rsaPublicKey);
		});
		if (JSON.stringify(peer) !== before) this.#env.changed(peer);
		return peer;
	}

	// The peer with keys pinned, if they have any. Somebody whose keys are pinned is not asked for.
	async #known(name, ask) {
		const peer = await this.#store.peer(name);
		if (peer.keys || !ask) return peer;
		return this.check(name, Infinity).catch((error) => {
			if (error instanceof ServerError) return peer;
			throw error;
		});
	}

	/** Fills in text and lock of a message that came in. `ask`: profiles may be asked for. */
	async readInto(row, content, ask) {
		const result = await this.#open(row, content, ask);
		row.text = result.text ?? "";
		row.lock = result.lock;
		if (HELD.has(row.lock)) Object.assign(row, { raw: content, held: row.peer });
		else {
			delete row.raw;
			delete row.held;
		}
	}

	async #open(row, content, ask) {
		const envelope = e2e.readEnvelope(content);
		const peer = await this.#known(row.peer, ask);
		if (!envelope) return { text: content, lock: peer.keys ? "plain" : "none" };
		if (!this.own) return { lock: "nokey" };
		const signer = await this.read(peer.keys?.text);
		if (!signer) return { lock: "unverified" };
		const names = { sender: row.peer, receiver: this.#store.user, messageId: row.id };
		const { text, fault } = await e2e.open({ ...names, envelope, own: this.own, signer });
		if (fault === undefined) return { text, lock: "ok" };
		if (fault !== "signer") return { lock: fault };
		// Other keys than the pinned ones: if the profile has them, too, the user is warned.
		if (ask) await this.check(row.peer, 10_000).catch(() => {});
		return { lock: "unverified" };
	}

	/** The content of a message of ours: {content, lock}. Fails if it must not be sent. */
	async seal(row) {
		const peer = await this.check(row.peer);
		if (peer.alert) throw new ServerError("KEYS_CHANGED");
		if (!peer.keys) return { content: row.text, lock: "none" };
		if (!this.own) throw new ServerError("NO_KEYS_HERE");
		const theirs = await this.read(peer.keys.text);
		const names = { sender: this.#store.user, receiver: row.peer, messageId: row.id };
		const own = { own: this.own, ownPublic: this.#ownPublic };
		return { content: await e2e.seal({ ...names, text: row.text, ...own, theirs }), lock: "ok" };
	}

	/** The safety number with a peer who has the keys in `text`, or "" if one of us has none. */
	async safetyNumber(name, text) {
		const found = await this.read(text);
		if (!this.own || !found) return "";
		const us = { name: this.#store.user, encrypt: this.own.encrypt, sign: this.own.sign };
		return e2e.safetyNumber(us, { name, encrypt: found.encrypt, sign: found.sign });
	}
}
