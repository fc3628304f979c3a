// SPDX-License-Identifier: Apache-2.0
/** Language and view, remembered by this browser. An address may set both: `?lang=zh&view=night`. */

export const LANGUAGES = ["zh", "en"];

/** Choices of this page; `views` are the views it has, the first is the default. */
export class Prefs {
  constructor(views) {
    this.views = views;
    const asked = new URLSearchParams(location.search);
    this.lang = pick(asked.get("lang"), LANGUAGES) ?? pick(recall("lang"), LANGUAGES) ?? browserLanguage();
    this.view = pick(asked.get("view"), views) ?? pick(recall("view"), views) ?? views[0];
    this.apply();
  }

  /** The view that one press leads to. */
  get nextView() {
    return this.views[(this.views.indexOf(this.view) + 1) % this.views.length];
  }

  switchLanguage() {
    this.lang = this.lang === "zh" ? "en" : "zh";
    keep("lang", this.lang);
    this.apply();
  }

  switchView() {
    this.view = this.nextView;
    keep("view", this.view);
    this.apply();
  }

  /** Let the page that shows this one in a frame choose too, then call `changed()`. Who may frame it, the server says. */
  follow(changed) {
    if (window.parent === window) return;
    window.addEventListener("message", ({ source, data }) => {
      if (source !== window.parent) return;
      this.lang = pick(data?.lang, LANGUAGES) ?? this.lang;
      this.view = pick(data?.view, this.views) ?? this.view;
      this.apply();
      changed();
    });
  }

  apply() {
    document.documentElement.lang = this.lang === "zh" ? "zh-CN" : "en";
    document.documentElement.dataset.view = this.view;
  }
}

/** What this browser kept under `name`, or null where it keeps nothing (a private window, a blocked frame). */
export function recall(name) {
  try {
    return localStorage.getItem(`lifeline.${name}`);
  } catch (error) {
    if (error instanceof DOMException) return null; // storage is off: the page works, it only forgets
    throw error;
  }
}

export function keep(name, value) {
  try {
    localStorage.setItem(`lifeline.${name}`, value);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error; // storage is off or full: the choice holds until reload
  }
}

function pick(value, allowed) {
  return allowed.includes(value) ? value : null;
}

function browserLanguage() {
  return (navigator.language || "en").toLowerCase().startsWith("zh") ? "zh" : "en";
}
