// The rules of a chat, and the frames, without browser or server.

import assert from "node:assert/strict";
import test from "node:test";
import * as chat from "../../web/chat.js";
import * as protocol from "../../web/protocol.js";

const UUID = "123e4567-e89b-42d3-a456-426614174000";
const row = (more) => ({ kind: "text", id: "1", time: 5, text: "hi", lock: "none", mine: false, ...more });

test("a push is known again by type, inner type, sender, messageId and time", () => {
	assert.equal(chat.isNew(row(), []), true);
	assert.equal(chat.isNew(row(), [row()]), false);
	assert.equal(chat.isNew(row(), [row({ kind: "ask" })]), true);
	assert.equal(chat.isNew(row({ time: 6 }), [row()]), true, "an id may come again");
	assert.equal(chat.isNew(row(), [row({ mine: true })]), true);
});

test("a message that a restarted server repeats with another time is shown once", () => {
	const first = row({ id: UUID });
	assert.equal(chat.isNew(row({ id: UUID, time: 6 }), [first]), false);
	assert.equal(chat.isNew(row({ id: UUID, time: 6, text: "other" }), [first]), true);
	const sealed = row({ lock: "ok" });
	assert.equal(chat.isNew(row({ lock: "ok", time: 6 }), [sealed]), false, "signed");
	assert.equal(chat.isNew(row({ time: 6 }), [sealed]), true, "plain under a signed id");
});

test("what becomes of a message whose sending failed", () => {
	assert.deepEqual(chat.afterFailure("UNAVAILABLE"), { state: "wait", pause: true });
	assert.deepEqual(chat.afterFailure("AWAY"), { state: "wait", pause: false });
	assert.deepEqual(chat.afterFailure("REPLACED"), { state: "wait", pause: false });
	for (const code of ["NOT_FRIENDS", "FULL", "BAD_FIELD", "TOO_LARGE", "KEYS_CHANGED"]) {
		assert.equal(chat.afterFailure(code).state, "failed", code);
	}
});

const peer = (more) => ({
	...{ name: "bob", nick: "", picture: "", friend: false, incoming: null, outgoing: null },
	...{ keys: null, alert: null, plain: false, safe: false, draft: "", unread: 0, last: null },
	...more,
});

test("requests and answers that come in change the peer", () => {
	const bob = peer({ outgoing: { id: "1" } });
	chat.noteRow(bob, row({ kind: "ask", text: "hello", seq: 1 }), false);
	assert.deepEqual(bob.incoming, { id: "1", text: "hello", time: 5 });
	chat.noteRow(bob, row({ kind: "accept", seq: 2 }), false);
	assert.equal(bob.friend, true);
	assert.equal(bob.incoming ?? bob.outgoing, null);
	assert.equal(bob.unread, 1);
	chat.noteRow(bob, row({ seq: 3 }), true);
	assert.equal(bob.unread, 1, "seen at once");
	assert.equal(bob.last.seq, 3);
});

test("the roster is the truth about friends and requests, if it is whole", () => {
	const roster = { friends: new Map(), incoming: new Map(), outgoing: new Map(), cut: false };
	const bob = peer({ friend: true, incoming: { id: "1" } });
	assert.deepEqual(chat.afterRoster(bob, bob, roster), peer());
	assert.equal(chat.afterRoster(peer(), peer(), roster), null, "nothing changed");
	const many = { ...roster, cut: true };
	assert.deepEqual(chat.afterRoster(bob, bob, many).incoming, { id: "1" });
});

test("keys are pinned on first use, and a change waits for the user", () => {
	const bob = peer();
	chat.noteKeys(bob, null, "");
	assert.equal(bob.plain, true);
	chat.noteKeys(bob, { encrypt: "e", sign: "s" }, "text");
	assert.deepEqual([bob.plain, bob.keys], [false, { text: "text", encrypt: "e", sign: "s" }]);
	chat.noteKeys(bob, { encrypt: "e", sign: "x" }, "other");
	assert.deepEqual(bob.alert, { text: "other" });
	assert.equal(bob.keys.sign, "s", "the pinned keys stay");
	chat.noteKeys(bob, { encrypt: "e", sign: "s" }, "text");
	assert.equal(bob.alert, null, "the old keys are back");
	chat.noteKeys(bob, null, "");
	assert.deepEqual(bob.alert, { text: "" }, "keys that disappear are a change, too");
	bob.safe = true;
	chat.agreeKeys(bob, null);
	assert.deepEqual([bob.keys, bob.alert, bob.plain, bob.safe], [null, null, true, false]);
});

test("the list: newest first, then by name", () => {
	const last = (seq) => ({ last: { seq } });
	const all = [peer({ name: "c" }), peer({ name: "b" }), peer({ name: "a", ...last(1) })];
	all.push(peer({ name: "d", ...last(2) }));
	assert.deepEqual(all.sort(chat.inOrder).map((one) => one.name), ["d", "a", "b", "c"]);
});

test("names are compared by bytes, as the server does", () => {
	const names = ["😀", "\u{ff01}", "b", "ab", "a"];
	assert.deepEqual(names.sort(protocol.compareBytes), ["a", "ab", "b", "\u{ff01}", "😀"]);
});

test("names that cannot be signed up", () => {
	const bad = { "": "empty", " a": "space", "a\u200bb": "odd", System: "system" };
	for (const [name, why] of Object.entries(bad)) {
		assert.equal(protocol.nameProblem(name), `name.${why}`);
	}
	assert.equal(protocol.nameProblem("😀".repeat(65)), "name.long");
	for (const name of ["ann", "张三", "😀".repeat(64), "a b"]) {
		assert.equal(protocol.nameProblem(name), null);
	}
});

test("only small pictures inside the profile are shown", () => {
	assert.ok(protocol.isPicture("data:image/png;base64,AAAA"));
	for (const text of [
		"https://example.com/a.png",
		"data:image/svg+xml;base64,AAAA",
		"data:text/html;base64,AAAA",
		"data:image/png;base64,AA\nAA",
		`data:image/png;base64,${"A".repeat(2048)}`,
		7,
	]) {
		assert.equal(protocol.isPicture(text), false);
	}
});

test("both forms of CONTENT are read", () => {
	const content = { MessageId: "1", Content: "MS" };
	for (const form of [content, JSON.stringify(content)]) {
		const frame = protocol.parseFrame(JSON.stringify({ CONTENT: form, TYPE: "RE_MESSAGE" }));
		assert.deepEqual(frame, { kind: "answer", type: "RE_MESSAGE", id: "1", value: "MS" });
	}
	const page = { friends: [{ userName: "bob", online: true }], more: true };
	for (const form of [page, JSON.stringify(page)]) {
		const [bob] = protocol.readRoster(form).friends;
		assert.deepEqual(bob, { name: "bob", nick: "", picture: "", online: true });
	}
});
