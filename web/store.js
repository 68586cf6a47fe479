// The data that this browser keeps, in IndexedDB: one database for the session and the settings,
// and one for each user with their friends, messages and keys.

const STRICT = { durability: "strict" };

const done = (request) =>
	new Promise((resolve, reject) => {
		request.onsuccess = () => resolve(request.result);
		request.onerror = () => reject(request.error);
	});

async function openBase(name, upgrade) {
	const request = indexedDB.open(name, 1);
	request.onupgradeneeded = () => upgrade(request.result);
	const base = await done(request);
	// Another tab deletes it (log-out) or has a newer page.
	base.onversionchange = () => base.close();
	return base;
}

// Does `act` with object stores in one transaction. The answer comes when all is written.
async function write(base, names, act, options) {
	const transaction = base.transaction(names, "readwrite", options);
	const finished = new Promise((resolve, reject) => {
		transaction.oncomplete = resolve;
		transaction.onabort = () => reject(transaction.error ?? new Error("aborted"));
	});
	const [result] = await Promise.all([
		act(...names.map((name) => transaction.objectStore(name))),
		finished,
	]);
	return result;
}

// Goes through what a cursor finds until `take(cursor)` is false. It moves the cursor, too.
const walk = (request, take) =>
	new Promise((resolve, reject) => {
		request.onerror = () => reject(request.error);
		request.onsuccess = () => (!request.result || take(request.result) === false) && resolve();
	});

// --- Session and settings

let meta;
const metaBase = () => (meta ??= openBase("hongyan", (base) => base.createObjectStore("values")));

export async function getValue(key) {
	return done((await metaBase()).transaction("values").objectStore("values").get(key));
}

export async function setValue(key, value) {
	const act = (values) => void (value === null ? values.delete(key) : values.put(value, key));
	await write(await metaBase(), ["values"], act, STRICT);
}

const baseOf = (user) => `hongyan/${user}`;

export const removeUser = (user) => done(indexedDB.deleteDatabase(baseOf(user)));

// --- One user

const newPeer = (name) => ({
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
	last: null, // the newest message, for the list
});

function create(base) {
	const rows = base.createObjectStore("rows", { keyPath: "seq", autoIncrement: true });
	// Only rows that have such keys are in an index: "open" are to be sent, "held" not readable yet.
	for (const [name, one, two] of [
		["chat", "peer", "seq"],
		["id", "peer", "id"],
		["open", "open", "seq"],
		["held", "held", "seq"],
	]) {
		rows.createIndex(name, [one, two]);
	}
	base.createObjectStore("peers", { keyPath: "name" });
	base.createObjectStore("keys");
}

const all = (name) => IDBKeyRange.bound([name, 0], [name, Infinity]);

export class UserStore {
	#base;

	static async open(user) {
		const store = new UserStore();
		store.user = user;
		store.#base = await openBase(baseOf(user), create);
		return store;
	}

	close() {
		this.#base.close();
	}

	#read(name) {
		return this.#base.transaction(name).objectStore(name);
	}

	keys() {
		return done(this.#read("keys").get("own"));
	}

	setKeys(keys) {
		return write(this.#base, ["keys"], (own) => void own.put(keys, "own"), STRICT);
	}

	peers() {
		return done(this.#read("peers").getAll());
	}

	async peer(name) {
		return (await done(this.#read("peers").get(name))) ?? newPeer(name);
	}

	// Changes one peer in one transaction. `change` edits it, or is false if nothing is to be stored.
	// The answer is the peer.
	changePeer(name, change, options) {
		const act = async (peers) => {
			const peer = (await done(peers.get(name))) ?? newPeer(name);
			if (change(peer) !== false) peers.put(peer);
			return peer;
		};
		return write(this.#base, ["peers"], act, options);
	}

	// The same for a peer's keys: a pin that a crash takes back would be made anew, of other keys.
	changePins(name, change) {
		return this.changePeer(name, change, STRICT);
	}

	// Changes all peers and new ones. `change(peer, old)` gives what to store, or null.
	changePeers(names, change) {
		return write(this.#base, ["peers"], async (peers) => {
			const old = new Map((await done(peers.getAll())).map((peer) => [peer.name, peer]));
			const changed = [...new Set([...old.keys(), ...names])]
				.map((name) => change(old.get(name) ?? newPeer(name), old.get(name)))
				.filter(Boolean);
			for (const peer of changed) peers.put(peer);
			return changed;
		});
	}

	// Stores what came in, before it is acked. For each item `judge(same)` sees the rows that have
	// its id and peer, and says whether it is new; `note(peer)` updates the peer.
	// The answer: {rows, peers} as they were stored.
	receive(items) {
		const act = async (rows, peers) => {
			// All reads at once, then all writes: one by one they take many times as long.
			const find = ({ row }) => done(rows.index("id").getAll([row.peer, row.id]));
			const same = await Promise.all(items.map(find));
			const fresh = [];
			items.forEach((item, i) => {
				const twin = ({ row }) => row.id === item.row.id && row.peer === item.row.peer;
				const here = fresh.filter(twin).map(({ row }) => row);
				if (item.judge([...same[i], ...here])) fresh.push(item);
			});
			const seqs = await Promise.all(fresh.map(({ row }) => done(rows.add(row))));
			const names = [...new Set(fresh.map(({ row }) => row.peer))];
			const old = await Promise.all(names.map((name) => done(peers.get(name))));
			const changed = new Map(names.map((name, i) => [name, old[i] ?? newPeer(name)]));
			fresh.forEach(({ row, note }, i) => {
				row.seq = seqs[i];
				note(changed.get(row.peer));
			});
			for (const peer of changed.values()) peers.put(peer);
			return { rows: fresh.map(({ row }) => row), peers: [...changed.values()] };
		};
		return write(this.#base, ["rows", "peers"], act, STRICT);
	}

	// Changes one row. `change` edits it. The answer is the row, or undefined if it is gone.
	changeRow(seq, change) {
		return write(this.#base, ["rows"], async (rows) => {
			const row = await done(rows.get(seq));
			if (!row) return;
			change(row);
			rows.put(row);
			return row;
		});
	}

	putRow(row) {
		return write(this.#base, ["rows"], (rows) => void rows.put(row));
	}

	removeRow(seq) {
		return write(this.#base, ["rows"], (rows) => void rows.delete(seq));
	}

	#index(name) {
		return this.#read("rows").index(name);
	}

	// The first message to a peer that waits for the server, or undefined.
	async firstOpen(peer) {
		return (await done(this.#index("open").getAll(all(peer), 1)))[0];
	}

	heldRows(peer) {
		return done(this.#index("held").getAll(all(peer)));
	}

	async peersIn(name) {
		const peers = [];
		await walk(this.#index(name).openKeyCursor(), (cursor) => {
			peers.push(cursor.key[0]);
			// On to the next peer: a text sorts behind every number.
			cursor.continue([cursor.key[0], ""]);
		});
		return peers;
	}

	// At most `limit` rows of a chat, oldest first: those before or after a row, or the newest.
	async page(peer, { before = Infinity, after, limit }) {
		if (after !== undefined) {
			const range = IDBKeyRange.bound([peer, after], [peer, Infinity], true);
			return done(this.#index("chat").getAll(range, limit));
		}
		const rows = [];
		const range = IDBKeyRange.bound([peer, 0], [peer, before], false, true);
		await walk(this.#index("chat").openCursor(range, "prev"), (cursor) => {
			rows.unshift(cursor.value);
			return rows.length < limit && cursor.continue();
		});
		return rows;
	}

	// The newest messages that contain a text, of all chats. `cancelled()` ends it early.
	async search(words, limit, cancelled) {
		const needle = words.toLocaleLowerCase();
		const found = [];
		await walk(this.#read("rows").openCursor(null, "prev"), (cursor) => {
			const row = cursor.value;
			if (row.text.toLocaleLowerCase().includes(needle)) found.push(row);
			return found.length < limit && !cancelled() && cursor.continue();
		});
		return found;
	}
}
