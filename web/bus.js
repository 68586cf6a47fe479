// The tabs of one browser that show this page. One of them, the leader, holds the connection to the
// server; the others ask it. When the leader closes, the browser gives its lock to the next tab.

import { ServerError } from "./protocol.js";

const CALL_MS = 60_000;
const NAME = "hongyan";

const listeners = new Map();
const calls = new Map();
const waiting = [];
const channel = new BroadcastChannel(NAME);
channel.onmessage = ({ data }) => hear(data);
let handlers = null;
let leader = "";

export const tab = globalThis.crypto?.randomUUID?.();

export function on(event, listener) {
	if (!listeners.has(event)) listeners.set(event, new Set());
	listeners.get(event).add(listener);
	return () => listeners.get(event).delete(listener);
}

export function tell(event, data) {
	for (const listener of [...(listeners.get(event) ?? [])]) listener(data);
}

export function emit(event, data) {
	channel.postMessage({ event, data });
	tell(event, data);
}

// Asks the leader to do something. Fails with a ServerError. While there is no leader (the page has
// just opened, or the leader has just closed) the call waits.
export function call(name, ...args) {
	if (handlers) return handle(name, args);
	return new Promise((resolve, reject) => {
		const id = crypto.randomUUID();
		const timer = setTimeout(() => finish(id, { code: "TIMEOUT" }), CALL_MS);
		calls.set(id, { resolve, reject, timer });
		const message = { call: id, name, args };
		if (leader) channel.postMessage(message);
		else waiting.push(message);
	});
}

// This tab becomes the leader as soon as no other tab is. Then `start` returns the functions that
// the tabs can call.
export function lead(start) {
	navigator.locks.request(NAME, async () => {
		handlers = await start();
		leader = tab;
		emit("leader", tab);
		waiting.splice(0).forEach(serve);
		// The lock is held until the tab closes.
		await new Promise(() => {});
	});
	channel.postMessage({ who: true });
}

function hear(message) {
	if (message.who && handlers) channel.postMessage({ event: "leader", data: tab });
	if (message.event === "leader") newLeader(message.data);
	if (message.event) tell(message.event, message.data);
	if (message.call && handlers) serve(message);
	if (message.answer) finish(message.answer, message);
}

// The former leader may or may not have done the calls that it did not answer.
function newLeader(id) {
	const unsent = new Set(waiting.map((message) => message.call));
	if (leader && leader !== id) {
		for (const one of [...calls.keys()]) if (!unsent.has(one)) finish(one, { code: "AWAY" });
	}
	leader = id;
	for (const message of waiting.splice(0)) channel.postMessage(message);
}

async function handle(name, args) {
	return handlers[name](...args);
}

async function serve({ call: id, name, args }) {
	const message = { answer: id };
	try {
		message.value = await handle(name, args);
	} catch (error) {
		Object.assign(message, { code: error.code ?? "UNAVAILABLE", sentence: error.message });
	}
	channel.postMessage(message);
	// The call may be this tab's own, from before it became the leader.
	finish(id, message);
}

function finish(id, { code, sentence, value }) {
	const one = calls.get(id);
	if (!one) return;
	calls.delete(id);
	clearTimeout(one.timer);
	if (code) one.reject(new ServerError(code, sentence));
	else one.resolve(value);
}
