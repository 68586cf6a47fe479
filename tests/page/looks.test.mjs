// The looks of the page: for everybody, on a phone, in Chinese, and without a mouse.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { axeSource, world } from "./browser.mjs";
import { until } from "./server.mjs";

const here = world();
after(() => here.leave());

/// axe-core finds nothing that keeps somebody from using the page.
async function expectAccessible(page, where) {
    // By the debugger: the page's own policy lets no script in.
    await page.evaluate(axeSource());
    const found = await page.evaluate(async () => {
        const { violations } = await axe.run(document, { resultTypes: ["violations"] });
        return violations.filter(({ impact }) => ["serious", "critical"].includes(impact))
            .map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(" ")).join(", ")}`);
    });
    assert.deepEqual(found, [], where);
}

for (const colorScheme of ["light", "dark"]) {
    test(`axe-core finds nothing serious, ${colorScheme}`, async () => {
        const [one, other] = [`ann ${colorScheme}`, `bob ${colorScheme}`];
        const guest = await here.person("guest", { colorScheme });
        await guest.isOut();
        await expectAccessible(guest.page, "welcome");
        await guest.page.click("#show-sign-up");
        await expectAccessible(guest.page, "sign-up");
        const [ann] = await here.friends(one, other, { colorScheme });
        await expectAccessible(ann.page, "no chat is open");
        await ann.open(other);
        await ann.say("hello");
        await ann.isSafe("hello");
        await expectAccessible(ann.page, "a chat");
        for (const section of ["profile", "display", "keys", "password", "blocked", "account"]) {
            await ann.openSettings(section);
            await expectAccessible(ann.page, `settings: ${section}`);
        }
        await ann.closeDialogs();
        await ann.showPerson();
        await ann.page.waitForSelector("#safety-number");
        await expectAccessible(ann.page, "a person");
    });
}

test("on a phone one thing is shown at a time, and there is a way back", async () => {
    const phone = { viewport: { width: 360, height: 720 }, hasTouch: true, isMobile: true };
    const [ann, bob] = await here.friends("ann", "bob", phone);
    await ann.open("bob");
    await ann.say("a word ".repeat(40) + "averyverylongword".repeat(10));
    await bob.friend("ann").waitFor();
    const { page } = ann;
    assert.ok(await page.locator("#messages").isVisible());
    assert.ok(!(await page.locator("#friends").isVisible()));
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
    assert.ok(!wide, "nothing sticks out to the side");
    await expectAccessible(page, "a chat on a phone");
    await page.click("#back");
    await until("the list is back", () => page.locator("#friends").isVisible());
    assert.ok(!(await page.locator("#messages").isVisible()));
});

test("the page speaks Chinese to those whose browser does, and to those who choose it", async () => {
    const wen = await here.person("wen", { locale: "zh-CN" });
    assert.match(await wen.page.getAttribute("html", "lang"), /^zh/);
    const shown = await wen.page.locator("body").innerText();
    assert.match(shown, /登录/);
    assert.doesNotMatch(shown.replace(/hongyan|English/gi, ""), /[a-z]{4}/i, "nothing is left in English");
    // On the first page, too, with what was typed there.
    await wen.page.click("#show-sign-up");
    await wen.page.fill("#sign-up [name=user]", "wen");
    await wen.page.selectOption("#language", "en");
    await until("it is English", async () => /^en/.test(await wen.page.getAttribute("html", "lang")));
    assert.equal(await wen.page.inputValue("#sign-up [name=user]"), "wen");
    await wen.page.selectOption("#language", "zh");
    await wen.signUp();
    await wen.openSettings("display");
    await wen.page.selectOption("#language", "en");
    await until("it is English now", async () => /^en/.test(await wen.page.getAttribute("html", "lang")));
    await wen.page.reload();
    await wen.isIn();
    assert.match(await wen.page.getAttribute("html", "lang"), /^en/, "it stays so");
});

test("the first field has the focus before the log-in", async () => {
    const una = await here.person("una");
    await until("the field has it", () => una.page.evaluate(() => document.activeElement.id === "log-in-user"));
});

for (const viewport of [{ width: 360, height: 720 }, { width: 1000, height: 620 }]) {
    test(`a toast does not cover the draft, ${viewport.width} pixels wide`, async () => {
        const [uma, vin] = await here.friends(`uma ${viewport.width}`, `vin ${viewport.width}`, { viewport });
        await uma.open(vin.name);
        await uma.page.evaluate(async () => (await import("/web/dom.js")).ui.toast("a toast ".repeat(12)));
        const [toast, draft] = [uma.page.locator("#toast p").last(), uma.page.locator("#draft")];
        const boxes = await Promise.all([toast.boundingBox(), draft.boundingBox()]);
        assert.ok(boxes[0].y + boxes[0].height <= boxes[1].y, JSON.stringify(boxes));
    });
}

test("a chat is found, opened and written to without a mouse", async () => {
    const [kay] = await here.friends("kay", "lee");
    await kay.page.bringToFront();
    await kay.page.focus("#search");
    await kay.tabTo('#friends [data-user="lee"]');
    await kay.page.keyboard.press("Enter");
    await until("the field for messages has the focus", () => kay.page.evaluate(() => document.activeElement.id === "draft"));
    await kay.page.keyboard.type("one line");
    await kay.page.keyboard.press("Shift+Enter");
    await kay.page.keyboard.type("and another");
    await kay.page.keyboard.press("Enter");
    await kay.isSafe("one line\nand another");
    await kay.page.keyboard.press("Escape");
    await until("Escape leads back to the list", () => kay.page.evaluate(() => document.activeElement.dataset.user === "lee"));
});
