// Small helpers to make elements. Texts become text nodes and properties, never HTML.

import { isPicture } from "./protocol.js";
import { title } from "./chat.js";

// An element: h("button.small#id", {attributes}, ...children); the attributes may be left out. A
// name that begins with "on" is a listener, and true sets an attribute that has no value.
export function h(spec, ...children) {
	const [tag, ...marks] = spec.split(/(?=[.#])/);
	const element = document.createElement(tag);
	if (tag === "button") element.type = "button";
	for (const mark of marks) {
		if (mark[0] === "#") element.id = mark.slice(1);
		else element.classList.add(mark.slice(1));
	}
	const props = children[0]?.constructor === Object ? children.shift() : {};
	for (const [key, value] of Object.entries(props)) {
		if (value === undefined || value === null || value === false) continue;
		if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
		else if (key === "value") element.value = value;
		else element.setAttribute(key, value === true ? "" : value);
	}
	element.append(...children.flat(2).filter((child) => child || child === 0));
	return element;
}

// The actions for all views; main.js fills them in.
export const ui = {};

const ICONS = {
	back: "M15 5l-7 7 7 7",
	send: "M4 12l16-8-5 16-3.5-6.5zM20 4l-8.5 9.5",
	search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l4.5 4.5",
	settings:
		"M4 7h9M19 7h1M4 17h1M11 17h9M16 4.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5zM8 14.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5z",
	close: "M6 6l12 12M18 6L6 18",
	check: "M5 12.5l4.5 4.5L19 7.5",
	clock: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 8v4.5l3 2",
	arrow: "M12 19V6M6.5 11L12 5.5l5.5 5.5",
	alert: "M12 4L2.8 20h18.4zM12 10v4.5M12 17v.4",
	lock: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
	unlock: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 6.6-1.6",
	info: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 11v5M12 8v.4",
	down: "M12 5v13M6.5 12.5L12 18l5.5-5.5",
	person: "M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM4.5 20.5c0-4 3.5-6 7.5-6s7.5 2 7.5 6",
};

const SVG = "http://www.w3.org/2000/svg";

export function icon(name) {
	const svg = document.createElementNS(SVG, "svg");
	svg.setAttribute("viewBox", "0 0 24 24");
	svg.setAttribute("class", "icon");
	svg.setAttribute("aria-hidden", "true");
	const path = document.createElementNS(SVG, "path");
	path.setAttribute("d", ICONS[name]);
	svg.append(path);
	return svg;
}

// The picture of a person: of their profile, or their initial on a colour made from the name.
export function avatar(peer, big = false) {
	const kind = big ? ".avatar.big" : ".avatar";
	if (isPicture(peer.picture)) return h(`img${kind}`, { src: peer.picture, alt: "" });
	let hue = 0;
	for (const char of peer.name) hue = (hue * 31 + char.codePointAt(0)) % 360;
	const [initial = "?"] = title(peer).trim();
	const element = h(`span${kind}`, { "aria-hidden": "true" }, initial.toUpperCase());
	element.style.setProperty("--hue", hue);
	return element;
}

// A name that cannot change the direction of what stands around it.
export const bdi = (text) => h("bdi", text);

// Moves a list's focus with the arrow keys. `list` holds the buttons to go through.
export function arrowKeys(list, selector) {
	list.addEventListener("keydown", (event) => {
		const step = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
		if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
		const items = [...list.querySelectorAll(selector)].filter((item) => item.checkVisibility());
		if (items.length === 0) return;
		const at = items.indexOf(document.activeElement);
		const next = Math.min(items.length - 1, Math.max(0, at + step));
		items[next].focus();
		event.preventDefault();
	});
}

// Makes the elements of `parent` be `wanted`, and keeps those that stay, with their focus.
export function reconcile(parent, wanted) {
	const focused = document.activeElement;
	const keep = new Set(wanted);
	for (const child of [...parent.children]) if (!keep.has(child)) child.remove();
	wanted.forEach((child, i) => {
		if (parent.children[i] !== child) parent.insertBefore(child, parent.children[i] ?? null);
	});
	if (focused !== document.activeElement && parent.contains(focused)) focused.focus();
}

// Replaces the children of `parent`. A focus that is in them moves to what does the same among the
// new ones, or to where `other()` puts it.
export function refill(parent, children, other) {
	const focused = parent.contains(document.activeElement) && document.activeElement;
	parent.replaceChildren(...children);
	if (!focused) return;
	const { act } = focused.dataset;
	const same = act && parent.querySelector(`[data-act="${act}"]`);
	if (same) same.focus();
	else other();
}

// Does what a button is for, one time after another. A button that is disabled loses the focus, so
// it only looks so.
export async function once(button, act) {
	if (button.ariaDisabled) return;
	button.ariaDisabled = "true";
	try {
		await act();
	} finally {
		button.ariaDisabled = null;
	}
}

// Calls `f` once at the next frame, however often it is asked for until then.
export function soon(f) {
	let waits = false;
	const run = () => {
		waits = false;
		f();
	};
	return () => {
		if (waits) return;
		waits = true;
		// A page in the background gets no frames.
		if (document.visibilityState === "visible") requestAnimationFrame(run);
		else setTimeout(run, 200);
	};
}
