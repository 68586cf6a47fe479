// End-to-end encryption with the browser's WebCrypto. The format is in docs/e2e.md.

import { byteLength, compareBytes } from "./protocol.js";

const subtle = globalThis.crypto?.subtle;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const OAEP = { name: "RSA-OAEP", hash: "SHA-256" };
const PSS = { name: "RSA-PSS", hash: "SHA-256" };
const SIGN = { name: "RSA-PSS", saltLength: 32 };
const MODULUS_BITS = 3072;
const PASSWORD_ROUNDS = 600_000;
const EXPORT_ROUNDS = 600_000;
const EXPORT_ROUNDS_MAX = 10_000_000;
const PUBLIC_BYTES_MAX = 8192;

/** False on a page that came over plain HTTP from another machine: browsers switch it off there. */
export const available = () => Boolean(subtle && globalThis.isSecureContext !== false);

export function toB64(bytes) {
	let binary = "";
	const view = new Uint8Array(bytes);
	for (let i = 0; i < view.length; i += 8192) {
		binary += String.fromCharCode(...view.subarray(i, i + 8192));
	}
	return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export function fromB64(text) {
	if (typeof text !== "string" || !/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) {
		throw new Error("not base64url");
	}
	const bytes = Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) =>
		c.charCodeAt(0),
	);
	// One text for each value: the bits that are left over must be 0.
	if (toB64(bytes) !== text) throw new Error("not canonical base64url");
	return bytes;
}

export function concat(...parts) {
	const all = parts.map((part) => (typeof part === "string" ? encoder.encode(part) : part));
	const bytes = new Uint8Array(all.reduce((sum, part) => sum + part.length, 0));
	let at = 0;
	for (const part of all) {
		bytes.set(part, at);
		at += part.length;
	}
	return bytes;
}

export function netstring(value) {
	const bytes = typeof value === "string" ? encoder.encode(value) : new Uint8Array(value);
	return concat(`${bytes.length}:`, bytes, ",");
}

const netstrings = (...values) => concat(...values.map(netstring));

const sha = async (name, data) => new Uint8Array(await subtle.digest(name, data));

/** The password as the server gets it (docs/protocol.md, sign up). */
export async function hashValue(user, password, rounds = PASSWORD_ROUNDS) {
	const salt = await sha("SHA-256", encoder.encode(`hongyan:${user}`));
	const bytes = encoder.encode(password.normalize("NFC"));
	const key = await subtle.importKey("raw", bytes, "PBKDF2", false, ["deriveBits"]);
	const params = { name: "PBKDF2", hash: "SHA-256", salt, iterations: rounds };
	const bits = new Uint8Array(await subtle.deriveBits(params, key, 256));
	return [...bits].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// --- Keys ---------------------------------------------------------------------------------------

const keyId = async (jwk) =>
	toB64(await sha("SHA-256", encoder.encode(`{"e":"AQAB","kty":"RSA","n":"${jwk.n}"}`)));

// The modulus of a public key, if it is one that this format allows.
function checkedJwk(jwk, alg, use) {
	if (jwk === null || typeof jwk !== "object" || jwk.kty !== "RSA" || jwk.e !== "AQAB") {
		throw new Error("not such a key");
	}
	if (jwk.alg !== alg || jwk.use !== use) throw new Error("key for another use");
	const n = fromB64(jwk.n);
	if (n.length === 0 || n[0] === 0) throw new Error("padded modulus");
	const bits = n.length * 8 - Math.clz32(n[0]) + 24;
	if (bits < 2048 || bits > 4096) throw new Error("modulus of a wrong size");
	return { kty: "RSA", n: jwk.n, e: "AQAB", alg, use };
}

/**
 * The public keys in a profile's rsaPublicKey: {encrypt, sign} (key ids) and what `seal` and `open`
 * need. Null if there are none; keys of other clients and other formats are none.
 */
export async function readPublic(text) {
	try {
		if (typeof text !== "string" || byteLength(text) > PUBLIC_BYTES_MAX) return null;
		const found = JSON.parse(text);
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

async function publicText(encrypt, sign) {
	const part = async (key, alg, use) => {
		const { n } = await subtle.exportKey("jwk", key);
		return { kty: "RSA", n, e: "AQAB", alg, use };
	};
	return JSON.stringify({
		hongyan: 1,
		encrypt: await part(encrypt, "RSA-OAEP-256", "enc"),
		sign: await part(sign, "PS256", "sig"),
	});
}

/**
 * Makes two key pairs. `keys` has private keys that cannot be read out again, for the browser's
 * database; `exportable` holds their bytes, for one backup, and is not stored.
 */
export async function createKeys() {
	const shape = { modulusLength: MODULUS_BITS, publicExponent: new Uint8Array([1, 0, 1]) };
	const [encrypt, sign] = await Promise.all([
		subtle.generateKey({ ...shape, ...OAEP }, true, ["encrypt", "decrypt"]),
		subtle.generateKey({ ...shape, ...PSS }, true, ["sign", "verify"]),
	]);
	const exportable = {
		encrypt: await subtle.exportKey("pkcs8", encrypt.privateKey),
		sign: await subtle.exportKey("pkcs8", sign.privateKey),
	};
	const text = await publicText(encrypt.publicKey, sign.publicKey);
	return { keys: await privateKeys(exportable, text), exportable };
}

async function privateKeys(exportable, text) {
	const { encrypt, sign } = await readPublic(text);
	return {
		text,
		encrypt,
		sign,
		decryptKey: await subtle.importKey("pkcs8", exportable.encrypt, OAEP, false, ["decrypt"]),
		signingKey: await subtle.importKey("pkcs8", exportable.sign, PSS, false, ["sign"]),
	};
}

// --- Messages -----------------------------------------------------------------------------------

function associatedData({ sender, receiver, messageId, from, to, self }) {
	return netstrings("hongyan-e2e1", sender, receiver, messageId, from, to, self);
}

/** Encrypts and signs a text. `own`: of createKeys; `ownPublic`, `theirs`: of readPublic. */
export async function seal({ sender, receiver, messageId, text, own, ownPublic, theirs }) {
	const raw = crypto.getRandomValues(new Uint8Array(32));
	const iv = crypto.getRandomValues(new Uint8Array(12));
	const names = { from: own.sign, to: theirs.encrypt, self: own.encrypt };
	const additionalData = associatedData({ sender, receiver, messageId, ...names });
	const aes = await subtle.importKey("raw", raw, "AES-GCM", false, ["encrypt"]);
	const [key, ownKey, sealed] = await Promise.all([
		subtle.encrypt(OAEP, theirs.encryptKey, raw),
		subtle.encrypt(OAEP, ownPublic.encryptKey, raw),
		subtle.encrypt({ name: "AES-GCM", iv, additionalData }, aes, encoder.encode(text)),
	]);
	const signed = concat(additionalData, netstrings(iv, key, ownKey, sealed));
	const sig = await subtle.sign(SIGN, own.signingKey, signed);
	return JSON.stringify({
		hongyan: "e2e1",
		...names,
		key: toB64(key),
		own: toB64(ownKey),
		iv: toB64(iv),
		text: toB64(sealed),
		sig: toB64(sig),
	});
}

const ENVELOPE_FIELDS = ["from", "to", "self", "key", "own", "iv", "text", "sig"];

/** An envelope that came as a message's content, or null if the content is plain text. */
export function readEnvelope(content) {
	if (typeof content !== "string" || !content.startsWith("{")) return null;
	let found;
	try {
		found = JSON.parse(content);
	} catch {
		return null;
	}
	if (found?.hongyan !== "e2e1") return null;
	const envelope = {};
	for (const field of ENVELOPE_FIELDS) {
		envelope[field] = typeof found[field] === "string" ? found[field] : "";
	}
	return envelope;
}

/**
 * Verifies an envelope, then decrypts it. `signer`: what readPublic gave for the pinned keys of
 * the sender. The answer is {text} or {fault}: "signer" (not the pinned key), "receiver" (for other
 * keys than ours) or "forged".
 */
export async function open({ sender, receiver, messageId, envelope, own, signer }) {
	if (envelope.from !== signer.sign) return { fault: "signer" };
	const toUs = envelope.to === own.encrypt;
	try {
		const additionalData = associatedData({ sender, receiver, messageId, ...envelope });
		const iv = fromB64(envelope.iv);
		const [key, ownKey, sealed] = [envelope.key, envelope.own, envelope.text].map(fromB64);
		const signed = concat(additionalData, netstrings(iv, key, ownKey, sealed));
		const genuine = await subtle.verify(SIGN, signer.signKey, fromB64(envelope.sig), signed);
		if (!genuine || iv.length !== 12) return { fault: "forged" };
		if (!toUs && envelope.self !== own.encrypt) return { fault: "receiver" };
		const raw = await subtle.decrypt(OAEP, own.decryptKey, toUs ? key : ownKey);
		const aes = await subtle.importKey("raw", raw, "AES-GCM", false, ["decrypt"]);
		const text = await subtle.decrypt({ name: "AES-GCM", iv, additionalData }, aes, sealed);
		return { text: decoder.decode(text) };
	} catch {
		return { fault: "forged" };
	}
}

/** The safety number of two users, each {name, encrypt, sign}: 12 groups of five digits. */
export async function safetyNumber(one, other) {
	const both = [one, other].sort((a, b) => compareBytes(a.name, b.name));
	const parts = both.map((user) => netstrings(user.name, user.encrypt, user.sign));
	const hash = await sha("SHA-512", concat(netstring("hongyan-safety-1"), ...parts));
	const groups = [];
	for (let i = 0; i < 60; i += 5) {
		// 5 bytes are 40 bits, which a number holds exactly.
		let value = 0;
		for (const byte of hash.subarray(i, i + 5)) value = value * 256 + byte;
		groups.push(String(value % 100_000).padStart(5, "0"));
	}
	return groups.join(" ");
}

// --- Backup -------------------------------------------------------------------------------------

async function backupKey(passphrase, salt, rounds, use) {
	const bytes = encoder.encode(passphrase.normalize("NFC"));
	const key = await subtle.importKey("raw", bytes, "PBKDF2", false, ["deriveKey"]);
	const params = { name: "PBKDF2", hash: "SHA-256", salt, iterations: rounds };
	return subtle.deriveKey(params, key, { name: "AES-GCM", length: 256 }, false, [use]);
}

/** The text of a backup file: the private keys, encrypted with a passphrase. */
export async function exportKeys(user, exportable, passphrase) {
	const salt = crypto.getRandomValues(new Uint8Array(16));
	const iv = crypto.getRandomValues(new Uint8Array(12));
	const key = await backupKey(passphrase, salt, EXPORT_ROUNDS, "encrypt");
	const additionalData = netstrings("hongyan-keys1", user);
	const inside = JSON.stringify({
		encrypt: toB64(exportable.encrypt),
		sign: toB64(exportable.sign),
	});
	const data = await subtle.encrypt(
		{ name: "AES-GCM", iv, additionalData },
		key,
		encoder.encode(inside),
	);
	return JSON.stringify({
		hongyan: "keys1",
		user,
		salt: toB64(salt),
		rounds: EXPORT_ROUNDS,
		iv: toB64(iv),
		data: toB64(data),
	});
}

// The public half of a private key that has just been decrypted from a backup.
async function publicOf(pkcs8, algorithm, use, publicUse) {
	const secret = await subtle.importKey("pkcs8", pkcs8, algorithm, true, [use]);
	const { n, e } = await subtle.exportKey("jwk", secret);
	return subtle.importKey("jwk", { kty: "RSA", n, e }, algorithm, true, [publicUse]);
}

/** Reads a backup file. Fails with an Error whose message is "file", "user" or "passphrase". */
export async function importKeys(user, text, passphrase) {
	let file, salt, iv, data;
	try {
		file = JSON.parse(text);
		if (file.hongyan !== "keys1" || typeof file.user !== "string") throw new Error();
		if (!Number.isInteger(file.rounds)) throw new Error();
		if (file.rounds < EXPORT_ROUNDS || file.rounds > EXPORT_ROUNDS_MAX) throw new Error();
		[salt, iv, data] = [file.salt, file.iv, file.data].map(fromB64);
		if (salt.length !== 16 || iv.length !== 12) throw new Error();
	} catch {
		throw new Error("file");
	}
	if (file.user !== user) throw new Error("user");
	const key = await backupKey(passphrase, salt, file.rounds, "decrypt");
	const additionalData = netstrings("hongyan-keys1", user);
	let inside;
	try {
		inside = await subtle.decrypt({ name: "AES-GCM", iv, additionalData }, key, data);
	} catch {
		throw new Error("passphrase");
	}
	try {
		const found = JSON.parse(decoder.decode(inside));
		const exportable = { encrypt: fromB64(found.encrypt), sign: fromB64(found.sign) };
		const encrypt = await publicOf(exportable.encrypt, OAEP, "decrypt", "encrypt");
		const sign = await publicOf(exportable.sign, PSS, "sign", "verify");
		return { keys: await privateKeys(exportable, await publicText(encrypt, sign)), exportable };
	} catch {
		throw new Error("file");
	}
}
