// The pictures of the README. Written only with UPDATE_PICTURES=1.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { world } from "./browser.mjs";
import { PASSWORD } from "./person.mjs";
import { ROOT, Raw } from "./server.mjs";

const skip = !process.env.UPDATE_PICTURES;
const FOLDER = join(ROOT, "docs/pictures");
const TALK = [
    ["ann", "Are the geese back yet?"],
    ["bob", "Since this morning. Forty at least, on the east pond 🪿"],
    ["ann", "Wonderful! I'll bring the telescope."],
    ["bob", "And I the tea. Half past four?"],
    ["ann", "Half past four. 不见不散！"],
];
const OTHERS = [["王小雁", "鸿雁传书，一封不丢。"], ["dora", "See you on Sunday, then."]];

if (!skip) {
    const here = world();
    after(() => here.leave());

    const picture = async (page, name) => {
        mkdirSync(FOLDER, { recursive: true });
        await page.evaluate(() => document.fonts.ready);
        await page.waitForFunction(() => !document.querySelector("#toast p"));
        await page.screenshot({ path: join(FOLDER, `${name}.png`) });
    };

    test("the pictures", async () => {
        const size = { viewport: { width: 1000, height: 620 } };
        const ann = await here.user("ann", size);
        for (const [name, text] of OTHERS) {
            const raw = await Raw.connect(here.server);
            await raw.signUp(name, PASSWORD);
            await raw.logIn(name, PASSWORD);
            raw.send("6", { messageId: "f", sender: name, receiver: "ann", content: "", type: "1" });
            await ann.accept(name);
            await ann.isFriendOf(name);
            await raw.push("an accept", (content) => content.type === "2");
            await raw.say("ann", text);
            if (name !== "dora") raw.close();
        }
        const bob = await here.user("bob", { viewport: { width: 390, height: 620 }, colorScheme: "dark" });
        await ann.request("bob");
        await bob.accept("ann");
        await ann.isFriendOf("bob");
        const people = { ann, bob };
        await ann.open("bob");
        await bob.open("ann");
        for (const [name, text] of TALK) {
            await people[name].say(text);
            await people[name].isSafe(text);
            await people[name === "ann" ? "bob" : "ann"].sees(text);
        }
        await picture(ann.page, "chat");
        await picture(bob.page, "phone");
        await ann.openSettings("display");
        await ann.page.selectOption("#language", "zh");
        await ann.page.waitForSelector("html[lang^=zh]");
        await ann.closeDialogs();
        await picture(ann.page, "chat-zh");
        // Taking them is not what the page's policy is for.
        for (const person of here.people) person.errors.length = 0;
    });
}

test("the pictures are taken with UPDATE_PICTURES=1", { skip }, () => {});
