// What is new, as it happens: server-sent events, read with fetch so that a key can go along; where those do
// not get through, a look every ten seconds.

import { get, headers } from "./api.js";

const SILENCE = 40_000; // the server speaks at least every 15 s
const FIRST = 6_000;
const POLL = 10_000;

export class Live {
  /**
   * @param paths {stream, poll}: where events come from, and what is asked when they do not
   * @param on {event(name, data), state(name)}; states are connecting, live, polling and offline
   */
  constructor(paths, on) {
    this.paths = paths;
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
    this.abort = new AbortController();
    let timer = setTimeout(() => this.abort.abort(), FIRST);
    try {
      const reply = await fetch(this.paths.stream, { headers: headers({ accept: "text/event-stream" }), signal: this.abort.signal, cache: "no-store" });
      if (!reply.ok) throw new Error(`the stream was refused: ${reply.status}`);
      const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(() => this.abort.abort(), SILENCE);
        this.isLive();
        const events = (rest + value).split("\n\n");
        rest = events.pop();
        events.forEach((event) => this.tell(event));
      }
    } finally {
      clearTimeout(timer);
    }
  }

  tell(event) {
    const fields = Object.fromEntries(event.split("\n").map((line) => line.split(/: ?(.*)/s).slice(0, 2)));
    if (fields.event && fields.data && !this.stopped) this.on.event(fields.event, JSON.parse(fields.data));
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
      const data = await get(this.paths.poll);
      if (this.poller) { this.say("polling"); this.on.event("top", data); }
    } catch (error) {
      if (this.poller) this.say(error.code === "offline" || !navigator.onLine ? "offline" : "polling");
    }
  }
}
