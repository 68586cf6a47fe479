// The messages of a chat.
//
// Only a window of a long chat is in the document: at most ROWS_MAX messages, which move along as
// the user scrolls. So 50,000 messages cost what 200 cost.

import { call } from "./bus.js";
import { title } from "./chat.js";
import { bdi, h, icon, soon } from "./dom.js";
import { day, nodes, sameDay, t, time } from "./i18n.js";
import { discard, model, peerOf } from "./model.js";

const PAGE = 60;
const ROWS_MAX = 200;
const NEAR_PX = 500;
const AT_END_PX = 60;
const GROUP_MS = 5 * 60_000;

// `focus()` puts the focus back into the chat when the element that had it is gone.
export function messageList(focus) {
	const list = h("ol.rows");
	// New messages are announced elsewhere, once; older ones that scrolling brings in are not.
	const props = { tabindex: 0, role: "log", "aria-live": "off" };
	const scroller = h("div.scroller#messages", props, list);
	const jump = h("button.jump", { hidden: true, onclick: toEnd }, icon("down"), t("chat.newest"));
	const element = h("div.scroll-box", scroller, jump);
	let name = "";
	let rows = [];
	let items = new Map();
	let atTop = true;
	let atEnd = true;
	let busy = false;
	let loads = 0;
	let newSeq = 0;
	let sticks = true;
	scroller.addEventListener("scroll", soon(scrolled), { passive: true });
	// A banner, a longer draft or a keyboard takes room: a user who saw the newest message still does.
	new ResizeObserver(() => sticks && toBottom()).observe(scroller);

	// Opens a chat, at a message if `seq` is given.
	function open(other, seq) {
		name = other;
		load(seq, peerOf(name)?.unread ?? 0);
	}

	async function load(seq, unread = 0) {
		const mine = ++loads;
		busy = true;
		let found = [];
		if (name && seq === undefined) found = await model.store.page(name, { limit: PAGE });
		else if (name) {
			found = await model.store.page(name, { before: seq, limit: PAGE / 2 });
			found.push(...(await model.store.page(name, { after: seq - 1, limit: PAGE })));
		}
		if (mine !== loads) return;
		busy = false;
		rows = found;
		items = new Map();
		atEnd = seq === undefined;
		atTop = atEnd && rows.length < PAGE;
		const incoming = rows.filter((row) => !row.mine);
		newSeq = unread > 0 ? (incoming.at(-unread)?.seq ?? 0) : 0;
		list.replaceChildren(...rows.map(item));
		decorate(0, rows.length);
		jump.hidden = atEnd;
		if (atEnd) toBottom();
		else mark(items.get(seq));
		scrolled();
	}

	function mark(found) {
		if (!found) return;
		found.scrollIntoView({ block: "center" });
		found.classList.add("found");
		found.tabIndex = -1;
		found.focus({ preventScroll: true });
	}

	function toBottom() {
		scroller.scrollTop = scroller.scrollHeight;
		sticks = true;
	}

	const fromEnd = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;

	// --- The window

	function scrolled() {
		sticks = atEnd && fromEnd() < AT_END_PX;
		if (busy || rows.length === 0) return;
		if (sticks) jump.hidden = true;
		else if (fromEnd() > NEAR_PX) jump.hidden = false;
		if (!atTop && scroller.scrollTop < NEAR_PX) more(true);
		else if (!atEnd && fromEnd() < NEAR_PX) more(false);
	}

	async function more(older) {
		const mine = loads;
		busy = true;
		const edge = older ? rows[0].seq : rows.at(-1).seq;
		const from = older ? { before: edge } : { after: edge };
		const found = await model.store.page(name, { ...from, limit: PAGE });
		if (mine !== loads) return;
		const anchor = items.get(edge);
		const top = anchor.getBoundingClientRect().top;
		if (older) {
			atTop = found.length < PAGE;
			rows.unshift(...found);
			list.prepend(...found.map(item));
			decorate(0, found.length + 1);
		} else {
			atEnd = found.length < PAGE;
			append(found);
		}
		trim(!older);
		scroller.scrollTop += anchor.getBoundingClientRect().top - top;
		busy = false;
		if (found.length > 0) scrolled();
	}

	function append(found) {
		rows.push(...found);
		list.append(...found.map(item));
		decorate(rows.length - found.length, rows.length);
	}

	// Takes rows out of the document at the end that is farther away.
	function trim(atStart) {
		const surplus = rows.length - ROWS_MAX;
		if (surplus <= 0) return;
		for (const { seq } of rows.splice(atStart ? 0 : ROWS_MAX, surplus)) {
			items.get(seq).remove();
			items.delete(seq);
		}
		if (atStart) atTop = false;
		else atEnd = false;
		decorate(0, 1);
	}

	function toEnd() {
		if (atEnd) toBottom();
		else load();
		focus();
	}

	function changed(all) {
		const here = all.filter((row) => row.peer === name);
		for (const row of here) if (items.has(row.seq)) replace(row);
		const newest = rows.at(-1)?.seq ?? 0;
		const fresh = here.filter((row) => row.seq > newest && !items.has(row.seq));
		if (fresh.length === 0) return;
		const mine = fresh.some((row) => row.mine);
		// A page that is being loaded may or may not have these rows.
		if (busy || (!atEnd && mine)) return void load();
		const stick = mine || (atEnd && fromEnd() < AT_END_PX);
		if (atEnd) append(fresh);
		jump.hidden = stick;
		if (!stick) return;
		trim(true);
		toBottom();
	}

	function replace(row) {
		const old = items.get(row.seq);
		const at = rows.findIndex((one) => one.seq === row.seq);
		const focused = old.contains(document.activeElement);
		const stick = atEnd && fromEnd() < AT_END_PX;
		rows[at] = row;
		old.replaceWith(item(row));
		decorate(at, at + 1);
		if (stick) toBottom();
		if (focused) focus();
	}

	function remove(seq) {
		if (!items.has(seq)) return;
		const at = rows.findIndex((row) => row.seq === seq);
		rows.splice(at, 1);
		items.get(seq).remove();
		items.delete(seq);
		decorate(at, at + 1);
		focus();
	}

	function item(row) {
		const made = row.kind === "text" ? message(row) : event(row);
		items.set(row.seq, made);
		return made;
	}

	// Date lines, the line above new messages, and whether a message continues the one above it.
	function decorate(from, to) {
		for (let i = from; i < Math.min(to, rows.length); i++) {
			const [row, before] = [rows[i], rows[i - 1]];
			const one = items.get(row.seq);
			for (const line of one.querySelectorAll(".day, .new")) line.remove();
			const dated = !before || !sameDay(before.time, row.time);
			const first = row.seq === newSeq;
			if (first) one.prepend(h("p.new", t("chat.new")));
			if (dated) one.prepend(h("p.day", day(row.time)));
			const close = before && Math.abs(row.time - before.time) < GROUP_MS;
			const same = close && before.kind === row.kind && before.mine === row.mine;
			one.classList.toggle("runs", Boolean(same) && !dated && !first);
		}
	}

	return { element, scroller, open, changed, remove };
}

// --- One message

const MARKS = { wait: "clock", sent: "arrow", safe: "check", failed: "alert" };
const STRANGE = new Set(["nokey", "receiver", "unverified", "forged"]);

const nameOf = (row) => title(peerOf(row.peer) ?? { name: row.peer });

function event(row) {
	const props = { "data-id": row.id, "data-from": row.peer, "data-kind": row.kind };
	const text = row.text && h("p.text", { dir: "auto" }, row.text);
	if (row.kind === "notice") return h("li.event", props, h("div.bubble", text, meta(row)));
	return h("li.event", props, h("p", nodes(`event.${row.kind}`, { name: bdi(nameOf(row)) })), text);
}

function message(row) {
	const text = STRANGE.has(row.lock)
		? h("p.text.unreadable", icon("alert"), t(`lock.${row.lock}`))
		: h("p.text", { dir: "auto" }, linked(row.text));
	const who = h("span.hidden", bdi(row.mine ? t("you") : nameOf(row)), ": ");
	return h(
		row.mine ? "li.mine" : "li.theirs",
		{
			"data-id": row.id,
			"data-from": row.mine ? model.user : row.peer,
			"data-state": row.state === "wait" ? "sending" : row.state,
			"data-encrypted": { ok: "yes", none: "no", plain: "no" }[row.lock] ?? "bad",
		},
		h("div.bubble", who, text, meta(row)),
		row.state === "failed" && failure(row),
	);
}

function meta(row) {
	const plain = row.lock === "plain" || (row.lock === "none" && row.mine && row.state !== "wait");
	const state = row.mine && t(`state.${row.state}`);
	return h(
		"p.meta",
		plain && h("span.plain", t("lock.plain")),
		h("time", time(row.time)),
		state && h("span.tick", { title: state }, icon(MARKS[row.state]), h("span.hidden", state)),
	);
}

function failure(row) {
	const again = () => call("retry", row.seq).catch(() => {});
	return h(
		"div.failure",
		h("span", t(`send.${row.reason}`, {}, "send.OTHER")),
		h("button.small", { "data-act": "retry", onclick: again }, t("send.retry")),
		h("button.small", { "data-act": "discard", onclick: () => discard(row) }, t("send.discard")),
	);
}

const LINK = /https?:\/\/[^\s<>"'（）。，！？、]+[^\s<>"'.,;:!?)\]}（）。，！？、]/g;

// Addresses in a text as links that tell the other server nothing about this page.
function linked(text) {
	const parts = [];
	let at = 0;
	for (const { 0: href, index } of text.matchAll(LINK)) {
		const props = { href, target: "_blank", rel: "noopener noreferrer" };
		parts.push(text.slice(at, index), h("a", props, href));
		at = index + href.length;
	}
	return [...parts, text.slice(at)];
}
