// Answers to a review's cases by keyboard: y wrong, n right, arrows move, u takes the last one back.
// The page may be replaced around this script at any time: nothing of it is kept but ids.
"use strict";
(() => {
  if (document.querySelector("link[data-review]")) return; // it runs already
  const style = Object.assign(document.createElement("link"), { rel: "stylesheet" });
  style.href = new URL("review.css", document.currentScript.src);
  style.dataset.review = "";
  document.head.append(style);

  let current = "", fault = "";
  const answered = []; // ids, the last answer last
  const sent = new Map(); // id -> answer that a reload of the page may not have yet
  let line = Promise.resolve();

  const review = () => document.querySelector(".review");
  const cases = () => [...document.querySelectorAll(".review .case")];
  const find = (id) => cases().find((one) => one.dataset.case === id);
  const isOpen = (one) => !one.dataset.answer;

  function mark() {
    const all = cases();
    for (const one of all)
      if (sent.has(one.dataset.case) && one.dataset.answer !== sent.get(one.dataset.case))
        one.dataset.answer = sent.get(one.dataset.case);
    const line = review()?.querySelector(".fault");
    if (line && line.textContent !== fault) line.textContent = fault;
    if (line) line.hidden = !fault;
    const now = find(current) ?? all.find(isOpen) ?? all[0];
    current = now?.dataset.case ?? "";
    for (const one of all) if (one.classList.contains("current") !== (one === now)) one.classList.toggle("current");
  }

  function go(to) {
    if (!to) return;
    current = to.dataset.case;
    mark();
    to.scrollIntoView({ block: "nearest" });
  }

  function say(text) {
    fault = text;
    mark();
  }

  async function post(id, answer) {
    try {
      const reply = await fetch(review().dataset.answers, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ case: id, answer: answer || null }),
      });
      const body = await reply.json();
      if (!reply.ok) throw new Error(body.error);
      const list = review().querySelector(".told");
      list.replaceChildren(...body.told.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
      say("");
      return true;
    } catch (error) {
      say(`This answer was not kept: ${error.message}`);
      return false;
    }
  }

  // One after the other: the last answer is the one that counts.
  function answer(one, value) {
    const id = one.dataset.case, before = one.dataset.answer;
    sent.set(id, value);
    one.dataset.answer = value;
    line = line.then(() => post(id, value)).then((kept) => {
      if (kept) return;
      sent.set(id, before);
      mark();
    });
  }

  function settle(one, value) {
    answer(one, value);
    answered.push(one.dataset.case);
    const all = cases(), at = all.indexOf(one);
    go(all.slice(at + 1).find(isOpen) ?? all.find(isOpen) ?? one);
  }

  function undo() {
    const one = find(answered.pop());
    if (!one) return;
    answer(one, "");
    go(one);
  }

  function step(by) {
    const all = cases();
    go(all[Math.min(Math.max(all.indexOf(find(current)) + by, 0), all.length - 1)]);
  }

  function rowsAway(by) {
    const all = cases(), now = find(current);
    if (!now) return;
    const from = now.getBoundingClientRect();
    const beyond = all.filter((one) => by * (one.getBoundingClientRect().top - from.top) > 5);
    const far = (one) => {
      const box = one.getBoundingClientRect();
      return Math.abs(box.top - from.top) * 1000 + Math.abs(box.left - from.left);
    };
    go(beyond.sort((a, b) => far(a) - far(b))[0]);
  }

  const keys = {
    y: () => find(current) && settle(find(current), "wrong"),
    n: () => find(current) && settle(find(current), "right"),
    u: undo,
    ArrowRight: () => step(1),
    ArrowLeft: () => step(-1),
    ArrowDown: () => rowsAway(1),
    ArrowUp: () => rowsAway(-1),
  };

  document.addEventListener("keydown", (event) => {
    const isElsewhere = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (!review() || isElsewhere || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  document.addEventListener("click", (event) => {
    const one = event.target.closest?.(".review .case");
    if (!one) return;
    const button = event.target.closest("button[data-answer]");
    if (button) settle(one, button.dataset.answer);
    else if (!event.target.closest("a")) go(one);
  });

  new MutationObserver(mark).observe(document.body, { childList: true, subtree: true });
  mark();
})();
