// SPDX-License-Identifier: Apache-2.0
/** A page that broke says so, across its top: what stands on it may no longer be the present. */

/** Watch for errors that nothing handled; `words()` is the sentence in the page's language. */
export function watchFaults(words) {
  const tell = () => {
    let band = document.getElementById("fault");
    if (!band) {
      band = document.createElement("div");
      band.id = "fault";
      band.setAttribute("role", "alert");
      document.body.prepend(band);
    }
    band.textContent = words();
  };
  window.addEventListener("error", tell);
  window.addEventListener("unhandledrejection", tell);
}
