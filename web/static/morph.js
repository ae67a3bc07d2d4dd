// Makes one piece of the page equal to a newer version of it, touching only what differs, so
// that focus, selection, scroll positions and running animations survive.

/** Change `old` into `fresh`, and give focus back if its owner had to be moved. */
export function morphKeepingFocus(old, fresh) {
  const owner = document.activeElement;
  morph(old, fresh);
  if (owner !== document.activeElement && owner?.isConnected) owner.focus({ preventScroll: true });
}

/** Change `old` into `fresh`; both are elements of the same name. */
function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  copyAttributes(old, fresh);
  const keyed = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  const wantedIds = new Set([...fresh.children].map((child) => child.id));
  let at = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    // What is gone is removed before anything is moved: then most of the rest can stay in place.
    while (at?.id && !wantedIds.has(at.id)) at = removed(at);
    const match = counterpart(at, wanted, keyed);
    if (!match) {
      old.insertBefore(wanted, at);
      continue;
    }
    if (match === at) at = at.nextSibling;
    else move(old, match, at);
    if (match.nodeType === Node.ELEMENT_NODE) morph(match, wanted);
    else if (match.data !== wanted.data) match.data = wanted.data;
  }
  while (at) at = removed(at);
}

function removed(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

/** Where browsers can, without stopping animations, selections and frames within. */
function move(parent, node, before) {
  if (parent.moveBefore) parent.moveBefore(node, before);
  else parent.insertBefore(node, before);
}

/** The node that `wanted` is the new version of: the one with its id, else the next one if alike. */
function counterpart(at, wanted, keyed) {
  if (wanted.id) return keyed.get(wanted.id);
  const alike = at && at.nodeType === wanted.nodeType && at.nodeName === wanted.nodeName;
  return alike && !at.id ? at : undefined;
}

function copyAttributes(old, fresh) {
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !(name === "value" || name === "open")) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}
