// One Chromium for the tests of a file, and the people who use it.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before } from "node:test";
import { join } from "node:path";
import { Person } from "./person.mjs";
import { Line, ROOT, Server } from "./server.mjs";

const require = createRequire(join(ROOT, "target/page/package.json"));
const { chromium } = require("playwright-core");
const CHROMIUM = process.env.HONGYAN_CHROMIUM ?? "/usr/bin/chromium";

/// The checks of axe-core, as a script that a test puts into a page.
export const axeSource = () => readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

export async function launch() {
    return chromium.launch({ executablePath: CHROMIUM, args: ["--disable-dev-shm-usage"] });
}

/// A server and a browser for all tests of a file. `leave` fails if any page has reported an error.
export function world(...args) {
    const here = { server: null, browser: null, people: [], lines: [] };
    before(async () => {
        here.server = await Server.start(...args);
        here.browser = await launch();
    });
    after(async () => {
        await here.browser?.close();
        for (const line of here.lines) line.close();
        await here.server?.stop();
    });
    /// A person with a browser profile and a line to the server of their own, who has opened the
    /// page.
    here.person = async (name, options = {}) => {
        const line = await Line.to(here.server);
        here.lines.push(line);
        const context = await here.browser.newContext({ locale: "en-GB", reducedMotion: "reduce", ...options });
        const person = await Person.at(context, line, name);
        here.people.push(person);
        return person;
    };
    /// The same, with an account and logged in.
    here.user = async (name, options) => {
        const person = await here.person(name, options);
        await person.signUp();
        return person;
    };
    /// Two users who are friends.
    here.friends = async (one, other, options) => {
        const [a, b] = [await here.user(one, options), await here.user(other, options)];
        await a.request(other);
        await b.accept(one);
        await a.isFriendOf(other);
        await b.isFriendOf(one);
        return [a, b];
    };
    /// Closes the browser profiles of all people, and fails if a page of theirs has reported an
    /// error.
    here.leave = async () => {
        const people = here.people.splice(0);
        for (const person of people) await person.context.close();
        for (const person of people) person.expectNoErrors();
    };
    return here;
}
