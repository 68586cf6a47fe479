// The frames that this page and the server exchange, and the errors. Pure: no socket, no clock.
// The contract is docs/protocol.md. Requests use the object form of CONTENT.

export const ENVELOPE_BYTES_MAX = 65536;
export const TEXT_BYTES_MAX = 30000;
export const SYSTEM = "system";

const encoder = new TextEncoder();
export const byteLength = (text) => encoder.encode(text).length;

/** Compares two names by their UTF-8 bytes, as the server sorts them. */
export function compareBytes(a, b) {
	const x = encoder.encode(a);
	const y = encoder.encode(b);
	const n = Math.min(x.length, y.length);
	for (let i = 0; i < n; i++) if (x[i] !== y[i]) return x[i] - y[i];
	return x.length - y.length;
}

/** An error that the server sent, or that the connection made. `code` is a key of ERRORS. */
export class ServerError extends Error {
	constructor(code, sentence = "") {
		super(sentence || code);
		this.name = "ServerError";
		this.code = code;
	}
}

// What to do after each error:
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
	// Made by the encryption: the friend's keys changed, or this browser has no keys of its own.
	KEYS_CHANGED: "never",
	NO_KEYS_HERE: "never",
};

export const whatToDo = (code) => ERRORS[code] ?? "never";

/** Splits "CODE: a sentence" of an RE_ERROR. A code that is not known has a sentence at least. */
export function readError(value) {
	const [, code, sentence] = /^([A-Z_]+): *(.*)$/s.exec(value) ?? [];
	if (Object.hasOwn(ERRORS, code ?? "")) return new ServerError(code, sentence);
	return new ServerError("UNKNOWN", typeof value === "string" ? value : "");
}

/** An object that came as it is, or as a JSON text inside a string. Anything else is null. */
export function asObject(value) {
	let found = value;
	if (typeof found === "string") {
		try {
			found = JSON.parse(found);
		} catch {
			return null;
		}
	}
	return found !== null && typeof found === "object" && !Array.isArray(found) ? found : null;
}

const text = (value) => (typeof value === "string" ? value : "");

/** Reads a frame of the server. The answer is null if it is none. */
export function parseFrame(data) {
	const frame = typeof data === "string" ? asObject(data) : null;
	const content = frame && asObject(frame.CONTENT);
	if (!content || typeof frame.TYPE !== "string") return null;
	const type = frame.TYPE;
	if (type === "4" || type === "6") return parsePush(type, content);
	if (type === "PRESENCE") {
		const { userName, online } = content;
		if (typeof userName !== "string") return null;
		return { kind: "presence", name: userName, online: online === true };
	}
	return { kind: "answer", type, id: text(content.MessageId), value: content.Content };
}

function parsePush(type, content) {
	const push = {
		kind: "push",
		type,
		inner: text(content.type),
		id: text(content.messageId),
		sender: text(content.sender),
		receiver: text(content.receiver),
		time: text(content.time),
		content: text(content.content),
	};
	return push.id && push.sender ? push : null;
}

/** A request: TYPE, CONTENT and, if it has one, MID. */
export function frame(type, content, mid) {
	return JSON.stringify(
		mid === undefined ? { CONTENT: content, TYPE: type } : { MID: mid, CONTENT: content, TYPE: type },
	);
}

// What a page may show as a picture: a small image inside the profile itself. An address of another
// server would tell that server who looks at the profile.
const PICTURE = /^data:image\/(png|jpeg|webp|gif);base64,[A-Za-z0-9+/]+={0,2}$/;
export const PICTURE_BYTES_MAX = 2048;
export const isPicture = (value) =>
	typeof value === "string" && value.length <= PICTURE_BYTES_MAX && PICTURE.test(value);

/** Why a name cannot be signed up, as a key of the texts, or null. The server decides in the end. */
export function nameProblem(name) {
	if (name === "") return "name.empty";
	if ([...name].length > 64) return "name.long";
	if (name !== name.trim()) return "name.space";
	if (/[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Default_Ignorable_Code_Point}]/u.test(name)) return "name.odd";
	if (name.toLowerCase() === SYSTEM) return "name.system";
	return null;
}

/** The fields of a profile and their bounds in bytes. */
export const PROFILE_FIELDS = {
	nickName: 255,
	emailAddress: 255,
	location: 255,
	personalDescription: 8192,
	profilePicture: PICTURE_BYTES_MAX,
	rsaPublicKey: 8192,
};

/** A profile as the server sent it, with every field a string. */
export function readProfile(value) {
	const found = asObject(value) ?? {};
	const profile = { userName: text(found.userName) };
	for (const field of Object.keys(PROFILE_FIELDS)) profile[field] = text(found[field]);
	return profile;
}

/** One page of the roster, with everything of a wrong kind left out. */
export function readRoster(value) {
	const found = asObject(value) ?? {};
	const list = (items) => (Array.isArray(items) ? items.map(asObject).filter(Boolean) : []);
	const request = (item) => ({
		name: text(item.userName),
		id: text(item.messageId),
		text: text(item.content),
		time: text(item.time),
	});
	return {
		friends: list(found.friends).map((item) => ({
			name: text(item.userName),
			nick: text(item.nickName),
			picture: isPicture(item.profilePicture) ? item.profilePicture : "",
			online: item.online === true,
		})),
		incoming: list(found.incoming).map(request),
		outgoing: list(found.outgoing).map(request),
		more: found.more === true,
	};
}
