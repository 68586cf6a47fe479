// The encryption of docs/e2e.md, in node's WebCrypto.

import assert from "node:assert/strict";
import test from "node:test";
import * as e2e from "../../web/e2e.js";

const [ann, bob] = await Promise.all([e2e.createKeys(), e2e.createKeys()]);
const annPublic = await e2e.readPublic(ann.keys.text);
const bobPublic = await e2e.readPublic(bob.keys.text);
const names = { sender: "ann", receiver: "bob", messageId: "m1" };

const seal = (text) =>
	e2e.seal({ ...names, text, own: ann.keys, ownPublic: annPublic, theirs: bobPublic });
const open = (content, more) => {
	const envelope = e2e.readEnvelope(content);
	return e2e.open({ user: "bob", ...names, envelope, own: bob.keys, signer: annPublic, ...more });
};

test("the recipe of the password's hash", async () => {
	assert.equal(
		await e2e.hashValue("vincent313", "correct horse battery staple"),
		"a9b0f17c173737ca17ae748396f900b3e9204b9bcc4de96042c78dd5adb98772",
	);
	assert.equal(await e2e.hashValue("a", "e\u0301", 1), await e2e.hashValue("a", "\u00e9", 1));
});

test("a message is read by its receiver and by its sender, and by nobody else", async () => {
	for (const text of ["", "hello", "😀 \u202e<script>", "\ufeffmark", "x".repeat(30000)]) {
		const content = await seal(text);
		assert.deepEqual(await open(content), { text });
		assert.deepEqual(await open(content, { user: "ann", own: ann.keys }), { text });
	}
	const eve = await e2e.createKeys();
	assert.deepEqual(await open(await seal("x"), { own: eve.keys }), { fault: "receiver" });
	const signer = await e2e.readPublic(eve.keys.text);
	assert.deepEqual(await open(await seal("x"), { signer }), { fault: "signer" });
});

test("an envelope that anybody changed is no genuine one", async () => {
	const content = await seal("hello");
	const envelope = JSON.parse(content);
	const other = JSON.parse(await seal("other"));
	for (const field of ["key", "own", "iv", "text", "sig", "self"]) {
		const changed = JSON.stringify({ ...envelope, [field]: other[field] });
		if (envelope[field] !== other[field]) {
			assert.deepEqual(await open(changed), { fault: "forged" }, field);
		}
		for (const junk of ["", "!", "AA", 7, null]) {
			const broken = JSON.stringify({ ...envelope, [field]: junk });
			assert.deepEqual(await open(broken), { fault: "forged" }, `${field} ${junk}`);
		}
	}
	for (const field of ["sender", "messageId"]) {
		assert.deepEqual(await open(content, { [field]: "eve" }), { fault: "forged" }, field);
	}
	assert.deepEqual(await open(content, { receiver: "eve" }), { fault: "receiver" });
	const readdressed = JSON.stringify({ ...envelope, to: ann.keys.encrypt });
	assert.deepEqual(await open(readdressed), { fault: "receiver" });
});

test("the receiver is checked first, and a friend's message is never read by its own copy", async () => {
	const eve = await e2e.createKeys();
	const evePublic = await e2e.readPublic(eve.keys.text);
	// Sealed for Eve, with Bob's key where Ann's own should be, and correctly signed.
	const content = await e2e.seal({
		...{ ...names, text: "x", own: { ...ann.keys, encrypt: bob.keys.encrypt } },
		...{ ownPublic: bobPublic, theirs: evePublic },
	});
	assert.deepEqual(await open(content), { fault: "receiver" });
	const both = await open(await seal("x"), { own: eve.keys, signer: evePublic });
	assert.deepEqual(both, { fault: "receiver" });
});

test("what is no envelope is plain text", () => {
	for (const text of ["hi", "{", "{}", "[]", '{"hongyan":1}', '"e2e1"', "", '{"hongyan":"e2e2"}']) {
		assert.equal(e2e.readEnvelope(text), null, text);
	}
});

const even = (n) => {
	const bytes = e2e.fromB64(n);
	bytes[bytes.length - 1] &= 254;
	return e2e.toB64(bytes);
};

test("public keys: others than the format's are none", async () => {
	const good = JSON.parse(ann.keys.text);
	assert.equal((await e2e.readPublic(JSON.stringify({ ...good, more: 1 }))).sign, ann.keys.sign);
	const bad = [
		...["", "24sdfqwrwer", "null", "[]", "{}", "x".repeat(9000)],
		JSON.stringify({ ...good, hongyan: 2 }),
		JSON.stringify({ ...good, encrypt: { ...good.encrypt, e: "Aw" } }),
		JSON.stringify({ ...good, sign: { ...good.sign, n: good.sign.n.slice(0, 200) } }),
		JSON.stringify({ ...good, sign: { ...good.sign, n: even(good.sign.n) } }),
		JSON.stringify({ ...good, sign: good.encrypt }),
		JSON.stringify({ ...good, sign: null }),
	];
	for (const text of bad) assert.equal(await e2e.readPublic(text), null, text.slice(0, 60));
});

test("the safety number is the same on both sides, and another for other keys", async () => {
	const one = { name: "ann", encrypt: ann.keys.encrypt, sign: ann.keys.sign };
	const two = { name: "bob", encrypt: bob.keys.encrypt, sign: bob.keys.sign };
	const number = await e2e.safetyNumber(one, two);
	assert.match(number, /^(\d{5} ){11}\d{5}$/);
	assert.equal(await e2e.safetyNumber(two, one), number);
	assert.notEqual(await e2e.safetyNumber({ ...two, sign: one.sign }, one), number);
});

test("a backup of the keys opens with its passphrase and for its user only", async () => {
	const text = await e2e.exportKeys("ann", ann.exportable, "correct horse battery");
	const { keys } = await e2e.importKeys("ann", text, "correct horse battery");
	assert.deepEqual([keys.encrypt, keys.sign], [ann.keys.encrypt, ann.keys.sign]);
	const sealed = await e2e.seal({
		...{ sender: "bob", receiver: "ann", messageId: "m2", text: "hi" },
		...{ own: bob.keys, ownPublic: bobPublic, theirs: annPublic },
	});
	const envelope = e2e.readEnvelope(sealed);
	const back = { user: "ann", sender: "bob", receiver: "ann", messageId: "m2" };
	assert.deepEqual(await e2e.open({ ...back, envelope, own: keys, signer: bobPublic }), {
		text: "hi",
	});
	await assert.rejects(e2e.importKeys("ann", text, "wrong"), { message: "passphrase" });
	await assert.rejects(e2e.importKeys("bob", text, "x"), { message: "user" });
	const file = JSON.parse(text);
	for (const rounds of [1, 599_999, 10_000_001, 1e99, "600000"]) {
		const odd = JSON.stringify({ ...file, rounds });
		await assert.rejects(e2e.importKeys("ann", odd, "x"), { message: "file" });
	}
	await assert.rejects(e2e.importKeys("ann", "junk", "x"), { message: "file" });
});

test("private keys in the database cannot be read out", () => {
	assert.equal(ann.keys.decryptKey.extractable, false);
	assert.equal(ann.keys.signingKey.extractable, false);
});
