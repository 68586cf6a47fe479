// The actions of a person on the page, by the ids and attributes that the page has for them.
// Nothing here depends on the language of the page.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { PATIENCE_MS, until } from "./server.mjs";

export const PASSWORD = "correct horse battery staple";

/// The errors of the browser itself when a server is away; a page cannot prevent them.
const SAID_BY_BROWSER = [/^WebSocket connection to .* failed/, /^Failed to load resource: net::ERR_/];

const quoted = (text) => JSON.stringify(text);

export class Person {
    errors = [];
    /// The frames on the WebSockets of all tabs, as text.
    sent = [];
    received = [];

    static async at(context, line, name) {
        const person = new Person();
        Object.assign(person, { context, line, name });
        context.setDefaultTimeout(PATIENCE_MS);
        person.page = await person.tab();
        return person;
    }

    get url() {
        return `http://127.0.0.1:${this.line.port}/`;
    }

    /// One more tab of the same browser profile.
    async tab() {
        const page = await this.context.newPage();
        page.on("pageerror", (error) => this.errors.push(`${this.name}: ${error.stack ?? error}`));
        page.on("console", (message) => {
            const text = message.text();
            const ours = !SAID_BY_BROWSER.some((pattern) => pattern.test(text));
            if (["error", "warning"].includes(message.type()) && ours) this.errors.push(`${this.name}: ${text}`);
        });
        page.on("websocket", (socket) => {
            socket.on("framesent", ({ payload }) => this.sent.push(String(payload)));
            socket.on("framereceived", ({ payload }) => this.received.push(String(payload)));
        });
        await page.goto(this.url);
        await page.waitForSelector("body[data-view]");
        return page;
    }

    expectNoErrors() {
        assert.deepEqual(this.errors, []);
    }

    /// Signs up. With a passphrase, the keys are exported, and the text of that file is given.
    async signUp({ password = PASSWORD, passphrase = null } = {}) {
        if (await this.page.locator("#show-sign-up").isVisible()) await this.page.click("#show-sign-up");
        await this.#fill("#sign-up", { user: this.name, password });
        const file = await this.#answerOffer(passphrase);
        await this.isIn();
        return file;
    }

    /// New keys can be exported once: the page offers that.
    async #answerOffer(passphrase) {
        await this.page.waitForSelector("#backup");
        if (passphrase === null) {
            await this.page.click("#skip-backup");
            await this.#confirm();
            return null;
        }
        const coming = this.page.waitForEvent("download");
        await this.#fill("#export-keys", { passphrase, again: passphrase });
        const path = await (await coming).path();
        return readFileSync(path, "utf8");
    }

    async logIn(password = PASSWORD) {
        await this.tryLogIn(password);
        await this.isIn();
    }

    async tryLogIn(password) {
        if (await this.page.locator("#show-log-in").isVisible()) await this.page.click("#show-log-in");
        await this.#fill("#log-in", { user: this.name, password });
    }

    async #fill(form, values) {
        for (const [name, value] of Object.entries(values)) {
            await this.page.fill(`${form} [name=${name}]`, value);
        }
        await this.page.click(`${form} [type=submit]`);
    }

    /// Logged in, with a connection that is up.
    async isIn(page = this.page) {
        await page.waitForSelector("body[data-view=chat]");
        await this.isLinked("online", page);
    }

    async isOut() {
        await this.page.waitForSelector("body[data-view=welcome]");
    }

    async isLinked(state, page = this.page) {
        await page.waitForSelector(`html[data-link=${state}]`);
    }

    async closeDialogs(page = this.page) {
        await page.evaluate(() => document.querySelectorAll("dialog").forEach((dialog) => dialog.close()));
        await page.waitForSelector("dialog", { state: "detached" });
    }

    friend(name, page = this.page) {
        return page.locator(`#friends [data-user=${quoted(name)}]`);
    }

    requests(name) {
        return this.page.locator(`#requests [data-user=${quoted(name)}]`);
    }

    /// Finds somebody by name and asks to be their friend.
    async request(name, words = "") {
        await this.page.fill("#search", name);
        await this.page.press("#search", "Enter");
        // Somebody with whom there was something before is found as a chat.
        const chat = this.page.locator("body[data-pane=chat] #encryption");
        await this.page.locator("#person").or(chat).first().waitFor();
        if (await chat.isVisible()) await this.showPerson();
        await this.page.fill("#person [name=words]", words);
        await this.page.click("#person [data-act=request]");
        await this.requests(name).waitFor({ state: "attached" });
        await this.closeDialogs();
        await this.page.fill("#search", "");
        await this.requests(name).waitFor();
    }

    accept(name) {
        return this.requests(name).locator("[data-act=accept]").click();
    }

    reject(name) {
        return this.requests(name).locator("[data-act=reject]").click();
    }

    /// In the dialog about them, not in the list.
    async rejectAsPerson(name) {
        await this.page.fill("#search", name);
        await this.page.press("#search", "Enter");
        await this.page.click("#person [data-act=reject]");
        await this.page.waitForSelector("#person [data-act=reject]", { state: "detached" });
        await this.closeDialogs();
        await this.page.fill("#search", "");
    }

    withdraw(name) {
        return this.requests(name).locator("[data-act=withdraw]").click();
    }

    async isFriendOf(name) {
        await this.friend(name).waitFor();
    }

    /// Not, or no longer, whatever was said before: nothing can be written to them.
    async isNoFriendOf(name) {
        await this.open(name);
        await this.page.locator("#draft").waitFor({ state: "hidden" });
    }

    async open(name, page = this.page) {
        await this.friend(name, page).click();
        await page.waitForSelector("body[data-pane=chat] #draft", { state: "attached" });
        const hash = `#/${encodeURIComponent(name)}`;
        await page.waitForFunction((hash) => location.hash === hash, hash);
    }

    /// The dialog about the friend whose chat is open.
    async showPerson() {
        if (await this.page.locator("#person").isVisible()) return;
        await this.page.click("#encryption");
        await this.page.waitForSelector("#person");
    }

    async block() {
        await this.showPerson();
        await this.page.click("#person [data-act=block]");
        await this.#confirm();
    }

    async #confirm() {
        await this.page.click("#confirm [data-act=confirm]");
        await this.page.waitForSelector("#confirm", { state: "detached" });
    }

    /// Agrees to the other keys of the friend whose chat is open.
    async agree() {
        await this.page.click("#key-warning button");
        await this.page.click("#person [data-act=agree]");
        await this.page.waitForSelector("#person [data-act=agree]", { state: "detached" });
        await this.closeDialogs();
    }

    async safetyNumber() {
        await this.showPerson();
        const text = await this.page.textContent("#safety-number");
        await this.closeDialogs();
        return /\d{5}( \d{5}){11}/.exec(text.replace(/\s+/g, " "))[0];
    }

    /// Is this text in the database of the browser?
    keeps(text) {
        return this.page.evaluate(async (text) => {
            const wait = (request) => new Promise((resolve, reject) => {
                request.onsuccess = () => resolve(request.result);
                request.onerror = () => reject(request.error);
            });
            for (const { name } of await indexedDB.databases()) {
                const database = await wait(indexedDB.open(name));
                const stores = [...database.objectStoreNames];
                const all = await Promise.all(stores.map((store) => wait(database.transaction(store).objectStore(store).getAll())));
                database.close();
                if (JSON.stringify(all).includes(text)) return true;
            }
            return false;
        }, text);
    }

    async type(text, page = this.page) {
        await page.fill("#draft", text);
    }

    async say(text, page = this.page) {
        await this.type(text, page);
        await page.press("#draft", "Enter");
    }

    /// The messages that are shown with exactly this text.
    messages(text, page = this.page) {
        const words = text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replace(/\s+/g, "\\s+");
        const exact = new RegExp(`^\\s*${words}\\s*$`);
        return page.locator("#messages [data-id]").filter({ has: page.locator(".text").filter({ hasText: exact }) });
    }

    async sees(text, page = this.page) {
        const message = this.messages(text, page).first();
        await message.waitFor();
        return message;
    }

    /// This message is in this state; gives what is said of its encryption.
    async isState(text, state, page = this.page) {
        await until(`${quoted(text)} is ${state}`, async () => {
            const message = this.messages(text, page).first();
            return (await message.count()) > 0 && (await message.getAttribute("data-state")) === state;
        });
        return this.messages(text, page).first().getAttribute("data-encrypted");
    }

    isSafe(text, page = this.page) {
        return this.isState(text, "safe", page);
    }

    timesShown(text, page = this.page) {
        return this.messages(text, page).count();
    }

    /// Opens one of the settings: profile, display, keys, password, blocked or account.
    async openSettings(section) {
        await this.closeDialogs();
        await this.page.click("#settings");
        await this.page.click(`#settings-${section} summary`);
    }

    async logOut() {
        await this.openSettings("account");
        await this.page.click("#log-out");
        await this.isOut();
    }

    /// With a passphrase, the new keys are exported, and the text of that file is given.
    async makeKeys({ passphrase = null } = {}) {
        await this.openSettings("keys");
        const state = await this.page.getAttribute("#key-state", "data-state");
        await this.page.click("#make-keys [type=submit]");
        // Keys that are in order are not replaced by one click.
        if (state === "ok") await this.#confirm();
        const file = await this.#answerOffer(passphrase);
        await this.closeDialogs();
        return file;
    }

    async importKeys(file, passphrase) {
        await this.openSettings("keys");
        await this.page.setInputFiles("#import-keys [name=file]", { name: "keys.json", mimeType: "application/json", buffer: Buffer.from(file) });
        await this.#fill("#import-keys", { passphrase });
        await this.page.waitForSelector("#key-state[data-state=ok]");
        await this.closeDialogs();
    }

    /// Moves the focus by Tab alone until it is there.
    async tabTo(selector) {
        for (let steps = 0; steps < 100; steps += 1) {
            if (await this.page.evaluate((selector) => document.activeElement?.matches(selector), selector)) return;
            await this.page.keyboard.press("Tab");
        }
        assert.fail(`Tab never comes to ${selector}`);
    }
}
