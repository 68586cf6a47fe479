// The page before log-in: log in, or create an account. And the common parts of all forms.

import { h, once, ui } from "./dom.js";
import { LANGUAGES, currentLanguage, t } from "./i18n.js";
import { logIn, signUp } from "./model.js";
import { nameProblem } from "./protocol.js";

export const PASSWORD_MIN = 8;

// The meaning of an error for the user. The server's own words are in English only.
export const sentence = (error) =>
	t(`error.${ALIKE[error.code] ?? error.code}`, { sentence: error.message }, "error.OTHER");

const ALIKE = {
	...{ NO_SUCH_USER: "NO_USER", BAD_JSON: "BAD_FIELD" },
	...{ NOT_LOGGED_IN: "AWAY", IDLE: "AWAY", REPLACED: "AWAY", SHUTTING_DOWN: "AWAY" },
};

// Does what the server may refuse as FORBIDDEN, which is `key` then: a text that says why.
export async function refused(key, act) {
	try {
		await act();
	} catch (error) {
		if (error.code !== "FORBIDDEN") throw error;
		return key;
	}
}

// A field with its label. `id` is "form-name".
export function field(id, label, props = {}) {
	const name = id.slice(id.lastIndexOf("-") + 1);
	return h("p.field", h("label", { for: id }, t(label)), h("input", { id, name, dir: "auto", ...props }));
}

export const secret = (id, label, autocomplete) =>
	field(id, label, { type: "password", autocomplete, dir: "ltr" });

export const checkbox = (id, label, props) =>
	h("label.check", { for: id }, h("input", { type: "checkbox", id, name: id, ...props }), t(label));

// Where the user chooses their language; before log-in as after it.
export function languageChoice(props) {
	const option = ([code, name]) => h("option", { value: code, lang: code }, name);
	const choice = h("select#language", props, Object.entries(LANGUAGES).map(option));
	choice.value = currentLanguage();
	choice.addEventListener("change", () => ui.language(choice.value));
	return choice;
}

export const note = (text) => h("p.note", text);

export function form(id, label, submit, kind, ...content) {
	const error = h("p.error", { role: "alert" });
	const busy = h("p.busy", { role: "status" });
	const button = h("button", { type: "submit", class: kind }, t(label));
	const element = h("form", { id, novalidate: true }, content, error, busy, button);
	const send = async () => {
		error.textContent = "";
		try {
			const wrong = await submit(new FormData(element), (key) => (busy.textContent = t(key)));
			if (wrong) error.textContent = t(wrong);
		} catch (cause) {
			error.textContent = sentence(cause);
		}
		busy.textContent = "";
	};
	element.addEventListener("submit", (event) => {
		event.preventDefault();
		once(button, send);
	});
	return element;
}

function password(id, autocomplete) {
	const row = secret(id, "enter.password", autocomplete);
	const onchange = ({ target }) => (row.lastChild.type = target.checked ? "text" : "password");
	return [row, checkbox(`${id}-show`, "enter.show", { onchange })];
}

async function enter(data, step) {
	if (data.get("user") === "") return "name.empty";
	step("enter.hashing");
	await logIn(data.get("user"), data.get("password"));
}

// `last`: the user who was here last. `notice`: why the user is here, a key of the texts. `made` is
// called with the bytes of the new keys after a sign-up.
export function welcome(last, notice, made) {
	const create = async (data, step) => {
		const [user, secretWord] = [data.get("user"), data.get("password")];
		const wrong = nameProblem(user) ?? ([...secretWord].length < PASSWORD_MIN && "enter.short");
		if (wrong) return wrong;
		return refused("error.NO_SIGN_UPS", async () => {
			made(await signUp(user, secretWord, data.get("nick"), step));
		});
	};
	const user = (id, value) => {
		const props = { autocomplete: "username", autocapitalize: "none", spellcheck: "false" };
		return field(id, "enter.user", { value, ...props });
	};
	const forms = {
		"log-in": form(
			"log-in",
			"enter.logIn",
			enter,
			"primary",
			user("log-in-user", last),
			password("log-in-password", "current-password"),
		),
		"sign-up": form(
			"sign-up",
			"enter.signUp",
			create,
			"primary",
			user("sign-up-user"),
			field("sign-up-nick", "enter.nick", { autocomplete: "nickname", maxlength: 80 }),
			password("sign-up-password", "new-password"),
			note(t("enter.note")),
		),
	};
	const heading = h("h2");
	const toggle = h("button.link", { onclick: () => show(toggle.id.slice(5)).focus() });
	const show = (which) => {
		const [label, other] = which === "log-in" ? ["logIn", "sign-up"] : ["signUp", "log-in"];
		forms[which].hidden = false;
		forms[other].hidden = true;
		heading.textContent = t(`enter.${label}`);
		toggle.id = `show-${other}`;
		toggle.textContent = t(other === "sign-up" ? "enter.toSignUp" : "enter.toLogIn");
		return forms[which].querySelector("input");
	};
	show("log-in");
	return card(
		h("h1", t("name")),
		h("p.tagline", t("tagline")),
		notice && h("p.notice#notice", { role: "status" }, t(`enter.${notice}`)),
		heading,
		forms["log-in"],
		forms["sign-up"],
		toggle,
		languageChoice({ "aria-label": t("settings.language") }),
	);
}

const card = (...content) =>
	h("div.welcome", h("div.card", h("div.mark", { "aria-hidden": "true" }), content));

// The text for browsers without cryptography.
export function insecure() {
	const port = location.port || "80";
	const url = `http://127.0.0.1:${port}/`;
	const command = `ssh -L ${port}:127.0.0.1:${port} ${location.hostname}`;
	const ways = ["https", "local", "tunnel"].map((way) => h("li", t(`secure.${way}`, { url, command })));
	return card(
		h("h1#insecure", t("secure.title")),
		h("p", t("secure.why")),
		h("p", t("secure.how")),
		h("ul", ways),
	);
}
