// Which keys count, with a database and profiles of the test's own.

import assert from "node:assert/strict";
import test from "node:test";
import * as e2e from "../../web/e2e.js";
import { Keyring } from "../../web/keyring.js";

const [ann, other, bob] = await Promise.all([e2e.createKeys(), e2e.createKeys(), e2e.createKeys()]);

class Store {
	user = "ann";
	own = null;
	peers = new Map();

	async keys() {
		return this.own;
	}

	async setKeys(keys) {
		this.own = keys;
	}

	async peer(name) {
		return structuredClone(this.peers.get(name) ?? { name, keys: null, alert: null, plain: false });
	}

	async changePins(name, change) {
		const peer = await this.peer(name);
		change(peer);
		this.peers.set(name, peer);
		return peer;
	}
}

/** Ann's keyring, and the profiles that the server shows. */
async function world(own, profiles) {
	const asked = [];
	const profile = async (name) => {
		asked.push(name);
		return { rsaPublicKey: profiles[name] };
	};
	const ring = new Keyring(new Store(), { profile, changed: () => {}, now: () => 0 });
	if (own) await ring.setOwn(own);
	return { ring, asked };
}

const row = { peer: "bob", id: "m1", text: "hello" };
const refused = { code: "NO_KEYS_HERE" };

test("only keys that the own profile shows encrypt and sign", async () => {
	const profiles = { ann: ann.keys.text, bob: bob.keys.text };
	const { ring, asked } = await world(ann.keys, profiles);
	assert.equal((await ring.seal(row)).lock, "ok");
	await ring.seal(row);
	assert.deepEqual(asked, ["bob", "ann"], "the own profile is read once for a connection");
	profiles.ann = other.keys.text;
	ring.forget();
	await assert.rejects(ring.seal(row), refused);
	await ring.setOwn(other.keys);
	const { content } = await ring.seal(row);
	const envelope = e2e.readEnvelope(content);
	assert.deepEqual([envelope.from, envelope.self], [other.keys.sign, other.keys.encrypt]);
	for (const hidden of ["", "no keys"]) {
		profiles.ann = hidden;
		ring.forget();
		await assert.rejects(ring.seal(row), refused);
	}
	await assert.rejects((await world(null, profiles)).ring.seal(row), refused);
});

test("a friend without keys gets plain text, whatever keys there are here", async () => {
	const { ring } = await world(ann.keys, { ann: other.keys.text, bob: "" });
	assert.deepEqual(await ring.seal(row), { content: "hello", lock: "none" });
});
