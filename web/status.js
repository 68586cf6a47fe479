// The line above everything that says when the page is not connected, and what the user can do.

import { call, emit, on } from "./bus.js";
import { h, icon, ui } from "./dom.js";
import { t } from "./i18n.js";
import { model } from "./model.js";

// Short breaks are not worth a line that comes and goes.
const PATIENCE_MS = 800;

// `shown` is the state that the line says now; `calm` states are not shown at once.
export function statusBar() {
	const text = h("p", { role: "status" });
	const left = h("span.left", { "aria-hidden": "true" });
	const button = h("button.small", { onclick: act });
	const element = h("div.status#status", { hidden: true }, icon("info"), text, left, button);
	const buttons = { waiting: "now", refused: "now", replaced: "here" };
	let timer = 0;
	let shown = "";

	function act() {
		if (model.status.state === "waiting") emit("nudge");
		else call("useHere").catch(() => {});
	}

	function changed() {
		const { state } = model.status;
		document.documentElement.dataset.link = state;
		element.dataset.state = { waiting: "away", off: "connecting" }[state] ?? state;
		clearTimeout(timer);
		const calm = (state === "connecting" || state === "off") && shown !== "waiting";
		if (calm) timer = setTimeout(show, PATIENCE_MS);
		else show();
	}

	function show() {
		const { state, sentence } = model.status;
		if (state !== shown) {
			shown = state;
			const focused = document.activeElement === button;
			element.hidden = state === "online";
			text.textContent = t(`status.${state}`, { sentence }, "status.connecting");
			button.hidden = !buttons[state];
			button.id = state === "replaced" ? "use-here" : "try-now";
			button.textContent = buttons[state] ? t(`status.${buttons[state]}`) : "";
			if (focused && button.hidden) ui.refocus(true);
		}
		count();
	}

	function count() {
		const { state, retryAt } = model.status;
		const seconds = state === "waiting" ? Math.ceil((retryAt - Date.now()) / 1000) : 0;
		left.textContent = seconds > 0 ? t("status.again", { seconds }) : "";
		if (seconds > 0) timer = setTimeout(count, 1000);
	}

	const off = on("status", changed);
	changed();
	return { element, close: () => (off(), clearTimeout(timer)) };
}
