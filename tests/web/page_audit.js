// What a browser test looks at on any page of ours; returns plain findings, empty when all is well.
(given) => {
  const findings = [];
  const note = (rule, node, detail) => findings.push(`${rule}: ${describe(node)} ${detail}`);
  const describe = (node) => {
    const text = (node.textContent || "").trim().replace(/\s+/g, " ").slice(0, 40);
    return `<${node.localName} class="${node.getAttribute?.("class") ?? ""}"> "${text}"`;
  };
  const shown = (node) => {
    const box = node.getBoundingClientRect();
    return box.width > 0 && box.height > 0 && getComputedStyle(node).visibility !== "hidden" && !node.closest(".only-heard");
  };
  const inMap = (node) => node.closest(".map-face");
  const all = [...document.body.querySelectorAll("*")].filter((node) => shown(node) && !["option", "title", "defs", "script"].includes(node.localName));

  const colour = (text) => {
    const found = text.match(/[\d.]+/g)?.map(Number);
    if (!found || text === "none") return null;
    const [r, g, b, a = 1] = text.startsWith("color(srgb") ? found.map((v, n) => (n < 3 ? v * 255 : v)) : found;
    return a === 0 ? null : [r, g, b, a];
  };
  const light = ([r, g, b]) => {
    const part = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const contrast = (one, other) => {
    const [high, low] = [light(one), light(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const token = (name) => {
    const probe = document.createElement("i");
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const value = colour(getComputedStyle(probe).color);
    probe.remove();
    return value;
  };
  const grounds = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const style = getComputedStyle(at);
      if (style.backgroundImage.includes("gradient")) return [...style.backgroundImage.matchAll(/rgba?\([^)]*\)/g)].map((each) => colour(each[0])).filter(Boolean);
      const solid = colour(style.backgroundColor);
      if (solid) return [solid];
    }
    return [token("--ground")];
  };
  const svgGrounds = (node) => {
    const name = node.getAttribute("class") ?? "";
    if (/\bsos\b/.test(name)) return [token("--sos")];
    if (/\blost\b/.test(name)) return [token("--lost")];
    if (/map-(title|detail|corner)/.test(name)) return [token("--panel")];
    return given.isLive === false ? [token("--panel"), token("--hatch")] : [token("--land"), token("--sea")];
  };

  for (const node of all) {
    const style = getComputedStyle(node);
    const box = node.getBoundingClientRect();
    const scrolls = given.scrolls && node.closest(given.scrolls);
    if (!inMap(node) && !scrolls && (box.right > innerWidth + 1 || box.left < -1 || box.bottom > innerHeight + 1 || box.top < -1)) {
      note("beyond the viewport", node, `${Math.round(box.left)},${Math.round(box.top)},${Math.round(box.right)},${Math.round(box.bottom)}`);
    }
    if (style.textOverflow === "ellipsis") note("ellipsis", node, "");
    if (!inMap(node) && !scrolls && !(node instanceof SVGElement) && node !== document.body && style.overflow !== "visible" && !["textarea", "input", "img"].includes(node.localName)
      && (node.scrollWidth > node.clientWidth + 1 || node.scrollHeight > node.clientHeight + 1)) {
      note("inner overflow", node, `${node.scrollWidth}x${node.scrollHeight} in ${node.clientWidth}x${node.clientHeight}`);
    }
    const holder = node.parentElement?.getBoundingClientRect();
    const flows = !inMap(node) && !scrolls && !(node instanceof SVGElement) && !["inline", "contents"].includes(style.display)
      && style.position !== "absolute" && style.position !== "fixed" && !node.matches(".coordinates, .small, .search, .word");
    if (flows && holder && getComputedStyle(node.parentElement).display !== "inline" && (box.bottom > holder.bottom + 2 || box.right > holder.right + 2)) {
      note("sticks out of its parent", node, `by ${Math.round(box.bottom - holder.bottom)} down, ${Math.round(box.right - holder.right)} right`);
    }
    const hasText = [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim());
    const isInSvg = node instanceof SVGElement;
    if (hasText && !isInSvg && node.scrollWidth > node.clientWidth + 1 && style.display !== "inline") note("text wider than its box", node, "");
    if (hasText) {
      const size = Number.parseFloat(style.fontSize);
      if (size < given.floor - 0.01) note("text too small", node, `${size} px`);
      const ink = colour(isInSvg ? style.fill : style.color);
      for (const ground of isInSvg ? svgGrounds(node) : grounds(node)) {
        const value = contrast(ink, ground);
        if (value < 4.5) note("text contrast", node, `${value.toFixed(2)} ${ink} on ${ground}`);
      }
    }
    if (node.matches("svg[data-shape]") && !inMap(node)) {
      for (const ground of grounds(node)) {
        const value = contrast(colour(style.color), ground);
        if (value < 3) note("shape contrast", node, value.toFixed(2));
      }
    }
    if (given.isNight) {
      for (const name of ["color", "backgroundColor", "fill", "stroke", "borderTopColor"]) {
        const value = style[name] && colour(style[name]);
        if (value && (value[1] > value[0] * 0.6 + 1 || value[2] > value[0] * 0.6 + 1)) note("night colour", node, `${name} ${value}`);
      }
    }
    if (node.matches("button, a, select, input:not([type=file])") && (box.width < given.target - 0.5 || box.height < given.target - 0.5)) {
      note("target too small", node, `${Math.round(box.width)}x${Math.round(box.height)}`);
    }
    if (node.matches("button, a") && !(node.getAttribute("aria-label") || node.textContent.trim())) note("no name", node, "");
    if (node.matches("input:not([type=file]), textarea, select") && !(node.getAttribute("aria-label") || node.closest("label"))) note("no label", node, "");
    if (node.matches("img") && !node.hasAttribute("alt")) note("no alt", node, "");
  }
  for (const list of document.querySelectorAll("[data-list]")) {
    const more = list.parentElement.querySelector(`[data-more="${list.dataset.list}"]`);
    const hidden = Number(more?.dataset.hidden ?? 0);
    if (list.children.length + hidden !== Number(list.dataset.total)) note("shown + hidden is not all", list, `${list.children.length} + ${hidden} of ${list.dataset.total}`);
    const bottom = list.parentElement.getBoundingClientRect().bottom;
    for (const row of list.children) if (row.getBoundingClientRect().bottom > bottom + 1) note("row cut off", row, "");
  }
  const coast = token("--coast");
  for (const name of ["--land", "--sea"]) if (contrast(coast, token(name)) < 3) findings.push(`coast contrast on ${name}`);
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) findings.push(`id twice: ${id}`);
  if (!document.documentElement.lang) findings.push("no language");
  return [...new Set(findings)];
}
