// Dialogs: a person, the copy of the keys, setting up encryption, and questions.

import { call, on } from "./bus.js";
import { title } from "./chat.js";
import { avatar, bdi, h, icon, once, refill, ui } from "./dom.js";
import { exportKeys } from "./e2e.js";
import { nodes, t } from "./i18n.js";
import { change, importKeys, keysMissing, makeKeys, model, peerOf, publish, safetyNumbers } from "./model.js";
import { SYSTEM } from "./protocol.js";
import { checkbox, field, form, note, refused, secret, sentence } from "./welcome.js";

const PASSPHRASE_MIN = 12;
const FILE_BYTES_MAX = 100_000;

export function dialog(id, heading, ...content) {
	const close = { "aria-label": t("close"), "data-act": "close", onclick: () => element.leave() };
	const label = `${id}-title`;
	const closed = () => {
		ui.rehost();
		element.remove();
		ui.refocus();
	};
	const element = h(
		`dialog#${id}`,
		{ "aria-labelledby": label, onclose: closed },
		h("header", h("h2", { id: label }, t(heading)), h("button.icon-button", close, icon("close"))),
		h("div.content", content),
	);
	element.leave = () => element.close();
	element.addEventListener("click", ({ target }) => {
		if (target === element && !element.firm) element.close();
	});
	document.body.append(element);
	element.showModal();
	ui.rehost();
	return element;
}

export function confirm(text, action) {
	return new Promise((resolve) => {
		const answer = (yes) => () => {
			resolve(yes);
			element.close();
		};
		const yes = { "data-act": "confirm", onclick: answer(true) };
		const no = h("button", { onclick: answer(false) }, t("cancel"));
		const buttons = h("div.buttons", no, h("button.danger", yes, t(action)));
		const element = dialog("confirm", action, h("p", text), buttons);
		element.addEventListener("close", () => resolve(false));
	});
}

// --- A person

export function personDialog(name) {
	// The values that an action changes are read here, and a second Enter does nothing.
	const face = h("div.face-box", { tabindex: -1 });
	const facts = h("dl");
	const error = h("p.error", { role: "alert" });
	const actions = h("div.actions");
	const keys = h("section.keys");
	const element = dialog("person", "settings.profile", face, facts, error, actions, keys);
	element.dataset.user = name;
	let profile = null;
	let gone = false;
	let shown = "";

	function show() {
		const peer = peerOf(name);
		const now = JSON.stringify([peer, profile, gone, model.blocked.has(name), model.me?.keys]);
		// The draft of a request stays while other things of the peer change.
		if (now === shown || !element.isConnected) return;
		shown = now;
		// A name that nobody has is no person.
		if (!(peer || profile)) return;
		const { nickName: nick, profilePicture: picture } = profile ?? {};
		showFace(face, { nick: "", picture: "", ...peer, name, ...(profile && { nick, picture }) });
		const rows = ["personalDescription", "location", "emailAddress"].filter((key) => profile?.[key]);
		facts.replaceChildren(
			...rows.flatMap((key) => [h("dt", t(`field.${key}`)), h("dd", { dir: "auto" }, profile[key])]),
		);
		if (name === model.user || name === SYSTEM) return;
		refill(actions, actionsOf(peer, name, gone), () => face.focus());
		if (peer) showKeys(keys, peer, () => face.focus());
	}

	element.addEventListener("close", on("list", show));
	show();
	const found = (value) => {
		profile = value;
		show();
	};
	const failed = (cause) => {
		gone = cause.code === "NO_USER";
		error.textContent = gone ? t("person.none", { name }) : sentence(cause);
		show();
	};
	call("find", name).then(found, failed);
	if (peerOf(name)?.friend) call("check", name).catch(() => {});
	return element;
}

function showFace(face, peer) {
	const { friend, outgoing, name } = peer;
	const other = friend ? "person.friend" : outgoing ? "person.asked" : "person.stranger";
	const known = model.blocked.has(name) ? "person.isBlocked" : other;
	const state = t(name === model.user ? "person.self" : known);
	const big = h("p.big-name", bdi(title(peer)));
	face.replaceChildren(avatar(peer, true), h("div", big, h("p.sub", bdi(`@${name}`), " · ", state)));
}

// `gone`: there is no account of this name, or no longer.
function actionsOf(peer, name, gone) {
	const button = (act, key, kind, run, done) => {
		const attempt = async () => {
			if ((await run()) !== false && done) ui.toast(t(done, { name }));
		};
		const onclick = ({ currentTarget }) => once(currentTarget, () => attempt().catch(ui.fail));
		return h("button", { class: kind, "data-act": act, onclick }, t(key));
	};
	const sure = async (question, action, ...what) =>
		(await confirm(t(question, { name }), action)) && call(...what);
	const open = () => {
		document.getElementById("person").close();
		ui.open(name);
	};
	const answer = (yes) => () => call("answer", name, yes);
	const drop = () => sure("person.dropSure", "person.drop", "drop", name);
	const block = () => sure("person.blockSure", "person.block", "block", { block: name });
	const { friend, last, incoming, outgoing } = peer ?? {};
	const unblock = () => call("block", { unblock: name });
	if (model.blocked.has(name)) {
		return [
			...(last ? [button("open", "person.open", "primary", open)] : []),
			button("unblock", "settings.unblock", "", unblock, "person.unblocked"),
		];
	}
	return [
		(friend || last) && button("open", "person.open", "primary", open),
		incoming && button("accept", "accept", "primary", answer(true)),
		incoming && button("reject", "reject", "", answer(false)),
		outgoing && !friend && button("withdraw", "withdraw", "", () => call("drop", name)),
		!friend && !outgoing && !incoming && !gone && askForm(name),
		friend && button("unfriend", "person.drop", "", drop),
		!gone && button("block", "person.block", "danger", block, "person.blocked"),
	].filter(Boolean);
}

function askForm(name) {
	const submit = async (data) => {
		// The server refuses a request to somebody whom the user blocks, from another device perhaps.
		const wrong = await refused("error.BLOCKED", () => call("ask", name, data.get("words")));
		if (wrong) return wrong;
		ui.toast(t("person.askedDone"));
	};
	const words = field("ask-words", "person.words", { maxlength: 300 });
	const element = form("ask", "person.ask", submit, "primary", words);
	element.querySelector("button").dataset.act = "request";
	return element;
}

// The text about the keys changes only with the keys: a number that is being compared stays.
async function showKeys(section, peer, other) {
	const missing = peer.keys && keysMissing();
	const { keys, alert, safe, plain, friend } = peer;
	const now = JSON.stringify([keys, alert, safe, plain, friend, missing, Boolean(model.me)]);
	if (section.now === now) return;
	section.now = now;
	const numbers = await safetyNumbers(peer);
	if (section.now !== now) return;
	const name = bdi(title(peer));
	const mark = missing || alert ? "alert" : keys ? "lock" : "unlock";
	const heading = h("h3", icon(mark), t("keys.title"));
	const setUp = () => h("button", { onclick: ui.setUp }, t("keys.setUp"));
	let parts;
	if (peer.alert) parts = alertParts(peer, numbers.changed, name);
	else if (numbers.known && !missing) parts = numberParts(peer, numbers.known, name);
	else if (peer.keys) parts = [h("p", t("keys.missingHere")), setUp()];
	else if (plain) parts = [h("p", nodes("chat.plain", { name }))];
	else parts = [h("p", t(friend ? "keys.state.unknown" : "keys.unknown"))];
	refill(section, [heading, ...parts], other);
}

const groups = (number) =>
	h("p.number#safety-number", number.split(" ").map((group) => [h("span", group), " "]));

function numberParts(peer, number, name) {
	const onchange = ({ target }) => change(peer.name, { safe: target.checked });
	const compared = checkbox("compared", "keys.compared", { onchange });
	compared.firstChild.checked = peer.safe;
	return [h("h4", t("keys.number")), groups(number), note(nodes("keys.compare", { name })), compared];
}

function alertParts(peer, number, name) {
	const { text } = peer.alert;
	const agree = () => call("agree", peer.name, text).then(() => ui.toast(t("keys.agreed")), ui.fail);
	const onclick = ({ currentTarget }) => once(currentTarget, agree);
	const props = { "data-act": "agree", onclick };
	return [
		h("div.banner.bad", h("p", nodes(text ? "keys.changed" : "keys.gone", { name }))),
		...(number ? [h("h4", t("keys.newNumber")), groups(number)] : []),
		...(text ? [note(nodes("keys.compare", { name }))] : []),
		h("button.danger", props, t(text ? "keys.agree" : "keys.agreePlain")),
	];
}

// --- Our own keys

export function backupDialog(exportable) {
	const { user } = model;
	const submit = async (data) => {
		const passphrase = data.get("passphrase");
		if ([...passphrase].length < PASSPHRASE_MIN) return "backup.short";
		if (passphrase !== data.get("again")) return "backup.differ";
		download(`hongyan-keys-${user}.json`, await exportKeys(user, exportable, passphrase));
		element.close();
		ui.toast(t("backup.saved"));
	};
	const skip = async () => (await confirm(t("backup.sure"), "backup.skip")) && element.close();
	const passphrase = secret("export-passphrase", "keys.passphrase", "new-password");
	const element = dialog(
		"backup",
		"backup.title",
		h("p", t("backup.why")),
		form(
			"export-keys",
			"backup.save",
			submit,
			"primary",
			passphrase,
			secret("export-again", "keys.again", "new-password"),
		),
		h("button.link#skip-backup", { onclick: skip }, t("backup.skip")),
	);
	// It is offered once: a click beside it or the escape key is no answer, and Enter does not close
	// it.
	passphrase.lastChild.focus();
	element.firm = true;
	element.leave = skip;
	element.addEventListener("cancel", (event) => event.preventDefault());
	// Browsers do not ask at a second escape key.
	element.addEventListener("keydown", (event) => event.key === "Escape" && event.preventDefault());
}

function download(name, text) {
	const href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
	h("a", { href, download: name.replace(/[/\\:*?"<>|]/g, "_") }).click();
	setTimeout(() => URL.revokeObjectURL(href), 60_000);
}

// The forms that bring this browser's keys in order: to import, to make and to publish them.
export function keyForms(done) {
	const state = model.me?.keys ?? "unknown";
	const said = h("p.note#key-state", { "data-state": state }, t(`keys.state.${state}`));
	if (state === "unknown") return [said];
	const ok = state === "ok";
	const again = async () => {
		await publish();
		done();
	};
	const make = async (data, step) => {
		if (ok && !(await confirm(t("keys.makeWarn"), "keys.make"))) return;
		step("enter.keys");
		const exportable = await makeKeys();
		done();
		backupDialog(exportable);
	};
	const notes = [ok && note(t("keys.makeCopy")), state !== "none" && note(t("keys.makeWarn"))];
	return [
		said,
		(state === "other" || state === "hidden") && form("publish-keys", "keys.publish", again),
		state !== "none" && !ok && importForm(done),
		form("make-keys", "keys.make", make, "", notes),
	].filter(Boolean);
}

function importForm(done) {
	const submit = async (data) => {
		const file = data.get("file");
		try {
			const text = file.size < FILE_BYTES_MAX ? await file.text() : "";
			await importKeys(text, data.get("passphrase"));
		} catch (error) {
			if (error.code) throw error;
			return `keys.error.${error.message}`;
		}
		ui.toast(t("keys.imported"));
		done();
	};
	const file = field("import-file", "keys.file", { type: "file", accept: ".json" });
	return form(
		"import-keys",
		"keys.import",
		submit,
		"",
		file,
		secret("import-passphrase", "keys.passphrase", "off"),
	);
}

export function setUpDialog() {
	const element = dialog("set-up", "keys.setUp", keyForms(() => element.close()));
}
