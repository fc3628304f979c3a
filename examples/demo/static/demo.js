// SPDX-License-Identifier: Apache-2.0
/** The demo page: kit and command post side by side on one clock, a tally, a test bench, and what was proved. */

import { clock, count, rate, running, zoneText } from "/static/js/age.js";
import { h, patch } from "/static/js/dom.js";
import { Prefs } from "/static/js/prefs.js";
import { shape } from "/static/js/shapes.js";
import { proofPart } from "/demo/static/proof.js";
import { DEMO_WORDS } from "/demo/static/words_demo.js";

const RETRY_MS = 1000;
const STALE_MS = 3000; // the server speaks every second
const ARRIVALS_SHOWN = 7;
const SIDE_BY_SIDE = window.matchMedia("(min-width: 1800px)");

const prefs = new Prefs(["day", "night"]);
const page = { state: null, heardAt: 0, tab: "command", isProofHidden: false, refused: "", framed: null };

const say = (key, values = {}) =>
  DEMO_WORDS[key][prefs.lang === "zh" ? 0 : 1].replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
const own = (words) => (words ? words[prefs.lang] ?? words.en : "");

function connect() {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/demo/state`);
  socket.onmessage = (event) => {
    page.state = JSON.parse(event.data);
    page.heardAt = performance.now();
    render();
  };
  socket.onclose = () => setTimeout(connect, RETRY_MS);
}

async function act(path, body) {
  try {
    const answer = await fetch(path, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body ?? {}),
    });
    page.refused = answer.ok ? "" : (await answer.json()).error ?? String(answer.status);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // TypeError is fetch's word for a server that does not answer
    page.refused = error.message;
  }
  render();
}

function nowMs() {
  return page.state.clock_ms + (isLive() ? performance.now() - page.heardAt : 0);
}

function isLive() {
  return performance.now() - page.heardAt < STALE_MS;
}

function headPart(state) {
  const { step } = state;
  const squares = Array.from({ length: step.of }, (_, n) => h("i", { class: n < step.n - 1 || state.proof ? "past" : n === step.n - 1 ? "now" : "" }));
  return h("header", { class: "demo-head" },
    h("h1", { class: "clock" }, h("time", {}, clock(nowMs())), h("span", { class: "zone" }, ` ${zoneText(nowMs())}`)),
    h("span", { class: "strong" }, say("demo")),
    h("span", { class: "strong step" }, state.proof ? say("demo.end") : say("demo.step", { n: step.n, of: step.of, what: own(step) })),
    h("span", { class: "steps", "aria-hidden": "true" }, squares),
    state.is_paused ? h("span", { class: "strong" }, say("demo.paused")) : null,
    h("span", { class: "tools" },
      h("span", { class: "soft" }, say("demo.note")),
      h("button", { onclick: () => { prefs.switchView(); render(); tellFrames(); } }, prefs.nextView === "night" ? { zh: "夜间", en: "Night" }[prefs.lang] : { zh: "日间", en: "Day" }[prefs.lang]),
      h("button", { class: "language", onclick: () => { prefs.switchLanguage(); render(); tellFrames(); } }, prefs.lang === "zh" ? "English" : "中文")));
}

function tallyPart(tally) {
  const cell = (name, isBoxed) => h("div", { class: isBoxed ? "cell boxed" : "cell", "data-tally": name },
    h("span", {}, say(`tally.${name}`)), h("b", {}, count(tally[name])));
  const sign = (text) => h("span", { class: "sign", "aria-hidden": "true" }, text);
  const agrees = tally.accepted === tally.delivered + tally.waiting + tally.expired + tally.superseded + tally.lost
    && tally.lost === 0 && tally.doubled === 0;
  return h("section", { class: "tally", "aria-label": say("tally.how") },
    cell("accepted"), sign("="), cell("delivered"), sign("+"), cell("waiting"), sign("+"), cell("expired"), sign("+"),
    cell("superseded"), sign("+"), cell("lost", true), h("span", { class: "gap" }), cell("doubled", true),
    h("p", {}, shape(agrees ? "check" : "cross"), h("b", {}, ` ${say(agrees ? "tally.agree" : "tally.disagree")}`),
      h("span", { class: "soft" }, say("tally.how"))));
}

function benchPart(state) {
  return h("section", { class: "bench" },
    h("div", { class: "bench-head" }, h("h2", {}, say("bench.title")),
      h("span", { class: "soft" }, page.refused ? say("bench.refused", { why: page.refused }) : say("bench.note"))),
    h("div", { class: "bench-row" }, Object.entries(state.links).map(([name, link]) => benchLink(name, link)),
      h("div", { class: "bench-rest" }, arrivalsPart(state.arrivals),
        h("div", { class: "buttons" },
          h("button", { onclick: () => act("/demo/sos") }, say("bench.sos")),
          h("button", { onclick: () => act("/demo/pause", { paused: !state.is_paused }) }, say(state.is_paused ? "bench.resume" : "bench.pause"))))));
}

function benchLink(name, link) {
  const word = { cut: "bench.is_cut", slow: "bench.is_slow", restored: "bench.is_restored" }[link.state];
  const action = (verb, state) => h("button", {
    "aria-pressed": String(link.state === state), onclick: () => act(`/demo/link/${encodeURIComponent(name)}`, { action: verb }),
  }, say(`bench.${verb}`));
  return h("div", { class: "bench-link", key: name },
    h("p", {}, h("b", {}, own(link) || name),
      h("span", {}, say(word, { time: running(nowMs() - link.since_ms), rate: rate(link.rate_bps) })),
      link.state === "cut" && link.switch_s != null
        ? h("span", { class: "took" }, say("bench.took_over", { s: link.switch_s.toFixed(2) })) : null),
    h("div", { class: "buttons" }, action("cut", "cut"), action("slow", "slow"), action("restore", "restored")));
}

function arrivalsPart(arrivals) {
  const shown = arrivals.slice(0, ARRIVALS_SHOWN);
  return h("p", { class: "arrivals" }, h("span", { class: "soft" }, say("bench.arrivals")),
    shown.length ? shown.map((each) => h("span", { class: each.is_pending ? "arrival pending" : "arrival" },
      each.is_pending ? `… ${own(each)}` : `${each.n} ${own(each)}`)) : h("span", { class: "soft" }, say("bench.arrivals_none")),
    arrivals.length > shown.length ? h("span", { class: "soft" }, say("bench.arrivals_more", { n: arrivals.length - shown.length })) : null);
}

/** Both pages follow the demo's language and view; each still has buttons of its own. */
function tellFrames() {
  for (const frame of document.querySelectorAll("iframe.frame")) {
    frame.contentWindow.postMessage({ lang: prefs.lang, view: prefs.view }, new URL(frame.src).origin);
  }
}

function framesPart(state) {
  const wide = SIDE_BY_SIDE.matches;
  page.framed ??= `?lang=${prefs.lang}&view=${prefs.view}`; // a frame with a new address would lose what was typed in it
  const frame = (name, title) => h("iframe", {
    key: name, class: `frame ${name}`, title, src: `${state.pages[name]}${page.framed}`, allow: "autoplay", onload: tellFrames,
  });
  const column = (name, title, note) => h("section", { key: name, class: `side ${name}`, hidden: !wide && page.tab !== name },
    h("p", { class: "side-head" }, h("b", {}, title), h("span", { class: "soft" }, note)), frame(name, title));
  return [
    wide ? null : h("div", { class: "tabs", role: "tablist", key: "tabs" }, ["kit", "command"].map((name) => h("button", {
      role: "tab", "aria-selected": String(page.tab === name), onclick: () => { page.tab = name; render(); },
    }, say(`demo.${name}`)))),
    column("kit", say("demo.kit"), "390 × 844"),
    column("command", say("demo.command"), say("demo.command_note")),
  ];
}

function render() {
  const { state } = page;
  document.title = `${say("demo")} · Lifeline Edge Agent`;
  if (!state) {
    patch(document.body, h("p", { class: "demo-wait" }, say("demo.waiting")));
    return;
  }
  const showsProof = Boolean(state.proof) && !page.isProofHidden;
  patch(document.body, h("div", { class: isLive() ? "demo" : "demo stopped" },
    headPart(state),
    isLive() ? null : h("p", { class: "demo-stopped", role: "alert", key: "stopped" }, say("demo.stopped", { at: clock(nowMs()) })),
    tallyPart(state.tally),
    showsProof ? proofPart(state.proof, { say, own, hide: () => { page.isProofHidden = true; render(); } }) : null,
    h("main", { class: "demo-main", hidden: showsProof, key: "main" }, framesPart(state),
      state.proof ? h("button", { class: "see-proof", key: "proof", onclick: () => { page.isProofHidden = false; render(); } }, say("proof.show")) : null,
      benchPart(state))));
}

SIDE_BY_SIDE.addEventListener("change", render);
setInterval(render, 500);
render();
connect();
