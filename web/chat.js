// The rules of a chat, without browser, connection or database: which pushes are new, how the state
// of a message changes, what the list of chats shows.

import { SYSTEM, whatToDo } from "./protocol.js";

// The state of a message of our own:
//   wait     not sent yet, or to be sent again by itself
//   sent     on its way: the server has not promised it
//   safe     promised (MS)
//   failed   refused; the user can send it again under the same id

/** What becomes of a message of ours whose sending failed: {state, pause}. */
export function afterFailure(code) {
	switch (whatToDo(code)) {
		case "again":
			return { state: "wait", pause: true };
		case "connect":
		case "stop":
			return { state: "wait", pause: false };
		default:
			return { state: "failed", pause: false };
	}
}

// Ids that their author drew at random, and so never uses twice: a UUID, or 128 random bits.
const RANDOM_ID = /^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$/i;

/**
 * Whether a push was not shown before. `same`: the stored rows with its sender and messageId.
 *
 * The rule of the protocol is to compare (TYPE, inner type, sender, messageId, time). A server that
 * was restarted may deliver an acked message once more, with another time: if the same words come
 * under the same random id, that is such a repetition. With a signature it cannot be anything else,
 * whatever the id, because the signature covers the id.
 */
export function isNew(row, same) {
	return !same.some((old) => {
		if (old.mine || old.kind !== row.kind) return false;
		if (old.time === row.time) return true;
		if (row.kind !== "text") return false;
		const words = (old.raw ?? old.text) === (row.raw ?? row.text);
		const genuine = old.lock === "ok" && row.lock === "ok" && old.text === row.text;
		return genuine || (words && RANDOM_ID.test(row.id));
	});
}

const KINDS = { 1: "ask", 2: "accept", 3: "reject" };

/** The row that a push becomes, or null if the page has no use for it. */
export function rowOf(push) {
	const row = {
		peer: push.sender,
		id: push.id,
		mine: false,
		time: Number(push.time) || 0,
		kind: "text",
		text: push.content,
		lock: "none",
	};
	if (push.type === "6") {
		if (!Object.hasOwn(KINDS, push.inner)) return null;
		row.kind = KINDS[push.inner];
	} else if (push.sender === SYSTEM) row.kind = "notice";
	return row;
}

/** What the list of chats shows of a chat's newest row. */
export const lastOf = (row) => ({
	seq: row.seq,
	text: row.text.slice(0, 200),
	time: row.time,
	mine: row.mine,
	kind: row.kind,
	lock: row.lock,
});

/** Changes a peer by a row that came in. `seen`: the chat is open before the user's eyes. */
export function noteRow(peer, row, seen) {
	if (row.kind === "ask") {
		if (!peer.friend) peer.incoming = { id: row.id, text: row.text, time: row.time };
		return;
	}
	if (row.kind === "accept") {
		peer.friend = true;
		peer.outgoing = peer.incoming = null;
	} else if (row.kind === "reject") peer.outgoing = null;
	peer.last = lastOf(row);
	if (!seen) peer.unread += 1;
}

/**
 * One peer after a complete roster. `roster`: {friends, incoming, outgoing} as maps by name, and
 * `cut`: there are more requests than the server lists. The answer is null if nothing changed.
 */
export function afterRoster(peer, old, roster) {
	const friend = roster.friends.get(peer.name);
	const request = (found) => found && { id: found.id, text: found.text, time: Number(found.time) };
	const next = {
		...peer,
		friend: Boolean(friend) || (peer.name === SYSTEM && peer.friend),
		nick: friend?.nick ?? peer.nick,
		picture: friend?.picture ?? peer.picture,
		incoming: request(roster.incoming.get(peer.name)) ?? (roster.cut ? peer.incoming : null),
		outgoing: request(roster.outgoing.get(peer.name)) ?? (roster.cut ? peer.outgoing : null),
	};
	return old && JSON.stringify(old) === JSON.stringify(next) ? null : next;
}

/** Whether a peer has a line in the list of chats. */
export const isListed = (peer) => peer.friend || peer.last !== null || peer.draft !== "";

/** The order of the list: newest first, then by name. */
export function inOrder(a, b) {
	const x = a.last?.seq ?? 0;
	const y = b.last?.seq ?? 0;
	if (x !== y) return y - x;
	return title(a).localeCompare(title(b)) || (a.name < b.name ? -1 : 1);
}

export const title = (peer) => peer.nick || peer.name;

/** Whether names or nick names of a peer contain what the user typed. */
export function matches(peer, words) {
	const needle = words.toLocaleLowerCase();
	return [peer.name, peer.nick].some((name) => name.toLocaleLowerCase().includes(needle));
}

/**
 * What keys that a profile shows now mean for a peer. `found`: readPublic of the profile, `text` its
 * rsaPublicKey. Edits the peer.
 */
export function noteKeys(peer, found, text) {
	if (!peer.keys) {
		peer.plain = !found;
		peer.alert = null;
		if (found) peer.keys = { text, encrypt: found.encrypt, sign: found.sign };
		return;
	}
	const same = found && found.encrypt === peer.keys.encrypt && found.sign === peer.keys.sign;
	peer.alert = same ? null : { text: found ? text : "" };
}

/** The user agrees to the keys that differ. */
export function agreeKeys(peer, found) {
	if (!peer.alert) return;
	const { text } = peer.alert;
	peer.keys = found ? { text, encrypt: found.encrypt, sign: found.sign } : null;
	peer.plain = !found;
	peer.alert = null;
	peer.safe = false;
}
