// The side with the people: search, friend requests, and the list of chats.

import { call, on } from "./bus.js";
import { inOrder, isListed, matches, title } from "./chat.js";
import { arrowKeys, avatar, bdi, h, icon, once, reconcile, soon, ui } from "./dom.js";
import { nodes, shortDate, t } from "./i18n.js";
import { listed, model, peerOf, requests } from "./model.js";
import { SYSTEM, nameProblem } from "./protocol.js";

const STEP = 100;
const FOUND_MAX = 50;
const SEARCH_MS = 150;

export function listView() {
	const me = h("button.me#settings", { "aria-haspopup": "dialog", onclick: () => ui.settings() });
	const hint = t("search.hint");
	const search = h("input#search", {
		type: "search",
		placeholder: hint,
		"aria-label": hint,
		autocomplete: "off",
		maxlength: 200,
		oninput: typed,
		onkeydown: searchKey,
	});
	const found = h("div#found", { hidden: true });
	const asked = h("section#requests", { "aria-label": t("requests.in"), hidden: true });
	const chats = h("ul.chats#friends", { "aria-label": t("list.chats") });
	const more = h("div.more");
	const empty = h("div.empty", h("p", t("list.empty")), h("p", t("list.emptyHow")));
	const lists = h("div.lists", asked, found, chats, more, empty);
	const element = h(
		"nav.side",
		{ "aria-label": t("list.label") },
		h("header.side-head", h("div.mark", { "aria-hidden": "true" }), h("h1", t("name")), me),
		h("div.search", icon("search"), search),
		lists,
	);
	let items = new Map();
	// Sorting thousands of friends is not for every friend who comes and goes.
	let order = null;
	let limit = STEP;
	let searches = 0;
	let timer = 0;

	arrowKeys(lists, "button.item");
	// One stop of the tab key for the whole list; the arrows go on from there.
	chats.addEventListener("focusin", ({ target }) => tabStop(target.closest(".item")));
	const watch = new IntersectionObserver((entries) => {
		if (!entries.some((entry) => entry.isIntersecting) || items.size < limit) return;
		limit += STEP;
		render();
		// The end may still be in view: then there is no new event.
		watch.unobserve(more);
		watch.observe(more);
	});
	watch.observe(more);

	function render() {
		// Logged out, before this frame.
		if (!model.user) return;
		const searching = search.value.trim() !== "";
		const before = items;
		items = new Map();
		order ??= listed().sort(inOrder);
		for (const peer of order.slice(0, limit)) {
			items.set(peer.name, chatItem(peer, before.get(peer.name)));
		}
		reconcile(chats, [...items.values()]);
		tabStop(chats.querySelector('.item:focus, .item[aria-current], .item[tabindex="0"], .item'));
		renderRequests();
		renderMe();
		chats.hidden = searching;
		asked.hidden = asked.childElementCount === 0;
		empty.hidden = searching || items.size > 0 || !asked.hidden;
	}

	function chatItem(peer, old) {
		const [here, open] = [model.online.has(peer.name), model.open === peer.name];
		const state = JSON.stringify([peer, here, open]);
		if (old?.state === state) return old;
		const focused = old?.contains(document.activeElement);
		const item = old ?? h("li");
		item.state = state;
		item.replaceChildren(chatButton(peer, here, open, () => ui.open(peer.name)));
		if (focused) item.firstChild.focus();
		return item;
	}

	function tabStop(stop) {
		for (const item of chats.querySelectorAll(".item")) item.tabIndex = item === stop ? 0 : -1;
	}

	function renderMe() {
		const { nickName: nick = "", profilePicture: picture = "" } = model.me?.profile ?? {};
		const state = t(model.status.state === "online" ? "online" : "offline");
		const now = JSON.stringify([nick, picture, state]);
		if (me.now === now) return;
		me.now = now;
		me.setAttribute("aria-label", t("settings.of", { name: model.user, state }));
		me.replaceChildren(avatar({ name: model.user, nick, picture }), icon("settings"));
	}

	function renderRequests() {
		// A search finds requests, too.
		const wanted = search.value.trim();
		const [incoming, outgoing] = ["incoming", "outgoing"].map((kind) =>
			requests()[kind].filter((peer) => matches(peer, wanted)),
		);
		const now = JSON.stringify([incoming, outgoing]);
		if (asked.now === now) return;
		asked.now = now;
		const focused = asked.contains(document.activeElement) && document.activeElement;
		const part = (key, peers, acts) =>
			peers.length > 0 && [h("h2", t(key)), h("ul", peers.map((peer) => request(peer, acts)))];
		const answers = { accept: ["answer", true], reject: ["answer", false] };
		const parts = [
			part("requests.in", incoming, answers),
			part("requests.out", outgoing, { withdraw: ["drop"] }),
		];
		asked.replaceChildren(...parts.flat().filter(Boolean));
		if (!focused) return;
		// Not to the same button beside another name: a second Enter would answer that one, too.
		const { user } = focused.closest("[data-user]").dataset;
		const same = [...asked.querySelectorAll("li")].find((one) => one.dataset.user === user);
		const { act } = focused.dataset;
		const button = same?.querySelector(act ? `[data-act=${act}]` : ".person");
		(button ?? asked.querySelector(".person") ?? search).focus();
	}

	// --- Search

	function typed() {
		clearTimeout(timer);
		timer = setTimeout(find, SEARCH_MS);
	}

	async function searchKey(event) {
		if (event.isComposing) return;
		if (event.key === "Escape" && search.value !== "") clear();
		else if (event.key === "ArrowDown") lists.querySelector("button")?.focus();
		else if (event.key !== "Enter") return;
		event.preventDefault();
		if (event.key !== "Enter") return;
		// Enter takes what is found first, or looks the name up.
		clearTimeout(timer);
		await find();
		found.querySelector(".item")?.click();
	}

	function clear() {
		search.value = "";
		find();
	}

	async function find() {
		const wanted = search.value.trim();
		const turn = ++searches;
		found.hidden = wanted === "";
		render();
		if (wanted === "") return found.replaceChildren();
		const people = [...model.peers.values()].filter((peer) => isListed(peer) && matches(peer, wanted));
		const list = people.sort(inOrder).slice(0, FOUND_MAX);
		const open = (name) => () => (clear(), ui.open(name));
		const button = (peer) => chatButton(peer, model.online.has(peer.name), false, open(peer.name));
		const heading = h("h2", { hidden: true }, t("search.messages"));
		const hits = h("ul");
		found.replaceChildren(
			...(list.length > 0 ? [h("h2", t("search.people"))] : []),
			h("ul.chats", list.map((peer) => h("li", button(peer)))),
			...lookUp(wanted, list),
			heading,
			hits,
		);
		const rows = await model.store.search(wanted, FOUND_MAX, () => turn !== searches);
		if (turn !== searches) return;
		heading.hidden = rows.length === 0;
		hits.replaceChildren(...rows.map((row) => hit(row, wanted)));
		const count = list.length + rows.length + asked.querySelectorAll("li").length;
		ui.announce(t("search.count", { count }));
	}

	const later = soon(render);
	const off = on("list", (names) => {
		if (names) order = null;
		later();
	});
	render();
	return {
		element,
		render,
		focus: (name) => ((items.get(name) ?? chats).querySelector(".item") ?? search).focus(),
		focusSearch: () => search.select(),
		close() {
			off();
			watch.disconnect();
		},
	};
}

// A person who asked, or was asked, with what can be done. `acts`: name of the act to its call.
function request(peer, acts) {
	const button = (act) => {
		const label = t(`${act}Who`, { name: peer.name });
		const [name, ...more] = acts[act];
		const run = () => call(name, peer.name, ...more).catch(ui.fail);
		const onclick = ({ currentTarget }) => once(currentTarget, run);
		const kind = act === "accept" ? "button.small.primary" : "button.small";
		return h(kind, { "data-act": act, "aria-label": label, onclick }, t(act));
	};
	const open = { onclick: () => ui.person(peer.name) };
	const words = acts.accept && peer.incoming.text;
	return h(
		"li.request",
		{ "data-user": peer.name },
		h("button.person", open, avatar(peer), h("span.title", bdi(title(peer)))),
		words && h("p.words", { dir: "auto" }, words),
		h("div.buttons", Object.keys(acts).map(button)),
	);
}

// The line that looks a name up on the server, unless it is a friend's or our own.
function lookUp(name, list) {
	const known = name === model.user || list.some((peer) => peer.name === name);
	if (known || nameProblem(name) !== null) return [];
	const label = h("span", nodes("search.find", { name: bdi(name) }));
	return [h("button.item.find#find", { onclick: () => ui.person(name) }, icon("person"), label)];
}

function hit({ peer: name, seq, time, text }, wanted) {
	const who = name === SYSTEM ? t("system.title") : title(peerOf(name) ?? { name });
	const at = text.toLocaleLowerCase().indexOf(wanted.toLocaleLowerCase());
	const from = Math.max(0, at - 30);
	const piece = (from > 0 ? "…" : "") + text.slice(from, at + 90);
	const line = h("span.line", h("span.title", bdi(who)), h("time", shortDate(time)));
	const onclick = () => ui.open(name, seq);
	return h("li", h("button.item.hit", { onclick }, line, h("span.preview", { dir: "auto" }, piece)));
}

function preview({ last, draft, friend, name, nick }) {
	if (draft) return [h("b", t("list.draft")), " ", bdi(draft.slice(0, 200))];
	if (!last) return t(friend ? "list.nothing" : "person.stranger");
	if (last.kind === "accept" || last.kind === "reject") {
		return nodes(`event.${last.kind}`, { name: bdi(nick || name) });
	}
	return [last.mine && `${t("you")}: `, bdi(last.text || t("lock.short"))];
}

function chatButton(peer, online, open, onclick) {
	const { name, unread, last, alert } = peer;
	const face = h(online ? "span.face.online" : "span.face", avatar(peer));
	const hidden = (key) => h("span.hidden", t(key));
	const count = unread > 99 ? "99+" : String(unread);
	return h(
		"button.item",
		{
			"data-user": name,
			"data-online": String(online),
			"data-unread": String(unread),
			"aria-current": open && "true",
			onclick,
		},
		face,
		h(
			"span.lines",
			h(
				"span.line",
				h("span.title", name === SYSTEM ? t("system.title") : bdi(title(peer))),
				online && hidden("online"),
				last && h("time", shortDate(last.time)),
			),
			h(
				"span.line",
				h("span.preview", preview(peer)),
				alert && h("span.warn", icon("alert"), hidden("lock.changed")),
				unread > 0 && h("span.badge", count, hidden("list.unread")),
			),
		),
	);
}
