// What is new, as it happens: the client's stream of events; where that does not get through, a look every ten
// seconds.

import { client, get } from "./api.js";

const FIRST = 6_000; // a stream that says nothing for so long after it began is held back on its way
const POLL = 10_000;

export class Live {
  /**
   * @param what {game, board, limit, user_id, poll}: whose events, and the path that is asked when none come
   * @param on {event(name, data), state(name)}; states are connecting, live, polling and offline
   */
  constructor(what, on) {
    this.what = what;
    this.on = on;
    this.wait = 1000;
    this.stopped = false;
    this.wake = () => { this.wait = 1000; this.abort?.abort(); this.retry?.(); };
    this.lost = () => { this.say("offline"); this.abort?.abort(); };
    addEventListener("online", this.wake);
    addEventListener("offline", this.lost);
    this.run();
  }

  stop() {
    this.stopped = true;
    removeEventListener("online", this.wake);
    removeEventListener("offline", this.lost);
    this.abort?.abort();
    this.retry?.();
    clearInterval(this.poller);
  }

  say(state) {
    if (this.stopped || state === this.state) return;
    this.state = state;
    this.on.state(state);
  }

  async run() {
    this.say("connecting");
    while (!this.stopped) {
      try {
        await this.follow();
      } catch { /* whatever it was, the next lines deal with it */ }
      if (this.stopped) return;
      this.startPolling();
      await new Promise((resolve) => { this.retry = resolve; setTimeout(resolve, this.wait); });
      this.wait = Math.min(this.wait * 2, 30_000);
    }
  }

  async follow() {
    const { game, board, limit, user_id } = this.what;
    this.abort = new AbortController();
    const events = client({ attempts: 1, timeout: FIRST }).events(game, board, { limit, user_id, signal: this.abort.signal });
    for await (const { name, data } of events) {
      if (this.stopped) return;
      this.isLive();
      this.on.event(name, data);
    }
  }

  isLive() {
    clearInterval(this.poller);
    this.poller = undefined;
    this.wait = 1000;
    this.say("live");
  }

  startPolling() {
    if (this.poller) return;
    this.poller = setInterval(() => this.poll(), POLL);
    this.poll();
  }

  async poll() {
    try {
      const data = await get(this.what.poll);
      if (this.poller) { this.say("polling"); this.on.event("top", data); }
    } catch (error) {
      if (this.poller) this.say(error.code === "offline" || !navigator.onLine ? "offline" : "polling");
    }
  }
}
