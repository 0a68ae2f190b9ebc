// The page stays true without a reload. What a reader selected, opened, scrolled to or reached with
// the keyboard is left as it is, and pictures that are here already are not asked for again.
const keyed = (part) => new Map([...part.querySelectorAll("[data-key]")].map((one) => [one.dataset.key, one]));
// A picture that could not be had is asked for again, now and then.
const failedAt = new Map();
function isKept(picture) {
  if (!picture || !picture.complete || picture.naturalWidth) return Boolean(picture);
  if (!failedAt.has(picture.src)) failedAt.set(picture.src, Date.now());
  return Date.now() - failedAt.get(picture.src) < 20_000 || !failedAt.delete(picture.src);
}
function swap(now, next) {
  const before = keyed(now), pictures = new Map([...now.querySelectorAll("img")].map((one) => [one.src, one]));
  const scrolled = new Map([...keyed(now)].map(([key, one]) => [key, one.scrollLeft]));
  const focused = document.activeElement?.closest("details[data-key]")?.dataset.key;
  const after = keyed(next), at = [scrollX, scrollY];
  for (const [key, one] of after) if (before.get(key)?.open) one.open = true;
  for (const one of next.querySelectorAll("img")) if (isKept(pictures.get(one.src))) one.replaceWith(pictures.get(one.src));
  now.replaceWith(next);
  for (const [key, one] of after) one.scrollLeft = scrolled.get(key) ?? 0;
  if (focused) after.get(focused)?.querySelector("summary").focus({ preventScroll: true });
  scrollTo(...at);
}
let toldAt = new Date();
function tell(fault) {
  const late = document.querySelector("#late"), text = fault && `Shown as of ${toldAt.toLocaleTimeString()}: ${fault}`;
  late.hidden = !fault;
  if (late.textContent !== text) late.textContent = text;
}
async function look() {
  const now = document.querySelector("main");
  if (!document.hidden && !String(getSelection())) try {
    const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
    const next = page.querySelector("main");
    if (!next) throw new Error("no page");
    // What was known before a fault says more than what is left of it.
    const fault = "fault" in now.dataset ? "" : next.dataset.fault ?? "";
    if (!fault && !String(getSelection())) { swap(now, document.adoptNode(next)); toldAt = new Date(); }
    tell(fault);
  } catch { tell("labelpilot does not answer"); }
  setTimeout(look, Number(document.querySelector("main").dataset.everyMs));
}
setTimeout(look, 1000);
