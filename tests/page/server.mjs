// A server in a process of its own, the line between it and a browser, and a client without one.

import { spawn } from "node:child_process";
import { createHash, pbkdf2Sync } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const BINARY = process.env.HONGYAN_BINARY ?? join(ROOT, "target/debug/hongyan");
/// Nothing that is to happen takes longer, however slow the machine is.
export const PATIENCE_MS = Number(process.env.PATIENCE_MS ?? 60_000);

/// Waits until something is so, and gives what it is.
export async function until(what, look) {
    const end = Date.now() + PATIENCE_MS;
    for (;;) {
        const seen = await look();
        if (seen) return seen;
        if (Date.now() > end) throw new Error(`it never came to pass that ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}

/// The real binary, with a SQLite store of its own.
export class Server {
    #folder = mkdtempSync(join(tmpdir(), "hongyan-page-"));
    #child = null;
    #args;
    log = [];
    port = 0;

    constructor(args) {
        this.#args = args;
    }

    static async start(...args) {
        const server = new Server(args);
        await server.startAgain();
        return server;
    }

    async startAgain() {
        const store = `sqlite:${join(this.#folder, "hongyan.db")}`;
        // Passwords that cost nothing, and a friend's page that comes and goes is no attack here.
        const args = ["--listen", `127.0.0.1:${this.port}`, "--store", store, "--argon2-memory", "8KiB",
            "--argon2-passes", "1", "--log", "debug", ...this.#args];
        this.#child = spawn(BINARY, args, { stdio: ["ignore", "ignore", "pipe"], env: {} });
        const child = this.#child;
        let rest = "";
        child.stderr.setEncoding("utf8").on("data", (text) => {
            const lines = (rest + text).split("\n");
            rest = lines.pop();
            this.log.push(...lines);
        });
        const from = this.log.length;
        const line = await until("the server listens", () => {
            if (child.exitCode !== null) throw new Error(`the server ended:\n${this.log.join("\n")}`);
            return this.log.slice(from).find((line) => line.includes("listening on "));
        });
        this.port = Number(/listening on 127\.0\.0\.1:(\d+)/.exec(line)[1]);
    }

    /// Ends it: by SIGTERM cleanly, by SIGKILL not.
    async end(signal = "SIGTERM") {
        const child = this.#child;
        if (child === null || child.exitCode !== null || child.signalCode !== null) return;
        const over = new Promise((resolve) => child.once("exit", resolve));
        child.kill(signal);
        await over;
    }

    async stop() {
        await this.end();
        rmSync(this.#folder, { recursive: true, force: true });
    }
}

/// A line of one person to the server, which can be cut and hears what kind of connections there
/// are.
export class Line {
    #sockets = new Set();
    #server;
    #listener;
    #isCut = false;
    #isDeaf = false;
    /// WebSockets that are open, and that ever were.
    webSockets = 0;
    webSocketsEver = 0;
    port = 0;

    static async to(server) {
        const line = new Line();
        line.#server = server;
        line.#listener = net.createServer((socket) => line.#join(socket));
        await new Promise((resolve) => line.#listener.listen(0, "127.0.0.1", resolve));
        line.port = line.#listener.address().port;
        return line;
    }

    #join(client) {
        if (this.#isCut) return client.destroy();
        const server = net.connect(this.#server.port, "127.0.0.1");
        let isWebSocket = false;
        const end = () => {
            client.destroy();
            server.destroy();
            if (this.#sockets.delete(client) && isWebSocket) this.webSockets -= 1;
        };
        this.#sockets.add(client);
        client.once("data", (head) => {
            isWebSocket = /\r\nupgrade: *websocket/i.test(head.toString("latin1"));
            if (isWebSocket && this.#sockets.has(client)) {
                this.webSockets += 1;
                this.webSocketsEver += 1;
            }
        });
        client.on("data", (bytes) => server.write(bytes));
        server.on("data", (bytes) => { if (!(isWebSocket && this.#isDeaf)) client.write(bytes); });
        server.on("end", () => client.end());
        client.on("end", () => server.end());
        for (const socket of [client, server]) socket.on("error", end).on("close", end);
    }

    /// The frames of the server on WebSockets get lost from now on, until the line is cut.
    goDeaf() {
        this.#isDeaf = true;
    }

    /// Nothing goes through, and nobody can connect, until it heals.
    cut() {
        this.#isCut = true;
        for (const socket of [...this.#sockets]) socket.destroy();
    }

    heal() {
        this.#isCut = this.#isDeaf = false;
    }

    close() {
        this.cut();
        this.#listener.close();
    }
}

/// The hash of a password that clients send (docs/protocol.md).
export function hashValue(user, password) {
    const salt = createHash("sha256").update(`hongyan:${user}`).digest();
    return pbkdf2Sync(password.normalize("NFC"), salt, 600_000, 32, "sha256").toString("hex");
}

/// A client that speaks raw TCP and knows nothing of encryption.
export class Raw {
    #socket;
    #rest = "";
    frames = [];
    #number = 0;
    isOver = false;

    static async connect(server) {
        const raw = new Raw();
        raw.#socket = net.connect(server.port, "127.0.0.1");
        raw.#socket.setEncoding("utf8").on("data", (text) => {
            const lines = (raw.#rest + text).split("\n");
            raw.#rest = lines.pop();
            raw.frames.push(...lines.map((line) => JSON.parse(line)));
        });
        raw.#socket.on("error", () => {}).on("close", () => { raw.isOver = true; });
        return raw;
    }

    send(TYPE, CONTENT, MID) {
        this.#socket.write(`${JSON.stringify({ TYPE, MID, CONTENT })}\n`);
    }

    /// Sends a request with a number of its own, and gives what its answer says.
    async ask(TYPE, CONTENT) {
        const id = `raw ${this.#number += 1}`;
        this.send(TYPE, CONTENT, id);
        return this.answer(id);
    }

    async answer(id) {
        const said = await until(`${id} is answered`, () => this.frames.find((frame) => frame.CONTENT?.MessageId === id));
        return said.CONTENT.Content;
    }

    signUp(user, password, more = {}) {
        return this.ask("1", { userName: user, hashValue: hashValue(user, password), ...more });
    }

    async logIn(user, password) {
        this.user = user;
        return this.ask("2", { USER: user, PASS: hashValue(user, password) });
    }

    /// The push of this kind that says this, acked.
    async push(what, fits) {
        const found = await until(`a push comes that is ${what}`, () => this.frames.find((frame) => ["4", "6"].includes(frame.TYPE) && fits(frame.CONTENT)));
        this.send("5", { MessageId: found.CONTENT.messageId, sender: found.CONTENT.sender });
        return found.CONTENT;
    }

    /// Sends a message, and gives the answer.
    async say(receiver, content, messageId = `raw message ${this.#number += 1}`) {
        this.send("4", { messageId, sender: this.user, receiver, content });
        return this.answer(messageId);
    }

    close() {
        this.#socket.destroy();
    }
}
