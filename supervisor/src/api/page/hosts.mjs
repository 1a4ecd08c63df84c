/**
 * Hosts with inputs in flight or waiting, and how much of its budget each uses.
 */

import { byId, follow, make, setAttribute, setText, show } from "./dom.mjs";
import * as format from "./format.mjs";

/** Maximum number of hosts that the service reports. */
const HOSTS_MAX = 200;

/** @param {any[]} hosts */
export function drawHosts(hosts) {
  const shown = hosts.slice(0, HOSTS_MAX);
  follow(byId("host-rows"), shown, (host) => host.host, () => new HostRow());
  show(byId("hosts-scroll"), shown.length > 0);
  show(byId("no-hosts"), shown.length === 0);
  const most = shown.length === HOSTS_MAX ? "the busiest " : "";
  setText(byId("hosts-note"), shown.length > 1 ? `${most}${format.count(shown.length)}` : "");
}

class HostRow {
  constructor() {
    this.name = make("th", { scope: "row" });
    this.bar = make("i");
    this.number = make("span");
    this.meter = make("div", { className: "meter", "aria-hidden": "true" }, this.bar);
    this.waiting = make("td");
    this.paused = make("td");
    this.pace = make("td");
    this.refused = make("td");
    const budget = make("td", { className: "budget" }, this.meter, this.number);
    this.element = make("tr", {}, this.name, budget, this.waiting, this.paused, this.pace, this.refused);
  }

  /** @param {any} host */
  update(host) {
    const max = host.in_flight_max;
    setText(this.name, host.host);
    setText(this.number, max === null ? format.count(host.in_flight) : `${format.count(host.in_flight)} of ${format.count(max)}`);
    this.bar.style.width = max ? `${Math.min(host.in_flight / max, 1) * 100}%` : "0";
    this.meter.classList.toggle("boundless", max === null);
    setText(this.waiting, host.waiting ? format.count(host.waiting) : format.NOTHING);
    setText(this.paused, host.paused_ms === null ? format.NOTHING : format.seconds(Math.ceil(host.paused_ms / 1e3)));
    setText(this.pace, host.pace_per_s ? `${host.pace_per_s.toFixed(1)}/s` : format.NOTHING);
    setText(this.refused, host.refused ? format.count(host.refused) : format.NOTHING);
    setAttribute(this.element, "data-paused", host.paused_ms === null ? null : "");
  }
}
