// The settings: profile, language, notifications, keys, password, blocked users, account.

import { call, on } from "./bus.js";
import { confirm, dialog, keyForms } from "./dialogs.js";
import { avatar, bdi, h, once, refill, ui } from "./dom.js";
import { t } from "./i18n.js";
import { changePassword, deleteAccount, model } from "./model.js";
import { PROFILE_FIELDS, byteLength, isPicture } from "./protocol.js";
import { PASSWORD_MIN, checkbox, field, form, languageChoice, note, refused, secret, sentence } from "./welcome.js";

// `open`: the section to show first.
export function settingsDialog(open) {
	const section = (name, key, ...content) =>
		h(
			`details#settings-${name}`,
			{ name: "settings", open: name === open },
			h("summary", h("h3", t(key))),
			h("div.inside", content),
		);
	const keys = section("keys", "keys.title");
	const summary = (part) => () => part.firstChild.focus();
	const showKeys = () => refill(keys.lastChild, keyForms(showKeys), summary(keys));
	const blocked = section("blocked", "settings.blocked");
	const listBlocked = () => showBlocked(blocked.lastChild, summary(blocked));
	blocked.addEventListener("toggle", () => blocked.open && listBlocked());
	showKeys();
	const element = dialog(
		"settings-dialog",
		"settings",
		section("profile", "settings.profile", profileForm()),
		section("display", "settings.display", displayFields()),
		keys,
		section("password", "enter.password", passwordForm()),
		blocked,
		section("account", "settings.account", logOutForm(), deleteForm()),
	);
	const off = on("me", () => keys.contains(document.activeElement) || showKeys());
	element.addEventListener("close", off);
	return element;
}

// --- Profile

function profileForm() {
	const profile = model.me?.profile;
	if (!profile) return note(t("keys.state.unknown"));
	let picture = isPicture(profile.profilePicture) ? profile.profilePicture : "";
	let touched = false;
	const face = h("div.face-box");
	const take = (found) => {
		picture = found;
		const peer = { name: model.user, nick: profile.nickName, picture };
		face.replaceChildren(avatar(peer, true), h("p.sub", bdi(`@${model.user}`)));
	};
	take(picture);
	const choose = (found) => {
		touched = true;
		take(found);
	};
	const submit = async (data) => {
		const fields = touched ? { profilePicture: picture } : {};
		for (const key of TEXTS) {
			const value = data.get(key);
			if (byteLength(value) > PROFILE_FIELDS[key]) return "text.long";
			if (value !== profile[key]) fields[key] = value;
		}
		await call("setProfile", fields);
		Object.assign(profile, fields);
		ui.toast(t("settings.saved"));
	};
	const input = (key) => {
		const row = field(`profile-${key}`, `field.${key}`, { value: profile[key] });
		if (key !== "personalDescription") return row;
		const area = h("textarea", { id: `profile-${key}`, name: key, rows: 3, dir: "auto" });
		area.value = profile[key];
		row.lastChild.replaceWith(area);
		return row;
	};
	return form(
		"profile",
		"settings.save",
		submit,
		"primary",
		note(t("settings.profileNote")),
		face,
		pictureField(choose),
		TEXTS.map(input),
	);
}

const TEXTS = ["nickName", "location", "emailAddress", "personalDescription"];

function pictureField(take) {
	const onchange = async ({ target }) => {
		const picture = await shrink(target.files[0]).catch(() => "");
		if (picture) take(picture);
		else ui.toast(t("settings.pictureBad"));
	};
	return h(
		"div.picture",
		field("choose-picture", "settings.picture", { type: "file", accept: "image/*", onchange }),
		h("button.small", { onclick: () => take("") }, t("settings.pictureNone")),
	);
}

// A square picture that fits a profile: smaller and coarser until it does.
async function shrink(file) {
	const image = await createImageBitmap(file);
	const side = Math.min(image.width, image.height);
	const from = [(image.width - side) / 2, (image.height - side) / 2, side, side];
	for (const size of [96, 80, 64, 48, 32]) {
		const canvas = h("canvas", { width: size, height: size });
		const context = canvas.getContext("2d");
		context.fillStyle = "#fff";
		context.fillRect(0, 0, size, size);
		context.drawImage(image, ...from, 0, 0, size, size);
		for (const quality of [0.8, 0.6, 0.4]) {
			const url = canvas.toDataURL("image/jpeg", quality);
			if (url.length <= PROFILE_FIELDS.profilePicture) return url;
		}
	}
	return "";
}

// --- Language and notifications

function displayFields() {
	const choice = languageChoice({});
	const blocked = h("p.note", { role: "status" });
	const onchange = async ({ target }) => {
		target.checked = await ui.notify(target.checked);
		const denied = globalThis.Notification?.permission === "denied";
		blocked.textContent = denied ? t("settings.notifyNo") : "";
	};
	const box = checkbox("notify", "settings.notify", { onchange });
	box.firstChild.checked = ui.notifies();
	return [h("p.field", h("label", { for: "language" }, t("settings.language")), choice), box, blocked];
}

// --- Password and blocked users

function passwordForm() {
	const submit = async (data, step) => {
		if ([...data.get("new")].length < PASSWORD_MIN) return "enter.short";
		step("enter.hashing");
		const wrong = await refused("error.OLD_PASSWORD", () => changePassword(data.get("old"), data.get("new")));
		if (wrong) return wrong;
		element.reset();
		ui.toast(t("settings.passwordDone"));
	};
	// For password managers, which keep passwords by user name.
	const user = h("input.hidden", { autocomplete: "username", value: model.user, tabindex: -1 });
	user.readOnly = true;
	user.setAttribute("aria-hidden", "true");
	const element = form(
		"password",
		"settings.passwordChange",
		submit,
		"primary",
		user,
		secret("password-old", "settings.oldPassword", "current-password"),
		secret("password-new", "settings.newPassword", "new-password"),
		note(t("settings.passwordNote")),
	);
	return element;
}

function showBlocked(inside, summary) {
	const row = (name) => {
		const unblock = () => call("block", { unblock: name }).then(show, ui.fail);
		const onclick = ({ currentTarget }) => once(currentTarget, unblock);
		const props = { "data-act": "unblock", "aria-label": t("settings.unblockWho", { name }), onclick };
		return h("li", { "data-user": name }, bdi(name), h("button.small", props, t("settings.unblock")));
	};
	const show = (names) => {
		const list = h("ul.blocked#blocked", names.map(row));
		const shown = names.length > 0 ? list : note(t("settings.blockedNone"));
		const had = inside.contains(document.activeElement);
		inside.replaceChildren(shown);
		// Not to the next name: a second Enter would unblock that one, too.
		if (had) summary();
	};
	const fail = (error) => inside.replaceChildren(h("p.error", { role: "alert" }, sentence(error)));
	call("block", {}).then(show, fail);
}

// --- Account

function logOutForm() {
	const submit = async (data) => {
		const remove = data.get("remove") === "on";
		try {
			await call("logout", { remove, force: false });
		} catch {
			const sure = await confirm(t("settings.logOutAway"), "settings.logOut");
			if (sure) await call("logout", { remove, force: true });
		}
	};
	const element = form(
		"log-out-form",
		"settings.logOut",
		submit,
		"",
		note(t("settings.logOutNote")),
		checkbox("remove", "settings.remove"),
		note(t("settings.removeWarn")),
	);
	element.querySelector("button").id = "log-out";
	return element;
}

function deleteForm() {
	const submit = (data, step) => {
		if (data.get("delete-sure") !== "on") return "settings.deleteTick";
		step("enter.hashing");
		return refused("error.OLD_PASSWORD", () => deleteAccount(data.get("password")));
	};
	return form(
		"delete-account",
		"settings.delete",
		submit,
		"danger",
		h("h4", t("settings.delete")),
		note(t("settings.deleteNote")),
		secret("delete-password", "enter.password", "current-password"),
		checkbox("delete-sure", "settings.deleteSure"),
	);
}
