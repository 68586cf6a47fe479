// Lines that break, servers that restart, several tabs, another device.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { world } from "./browser.mjs";
import { PASSWORD } from "./person.mjs";
import { Raw, hashValue, until } from "./server.mjs";

const here = world();
after(() => here.leave());

test("a message that is written offline goes out when the line is back", async () => {
    const [ann, bob] = await here.friends("ann", "bob");
    await ann.open("bob");
    await bob.open("ann");
    ann.line.cut();
    await ann.page.waitForSelector("html:not([data-link=online])");
    await ann.say("from the tunnel");
    await (await ann.sees("from the tunnel")).waitFor();
    assert.notEqual(await (await ann.sees("from the tunnel")).getAttribute("data-state"), "safe");
    ann.line.heal();
    await ann.isLinked("online");
    await ann.isSafe("from the tunnel");
    await bob.sees("from the tunnel");
    // Bob gets the messages of the time away.
    bob.line.cut();
    await ann.say("while you were away");
    await ann.isSafe("while you were away");
    bob.line.heal();
    await bob.sees("while you were away");
    assert.equal(await bob.timesShown("from the tunnel"), 1);
});

test("of messages in flight when the answers get lost and the server is killed, each is shown once", async () => {
    const [cat, dan] = await here.friends("cat", "dan");
    await cat.open("dan");
    await dan.open("cat");
    await cat.say("before");
    await dan.sees("before");
    // The server gets the first, and its answer does not arrive. The others wait behind it.
    cat.line.goDeaf();
    const texts = Array.from({ length: 10 }, (_, number) => `in flight ${number}`);
    for (const text of texts) await cat.say(text);
    await dan.sees(texts[0]);
    await here.server.end("SIGKILL");
    cat.line.cut();
    cat.line.heal();
    await here.server.startAgain();
    for (const text of texts) await cat.isSafe(text);
    await cat.say("behind them");
    await dan.sees("behind them");
    for (const text of texts) {
        assert.equal(await dan.timesShown(text), 1, text);
        assert.equal(await cat.timesShown(text), 1, text);
    }
});

test("two tabs share one connection, and it is handed over", async () => {
    const [eve, fay] = await here.friends("eve", "fay");
    const second = await eve.tab();
    await eve.isIn(second);
    await eve.open("fay", second);
    await eve.open("fay");
    assert.equal(eve.line.webSockets, 1);
    await eve.say("from the first tab");
    await eve.sees("from the first tab", second);
    await eve.say("from the second tab", second);
    await eve.isSafe("from the second tab");
    await fay.open("eve");
    await fay.say("to both");
    await eve.sees("to both");
    await eve.sees("to both", second);
    // The other one takes over when the first is closed.
    await eve.page.close();
    await eve.isLinked("online", second);
    await eve.say("from the tab that is left", second);
    await eve.isSafe("from the tab that is left", second);
    await fay.sees("from the tab that is left");
    await until("there is one connection", () => eve.line.webSockets === 1);
});

test("who was replaced by another device does not come back by itself, but when the user says so", async () => {
    const gus = await here.user("gus");
    const other = await here.person("gus");
    await other.logIn();
    await gus.isLinked("replaced");
    const before = gus.line.webSocketsEver;
    await gus.page.waitForSelector("#use-here");
    await other.page.reload();
    await other.isIn();
    assert.equal(gus.line.webSocketsEver, before, "it did not connect again");
    await gus.page.click("#use-here");
    await gus.isIn();
    assert.equal(await gus.page.textContent("#status button"), "", "a hidden button says nothing");
    await other.isLinked("replaced");
});

/// Logs in from inside a tab that still has another user's session, as a second tab can.
const enterAs = (page, user, password) => page.evaluate(async ([user, pass]) => {
    const { call } = await import("/web/bus.js");
    return call("enter", { user, pass }).then(() => "in", ({ code }) => code);
}, [user, hashValue(user, password)]);

test("what comes for one user is never stored for the user who was here before", async () => {
    const [hal, ida] = await here.friends("hal", "ida");
    await hal.context.close();
    await ida.open("hal");
    const texts = Array.from({ length: 20 }, (_, number) => `for hal ${number}`);
    for (const text of texts) await ida.say(text);
    for (const text of texts) await ida.isSafe(text);
    const jon = await here.user("jon");
    assert.equal(await enterAs(jon.page, "hal", "wrong"), "WRONG_PASSWORD");
    await jon.isIn();
    const user = await jon.page.evaluate(async () => (await import("/web/model.js")).model.user);
    assert.equal(user, "jon", "a log-in that fails leaves the session");
    assert.equal(await enterAs(jon.page, "hal", PASSWORD), "in");
    await jon.friend("ida").waitFor();
    await until("all are here", async () => (await jon.friend("ida").getAttribute("data-unread")) === "20");
    const rows = await jon.page.evaluate(async () => {
        const wait = (request) => new Promise((resolve, reject) => {
            request.onsuccess = () => resolve(request.result);
            request.onerror = () => reject(request.error);
        });
        const base = await wait(indexedDB.open("hongyan/jon"));
        const count = await wait(base.transaction("rows").objectStore("rows").count());
        base.close();
        return count;
    });
    assert.equal(rows, 0);
});
