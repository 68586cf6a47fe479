// The rules of a chat, without browser, connection or database: which pushes are new, how the state
// of a message changes, what the list of chats shows.

import { SYSTEM, whatToDo } from "./protocol.js";

// The fate of a message of ours whose sending failed. The states of a message:
//   wait     not sent yet, or to be sent again by itself
//   sent     on its way: the server has not promised it
//   safe     promised (MS)
//   failed   refused; the user can send it again under the same id
export function afterFailure(code) {
	const act = whatToDo(code);
	const state = act === "never" || act === "later" ? "failed" : "wait";
	return { state, pause: act === "again" };
}

// Ids that their author drew at random, and so never uses twice: 128 bits, as of a UUID.
const RANDOM_ID = /^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$/i;

// Whether a push was not shown before. `same`: the stored rows with its sender and messageId.
//
// The rule of the protocol is to compare (TYPE, inner type, sender, messageId, time). A server that
// was restarted may deliver an acked message once more, with another time: if the same words come
// under the same random id, that is such a repetition. With a signature it cannot be anything else,
// whatever the id, because the signature covers the id.
export function isNew(row, same) {
	return !same.some((old) => {
		if (old.mine || old.kind !== row.kind) return false;
		if (old.time === row.time) return true;
		if (row.kind !== "text" || (old.raw ?? old.text) !== (row.raw ?? row.text)) return false;
		return RANDOM_ID.test(row.id) || (old.lock === "ok" && row.lock === "ok");
	});
}

const KINDS = { 1: "ask", 2: "accept", 3: "reject" };

export function rowOf({ type, inner, id, sender, time, content }) {
	const ordinary = sender === SYSTEM ? "notice" : "text";
	const kind = type === "4" ? ordinary : Object.hasOwn(KINDS, inner) && KINDS[inner];
	if (!kind) return null;
	const row = { peer: sender, id, mine: false, time: Number(time) || 0, kind };
	return { ...row, text: content, lock: "none" };
}

export const lastOf = ({ seq, text, time, mine, kind, lock }) => ({
	...{ seq, time, mine, kind, lock },
	text: text.slice(0, 200),
});

// Changes a peer by a row that came in. `seen`: the chat is open before the user's eyes.
export function noteRow(peer, row, seen) {
	if (row.kind === "ask") {
		if (!peer.friend) peer.incoming = { id: row.id, text: row.text, time: row.time };
		return;
	}
	if (row.kind === "accept") Object.assign(peer, { friend: true, incoming: null });
	if (row.kind === "accept" || row.kind === "reject") peer.outgoing = null;
	peer.last = lastOf(row);
	if (!seen) peer.unread += 1;
}

// One peer after a complete roster. `roster`: {friends, incoming, outgoing} as maps by name, and
// `cut`: there are more requests than the server lists. The answer is null if nothing changed.
export function afterRoster(peer, old, roster) {
	const friend = roster.friends.get(peer.name);
	const request = (kind) => {
		const found = roster[kind].get(peer.name);
		if (!found) return roster.cut ? peer[kind] : null;
		return { id: found.id, text: found.text, time: found.time };
	};
	const next = {
		...peer,
		friend: Boolean(friend),
		nick: friend?.nick ?? peer.nick,
		picture: friend?.picture ?? peer.picture,
		incoming: request("incoming"),
		outgoing: request("outgoing"),
	};
	return old && JSON.stringify(old) === JSON.stringify(next) ? null : next;
}

export const isListed = (peer) => peer.friend || peer.last !== null || peer.draft !== "";

export const inOrder = (a, b) =>
	(b.last?.seq ?? 0) - (a.last?.seq ?? 0) ||
	collator.compare(title(a), title(b)) ||
	(a.name < b.name ? -1 : 1);

const collator = new Intl.Collator();

export const title = (peer) => peer.nick || peer.name;

export const matches = ({ name, nick }, words) =>
	`${name}\n${nick}`.toLocaleLowerCase().includes(words.toLocaleLowerCase());

// Applies the keys that a profile shows now to a peer. `found`: readPublic of the profile, `text`
// its rsaPublicKey. Edits the peer.
export function noteKeys(peer, found, text) {
	if (!peer.keys) return pin(peer, found, text);
	const same = found && found.encrypt === peer.keys.encrypt && found.sign === peer.keys.sign;
	peer.alert = same ? null : { text: found ? text : "" };
}

export function agreeKeys(peer, found) {
	pin(peer, found, peer.alert.text);
	peer.safe = false;
}

function pin(peer, found, text) {
	peer.keys = found ? { text, encrypt: found.encrypt, sign: found.sign } : null;
	peer.plain = !found;
	peer.alert = null;
}
