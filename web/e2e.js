// End-to-end encryption with the browser's WebCrypto. The format is in docs/e2e.md.

import { byteLength, compareBytes } from "./protocol.js";

const subtle = globalThis.crypto?.subtle;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const OAEP = { name: "RSA-OAEP", hash: "SHA-256" };
const PSS = { name: "RSA-PSS", hash: "SHA-256" };
const SIGN = { name: "RSA-PSS", saltLength: 32 };
const MODULUS_BITS = 3072;
const ROUNDS = 600_000;
const ROUNDS_MAX = 10_000_000;
const PUBLIC_BYTES_MAX = 8192;

// False on a page that came over plain HTTP from another machine: browsers switch it off there.
export const available = () => Boolean(subtle && globalThis.isSecureContext !== false);

// --- Bytes

export function toB64(bytes) {
	const binary = Array.from(new Uint8Array(bytes), (byte) => String.fromCharCode(byte)).join("");
	return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export function fromB64(text) {
	const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
	const bytes = Uint8Array.from(binary, (char) => char.charCodeAt(0));
	// One text for each value: no padding, no other alphabet, and bits that are left over are 0.
	if (toB64(bytes) !== text) throw new Error("not base64url");
	return bytes;
}

const bytesOf = (value) => (typeof value === "string" ? encoder.encode(value) : new Uint8Array(value));

function concat(...parts) {
	const all = parts.map(bytesOf);
	const bytes = new Uint8Array(all.reduce((sum, part) => sum + part.length, 0));
	let at = 0;
	for (const part of all) {
		bytes.set(part, at);
		at += part.length;
	}
	return bytes;
}

function netstrings(...values) {
	const all = values.map(bytesOf);
	return concat(...all.flatMap((bytes) => [`${bytes.length}:`, bytes, ","]));
}

const sha = async (name, data) => new Uint8Array(await subtle.digest(name, bytesOf(data)));

const random = (length) => crypto.getRandomValues(new Uint8Array(length));

// AES-256-GCM; `use`: encrypt or decrypt.
async function gcm(use, raw, iv, additionalData, data) {
	const key = await subtle.importKey("raw", raw, "AES-GCM", false, [use]);
	return subtle[use]({ name: "AES-GCM", iv, additionalData }, key, data);
}

async function pbkdf2(words, salt, iterations) {
	const bytes = encoder.encode(words.normalize("NFC"));
	const key = await subtle.importKey("raw", bytes, "PBKDF2", false, ["deriveBits"]);
	return subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt, iterations }, key, 256);
}

// The password as the server gets it (docs/protocol.md, sign up).
export async function hashValue(user, password, rounds = ROUNDS) {
	const bits = await pbkdf2(password, await sha("SHA-256", `hongyan:${user}`), rounds);
	return Array.from(new Uint8Array(bits), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// --- Keys

const keyId = async ({ n }) => toB64(await sha("SHA-256", `{"e":"AQAB","kty":"RSA","n":"${n}"}`));

const jwkOf = (n, alg, use) => ({ kty: "RSA", n, e: "AQAB", alg, use });

function checkedJwk(jwk, alg, use) {
	const made = jwkOf(jwk.n, alg, use);
	for (const [key, value] of Object.entries(made)) {
		if (jwk[key] !== value) throw new Error("not such a key");
	}
	const n = fromB64(jwk.n);
	const bits = n.length * 8 - Math.clz32(n[0]) + 24;
	const odd = n.at(-1) % 2 === 1;
	if (!n[0] || !odd || bits < 2048 || bits > 4096) throw new Error("not such a modulus");
	return made;
}

// The public keys in a profile's rsaPublicKey: {encrypt, sign} (key ids) and what `seal` and `open`
// need. Null if there are none; keys of other clients and other formats are none.
export async function readPublic(text) {
	try {
		const found = byteLength(text) > PUBLIC_BYTES_MAX ? null : JSON.parse(text);
		if (found?.hongyan !== 1) return null;
		const encrypt = checkedJwk(found.encrypt, "RSA-OAEP-256", "enc");
		const sign = checkedJwk(found.sign, "PS256", "sig");
		return {
			encrypt: await keyId(encrypt),
			sign: await keyId(sign),
			encryptKey: await subtle.importKey("jwk", encrypt, OAEP, false, ["encrypt"]),
			signKey: await subtle.importKey("jwk", sign, PSS, false, ["verify"]),
		};
	} catch {
		return null;
	}
}

// Makes two key pairs. `keys` has private keys that cannot be read out again, for the browser's
// database; `exportable` holds their bytes, for one backup, and is not stored.
export async function createKeys() {
	const shape = { modulusLength: MODULUS_BITS, publicExponent: new Uint8Array([1, 0, 1]) };
	const make = async (algorithm, ...uses) => {
		const { privateKey } = await subtle.generateKey({ ...shape, ...algorithm }, true, uses);
		return subtle.exportKey("pkcs8", privateKey);
	};
	const [encrypt, sign] = await Promise.all([
		make(OAEP, "encrypt", "decrypt"),
		make(PSS, "sign", "verify"),
	]);
	return keysOf({ encrypt, sign });
}

// Private keys as they are stored, from their bytes.
export async function keysOf(exportable) {
	const publicOf = async (pkcs8, algorithm, secretUse, alg, use) => {
		const key = await subtle.importKey("pkcs8", pkcs8, algorithm, true, [secretUse]);
		return jwkOf((await subtle.exportKey("jwk", key)).n, alg, use);
	};
	const text = JSON.stringify({
		hongyan: 1,
		encrypt: await publicOf(exportable.encrypt, OAEP, "decrypt", "RSA-OAEP-256", "enc"),
		sign: await publicOf(exportable.sign, PSS, "sign", "PS256", "sig"),
	});
	const { encrypt, sign } = await readPublic(text);
	const decryptKey = await subtle.importKey("pkcs8", exportable.encrypt, OAEP, false, ["decrypt"]);
	const signingKey = await subtle.importKey("pkcs8", exportable.sign, PSS, false, ["sign"]);
	return { keys: { text, encrypt, sign, decryptKey, signingKey }, exportable };
}

// --- Messages

const associated = ({ sender, receiver, messageId, from, to, self }) =>
	netstrings("hongyan-e2e1", sender, receiver, messageId, from, to, self);

// Encrypts and signs a text. `own`: of createKeys; `ownPublic`, `theirs`: of readPublic.
export async function seal({ sender, receiver, messageId, text, own, ownPublic, theirs }) {
	const [raw, iv] = [random(32), random(12)];
	const names = { from: own.sign, to: theirs.encrypt, self: own.encrypt };
	const data = associated({ sender, receiver, messageId, ...names });
	const key = await subtle.encrypt(OAEP, theirs.encryptKey, raw);
	const ownKey = await subtle.encrypt(OAEP, ownPublic.encryptKey, raw);
	const sealed = await gcm("encrypt", raw, iv, data, encoder.encode(text));
	const signed = concat(data, netstrings(iv, key, ownKey, sealed));
	const sig = await subtle.sign(SIGN, own.signingKey, signed);
	const parts = { key, own: ownKey, iv, text: sealed, sig };
	for (const part of Object.keys(parts)) parts[part] = toB64(parts[part]);
	return JSON.stringify({ hongyan: "e2e1", ...names, ...parts });
}

const ENVELOPE_FIELDS = ["from", "to", "self", "key", "own", "iv", "text", "sig"];

// An envelope that came as a message's content, or null if the content is plain text.
export function readEnvelope(content) {
	let found;
	try {
		found = JSON.parse(content);
	} catch {
		return null;
	}
	if (found?.hongyan !== "e2e1") return null;
	const text = (value) => (typeof value === "string" ? value : "");
	return Object.fromEntries(ENVELOPE_FIELDS.map((field) => [field, text(found[field])]));
}

// Verifies an envelope, then decrypts it. `user`: the owner of the keys `own`. `signer`: the result
// of readPublic for the pinned keys of the sender. The answer is {text} or {fault}: "receiver" (for
// other keys than ours), "signer" (not the pinned key) or "forged".
export async function open({ user, sender, receiver, messageId, envelope, own, signer }) {
	// `self` and `own` are for messages of the user's own: in a friend's they would be a second text.
	const mine = sender === user;
	const kid = mine ? envelope.self : envelope.to;
	if ((!mine && receiver !== user) || kid !== own.encrypt) return { fault: "receiver" };
	if (envelope.from !== signer.sign) return { fault: "signer" };
	try {
		const data = associated({ sender, receiver, messageId, ...envelope });
		const { key, own: ownKey, iv, text, sig } = envelope;
		const parts = [iv, key, ownKey, text].map(fromB64);
		const signed = concat(data, netstrings(...parts));
		const genuine = await subtle.verify(SIGN, signer.signKey, fromB64(sig), signed);
		if (!genuine || parts[0].length !== 12) return { fault: "forged" };
		const raw = await subtle.decrypt(OAEP, own.decryptKey, mine ? parts[2] : parts[1]);
		return { text: decoder.decode(await gcm("decrypt", raw, parts[0], data, parts[3])) };
	} catch {
		return { fault: "forged" };
	}
}

// The safety number of two users, each {name, encrypt, sign}: 12 groups of five digits.
export async function safetyNumber(one, other) {
	const both = [one, other].sort((a, b) => compareBytes(a.name, b.name));
	const names = both.flatMap(({ name, encrypt, sign }) => [name, encrypt, sign]);
	const hash = await sha("SHA-512", netstrings("hongyan-safety-1", ...names));
	const groups = [];
	for (let i = 0; i < 60; i += 5) {
		// 5 bytes are 40 bits, which a number holds exactly.
		const value = hash.subarray(i, i + 5).reduce((sum, byte) => sum * 256 + byte, 0);
		groups.push(String(value % 100_000).padStart(5, "0"));
	}
	return groups.join(" ");
}

// --- Backup

const backupData = (user) => netstrings("hongyan-keys1", user);

export async function exportKeys(user, exportable, passphrase) {
	const [salt, iv] = [random(16), random(12)];
	const raw = await pbkdf2(passphrase, salt, ROUNDS);
	const { encrypt, sign } = exportable;
	const inside = encoder.encode(JSON.stringify({ encrypt: toB64(encrypt), sign: toB64(sign) }));
	const data = toB64(await gcm("encrypt", raw, iv, backupData(user), inside));
	const file = { hongyan: "keys1", user, salt: toB64(salt), rounds: ROUNDS, iv: toB64(iv), data };
	return JSON.stringify(file);
}

// Reads a backup file. Fails with an Error whose message is "file", "user" or "passphrase".
export async function importKeys(user, text, passphrase) {
	// If one of these steps fails, the thing that it reads is at fault.
	const blame = (what, step) => Promise.resolve().then(step).catch(() => Promise.reject(new Error(what)));
	const file = await blame("file", () => {
		const { hongyan, user: owner, rounds, salt, iv, data } = JSON.parse(text);
		const fits = Number.isInteger(rounds) && rounds >= ROUNDS && rounds <= ROUNDS_MAX;
		const read = { owner, rounds, salt: fromB64(salt), iv: fromB64(iv), data: fromB64(data) };
		if (hongyan !== "keys1" || !fits || read.salt.length !== 16 || read.iv.length !== 12) throw 0;
		return read;
	});
	if (file.owner !== user) throw new Error("user");
	const raw = await pbkdf2(passphrase, file.salt, file.rounds);
	const inside = await blame("passphrase", () =>
		gcm("decrypt", raw, file.iv, backupData(user), file.data),
	);
	return blame("file", () => {
		const { encrypt, sign } = JSON.parse(decoder.decode(inside));
		return keysOf({ encrypt: fromB64(encrypt), sign: fromB64(sign) });
	});
}
