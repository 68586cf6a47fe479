// Prints how long a browser takes to the first paint of the page, over loopback. It is not a test,
// because no test measures speed. Run it after `./test page`: node tests/page/first_paint.mjs

import { launch } from "./browser.mjs";
import { Server } from "./server.mjs";

const ROUNDS = 15;

const server = await Server.start();
const browser = await launch();
const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
const show = (name, rounds) => {
    const of = (key) => rounds.map((round) => round[key]);
    const line = ["paint", "ready"].map((key) => `${key} ${median(of(key)).toFixed(0)} ms (to ${Math.max(...of(key)).toFixed(0)})`);
    console.log(`${name}: ${line.join(", ")}; ${rounds[0].requests} files, ${rounds[0].bytes} bytes`);
};

async function load(page) {
    await page.goto(`http://127.0.0.1:${server.port}/`, { waitUntil: "load" });
    return page.evaluate(async () => {
        const paint = await new Promise((resolve) => {
            new PerformanceObserver((list) => {
                const found = list.getEntriesByName("first-contentful-paint")[0];
                if (found) resolve(found.startTime);
            }).observe({ type: "paint", buffered: true });
        });
        const [navigation] = performance.getEntriesByType("navigation");
        const files = [navigation, ...performance.getEntriesByType("resource")];
        const bytes = files.reduce((sum, file) => sum + file.transferSize, 0);
        return { paint, ready: navigation.loadEventEnd, requests: files.length, bytes };
    });
}

const [first, again] = [[], []];
for (let round = 0; round < ROUNDS; round += 1) {
    const context = await browser.newContext();
    const page = await context.newPage();
    first.push(await load(page));
    again.push(await load(page));
    await context.close();
}
show("first visit", first);
show("with the files in the cache", again);
await browser.close();
await server.stop();
