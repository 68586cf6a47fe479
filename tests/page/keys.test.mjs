// End-to-end encryption as users meet it: safety numbers, keys that change, keys on another
// browser.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { world } from "./browser.mjs";
import { PASSWORD } from "./person.mjs";
import { Raw, until } from "./server.mjs";

const here = world();
after(() => here.leave());

test("both see the same safety number", async () => {
    const [ann, bob] = await here.friends("ann", "bob");
    await ann.open("bob");
    await bob.open("ann");
    assert.equal(await ann.safetyNumber(), await bob.safetyNumber());
});

test("all tabs show the safety number of the keys that one of them made", async () => {
    const [tia, uli] = await here.friends("tia", "uli");
    await tia.open(uli.name);
    const second = await tia.tab();
    await tia.isIn(second);
    const number = (page) => page.evaluate(async () => {
        const { peerOf, safetyNumbers } = await import("/web/model.js");
        return (await safetyNumbers(peerOf("uli"))).known;
    });
    const before = await until("there is a number", () => number(second));
    await tia.page.evaluate(async () => void (await (await import("/web/model.js")).makeKeys()));
    const now = await number(tia.page);
    assert.notEqual(now, before);
    assert.equal(await number(second), now);
});

test("when a friend's keys change, nothing is sent or shown as genuine until the user agrees", async () => {
    const [cat, dan] = await here.friends("cat", "dan");
    await cat.open("dan");
    await cat.say("to the old keys");
    await cat.isSafe("to the old keys");
    // Messages that are written offline wait here. Meanwhile Dan logs in with another browser,
    // which has no keys: it makes new ones.
    cat.line.cut();
    await cat.say("to whom?");
    await dan.context.close();
    const newDan = await here.person("dan");
    await newDan.logIn();
    await newDan.makeKeys();
    cat.line.heal();
    await cat.page.waitForSelector("#key-warning");
    await cat.isState("to whom?", "failed");
    await cat.page.locator("#draft").waitFor({ state: "hidden" });
    const sent = cat.sent.map((text) => JSON.parse(text)).filter((frame) => frame.TYPE === "4");
    assert.equal(sent.length, 1, "only what was encrypted to the old keys");
    await newDan.open("cat");
    await newDan.say("it is really me");
    await until("it has come", async () => (await cat.page.locator("#messages [data-encrypted=bad]").count()) > 0);
    assert.equal(await cat.timesShown("it is really me"), 0, "and is not shown as genuine");
    await cat.agree();
    await cat.page.waitForSelector("#key-warning", { state: "detached" });
    assert.equal(await (await cat.sees("it is really me")).getAttribute("data-encrypted"), "yes");
    await cat.messages("to whom?").locator("[data-act=retry]").click();
    assert.equal(await (await newDan.sees("to whom?")).getAttribute("data-encrypted"), "yes");
    assert.equal(await cat.isSafe("to whom?"), "yes");
});

test("a friend whose keys disappear is not spoken to in plain text unasked", async () => {
    const [eve, fay] = await here.friends("eve", "fay");
    await eve.open("fay");
    await eve.say("encrypted");
    await eve.isSafe("encrypted");
    await fay.context.close();
    const raw = await Raw.connect(here.server);
    await raw.logIn("fay", PASSWORD);
    assert.equal(await raw.ask("PROFILE", { rsaPublicKey: "" }), "changed");
    await eve.page.reload();
    await eve.isIn();
    await eve.open("fay");
    await eve.page.waitForSelector("#key-warning");
    await eve.page.locator("#draft").waitFor({ state: "hidden" });
    // And what comes in plain text from one who had keys says so.
    await raw.say("eve", "plain and false");
    assert.notEqual(await (await eve.sees("plain and false")).getAttribute("data-encrypted"), "yes");
    raw.close();
});

test("an exported key opens in another browser what was written to the first", async () => {
    const gus = await here.person("gus");
    const file = await gus.signUp({ passphrase: "a long passphrase" });
    assert.ok(JSON.parse(file).hongyan === "keys1" && !file.includes("PRIVATE"));
    const hal = await here.user("hal");
    await hal.request("gus");
    await gus.accept("hal");
    await hal.open("gus");
    await gus.context.close();
    await hal.say("for whichever browser");
    await hal.isSafe("for whichever browser");
    const newGus = await here.person("gus");
    await newGus.logIn();
    await newGus.importKeys(file, "a long passphrase");
    await newGus.open("hal");
    const seen = await newGus.sees("for whichever browser");
    assert.equal(await seen.getAttribute("data-encrypted"), "yes");
    await newGus.say("the same keys as before");
    assert.equal(await (await hal.sees("the same keys as before")).getAttribute("data-encrypted"), "yes");
});

test("the offer of a copy of the keys is not dismissed by a key, nor by one click", async () => {
    const pia = await here.person("pia");
    const { page } = pia;
    await page.click("#show-sign-up");
    await page.fill("#sign-up [name=user]", "pia");
    await page.fill("#sign-up [name=password]", PASSWORD);
    await page.keyboard.press("Enter");
    await page.waitForSelector("#backup");
    assert.equal(await page.evaluate(() => document.activeElement.name), "passphrase");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#export-keys .error:not(:empty)");
    for (let times = 0; times < 3; times += 1) await page.keyboard.press("Escape");
    await page.click("#backup [data-act=close]");
    // The question has the focus on what leads back to the offer.
    await page.waitForSelector("#confirm");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#confirm", { state: "detached" });
    assert.ok(await page.locator("#backup").isVisible());
    await page.click("#skip-backup");
    await page.click("#confirm [data-act=confirm]");
    await page.waitForSelector("#backup", { state: "detached" });
});

test("a browser whose keys are in order makes new ones, and a copy of them opens what comes next", async () => {
    const [rex, tom] = await here.friends("rex", "tom");
    const file = await rex.makeKeys({ passphrase: "a long passphrase" });
    await rex.openSettings("keys");
    await rex.page.waitForSelector("#key-state[data-state=ok]");
    await rex.context.close();
    await tom.open("rex");
    await tom.say("to the new keys");
    await tom.isSafe("to the new keys");
    const newRex = await here.person("rex");
    await newRex.logIn();
    await newRex.importKeys(file, "a long passphrase");
    await newRex.open("tom");
    assert.equal(await (await newRex.sees("to the new keys")).getAttribute("data-encrypted"), "yes");
});

test("a browser that cannot read what is encrypted does not say that it encrypts", async () => {
    const [una, vic] = await here.friends("una", "vic");
    await una.context.close();
    const newUna = await here.person("una");
    await newUna.logIn();
    await newUna.open("vic");
    await newUna.page.waitForSelector("#keys-missing");
    await newUna.page.waitForSelector("#encryption.bad");
    await newUna.showPerson();
    await newUna.page.waitForSelector("#person .keys button");
    assert.equal(await newUna.page.locator("#safety-number").count(), 0);
    await newUna.closeDialogs();
    await newUna.makeKeys();
    await newUna.page.waitForSelector("#keys-missing", { state: "detached" });
    await newUna.page.waitForSelector("#encryption:not(.bad)");
});

test("the keys of a sign-up whose answer got lost are there at the log-in", async () => {
    const kay = await here.person("kay");
    await kay.page.evaluate(() => {
        const { send } = WebSocket.prototype;
        WebSocket.prototype.send = function (data) {
            send.call(this, data);
            WebSocket.prototype.send = send;
            this.onmessage = null;
        };
    });
    await kay.page.click("#show-sign-up");
    await kay.page.fill("#sign-up [name=user]", "kay");
    await kay.page.fill("#sign-up [name=password]", PASSWORD);
    await kay.page.click("#sign-up [type=submit]");
    await until("there is an account", async () => {
        const raw = await Raw.connect(here.server);
        const said = await raw.logIn("kay", PASSWORD);
        raw.close();
        return said === "LS";
    });
    kay.line.cut();
    await kay.page.waitForSelector("#sign-up .error:not(:empty)");
    kay.line.heal();
    await kay.logIn();
    await kay.openSettings("keys");
    await kay.page.waitForSelector("#key-state[data-state=ok]");
});

test("a friend who makes keys later is read at once", async () => {
    const [rob, sue] = await here.friends("rob", "sue");
    const raw = await Raw.connect(here.server);
    await raw.logIn("sue", PASSWORD);
    assert.equal(await raw.ask("PROFILE", { rsaPublicKey: "" }), "changed");
    await rob.open("sue");
    await rob.say("to nobody's keys");
    assert.equal(await rob.isSafe("to nobody's keys"), "no");
    await sue.page.click("#use-here");
    await sue.isIn();
    raw.close();
    await sue.openSettings("keys");
    await sue.page.click("#publish-keys [type=submit]");
    await sue.page.waitForSelector("#key-state[data-state=ok]");
    await sue.closeDialogs();
    await sue.open("rob");
    await sue.say("now with keys");
    assert.equal(await (await rob.sees("now with keys")).getAttribute("data-encrypted"), "yes");
});

test("a friend's keys are pinned with the promise that they are on disk", async () => {
    const [lou, max] = await here.friends("lou", "max");
    await lou.page.evaluate(() => {
        const { put } = IDBObjectStore.prototype;
        window.pins = [];
        IDBObjectStore.prototype.put = function (value, ...more) {
            if (value.keys) window.pins.push(this.transaction.durability);
            return put.call(this, value, ...more);
        };
    });
    await lou.open(max.name);
    await until("they are pinned", () => lou.page.evaluate(() => window.pins.length > 0));
    assert.equal(await lou.page.evaluate(() => window.pins[0]), "strict");
});

test("private keys cannot be read out of the browser", async () => {
    const ivy = await here.user("ivy");
    const found = await ivy.page.evaluate(async () => {
        const keys = [];
        const look = (value, depth = 0) => {
            if (value instanceof CryptoKey) keys.push({ type: value.type, extractable: value.extractable });
            else if (value && typeof value === "object" && depth < 6) for (const part of Object.values(value)) look(part, depth + 1);
        };
        const wait = (request) => new Promise((resolve, reject) => {
            request.onsuccess = () => resolve(request.result);
            request.onerror = () => reject(request.error);
        });
        for (const { name } of await indexedDB.databases()) {
            const database = await wait(indexedDB.open(name));
            for (const store of database.objectStoreNames) {
                look(await wait(database.transaction(store).objectStore(store).getAll()));
            }
            database.close();
        }
        return keys;
    });
    const secret = found.filter((key) => key.type === "private");
    assert.ok(secret.length >= 2 && secret.every((key) => !key.extractable), JSON.stringify(found));
});
