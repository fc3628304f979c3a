// SPDX-License-Identifier: Apache-2.0
/** Screens for writing, phrases and a photo. Each keeps the way back and, below, the SOS button. */

import { h } from "../dom.js";
import { linksScreen, profileScreen } from "./links.js";
import { backButton, headPart, lostPart, refusedPart, sosButton } from "./parts.js";

export const PHRASES = ["at_position", "need_stretcher", "need_people", "road_cut", "returning", "all_safe"];
const GRADES = ["immediate", "priority", "routine"];

export function sheetScreen(page) {
  const screen = { write: writeScreen, phrases: phrasesScreen, photo: photoScreen, links: linksScreen, profile: profileScreen }[page.ui.sheet];
  return h("main", { class: "kit", key: `sheet-${page.ui.sheet}` }, headPart(page), lostPart(page), screen(page), sosButton(page));
}

function phrasesScreen(page) {
  const { say, time } = page;
  return h("section", { class: "kit-sheet" }, h("h1", {}, say("kit.phrase_title")), h("p", {}, say("kit.phrase_note")), refusedPart(page),
    h("div", { class: "phrases" }, PHRASES.map((name) => h("button", {
      class: "act", "data-phrase": name, disabled: !time.isLive, onclick: () => page.sendPhrase(name),
    }, say(`phrase.${name}`)))),
    backButton(page));
}

function writeScreen(page) {
  const { say, ui, time } = page;
  return h("section", { class: "kit-sheet" }, h("h1", {}, say("kit.write_title")), refusedPart(page),
    h("textarea", {
      "aria-label": say("kit.write_title"), maxlength: 2000, "data-act": "text",
      mounted: (node) => { node.value = ui.text; queueMicrotask(() => node.focus()); }, oninput: (event) => page.write(event.target.value),
    }),
    h("div", { class: "grades", role: "group", "aria-label": say("kit.grade") }, GRADES.map((grade) => h("button", {
      class: "plain-act", "aria-pressed": String(ui.grade === grade), "data-grade": grade, onclick: () => { ui.grade = grade; page.render(); },
    }, say(`grade.${grade}`)))),
    h("div", { class: "kit-actions two", style: { padding: "0" } }, backButton(page),
      h("button", { class: "act", "data-act": "send", disabled: !time.isLive, onclick: () => page.sendText() }, say("kit.send"))));
}

function photoScreen(page) {
  const { say, ui, time } = page;
  const take = (word) => h("button", { class: "act", "data-act": "camera", onclick: () => document.getElementById("camera").click() }, say(word));
  return h("section", { class: "kit-sheet" }, h("h1", {}, say("kit.photo_title")), h("p", {}, say("kit.photo_note")), refusedPart(page),
    h("input", {
      id: "camera", type: "file", accept: "image/*", capture: "environment", hidden: true, onchange: (event) => page.takePhoto(event.target.files[0] ?? null),
    }),
    h("div", { class: "grow" }, ui.photo ? h("img", { src: ui.photo.url, alt: "" }) : null),
    ui.photo ? h("input", {
      class: "caption", "aria-label": say("kit.photo_caption"), placeholder: say("kit.photo_caption"), maxlength: 200,
      oninput: (event) => { ui.caption = event.target.value; },
    }) : null,
    ui.photo
      ? h("div", { class: "kit-actions two", style: { padding: "0" } }, take("kit.photo_again"),
        h("button", { class: "act", "data-act": "send", disabled: !time.isLive, onclick: () => page.sendPhoto() }, say("kit.send")))
      : take("kit.photo_take"),
    backButton(page));
}
