// Page and Rust library read each other: both read docs/e2e_vectors.json, which the library wrote,
// and docs/e2e_vectors_page.json, which the page wrote (UPDATE_VECTORS=1 makes new ones).

import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import test from "node:test";
import * as e2e from "../../web/e2e.js";

const path = (name) => new URL(`../../docs/${name}`, import.meta.url);

if (process.env.UPDATE_VECTORS) {
	writeFileSync(path("e2e_vectors_page.json"), `${JSON.stringify(await made(), null, 2)}\n`);
}

async function made() {
	const people = {};
	for (const name of ["ann", "bob"]) {
		const { keys, exportable } = await e2e.createKeys();
		people[name] = { name, own: keys, exportable, published: await e2e.readPublic(keys.text) };
	}
	const { ann, bob } = people;
	const said = ({ name, own, exportable }) => ({
		keys: {
			user: name,
			encrypt: e2e.toB64(exportable.encrypt),
			sign: e2e.toB64(exportable.sign),
		},
		rsaPublicKey: own.text,
		encryptKid: own.encrypt,
		signKid: own.sign,
	});
	const message = async (from, to, messageId, text) => {
		const names = { sender: from.name, receiver: to.name, messageId, text };
		const keys = { own: from.own, ownPublic: from.published, theirs: to.published };
		return { ...names, content: await e2e.seal({ ...names, ...keys }) };
	};
	const [passphrase, samePassphrase] = ["cafe\u0301 🪿", "caf\u00e9 🪿"];
	const number = ({ name, own }) => ({ name, encrypt: own.encrypt, sign: own.sign });
	return {
		about: "Vectors that the page wrote in the format of docs/e2e.md. Keys for tests only.",
		ann: said(ann),
		bob: said(bob),
		safetyNumber: await e2e.safetyNumber(number(ann), number(bob)),
		messages: [
			await message(ann, bob, "m1", "Only you can read this. 只有你能读。🪿"),
			await message(bob, ann, "m2", ""),
		],
		export: {
			passphrase,
			samePassphrase,
			file: await e2e.exportKeys("ann", ann.exportable, passphrase),
		},
	};
}

for (const name of ["e2e_vectors.json", "e2e_vectors_page.json"]) {
	const skip = !existsSync(path(name));
	reads(name, skip ? null : JSON.parse(readFileSync(path(name), "utf8")), { skip });
}

function reads(file, vectors, options) {
	async function person(name) {
		const { keys, rsaPublicKey } = vectors[name];
		const exportable = { encrypt: e2e.fromB64(keys.encrypt), sign: e2e.fromB64(keys.sign) };
		const own = (await e2e.keysOf(exportable)).keys;
		return { name, own, published: await e2e.readPublic(rsaPublicKey) };
	}

	test(`${file}: keys and their ids`, options, async () => {
		for (const name of ["ann", "bob"]) {
			const { own, published } = await person(name);
			const { encryptKid: encrypt, signKid: sign } = vectors[name];
			assert.deepEqual({ encrypt: own.encrypt, sign: own.sign }, { encrypt, sign });
			assert.deepEqual({ encrypt: published.encrypt, sign: published.sign }, { encrypt, sign });
		}
	});

	test(`${file}: messages are read by receiver and sender`, options, async () => {
		const people = { ann: await person("ann"), bob: await person("bob") };
		for (const { sender, receiver, messageId, content, text } of vectors.messages) {
			const envelope = e2e.readEnvelope(content);
			const signer = people[sender].published;
			for (const user of [receiver, sender]) {
				const names = { user, sender, receiver, messageId };
				const found = await e2e.open({ ...names, envelope, own: people[user].own, signer });
				assert.deepEqual(found, { text });
			}
			const other = { user: receiver, sender, receiver, messageId: `${messageId}x`, envelope };
			const moved = await e2e.open({ ...other, own: people[receiver].own, signer });
			assert.deepEqual(moved, { fault: "forged" });
		}
	});

	test(`${file}: the safety number`, options, async () => {
		const [ann, bob] = ["ann", "bob"].map((name) => {
			const { encryptKid: encrypt, signKid: sign } = vectors[name];
			return { name, encrypt, sign };
		});
		assert.equal(await e2e.safetyNumber(ann, bob), vectors.safetyNumber);
		assert.equal(await e2e.safetyNumber(bob, ann), vectors.safetyNumber);
	});

	test(`${file}: a backup of keys, and the passphrase in either form of Unicode`, options, async () => {
		const { file: text, passphrase, samePassphrase } = vectors.export;
		const { user } = JSON.parse(text);
		for (const words of [passphrase, samePassphrase]) {
			const { keys } = await e2e.importKeys(user, text, words);
			assert.equal(keys.encrypt, vectors[user].encryptKid);
			assert.equal(keys.sign, vectors[user].signKid);
		}
	});
}
