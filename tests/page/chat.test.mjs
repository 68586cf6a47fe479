// Messages: encrypted, marked, once, as text.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { world } from "./browser.mjs";
import { PASSWORD } from "./person.mjs";
import { Raw, until } from "./server.mjs";

const here = world("--requests-per-second-max", "1000000");
after(() => here.leave());

test("two browsers talk, and the server sees nothing of what they say", async () => {
    const [ann, bob] = await here.friends("ann", "bob");
    await ann.open("bob");
    await ann.say("The geese are back!");
    await ann.isSafe("The geese are back!");
    await until("Bob is told that there is one", async () => (await bob.friend("ann").getAttribute("data-unread")) === "1");
    await bob.open("ann");
    const seen = await bob.sees("The geese are back!");
    assert.equal(await seen.getAttribute("data-encrypted"), "yes");
    await until("it is read", async () => (await bob.friend("ann").getAttribute("data-unread")) === "0");
    await bob.say("How many?");
    await ann.sees("How many?");
    await bob.isSafe("How many?");
    for (const person of [ann, bob]) {
        const all = [...person.sent, ...person.received].join("\n");
        assert.ok(all.includes("e2e1") && !all.includes("geese") && !all.includes("How many"));
    }
    // Both are there after a reload, each once, with a separator for the day.
    await ann.page.reload();
    await ann.isIn();
    await ann.open("bob");
    await ann.sees("How many?");
    assert.equal(await ann.timesShown("The geese are back!"), 1);
});

test("a client without keys is spoken to in plain text, visibly", async () => {
    const cat = await here.user("cat");
    const raw = await Raw.connect(here.server);
    await raw.signUp("old client", PASSWORD);
    await raw.logIn("old client", PASSWORD);
    await cat.request("old client");
    const request = await raw.push("a request", (content) => content.type === "1");
    raw.send("6", { ...request, time: undefined, content: "", type: "2" });
    await cat.isFriendOf("old client");
    assert.equal(await raw.say("cat", "no keys here"), "MS");
    await cat.open("old client");
    assert.equal(await (await cat.sees("no keys here")).getAttribute("data-encrypted"), "no");
    await cat.say("in plain words");
    await raw.push("plain", (content) => content.content === "in plain words");
    await cat.isSafe("in plain words");
    assert.equal(await (await cat.sees("in plain words")).getAttribute("data-encrypted"), "no");
    raw.close();
});

const ODD_TEXTS = [
    "<script>window.injected = 1</script>",
    '<img src=x onerror="window.injected = 1">',
    "مرحبا (hello) \u202Eabc",
    "鸿雁传书 🪿🪿 𝔤𝔢𝔢𝔰𝔢",
    "&lt;b&gt; &amp; \\u003cb\\u003e",
    "two\nlines\n\nand a tab\t.",
];

test("whatever a text has in it is shown as text, and an injected script does not run", async () => {
    const [dan, eve] = await here.friends("dan <b>bold</b>", "eve \"quoted\" 雁");
    await dan.open(eve.name);
    await eve.open(dan.name);
    for (const text of ODD_TEXTS) {
        await dan.type(text);
        await dan.page.click("#send");
        await until(`it is shown as it is: ${text}`, async () => {
            const texts = await eve.page.locator("#messages .text").allTextContents();
            return texts.at(-1) === text;
        });
    }
    for (const person of [dan, eve]) {
        assert.equal(await person.page.evaluate(() => window.injected), undefined);
        assert.equal(await person.page.locator("#messages script, #messages img, #messages b").count(), 0);
    }
    // A script that gets into the page by a hole that nobody knows of is stopped by the policy.
    const policed = await dan.page.evaluate(async () => {
        const violations = [];
        document.addEventListener("securitypolicyviolation", (event) => violations.push(event.effectiveDirective));
        const script = document.createElement("script");
        try {
            script.text = "window.injected = 2";
        } catch {
            violations.push("trusted types");
        }
        document.body.append(script);
        const button = document.createElement("button");
        try {
            button.setAttribute("onclick", "window.injected = 3");
        } catch {
            violations.push("trusted types");
        }
        document.body.append(button);
        button.click();
        await new Promise((resolve) => setTimeout(resolve));
        return { injected: window.injected, violations };
    });
    assert.equal(policed.injected, undefined);
    assert.ok(policed.violations.length >= 2, JSON.stringify(policed));
    // The errors of the browser about that belong to this test.
    dan.errors.length = 0;
});

test("drafts stay with their chat, and messages are found again", async () => {
    const [fay, gus] = await here.friends("fay", "gus");
    await fay.open("gus");
    await fay.say("first words");
    await fay.say("a needle in the hay");
    await fay.isSafe("a needle in the hay");
    await fay.type("not finished");
    await until("the draft is kept", () => fay.keeps("not finished"));
    await fay.page.reload();
    await fay.isIn();
    await fay.open("gus");
    await until("it is there again", async () => (await fay.page.inputValue("#draft")) === "not finished");
    await gus.open("fay");
    assert.equal(await gus.page.inputValue("#draft"), "");
    await gus.sees("first words");
    await fay.page.fill("#search", "needle");
    await until("only what was sought is found", async () => {
        const hits = await fay.page.locator("#found li").allTextContents();
        return hits.length === 1 && hits[0].includes("a needle in the hay");
    });
});

test("a message is in the browser's database before the server hears that it was received", async () => {
    const [kim, leo] = await here.friends("kim", "leo");
    // An ack that is sent while the database fails would lose the message.
    await kim.page.evaluate(() => {
        const { add, put } = IDBObjectStore.prototype;
        const fail = () => { throw new DOMException("no room", "QuotaExceededError"); };
        Object.assign(IDBObjectStore.prototype, { add: fail, put: fail });
        window.heal = () => Object.assign(IDBObjectStore.prototype, { add, put });
    });
    const acks = () => kim.sent.filter((text) => JSON.parse(text).TYPE === "5").length;
    const before = acks();
    await leo.open("kim");
    await leo.say("into a full database");
    await until("it came", () => kim.received.some((text) => JSON.parse(text).TYPE === "4"));
    await leo.isSafe("into a full database");
    assert.equal(acks(), before, "it is not acked");
    await kim.page.evaluate(() => window.heal());
    kim.line.cut();
    kim.line.heal();
    await kim.open("leo");
    await kim.sees("into a full database");
    await until("it is acked now", () => acks() > before);
    // The errors of the page about a database that fails are expected here.
    kim.errors.length = 0;
});

test("a promised message is never shown as refused, even if the database fails at the promise", async () => {
    const [mia, ned] = await here.friends("mia", "ned");
    await mia.open("ned");
    await ned.open("mia");
    await mia.page.evaluate(() => {
        const { put } = IDBObjectStore.prototype;
        window.failed = 0;
        IDBObjectStore.prototype.put = function (value, ...more) {
            if (value.state !== "safe") return put.call(this, value, ...more);
            window.failed += 1;
            throw new DOMException("no room", "QuotaExceededError");
        };
        window.heal = () => Object.assign(IDBObjectStore.prototype, { put });
    });
    await mia.say("promised");
    await ned.sees("promised");
    await until("the database failed", () => mia.page.evaluate(() => window.failed > 0));
    await mia.page.evaluate(() => window.heal());
    mia.line.cut();
    mia.line.heal();
    await mia.isSafe("promised");
    await mia.say("behind it");
    await ned.sees("behind it");
    assert.equal(await ned.timesShown("promised"), 1);
    // The errors of the page about a database that fails are expected here.
    mia.errors.length = 0;
});

test("a chat of 5,000 messages stays light", async () => {
    const ivy = await here.user("ivy");
    const raw = await Raw.connect(here.server);
    await raw.signUp("writer", PASSWORD);
    await raw.logIn("writer", PASSWORD);
    raw.send("6", { messageId: "f", sender: "writer", receiver: "ivy", content: "", type: "1" });
    await ivy.accept("writer");
    await ivy.isFriendOf("writer");
    await raw.push("an accept", (content) => content.type === "2");
    for (let number = 1; number <= 5000; number += 1) {
        raw.send("4", { messageId: `many ${number}`, sender: "writer", receiver: "ivy", content: `number ${number}` });
    }
    await until("all are promised", () => raw.frames.filter((frame) => frame.TYPE === "RE_MESSAGE").length >= 5000);
    assert.ok(raw.frames.every((frame) => frame.TYPE !== "RE_MESSAGE" || frame.CONTENT.Content === "MS"));
    await ivy.open("writer");
    await ivy.sees("number 5000");
    const count = () => ivy.page.locator("#messages [data-id]").count();
    assert.ok((await count()) <= 400, `${await count()} messages are in the page`);
    // To the very first one, by scrolling; and all the way nothing piles up.
    await until("the first message comes", async () => {
        await ivy.page.locator("#messages").evaluate((log) => { log.scrollTop = 0; });
        assert.ok((await count()) <= 1200, `${await count()} messages are in the page`);
        return (await ivy.timesShown("number 1")) > 0;
    });
    raw.close();
});
