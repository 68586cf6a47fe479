// Accounts and friends: from sign-up to deletion.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { world } from "./browser.mjs";
import { PASSWORD } from "./person.mjs";
import { Raw, hashValue, until } from "./server.mjs";

const here = world();
after(() => here.leave());

const raw = () => Raw.connect(here.server);

test("a name that is taken and a wrong password are told, and nothing else happens", async () => {
    const zoe = await here.user("zoe");
    await zoe.logOut();
    await zoe.tryLogIn("wrong");
    await zoe.page.waitForSelector("#log-in .error:not(:empty)");
    await zoe.logIn();
    const other = await here.person("zoe");
    await other.page.click("#show-sign-up");
    await other.page.fill("#sign-up [name=user]", "zoe");
    await other.page.fill("#sign-up [name=password]", "another one");
    await other.page.click("#sign-up [type=submit]");
    await other.page.waitForSelector("#sign-up .error:not(:empty)");
    await other.isOut();
});

test("the password never leaves the browser, only the hash that the protocol describes", async () => {
    const yan = await here.user("yan");
    const all = yan.sent.join("\n");
    assert.ok(all.includes(hashValue("yan", PASSWORD)) && !all.includes(PASSWORD));
    const client = await raw();
    assert.equal(await client.logIn("yan", PASSWORD), "LS");
    client.close();
});

test("a reload stays logged in, and log-out revokes the token", async () => {
    const xia = await here.user("xia");
    await xia.page.reload();
    await xia.isIn();
    const token = await until("the page has a token", () => {
        const frames = xia.received.map((text) => JSON.parse(text)).filter((frame) => frame.TYPE === "RE_TOKEN");
        return frames.find((frame) => frame.CONTENT.Content.length === 43)?.CONTENT.Content;
    });
    await xia.logOut();
    const client = await raw();
    assert.equal(await client.ask("2", { USER: "xia", TOKEN: token }), "LF");
    client.close();
    await xia.page.reload();
    await xia.isOut();
});

test("nothing of what was shown stays in the page after the log-out", async () => {
    const [eli, ivo] = await here.friends("eli", "ivo");
    await eli.open("ivo");
    await ivo.open("eli");
    await ivo.say("for Eli only");
    await eli.sees("for Eli only");
    await until("it is read out", async () => (await eli.page.textContent("#announcer")).includes("for Eli only"));
    await eli.page.evaluate(async () => (await import("/web/dom.js")).ui.toast("a toast about ivo"));
    await eli.logOut();
    const left = await eli.page.evaluate(async () => {
        const { model } = await import("/web/model.js");
        const { online, open, peers, me } = model;
        return document.documentElement.outerHTML + JSON.stringify([[...online], open, [...peers], me]);
    });
    for (const text of ["for Eli only", "ivo"]) assert.ok(!left.includes(text), left);
});

test("requests are made, withdrawn, rejected, accepted, and friends are seen coming and going", async () => {
    const [ann, bob] = [await here.user("ann"), await here.user("bob")];
    await ann.request("bob");
    await bob.requests("ann").waitFor();
    await ann.withdraw("bob");
    await ann.requests("bob").waitFor({ state: "detached" });
    await ann.request("bob", "it is me");
    const read = () => bob.page.textContent("#announcer");
    await until("it is read out", async () => (await read()).includes("ann"));
    assert.equal((await read()).split("ann").length, 2, "with her name once");
    await until("Bob reads her words", async () => (await bob.requests("ann").textContent()).includes("it is me"));
    await bob.reject("ann");
    await ann.requests("bob").waitFor({ state: "detached" });
    await ann.request("bob");
    await bob.rejectAsPerson("ann");
    await ann.requests("bob").waitFor({ state: "detached" });
    await bob.requests("ann").waitFor({ state: "detached" });
    await ann.request("bob");
    await bob.accept("ann");
    await ann.isFriendOf("bob");
    await bob.isFriendOf("ann");
    await ann.page.waitForSelector('#friends [data-user="bob"][data-online=true]');
    await bob.page.close();
    await ann.page.waitForSelector('#friends [data-user="bob"][data-online=false]');
    bob.page = await bob.tab();
    await bob.isIn();
    await ann.page.waitForSelector('#friends [data-user="bob"][data-online=true]');
});

test("a profile is changed and others see it; another password ends what was logged in elsewhere", async () => {
    const [dan, eve] = await here.friends("dan", "eve");
    await dan.openSettings("profile");
    await dan.page.fill("#profile [name=nickName]", "Dan the great");
    await dan.page.click("#profile [type=submit]");
    await until("Eve sees it", async () => {
        await eve.page.reload();
        await eve.isIn();
        return (await eve.friend("dan").textContent()).includes("Dan the great");
    });
    await dan.openSettings("password");
    await dan.page.fill("#password [name=old]", PASSWORD);
    await dan.page.fill("#password [name=new]", "a new one");
    await dan.page.click("#password [type=submit]");
    await until("the password is another one", async () => {
        const client = await raw();
        const said = await client.logIn("dan", "a new one");
        client.close();
        return said === "LS";
    });
});

test("a blocked user cannot tell, and a friendship ends", async () => {
    const [fay, gus] = await here.friends("fay", "gus");
    await fay.open("gus");
    await fay.block();
    await fay.closeDialogs();
    await fay.isNoFriendOf("gus");
    await gus.page.reload();
    await gus.isIn();
    await gus.friend("fay").waitFor({ state: "detached" });
    await gus.request("fay");
    await fay.page.reload();
    await fay.isIn();
    // Something that came later is there, and this is not.
    const client = await raw();
    await client.signUp("later", PASSWORD);
    await client.logIn("later", PASSWORD);
    client.send("6", { messageId: "later", sender: "later", receiver: "fay", content: "", type: "1" });
    await fay.requests("later").waitFor();
    assert.equal(await fay.requests("gus").count(), 0);
    client.close();
});

test("a name that nobody has is not shown as a person", async () => {
    const pat = await here.user("pat");
    await pat.page.fill("#search", "nobody at all");
    await pat.page.press("#search", "Enter");
    await pat.page.waitForSelector("#person .error:not(:empty)");
    assert.ok((await pat.page.textContent("#person .error")).includes("nobody at all"));
    assert.ok(!(await pat.page.locator("#person .face-box").isVisible()));
    assert.equal(await pat.page.locator("#person .actions > *").count(), 0);
});

test("a request is found by a search and answered in the chat", async () => {
    const [nia, odo] = await here.friends("nia", "odo");
    // After this, her page has no reason of its own to ask for her friends again.
    const rosters = () => nia.received.filter((text) => JSON.parse(text).TYPE === "RE_ROSTER").length;
    const before = rosters();
    await nia.page.reload();
    await nia.isIn();
    await until("she knows her friends", () => rosters() > before);
    await odo.open("nia");
    await odo.say("from when we were friends");
    await odo.isSafe("from when we were friends");
    await odo.showPerson();
    await odo.page.click("#person [data-act=unfriend]");
    await odo.page.click("#confirm [data-act=confirm]");
    await odo.page.waitForSelector("#person [data-act=request]");
    await odo.page.fill("#person [name=words]", "sorry");
    await odo.page.click("#person [data-act=request]");
    const { page } = nia;
    await page.fill("#search", "odo");
    await page.waitForSelector("#found:not([hidden]) .item");
    await nia.requests("odo").waitFor();
    await page.fill("#search", "somebody else");
    await nia.requests("odo").waitFor({ state: "hidden" });
    await page.fill("#search", "");
    await nia.open("odo");
    await until("the words are in the chat", async () => (await page.textContent("#banners")).includes("sorry"));
    await page.click("#banners [data-act=accept]");
    await page.waitForSelector("#banners [data-act=accept]", { state: "detached" });
    await until("the field for messages has the focus", () => page.evaluate(() => document.activeElement.id === "draft"));
    await odo.page.locator("#draft").waitFor({ state: "attached" });
});

test("whom a user blocks is shown as blocked, in the chat and in the dialog, until they are unblocked", async () => {
    const [lea, max] = await here.friends("lea", "max");
    await lea.open("max");
    await lea.say("the last word");
    await lea.isSafe("the last word");
    await lea.block();
    const { page } = lea;
    await page.waitForSelector("#person [data-act=unblock]");
    assert.equal(await page.locator("#person [data-act=request], #person [data-act=block]").count(), 0);
    await lea.closeDialogs();
    await page.reload();
    await lea.isIn();
    await page.click("#unblock button");
    await page.waitForSelector("#unblock", { state: "detached" });
    await lea.request("max");
    await max.accept("lea");
    await lea.isFriendOf("max");
});

test("what the server refuses by a code is told in the user's language", async () => {
    const wei = await here.person("wei", { locale: "zh-CN" });
    await wei.signUp();
    const said = await wei.page.evaluate(async () => {
        const { sentence } = await import("/web/welcome.js");
        const { ERRORS, ServerError } = await import("/web/protocol.js");
        // These are about one message, which says why it was not sent.
        const own = ["NOT_FRIENDS", "KEYS_CHANGED", "NO_KEYS_HERE"];
        return Object.keys(ERRORS).filter((code) => !own.includes(code)).map((code) => sentence(new ServerError(code, "in English")));
    });
    for (const text of said) assert.doesNotMatch(text, /[a-z]{4}/i);
});

test("the focus stays in the page when what had it is gone", async () => {
    const [ada, ben] = [await here.user("ada"), await here.user("ben")];
    const { page } = ada;
    await page.bringToFront();
    /// Presses Enter on it, waits for what it does, and sees where the focus is once that is
    /// settled.
    const enter = async (selector, done, focus) => {
        await page.focus(selector);
        await page.keyboard.press("Enter");
        await page.waitForSelector(done, { state: "attached" });
        await until(`after ${selector} the focus is on ${focus}`, () => page.evaluate((focus) => document.activeElement.matches(focus), focus));
    };
    await ben.request("ada");
    await ada.requests("ben").waitFor();
    await enter("#requests [data-act=accept]", '#friends [data-user="ben"]', "#search");
    await ada.open("ben");
    await page.focus("#encryption");
    await page.keyboard.press("Enter");
    await page.focus("#person [data-act=block]");
    await page.keyboard.press("Enter");
    await enter("#confirm [data-act=confirm]", "#person [data-act=unblock]", "#person .face-box");
    await enter("#person [data-act=unblock]", "#person [data-act=request]", "#person .face-box");
    await enter("#person [data-act=request]", "#person [data-act=withdraw]", "#person .face-box");
    await enter("#person [data-act=withdraw]", "#person [data-act=request]", "#person .face-box");
    await ada.block();
    await ada.openSettings("blocked");
    await enter("#blocked [data-act=unblock]", "#settings-blocked .note", "summary");
});

test("a deleted account is gone, and its name is not given away", async () => {
    const hal = await here.user("hal");
    await hal.openSettings("account");
    await hal.page.fill("#delete-account [name=password]", PASSWORD);
    await hal.page.check("#delete-sure");
    await hal.page.click("#delete-account [type=submit]");
    await hal.isOut();
    const client = await raw();
    assert.equal(await client.logIn("hal", PASSWORD), "LF");
    assert.equal(await client.signUp("hal", PASSWORD), "SF");
    client.close();
});
