// SPDX-License-Identifier: Apache-2.0
/** Page tree from plain values: `h` describes, `patch` makes the page match, keeping focus, typed text and open keyboards.
 *
 *  Text reaches the page as text nodes only, so nothing a unit sends can become markup.
 */

const SVG = "http://www.w3.org/2000/svg";

/** Description of one element. Props: `class`, `style` (object), `on*` (function), `key` (identity among its siblings),
 *  `opaque` (children belong to somebody else), `mounted` (called once with the element), else attributes. */
export function h(tag, props, ...children) {
  const kept = children.flat(Infinity).filter((child) => child !== null && child !== undefined && typeof child !== "boolean");
  return { tag, props: props || {}, key: props?.key, children: kept };
}

/** Make the children of `parent` match `wanted`. */
export function patch(parent, wanted) {
  const focused = document.activeElement;
  const list = [wanted].flat(Infinity).filter((child) => child !== null && child !== undefined && typeof child !== "boolean");
  patchChildren(parent, list);
  // Moving a node in the page blurs it: a person at the keyboard must not lose the place for that.
  if (focused && focused !== document.activeElement && focused.isConnected && focused !== document.body) {
    focused.focus({ preventScroll: true });
  }
}

function patchChildren(parent, wanted) {
  const keyed = new Map();
  for (const node of parent.childNodes) if (node.shown?.key !== undefined) keyed.set(String(node.shown.key), node);
  let place = parent.firstChild;
  for (const child of wanted) {
    let node = child.key === undefined ? fitting(place, child) : keyed.get(String(child.key)) ?? null;
    if (node && node.shown && node.shown.tag !== child.tag) node = null;
    if (!node) {
      node = create(child, parent);
      parent.insertBefore(node, place);
    } else if (node !== place) {
      parent.insertBefore(node, place);
    } else {
      place = place.nextSibling;
    }
    update(node, child);
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function fitting(node, child) {
  if (!node) return null;
  if (typeof child !== "object") return node.nodeType === Node.TEXT_NODE ? node : null;
  return node.shown && node.shown.key === undefined && node.shown.tag === child.tag ? node : null;
}

function create(child, parent) {
  if (typeof child !== "object") return document.createTextNode("");
  const inSvg = child.tag === "svg" || (parent.namespaceURI === SVG && parent.localName !== "foreignObject");
  const node = inSvg ? document.createElementNS(SVG, child.tag) : document.createElement(child.tag);
  node.shown = { tag: child.tag, key: child.key, props: {} };
  if (child.props.mounted) child.props.mounted(node);
  return node;
}

function update(node, child) {
  if (typeof child !== "object") {
    const text = String(child);
    if (node.data !== text) node.data = text;
    return;
  }
  const before = node.shown.props;
  for (const name of Object.keys(before)) if (!(name in child.props)) setProp(node, name, undefined);
  for (const [name, value] of Object.entries(child.props)) {
    if (name === "style" || before[name] !== value) setProp(node, name, value);
  }
  node.shown = { tag: child.tag, key: child.key, props: child.props };
  if (!child.props.opaque) patchChildren(node, child.children);
}

function setProp(node, name, value) {
  if (name === "key" || name === "opaque" || name === "mounted") return;
  if (name.startsWith("on")) node[name] = value ?? null;
  else if (name === "style") setStyle(node, value || {});
  else if (name === "checked") node.checked = Boolean(value);
  else if (name === "value" && node.localName !== "option") node.value = value ?? "";
  else if (value === undefined || value === null || value === false) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? "" : String(value));
}

function setStyle(node, style) {
  const before = node.shown.props.style || {};
  for (const name of Object.keys(before)) if (!(name in style)) node.style.removeProperty(name);
  for (const [name, value] of Object.entries(style)) {
    if (node.style.getPropertyValue(name) !== String(value)) node.style.setProperty(name, String(value));
  }
}
