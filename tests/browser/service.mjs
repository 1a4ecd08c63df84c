/** The real service and the server that its jobs fetch from, for as long as a test needs them. */

import { strict as assert } from "node:assert";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";

import { eventually } from "./browser.mjs";

/** The web server on loopback that behaves well, slowly, wrongly or maliciously on request. */
export async function startOrigin() {
  const child = spawn(process.env.ORIGIN, ["--exit-with-stdin"], { stdio: ["pipe", "pipe", "inherit"] });
  const [line] = await once(createInterface(child.stdout), "line");
  const [url] = /http:\S+/.exec(line);
  return { url, stop: () => child.stdin.end() };
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

export class Service {
  constructor() {
    this.dir = mkdtempSync(path.join(tmpdir(), "muster-page-"));
    this.child = null;
    this.said = "";
  }

  /** Starts it, also after it was stopped: on the same port, with the same jobs. */
  async start() {
    this.port ??= await freePort();
    this.url = `http://127.0.0.1:${this.port}`;
    const flags = ["serve", "--listen", `127.0.0.1:${this.port}`, "--socket", path.join(this.dir, "socket"),
      "--state-dir", path.join(this.dir, "state"), "--workers", "2", "--allow-private-addresses"];
    this.child = spawn(process.env.SUPERVISOR, flags, { stdio: ["ignore", "ignore", "pipe"] });
    this.exited = once(this.child, "exit");
    this.child.stderr.on("data", (text) => { this.said += text; });
    await eventually(async () => {
      assert.equal(this.child.exitCode, null, `the service has exited:\n${this.said}`);
      return fetch(`${this.url}/readyz`).then((answer) => answer.ok, String);
    }, "the service is ready");
  }

  /** @param {"SIGTERM" | "SIGKILL"} signal */
  async end(signal) {
    this.child.kill(signal);
    await this.exited;
  }

  async remove() {
    if (this.child && this.child.exitCode === null && this.child.signalCode === null) await this.end("SIGTERM");
    rmSync(this.dir, { recursive: true });
  }

  /** @param {number} id */
  job = async (id) => (await fetch(`${this.url}/v1/jobs/${id}`)).json();
}
