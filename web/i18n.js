// The language of the page, and dates and times in it.

import { texts } from "./texts.js";

export const LANGUAGES = { en: "English", zh: "中文" };

let language = "en";
let formats = {};

// Takes the language that the user chose, or that of the browser.
export function useLanguage(chosen) {
	const first = (navigator.languages ?? [navigator.language]).find(
		(tag) => Object.hasOwn(LANGUAGES, tag.slice(0, 2).toLowerCase()),
	);
	language = Object.hasOwn(LANGUAGES, chosen ?? "") ? chosen : (first ?? "en").slice(0, 2).toLowerCase();
	const tag = language === "zh" ? "zh-CN" : navigator.languages?.find((one) => /^en/.test(one));
	const format = (options) => new Intl.DateTimeFormat(tag ?? "en", options);
	formats = {
		time: format({ hour: "2-digit", minute: "2-digit" }),
		day: format({ weekday: "long", day: "numeric", month: "long" }),
		year: format({ day: "numeric", month: "long", year: "numeric" }),
		short: format({ day: "numeric", month: "short" }),
		week: format({ weekday: "short" }),
	};
	document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
	return language;
}

export const currentLanguage = () => language;

const find = (key) => texts.get(key)?.[Object.keys(LANGUAGES).indexOf(language)];

// A text in the user's language, with values in it. `otherwise`: the key to take if there is none.
export function t(key, values = {}, otherwise) {
	const text = find(key) ?? (otherwise && find(otherwise)) ?? key;
	return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

// The same with elements in it, as a list of nodes and texts.
export function nodes(key, values) {
	return (find(key) ?? key)
		.split(/(\{\w+\})/)
		.filter((part) => part !== "")
		.map((part) => {
			const value = /^\{\w+\}$/.test(part) ? values[part.slice(1, -1)] : undefined;
			// An element can stand in one place only.
			return value instanceof Node ? value.cloneNode(true) : (value ?? part);
		});
}

const valid = (ms) => Number.isFinite(new Date(ms).getTime());

export const time = (ms) => (valid(ms) ? formats.time.format(ms) : "");

export const sameDay = (a, b) => new Date(a).toDateString() === new Date(b).toDateString();

const DAY_MS = 24 * 3600_000;

export function day(ms, now = Date.now()) {
	if (!valid(ms)) return "";
	if (sameDay(ms, now)) return t("today");
	if (sameDay(ms, now - DAY_MS)) return t("yesterday");
	const thisYear = new Date(ms).getFullYear() === new Date(now).getFullYear();
	return (thisYear ? formats.day : formats.year).format(ms);
}

export function shortDate(ms, now = Date.now()) {
	if (!valid(ms)) return "";
	if (sameDay(ms, now)) return time(ms);
	if (now - ms < 6 * DAY_MS && ms < now) return formats.week.format(ms);
	return formats.short.format(ms);
}
