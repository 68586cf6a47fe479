// The page: which view is shown, and what spans all views.
//
// Where things are: protocol.js (frames and errors), link.js (one connection), bus.js (the tabs),
// engine.js (what the leading tab does), keyring.js and e2e.js (encryption), store.js (what this
// browser keeps), chat.js (the rules), model.js (what a tab knows), the views, and the texts.

import { emit, lead, on, tab } from "./bus.js";
import { isListed, title } from "./chat.js";
import { chatView } from "./chatview.js";
import { backupDialog, personDialog, setUpDialog } from "./dialogs.js";
import { bdi, h, ui } from "./dom.js";
import { available } from "./e2e.js";
import { startEngine } from "./engine.js";
import { nodes, t, useLanguage } from "./i18n.js";
import { listView } from "./list.js";
import { loadModel, look, model, peerOf, show, unread } from "./model.js";
import { SYSTEM } from "./protocol.js";
import { settingsDialog } from "./settings.js";
import { statusBar } from "./status.js";
import { getValue, setValue } from "./store.js";
import { insecure, sentence, welcome } from "./welcome.js";

const TOAST_MS = 5_000;
const wide = matchMedia("(min-width: 760px)");
const root = document.getElementById("app");
const toasts = h("div#toast", { role: "status", popover: "manual" });
const live = h("div.hidden#announcer", { "aria-live": "polite" });
const none = h("p.none");

let views = null;
let jumpTo;
let last = "";
let backup = null;
let notifies = false;
let notice;
const notes = new Set();

Object.assign(ui, {
	toast,
	rehost,
	refocus,
	fail: (error) => toast(sentence(error)),
	announce: (...words) => live.replaceChildren(h("p", words)),
	back: () => (location.hash = "#/"),
	person: personDialog,
	setUp: setUpDialog,
	settings: settingsDialog,
	open(name, seq) {
		jumpTo = seq;
		const hash = `#/${encodeURIComponent(name)}`;
		if (location.hash === hash) route(true);
		else location.hash = hash;
	},
	notifies: () => notifies && globalThis.Notification?.permission === "granted",
	async notify(wanted) {
		notifies = wanted && (await globalThis.Notification?.requestPermission()) === "granted";
		setValue("notify", notifies);
		return notifies;
	},
	language(code) {
		setValue("language", code);
		emit("language", code);
		const where = views ? settingsDialog("display") : root;
		where.querySelector("select").focus();
	},
});

async function start() {
	rehost();
	on("entered", entered);
	on("list", headline);
	on("arrived", arrived);
	on("trouble", () => toast(t("trouble.store")));
	on("language", (code) => {
		useLanguage(code);
		// The copy of the keys is offered once, whatever another tab does.
		closeDialogs("dialog:not(#backup)");
		translate();
	});
	listen();
	let language;
	const keys = ["language", "notify", "last-user"];
	[language, notifies, last] = await Promise.all(keys.map(getValue));
	useLanguage(language);
	await loadModel();
	showViews();
	if (!views) root.querySelector("input").focus();
	lead(() => {
		document.documentElement.dataset.leader = "yes";
		return startEngine();
	});
}

function listen() {
	addEventListener("hashchange", () => route(true));
	addEventListener("focus", look);
	for (const event of ["online", "offline"]) addEventListener(event, () => emit("nudge"));
	document.addEventListener("visibilitychange", () => {
		look();
		if (document.visibilityState === "visible") emit("nudge");
		else views?.chat.saveDraft();
	});
	addEventListener("pagehide", () => {
		views?.chat.saveDraft();
		emit("view", { tab });
	});
	// A page that the browser kept has lost its connection and its place among the tabs.
	addEventListener("pageshow", (event) => event.persisted && location.reload());
	addEventListener("keydown", (event) => {
		if (!(event.ctrlKey || event.metaKey) || event.key !== "k" || !views) return;
		event.preventDefault();
		if (!wide.matches) ui.back();
		views.list.focusSearch();
	});
}

function closeDialogs(which = "dialog") {
	const dialogs = document.querySelectorAll(which);
	for (const one of dialogs) one.close();
	rehost();
	// They would go at their event "close", which is too late for a new one of the same name.
	for (const one of dialogs) one.remove();
}

// --- Views

function entered({ last: before, notice: said }) {
	closeDialogs();
	forget();
	notice = said;
	last = model.user ?? before;
	setValue("last-user", last || null);
	if (!model.user) history.replaceState(null, "", location.pathname + location.search);
	showViews();
	if (views) views.list.focusSearch();
	else root.querySelector("input").focus();
	offerBackup(model.user ? backup : null);
}

// Shows everything anew, with what was typed before the log-in.
function translate() {
	const inputs = views ? [] : [...root.querySelectorAll("input")];
	const signsUp = inputs.length > 0 && !document.getElementById("sign-up").hidden;
	showViews();
	for (const { id, value, checked } of inputs) {
		Object.assign(document.getElementById(id), { value, checked });
	}
	if (signsUp) document.getElementById("show-sign-up").click();
}

// The next user of this tab must not see or hear the messages of the former one.
function forget() {
	toasts.replaceChildren();
	live.replaceChildren();
	for (const note of notes) note.close();
	notes.clear();
	jumpTo = undefined;
}

// The sign-up may end before or after this tab has heard of the session.
function offerBackup(exportable) {
	backup = views ? null : exportable;
	if (views && exportable) backupDialog(exportable);
}

function showViews() {
	for (const view of Object.values(views ?? {})) view.close();
	views = null;
	document.body.dataset.view = model.user ? "chat" : "welcome";
	if (!model.user) {
		root.replaceChildren(welcome(last, notice, offerBackup));
		return headline();
	}
	views = { status: statusBar(), list: listView(), chat: chatView() };
	none.textContent = t("chat.none");
	const { status, list, chat } = views;
	const side = h("section.main", { "aria-label": t("chat.label") }, none, chat.element);
	root.replaceChildren(status.element, list.element, side);
	headline();
	route(false);
}

// The address says which chat is open, so that the browser's own "back" works.
function route(focus) {
	if (!views) return;
	let name = "";
	try {
		name = decodeURIComponent(location.hash.replace(/^#\/?/, ""));
	} catch {
		// An address that was typed wrongly shows the list.
	}
	if (!peerOf(name) || !isListed(peerOf(name))) name = "";
	const { chat, list } = views;
	const [before, seq] = [model.open, jumpTo];
	jumpTo = undefined;
	document.body.dataset.pane = name ? "chat" : "list";
	none.hidden = name !== "";
	chat.element.hidden = name === "";
	if (name !== chat.name() || seq !== undefined) chat.open(name, seq);
	show(name);
	list.render();
	if (!focus) return;
	if (!name) list.focus(before);
	else if (seq === undefined) chat.focus(wide.matches);
}

// --- Notices to the user

function headline() {
	const count = model.user ? unread() : 0;
	document.title = count > 0 ? `(${count}) ${t("name")}` : t("name");
}

// While a dialog is open, only what is inside it is seen and read out.
function rehost() {
	const host = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body;
	if (toasts.parentNode !== host) host.append(toasts, live);
	toasts.togglePopover(toasts.childElementCount > 0);
}

// The focused element is gone or goes (`gone`): the dialog or view that is left gets the focus.
function refocus(gone) {
	const dialog = [...document.querySelectorAll("dialog[open]")].at(-1);
	const lost = gone || document.activeElement === document.body;
	if (!lost || !views) return;
	if (dialog) {
		const heading = dialog.querySelector("h2");
		heading.tabIndex = -1;
		heading.focus();
	} else if (model.open) views.chat.focus(wide.matches);
	else views.list.focus("");
}

function toast(text) {
	const line = h("p", text);
	toasts.append(line);
	rehost();
	setTimeout(() => {
		line.remove();
		rehost();
	}, TOAST_MS);
}

// The speaker and the text. The text of an event has the name in it.
function words(row) {
	const name = row.peer === SYSTEM ? t("system.title") : title(peerOf(row.peer) ?? { name: row.peer });
	const said = row.kind === "text" || row.kind === "notice";
	if (said) return { name, text: row.text || t("lock.short") };
	return { name: "", text: t(`event.${row.kind}`, { name }) };
}

function arrived({ rows, visible, leader }) {
	const { name, text } = words(rows.at(-1));
	ui.announce(name ? nodes("chat.from", { name: bdi(name), text }) : text);
	if (!visible && leader === tab && ui.notifies()) rows.slice(-3).forEach(notify);
}

function notify(row) {
	const { name, text } = words(row);
	try {
		const note = new Notification(name || t("name"), { body: text.slice(0, 140), tag: row.peer });
		notes.add(note);
		note.onclose = () => notes.delete(note);
		note.onclick = () => {
			focus();
			if (row.kind !== "ask") ui.open(row.peer);
			note.close();
		};
	} catch {
		// Some phones let only service workers show notifications.
	}
}

if (available() && navigator.locks && globalThis.indexedDB) {
	start().catch((error) => {
		console.error(error);
		root.replaceChildren(h("p.none", { role: "alert" }, t("trouble.store")));
	});
} else {
	useLanguage();
	root.replaceChildren(globalThis.isSecureContext ? h("p.none", t("page.old")) : insecure());
}
