// The frames that this page and the server exchange (docs/protocol.md), and the errors. Pure: no
// socket, no clock. Requests use the object form of CONTENT.

export const ENVELOPE_BYTES_MAX = 65536;
export const TEXT_BYTES_MAX = 30000;
export const SYSTEM = "system";

const encoder = new TextEncoder();
export const byteLength = (text) => encoder.encode(text).length;

export function compareBytes(a, b) {
	const [x, y] = [encoder.encode(a), encoder.encode(b)];
	const at = x.findIndex((byte, i) => byte !== y[i]);
	return at < 0 || at >= y.length ? x.length - y.length : x[at] - y[at];
}

// An error that the server sent, or that was made here. `code` is a key of ERRORS, or UNKNOWN.
export class ServerError extends Error {
	constructor(code, sentence = "") {
		super(sentence || code);
		this.code = code;
	}
}

// The right reaction to each error:
//   again    send the same request again under the same id, after a growing pause
//   later    tell the user; sending it again helps only after minutes
//   never    an unchanged request is refused again
//   stop     the connection is over, and must not be opened again without the user
//   connect  the connection is over; connect again
export const ERRORS = {
	BAD_JSON: "never",
	BAD_FIELD: "never",
	UNKNOWN_TYPE: "never",
	TOO_LARGE: "never",
	NOT_LOGGED_IN: "again",
	FORBIDDEN: "never",
	NO_SUCH_USER: "never",
	NO_SUCH_REQUEST: "never",
	RATE_LIMITED: "again",
	UNAVAILABLE: "again",
	FULL: "later",
	IDLE: "connect",
	REPLACED: "stop",
	SHUTTING_DOWN: "connect",
	// Causes that have no RE_ERROR of their own:
	NAME_TAKEN: "never",
	WRONG_PASSWORD: "never",
	NOT_FRIENDS: "never",
	NO_USER: "never",
	// Made by the connection:
	TIMEOUT: "again",
	AWAY: "connect",
	// Made by the encryption: the friend's keys changed, or our profile does not show this browser's.
	KEYS_CHANGED: "never",
	NO_KEYS_HERE: "never",
};

export const whatToDo = (code) => ERRORS[code] ?? "never";

export function readError(value) {
	const [, code, sentence] = /^([A-Z_]+): *(.*)$/s.exec(value) ?? [];
	if (Object.hasOwn(ERRORS, code ?? "")) return new ServerError(code, sentence);
	return new ServerError("UNKNOWN", textOf(value));
}

// An object that came as it is, or as a JSON text inside a string. Anything else is null.
export function asObject(value) {
	let found = value;
	try {
		if (typeof found === "string") found = JSON.parse(found);
	} catch {
		return null;
	}
	return found !== null && typeof found === "object" && !Array.isArray(found) ? found : null;
}

const textOf = (value) => (typeof value === "string" ? value : "");

export function parseFrame(data) {
	const frame = typeof data === "string" ? asObject(data) : null;
	const content = frame && asObject(frame.CONTENT);
	if (!content || typeof frame.TYPE !== "string") return null;
	const type = frame.TYPE;
	if (type === "PRESENCE") {
		const name = textOf(content.userName);
		return name && { kind: "presence", name, online: content.online === true };
	}
	if (type !== "4" && type !== "6") {
		return { kind: "answer", type, id: textOf(content.MessageId), value: content.Content };
	}
	const push = {
		kind: "push",
		type,
		inner: textOf(content.type),
		id: textOf(content.messageId),
		sender: textOf(content.sender),
		time: textOf(content.time),
		content: textOf(content.content),
	};
	return push.id && push.sender ? push : null;
}

export const frame = (type, content, mid) => JSON.stringify({ MID: mid, CONTENT: content, TYPE: type });

export const PROFILE_FIELDS = {
	nickName: 255,
	emailAddress: 255,
	location: 255,
	personalDescription: 8192,
	profilePicture: 2048,
	rsaPublicKey: 8192,
};

// A page may show as a picture: a small image inside the profile itself. An address of another
// server would tell that server who looks at the profile.
const PICTURE = /^data:image\/(png|jpeg|webp|gif);base64,[A-Za-z0-9+/]+={0,2}$/;
export const isPicture = (value) =>
	textOf(value).length <= PROFILE_FIELDS.profilePicture && PICTURE.test(value);

// Why a name cannot be signed up, as a key of the texts, or null. The server decides in the end.
export function nameProblem(name) {
	if (name === "") return "name.empty";
	if ([...name].length > 64) return "name.long";
	if (name !== name.trim()) return "name.space";
	if (/[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Default_Ignorable_Code_Point}]/u.test(name)) return "name.odd";
	return name.toLowerCase() === SYSTEM ? "name.system" : null;
}

export function readProfile(value) {
	const found = asObject(value) ?? {};
	return Object.fromEntries(Object.keys(PROFILE_FIELDS).map((key) => [key, textOf(found[key])]));
}

export function readBlocked(value) {
	const names = asObject(value)?.blocked;
	return Array.isArray(names) ? names.filter((name) => textOf(name) !== "") : [];
}

export function readRoster(value) {
	const found = asObject(value) ?? {};
	const list = (key, read) =>
		Array.isArray(found[key]) ? found[key].map(asObject).filter(Boolean).map(read) : [];
	const friend = (item) => ({
		name: textOf(item.userName),
		nick: textOf(item.nickName),
		picture: isPicture(item.profilePicture) ? item.profilePicture : "",
		online: item.online === true,
	});
	const request = (item) => ({
		name: textOf(item.userName),
		id: textOf(item.messageId),
		text: textOf(item.content),
		time: Number(item.time),
	});
	return {
		friends: list("friends", friend),
		incoming: list("incoming", request),
		outgoing: list("outgoing", request),
		more: found.more === true,
	};
}
