// The open chat: its head, its messages and the field to write in.

import { call, on } from "./bus.js";
import { title } from "./chat.js";
import { avatar, bdi, h, icon, once, refill, soon, ui } from "./dom.js";
import { nodes, t } from "./i18n.js";
import { canWrite, keysMissing, model, peerOf, problem, saveDraft as keepDraft, send } from "./model.js";
import { SYSTEM } from "./protocol.js";
import { messageList } from "./messages.js";

const DRAFT_MS = 400;
const FIELD_PX_MAX = 220;

export function chatView() {
	const head = h("header.head-box");
	const banners = h("div#banners");
	const messages = messageList(() => focus(true));
	const label = t("chat.write");
	const field = h("textarea#draft", {
		rows: 1,
		dir: "auto",
		placeholder: label,
		enterkeyhint: "send",
		"aria-label": label,
		oninput: typed,
		onkeydown: key,
	});
	const hint = h("p.hint", { role: "alert", hidden: true });
	const button = h("button.send#send", { type: "submit", "aria-label": t("chat.send") }, icon("send"));
	const form = h("form.composer", { onsubmit: submit }, hint, field, button);
	const element = h("div.chat", { onkeydown: escape }, head, banners, messages.element, form);
	let name = "";
	let timer = 0;

	function open(other, seq) {
		saveDraft();
		name = other;
		head.now = "";
		messages.open(name, seq);
		if (!name) return;
		field.value = peerOf(name).draft;
		hint.hidden = true;
		showHead();
		fit();
	}

	function focus(wide) {
		const target = !wide ? head.querySelector("h2") : form.hidden ? messages.scroller : field;
		target?.focus({ preventScroll: true });
	}

	function escape(event) {
		if (event.key !== "Escape" || event.isComposing) return;
		event.preventDefault();
		ui.back();
	}

	function showHead() {
		const peer = peerOf(name);
		if (!peer) return;
		const online = model.online.has(name);
		const state = stateOf(peer, online);
		const lock = lockOf(peer);
		const warnings = bannersOf(peer);
		const now = JSON.stringify([peer.nick, peer.picture, peer.incoming, state, lock, warnings]);
		// Elements that have not changed are not replaced: a screen reader may be reading them.
		if (now === head.now) return;
		head.now = now;
		const focused = head.contains(document.activeElement) && document.activeElement.id;
		const writes = form.contains(document.activeElement);
		const who = name === SYSTEM ? t("system.title") : title(peer);
		messages.scroller.setAttribute("aria-label", t("chat.messages", { name: who }));
		const back = { "aria-label": t("back"), onclick: ui.back };
		head.replaceChildren(
			h("button.icon-button.back#back", back, icon("back")),
			avatar(peer),
			h(
				"div.who",
				h("h2#chat-title", { tabindex: -1 }, bdi(who)),
				h(online ? "p.sub.online" : "p.sub", state),
			),
			lock ? lockButton(lock) : "",
		);
		if (focused) document.getElementById(focused)?.focus();
		form.hidden = !canWrite(peer);
		const shown = warnings.map((warning) => banner(warning, who));
		if (peer.incoming && !peer.friend) shown.push(asking(peer, who));
		refill(banners, shown, () => focus(true));
		if (writes && form.hidden) focus(true);
	}

	function lockButton([text, mark, kind]) {
		const props = { "aria-label": t("lock.details", { state: t(text) }) };
		props.onclick = () => ui.person(name);
		return h(`button.lock-button.${kind}#encryption`, props, icon(mark), h("span", t(text)));
	}

	function asking(peer, who) {
		const button = (act, kind, yes) => {
			const answer = () => call("answer", name, yes).catch(ui.fail);
			const onclick = ({ currentTarget }) => once(currentTarget, answer);
			return h(`button.small${kind}`, { "data-act": act, onclick }, t(act));
		};
		return h(
			"div.banner",
			h("p", nodes("event.ask", { name: bdi(who) })),
			peer.incoming.text && h("p.text", { dir: "auto" }, peer.incoming.text),
			button("accept", ".primary", true),
			button("reject", "", false),
		);
	}

	function banner([text, kind, act], who) {
		const unblock = () => call("block", { unblock: name }).catch(ui.fail);
		const acts = {
			unblock: ["settings.unblock", ({ currentTarget }) => once(currentTarget, unblock)],
			"key-warning": ["keys.review", () => ui.person(name)],
			"keys-missing": ["keys.setUp", ui.setUp],
		};
		const [key, onclick] = acts[act] ?? [];
		return h(
			`div.banner.${kind}`,
			{ id: act, role: kind === "bad" && "alert" },
			h("p", nodes(text, { name: bdi(who) })),
			act && h("button.small", { onclick, "data-act": act }, t(key)),
		);
	}

	// --- Writing

	function fit() {
		field.style.height = "auto";
		field.style.height = `${Math.min(field.scrollHeight + 2, FIELD_PX_MAX)}px`;
	}

	function typed() {
		fit();
		hint.hidden = true;
		clearTimeout(timer);
		timer = setTimeout(saveDraft, DRAFT_MS);
	}

	function saveDraft() {
		clearTimeout(timer);
		if (name && model.store) keepDraft(name, field.value);
	}

	function key(event) {
		// Enter that ends the choice of a Chinese word is no Enter.
		const composing = event.isComposing || event.keyCode === 229;
		if (event.key !== "Enter" || event.shiftKey || composing) return;
		event.preventDefault();
		form.requestSubmit();
	}

	function fault(text) {
		hint.textContent = t(text);
		hint.hidden = false;
	}

	async function submit(event) {
		event.preventDefault();
		const to = name;
		// Half of a surrogate pair is no text: the server refuses it.
		const text = field.value.toWellFormed?.() ?? field.value;
		if (text.trim() === "") return;
		const wrong = problem(to, text);
		if (wrong) return fault(wrong);
		clearTimeout(timer);
		field.value = "";
		fit();
		field.focus({ preventScroll: true });
		try {
			await send(to, text);
		} catch (error) {
			console.error("The browser's database is full or broken.", error);
			if (name === to && field.value === "") field.value = text;
			fault("trouble.store");
		}
	}

	const offs = [
		on("list", soon(showHead)),
		on("rows", messages.changed),
		on("gone", (gone) => gone.peer === name && messages.remove(gone.seq)),
	];
	return {
		element,
		open,
		focus,
		saveDraft,
		name: () => name,
		close() {
			saveDraft();
			for (const off of offs) off();
		},
	};
}

function stateOf(peer, online) {
	if (peer.name === SYSTEM) return t("system.sub");
	const at = peer.nick && peer.nick !== peer.name ? `@${peer.name} · ` : "";
	if (model.blocked.has(peer.name)) return at + t("person.isBlocked");
	if (!peer.friend) return at + t(peer.outgoing ? "person.asked" : "person.stranger");
	const known = model.status.state === "online";
	return known ? at + t(online ? "online" : "offline") : at.slice(0, -3);
}

// The button in the head about the encryption: [text, icon, kind].
function lockOf({ name, alert, friend, keys, plain, safe }) {
	if (name === SYSTEM) return null;
	if (alert) return ["lock.changed", "alert", "bad"];
	if (!friend || !(keys || plain)) return ["settings.profile", "person", "plain"];
	if (plain) return ["lock.off", "unlock", "weak"];
	if (keysMissing()) return ["lock.missing", "alert", "bad"];
	return safe ? ["lock.safe", "lock", "good"] : ["lock.on", "lock", "plain"];
}

// The banners above the messages: [text, kind, id of the banner if there is something to do].
function bannersOf({ name, alert, friend, incoming, outgoing, last, keys, plain }) {
	if (alert) return [[alert.text ? "keys.changed" : "keys.gone", "bad", "key-warning"]];
	if (name === SYSTEM) return [];
	if (model.blocked.has(name)) return [["chat.blocked", "plain", "unblock"]];
	if (!friend) return last && !incoming ? [[outgoing ? "chat.asked" : "chat.noFriend", "plain"]] : [];
	if (keysMissing() && keys) return [["keys.missingHere", "bad", "keys-missing"]];
	return plain ? [["chat.plain", "weak"]] : [];
}
