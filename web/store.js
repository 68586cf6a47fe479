// What this browser keeps, in IndexedDB: one database for the session and the settings, and one for
// each user with their friends, messages and keys.

const META = "hongyan";
const userBase = (user) => `hongyan/${user}`;

const done = (request) =>
	new Promise((resolve, reject) => {
		request.onsuccess = () => resolve(request.result);
		request.onerror = () => reject(request.error);
	});

const finished = (transaction) =>
	new Promise((resolve, reject) => {
		transaction.oncomplete = () => resolve();
		transaction.onabort = () => reject(transaction.error ?? new Error("aborted"));
	});

function openBase(name, version, upgrade) {
	const request = indexedDB.open(name, version);
	request.onupgradeneeded = () => upgrade(request.result);
	return done(request).then((base) => {
		// Another tab deletes it (log-out) or has a newer page.
		base.onversionchange = () => base.close();
		return base;
	});
}

// --- Session and settings -----------------------------------------------------------------------

let meta;

async function metaBase() {
	meta ??= openBase(META, 1, (base) => base.createObjectStore("values"));
	return meta;
}

/** A value of this browser: "session" is {user, token, tokenAt}. */
export async function getValue(key) {
	const base = await metaBase();
	return done(base.transaction("values").objectStore("values").get(key));
}

export async function setValue(key, value) {
	const base = await metaBase();
	const transaction = base.transaction("values", "readwrite", { durability: "strict" });
	const values = transaction.objectStore("values");
	if (value === null) values.delete(key);
	else values.put(value, key);
	await finished(transaction);
}

export async function removeUser(user) {
	await done(indexedDB.deleteDatabase(userBase(user)));
}

// --- One user -----------------------------------------------------------------------------------

export const newPeer = (name) => ({
	name,
	nick: "",
	picture: "",
	friend: false,
	incoming: null, // their request to us: {id, text, time}
	outgoing: null, // ours to them
	keys: null, // pinned on first use: {text, encrypt, sign}
	alert: null, // other keys than the pinned ones, not agreed to: {text} ("" if they have none now)
	plain: false, // they have published no keys
	safe: false, // the user compared the safety number
	draft: "",
	unread: 0,
	last: null, // the newest message, for the list: {seq, text, time, mine, kind, lock}
});

function createUser(base) {
	const rows = base.createObjectStore("rows", { keyPath: "seq", autoIncrement: true });
	rows.createIndex("chat", ["peer", "seq"]);
	rows.createIndex("id", ["peer", "id"]);
	// Only rows that have these keys are in these indexes.
	rows.createIndex("open", ["open", "seq"]);
	rows.createIndex("held", ["held", "seq"]);
	base.createObjectStore("peers", { keyPath: "name" });
	base.createObjectStore("keys");
}

export class UserStore {
	#base;

	static async open(user) {
		const store = new UserStore();
		store.user = user;
		store.#base = await openBase(userBase(user), 1, createUser);
		return store;
	}

	close() {
		this.#base.close();
	}

	#read(name) {
		return this.#base.transaction(name).objectStore(name);
	}

	/** Our own key pairs, or undefined. */
	keys() {
		return done(this.#read("keys").get("own"));
	}

	async setKeys(keys) {
		const transaction = this.#base.transaction("keys", "readwrite", { durability: "strict" });
		transaction.objectStore("keys").put(keys, "own");
		await finished(transaction);
	}

	peers() {
		return done(this.#read("peers").getAll());
	}

	async peer(name) {
		return (await done(this.#read("peers").get(name))) ?? newPeer(name);
	}

	/** Changes one peer in one transaction. `change` edits it; the answer is what was stored. */
	async changePeer(name, change) {
		const transaction = this.#base.transaction("peers", "readwrite");
		const peers = transaction.objectStore("peers");
		const peer = (await done(peers.get(name))) ?? newPeer(name);
		if (change(peer) !== false) peers.put(peer);
		await finished(transaction);
		return peer;
	}

	/** Stores changed peers of the roster. `change(old)` gives the new one, or null to keep it. */
	async changePeers(names, change) {
		const transaction = this.#base.transaction("peers", "readwrite");
		const peers = transaction.objectStore("peers");
		const old = new Map((await done(peers.getAll())).map((peer) => [peer.name, peer]));
		const changed = [];
		for (const name of new Set([...old.keys(), ...names])) {
			const peer = change(structuredClone(old.get(name) ?? newPeer(name)), old.get(name));
			if (!peer) continue;
			peers.put(peer);
			changed.push(peer);
		}
		await finished(transaction);
		return changed;
	}

	/**
	 * Stores what came in, before it is acked. For each item `judge(sameId)` sees the rows that have
	 * its id and sender, and says whether it is new; `note(peer, row)` updates the peer.
	 * The answer: {rows, peers} as they were stored.
	 */
	async receive(items) {
		const transaction = this.#base.transaction(["rows", "peers"], "readwrite", {
			durability: "strict",
		});
		const rows = transaction.objectStore("rows");
		const peers = transaction.objectStore("peers");
		const result = { rows: [], peers: new Map() };
		for (const { row, judge, note } of items) {
			const same = await done(rows.index("id").getAll([row.peer, row.id]));
			if (!judge(same)) continue;
			row.seq = await done(rows.add(row));
			let peer = result.peers.get(row.peer);
			peer ??= (await done(peers.get(row.peer))) ?? newPeer(row.peer);
			note(peer, row);
			result.peers.set(row.peer, peer);
			result.rows.push(row);
		}
		for (const peer of result.peers.values()) peers.put(peer);
		await finished(transaction);
		return { rows: result.rows, peers: [...result.peers.values()] };
	}

	/** Stores a message of our own, which waits to be sent. */
	add(row, note) {
		return this.receive([{ row, judge: () => true, note }]);
	}

	/** Changes one row. `change` edits it. The answer is the row, or null if it is gone. */
	async changeRow(seq, change) {
		const transaction = this.#base.transaction("rows", "readwrite");
		const rows = transaction.objectStore("rows");
		const row = await done(rows.get(seq));
		if (row && change(row) !== false) rows.put(row);
		await finished(transaction);
		return row ?? null;
	}

	async #write(act) {
		const transaction = this.#base.transaction("rows", "readwrite");
		act(transaction.objectStore("rows"));
		await finished(transaction);
	}

	putRow(row) {
		return this.#write((rows) => rows.put(row));
	}

	removeRow(seq) {
		return this.#write((rows) => rows.delete(seq));
	}

	/** The first message to a peer that waits for the server, or undefined. */
	async firstOpen(peer) {
		const range = IDBKeyRange.bound([peer, 0], [peer, Infinity]);
		return (await done(this.#read("rows").index("open").getAll(range, 1)))[0];
	}

	/** Messages of one peer that could not be read or verified yet. */
	heldRows(peer) {
		const range = IDBKeyRange.bound([peer, 0], [peer, Infinity]);
		return done(this.#read("rows").index("held").getAll(range));
	}

	/** The peers with rows in the index "open" (to be sent) or "held" (not readable yet). */
	async peersIn(name) {
		const peers = [];
		const request = this.#read("rows").index(name).openKeyCursor(null, "nextunique");
		await new Promise((resolve, reject) => {
			request.onerror = () => reject(request.error);
			request.onsuccess = () => {
				const cursor = request.result;
				if (!cursor) return resolve();
				const peer = cursor.key[0];
				peers.push(peer);
				// On to the next peer: a text sorts behind every number.
				cursor.continue([peer, ""]);
			};
		});
		return peers;
	}

	/** At most `limit` rows of a chat, oldest first: those before or after a row, or the newest. */
	async page(peer, { before = Infinity, after = null, limit = 60 }) {
		const index = this.#read("rows").index("chat");
		if (after !== null) {
			const range = IDBKeyRange.bound([peer, after], [peer, Infinity], true, true);
			return done(index.getAll(range, limit));
		}
		const range = IDBKeyRange.bound([peer, 0], [peer, before], false, true);
		const rows = [];
		const request = index.openCursor(range, "prev");
		await new Promise((resolve, reject) => {
			request.onerror = () => reject(request.error);
			request.onsuccess = () => {
				const cursor = request.result;
				if (!cursor || rows.length >= limit) return resolve();
				rows.push(cursor.value);
				cursor.continue();
			};
		});
		return rows.reverse();
	}

	/** The newest messages that contain a text, of all chats. `cancelled()` ends it early. */
	async search(words, limit, cancelled) {
		const needle = words.toLocaleLowerCase();
		const found = [];
		const request = this.#read("rows").openCursor(null, "prev");
		await new Promise((resolve, reject) => {
			request.onerror = () => reject(request.error);
			request.onsuccess = () => {
				const cursor = request.result;
				if (!cursor || found.length >= limit || cancelled()) return resolve();
				const row = cursor.value;
				if (row.text && row.text.toLocaleLowerCase().includes(needle)) found.push(row);
				cursor.continue();
			};
		});
		return found;
	}
}
