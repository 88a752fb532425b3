"use strict";

const STATE_MS = 350; // between two looks at the line's state
const PICTURE_MS = 150; // between two looks for a picture; the line decides how often it draws one
const PATIENCE_MS = 2000; // an answer that takes longer is none
const STALE_MS = 2000; // what is older must not look live

const $ = (id) => document.getElementById(id);
const trend = new Trend($("trend"));
const words = { OK: "OK", NG: "NG", NO_DECISION: "NO DECISION" };

let state = null; // the newest state.json
let sawAt = -Infinity; // performance.now() when the newest state came
let run = null; // tells one run of the line from the next
let picture = { sequence: -1, takenAt: -Infinity, url: null };
let shownReject = null;

async function ask(address, options = {}) {
  return fetch(address, { ...options, cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
}

// The line's state

async function readState() {
  try {
    const answer = await ask(`/state.json?after=${trend.newest}`);
    if (answer.status === 401) return location.assign("/login");
    if (answer.ok) {
      const read = await answer.json();
      sawAt = performance.now();
      state = read;
      if (run === read.run) {
        trend.add(read.trend, read.trend_length);
      } else {
        // The numbers of another run say nothing here; the next answer has its whole trend.
        run = read.run;
        trend.clear();
        picture.sequence = -1;
      }
      show();
    }
  } catch {
    // No answer: tick() says so when it has lasted.
  }
  setTimeout(readState, document.hidden ? 4 * STATE_MS : STATE_MS);
}

async function readPicture() {
  try {
    const answer = document.hidden ? null : await ask(`/live.jpg?after=${picture.sequence}`);
    if (answer && answer.ok && answer.headers.has("X-Age-Ms")) {
      picture.takenAt = performance.now() - Number(answer.headers.get("X-Age-Ms"));
      if (answer.status === 200) {
        const url = URL.createObjectURL(await answer.blob());
        $("live").src = url;
        $("live").hidden = false;
        $("live-note").hidden = true;
        if (picture.url) URL.revokeObjectURL(picture.url);
        picture.url = url;
        picture.sequence = Number(answer.headers.get("X-Sequence"));
        // A part may have been judged since: the picture says whose it is.
        const decision = answer.headers.get("X-Decision");
        $("stage").className = `stage ${decision}`;
        text("live-verdict", `${words[decision]}, frame ${answer.headers.get("X-Frame")}`);
      }
    }
  } catch {
    // As above.
  }
  setTimeout(readPicture, PICTURE_MS);
}

// What is shown

function text(id, value) {
  const node = $(id);
  if (node.textContent !== value) node.textContent = value;
}

function ago(ms) {
  const s = ms / 1000;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 120) return `${Math.round(s)} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  return s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} days`;
}

function clock(ms) {
  return new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
}

function show() {
  text("bundle-name", state.bundle.name);
  text("source", state.source.description);
  showVerdict();
  const total = Math.max(1, state.sequence);
  for (const decision of Object.keys(words)) {
    const count = state.counts[decision];
    text(`count-${decision}`, count.toLocaleString("en").replaceAll(",", "\u202f"));
    if (decision !== "OK") text(`share-${decision}`, `${((100 * count) / total).toFixed(count ? 1 : 0)} %`);
  }
  text("trend-note", `last ${trend.points.length} parts, threshold ${readable(state.threshold.value)}`);
  for (const key of ["p50", "p95", "p99", "max"]) {
    const value = state.latency_ms[key];
    text(key, value === null ? "-" : `${value.toFixed(value < 100 ? 1 : 0)} ms`);
  }
  text("rate", state.per_minute.toFixed(state.per_minute < 100 ? 1 : 0));
  showHealth();
  showControls();
  showRejects();
  showEvents();
  showAbout();
}

function showVerdict() {
  const verdict = state.verdict;
  if (!verdict) return;
  const score = verdict.score === null ? verdict.reason : `score ${readable(verdict.score)} / ${readable(verdict.threshold)}`;
  text("score-line", score ?? "");
  const part = verdict.part === null ? `frame ${verdict.frame}` : `part ${verdict.part}`;
  text("part-line", verdict.name ? `${part}, ${verdict.name}` : part);
}

function showHealth() {
  const { status, reasons } = state.health;
  const chip = $("health");
  chip.className = `chip ${status}`;
  text("health", { running: "line healthy", waiting: "waiting for parts", fault: "line fault" }[status]);
  const faults = reasons.map((reason) => ["", reason]);
  const alarms = state.alarms.map((event) => [clock(event.at_ms), `${event.kind}: ${event.detail}`]);
  const all = [...faults, ...alarms];
  $("alarm").hidden = !all.length;
  $("seen").hidden = !alarms.length;
  const shown = all.slice(0, 4);
  if (all.length > 4) shown.push(["", `and ${all.length - 4} more, see the events`]);
  fill($("alarm-list"), shown, ([at, what]) => {
    const line = document.createElement("p");
    const time = document.createElement("time");
    time.textContent = at;
    line.append(time, what);
    return line;
  });
}

function showControls() {
  const { controls, can_write: canWrite } = state;
  const has = {
    trigger: controls.trigger,
    "open-threshold": controls.threshold,
    "open-test": controls.test_output,
    "open-bundle": controls.switch || controls.rollback,
  };
  for (const [id, isThere] of Object.entries(has)) $(id).hidden = !isThere || !canWrite;
  const any = Object.values(has).some(Boolean);
  $("log-in").hidden = canWrite;
  $("log-out").hidden = !canWrite;
  if (!canWrite) text("said", any ? "Log in to change the threshold or to use the buttons." : "");
  $("seen").disabled = !canWrite;
  $("switch").hidden = !controls.switch;
  $("switch").disabled = !(controls.offer && controls.offer.is_ready);
  $("rollback").hidden = !controls.rollback;
  text("offer", controls.offer ? `${controls.offer.name}: ${controls.offer.report}` : controls.offer_fault ?? "No other bundle waits.");
}

// Replaces children only when they have changed: focus, scrolling and screen readers stay undisturbed.
function fill(parent, items, made) {
  const key = JSON.stringify(items);
  if (parent.dataset.key === key) return;
  parent.dataset.key = key;
  parent.replaceChildren(...items.map(made));
}

function showRejects() {
  $("no-rejects").hidden = state.rejects.length > 0;
  const strip = $("rejects");
  const focused = document.activeElement?.dataset?.reject;
  fill(strip, state.rejects.map((r) => [r.id, r.has_picture]), ([id, hasPicture]) => {
    const reject = state.rejects.find((r) => r.id === id);
    const button = document.createElement("button");
    button.type = "button";
    button.className = `reject ${reject.decision}`;
    button.dataset.reject = id;
    button.append(hasPicture ? thumbnail(id) : blank());
    const label = document.createElement("span");
    const why = document.createElement("b");
    why.textContent = reject.score === null ? (reject.reason ?? "").split(":")[0] : readable(reject.score);
    label.append(shape(reject.decision), why);
    const when = document.createElement("time");
    when.textContent = clock(reject.at_ms);
    button.append(label, when);
    button.setAttribute("aria-label", `${words[reject.decision]} at ${clock(reject.at_ms)}: show it large`);
    button.addEventListener("click", () => openReject(id));
    return button;
  });
  if (focused) strip.querySelector(`[data-reject="${focused}"]`)?.focus();
  if (shownReject !== null && $("reject-dialog").open) markNeighbours();
}

function thumbnail(id) {
  const image = document.createElement("img");
  image.src = `/rejects/${id}/thumbnail.jpg?run=${run}`;
  image.alt = "";
  return image;
}

function blank() {
  const box = document.createElement("div");
  box.className = "blank";
  box.textContent = "no picture";
  return box;
}

function shape(decision) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#shape-${decision}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  svg.classList.add(decision);
  return svg;
}

function facts(list, rows) {
  fill(list, rows, ([name, value]) => {
    const row = document.createElement("div");
    const term = document.createElement("dt");
    const detail = document.createElement("dd");
    term.textContent = name;
    detail.textContent = value;
    row.append(term, detail);
    return row;
  });
}

function openReject(id) {
  const reject = state.rejects.find((r) => r.id === id);
  if (!reject) return;
  shownReject = id;
  text("reject-title", reject.score === null ? words[reject.decision] : `${words[reject.decision]}  ${readable(reject.score)}`);
  $("reject-shape").setAttribute("href", `#shape-${reject.decision}`);
  $("reject-dialog").className = `wide ${reject.decision}`;
  $("reject-picture").hidden = !reject.has_picture;
  if (reject.has_picture) $("reject-picture").src = `/rejects/${id}/picture.jpg?run=${run}`;
  const regions = reject.regions.slice(0, 6).map((region, index) => [
    index ? "" : "Regions",
    `${region.width} \u00d7 ${region.height} px at ${region.x}, ${region.y}; ${region.area_px} px, peak ${readable(region.peak)}`,
  ]);
  facts($("reject-facts"), [
    ["Time", new Date(reject.at_ms).toLocaleString()],
    [reject.part === null ? "Frame" : "Part", `${reject.part ?? reject.frame}${reject.name ? `, ${reject.name}` : ""}`],
    ["Score", reject.score === null ? "none" : `${readable(reject.score)}, threshold ${readable(reject.threshold)}`],
    ...(reject.reason ? [["Reason", reject.reason]] : []),
    ...regions,
    ...(reject.has_picture ? [] : [["Picture", "not kept: too many came at once, or it is being drawn"]]),
  ]);
  markNeighbours();
  if (!$("reject-dialog").open) $("reject-dialog").showModal();
}

function neighbour(step) {
  const place = state.rejects.findIndex((r) => r.id === shownReject);
  return place < 0 ? undefined : state.rejects[place + step];
}

function markNeighbours() {
  $("newer").disabled = !neighbour(-1);
  $("older").disabled = !neighbour(1);
}

function showEvents() {
  $("no-events").hidden = state.events.length > 0;
  fill($("events"), state.events, (event) => {
    const line = document.createElement("li");
    if (event.is_alarm) line.className = "is-alarm";
    const time = document.createElement("time");
    time.textContent = clock(event.at_ms);
    const kind = document.createElement("b");
    kind.textContent = event.kind;
    const detail = document.createElement("span");
    detail.textContent = event.detail;
    line.append(time, kind, detail);
    if (event.who) {
      const who = document.createElement("i");
      who.textContent = event.who;
      line.append(who);
    }
    return line;
  });
}

function showAbout() {
  facts($("about"), [
    ["Promise", state.threshold.promise],
    ["Threshold", `${readable(state.threshold.value)}: ${state.threshold.rule}`],
    ["Bundle", `${state.bundle.name}, ${state.bundle.precision}, ${state.bundle.created.slice(0, 10)}`],
    ["Digest", state.bundle.digest],
    ["Runs on", state.bundle.device],
    ["Source", state.source.description || "-"],
    ["No verdict", `${state.skipped} frames were passed over`],
    ...Object.entries(state.reasons).map(([kind, count], index) => [index ? "" : "No decision", `${count} \u00d7 ${kind}`]),
    ["Up for", ago(1000 * Math.floor(state.uptime_s))],
    ["Version", `dtgd-edge ${state.version}`],
  ]);
}

// What changes while nothing is heard

function tick() {
  const now = performance.now();
  const isLost = now - sawAt > STALE_MS;
  document.body.classList.toggle("offline", isLost);
  $("lost").hidden = !isLost || (state === null && now < STALE_MS);
  if (isLost) text("lost-age", state ? `Everything below is ${ago(now - sawAt)} old.` : "It has not answered yet.");
  text("link", isLost ? "offline" : "connected");
  $("link").className = `chip ${isLost ? "fault" : "running"}`;
  text("clock", new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false }));
  tickVerdict(now, isLost);
  const pictureAge = now - picture.takenAt;
  const isStale = isLost || pictureAge > STALE_MS;
  document.body.classList.toggle("stale-picture", isStale);
  if (picture.sequence >= 0) {
    text("live-what", isStale ? "NOT LIVE" : "live");
    text("live-age", `${ago(pictureAge)} old`);
  }
}

function tickVerdict(now, isLost) {
  const verdict = state && state.verdict;
  if (!verdict) {
    if (isLost && state) text("word", "NO DATA");
    else if (state) text("word", "WAITING");
    document.title = state ? state.bundle.name : "dtgd-edge";
    return;
  }
  const age = 1000 * verdict.age_s + now - sawAt;
  const isOld = isLost || age > STALE_MS;
  const shown = isLost ? "none" : verdict.decision;
  $("verdict").className = `verdict ${shown}${isOld ? " old" : ""}`;
  $("shape").setAttribute("href", `#shape-${shown}`);
  text("word", isLost ? "OFFLINE" : words[verdict.decision]);
  if (isLost) {
    text("score-line", `last: ${words[verdict.decision]}, ${ago(age)} ago`);
    text("part-line", "");
  } else if (isOld) {
    text("part-line", `${ago(age)} ago, waiting for the next part`);
  }
  document.title = `${isLost ? "OFFLINE" : words[verdict.decision]}: ${state.bundle.name}`;
}

// What is changed

const whoFields = document.querySelectorAll("input.who");

function who() {
  return localStorage.getItem("dtgd-who") ?? "";
}

for (const field of whoFields) {
  field.addEventListener("change", () => {
    localStorage.setItem("dtgd-who", field.value.trim());
    for (const other of whoFields) other.value = field.value;
  });
}

function open(dialog) {
  for (const field of whoFields) field.value = who();
  for (const fault of dialog.querySelectorAll(".fault")) fault.textContent = "";
  dialog.showModal();
}

// Asks the line to do something; "" when it did, otherwise why not.
async function change(name, values) {
  try {
    const answer = await ask(`/${name}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ who: who(), ...values }),
    });
    if (answer.ok) return "";
    return (await answer.json()).error;
  } catch {
    return "the line does not answer; whether it was done is not known";
  }
}

function say(sentence, isFault) {
  $("said").className = isFault ? "fault" : "";
  text("said", sentence);
}

function askedWho(then) {
  if (who()) return then();
  const dialog = $("ask-dialog");
  open(dialog);
  $("ask-form").onsubmit = () => then();
}

$("trigger").addEventListener("click", () => askedWho(async () => {
  const fault = await change("trigger", {});
  say(fault || "A picture was asked for.", Boolean(fault));
}));

$("seen").addEventListener("click", () => askedWho(async () => {
  const fault = await change("seen", {});
  if (fault) say(fault, true);
}));

$("open-threshold").addEventListener("click", () => {
  text("threshold-now", readable(state.threshold.value));
  text("threshold-own", readable(state.threshold.bundle_value));
  $("threshold-value").value = Number(state.threshold.value.toPrecision(5));
  $("threshold-reason").value = "";
  open($("threshold-dialog"));
  showEffect();
  $("threshold-value").select();
});

function threshold() {
  const written = $("threshold-value").value.trim().replace(",", ".");
  return written === "" ? NaN : Number(written);
}

function showEffect() {
  const value = threshold();
  const isNumber = Number.isFinite(value);
  $("threshold-value").setCustomValidity(isNumber ? "" : "a number such as 0.5");
  if (!isNumber) return text("threshold-effect", "");
  const [above, scored] = trend.wouldBe(value);
  const [before] = trend.wouldBe(state.threshold.value);
  text("threshold-effect", scored ? `Of the last ${scored} parts, ${above} would be NG; with the present threshold ${before}.` : "");
}

$("threshold-value").addEventListener("input", showEffect);

$("threshold-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  localStorage.setItem("dtgd-who", $("threshold-form").querySelector(".who").value.trim());
  const fault = await change("threshold", { value: threshold(), reason: $("threshold-reason").value.trim() });
  $("threshold-form").querySelector(".fault").textContent = fault;
  if (fault) return;
  $("threshold-dialog").close();
  say(`The threshold is ${readable(threshold())} now.`, false);
});

for (const button of document.querySelectorAll(".test")) {
  let armedUntil = 0;
  button.addEventListener("click", async () => {
    const form = button.form;
    if (!form.reportValidity()) return;
    if (performance.now() > armedUntil) {
      armedUntil = performance.now() + 3000;
      button.classList.add("armed");
      setTimeout(() => button.classList.remove("armed"), 3000);
      return;
    }
    armedUntil = 0;
    button.classList.remove("armed");
    const fault = await change("test-output", { decision: button.dataset.decision });
    form.querySelector(".fault").textContent = fault;
    if (!fault) say(`${words[button.dataset.decision]} was sent to the outputs.`, false);
  });
}

for (const name of ["switch", "rollback"]) {
  $(name).addEventListener("click", async () => {
    const form = $(name).form;
    if (!form.reportValidity()) return;
    const fault = await change(name, { reason: $("bundle-reason").value.trim() });
    form.querySelector(".fault").textContent = fault;
    if (fault) return;
    $("bundle-dialog").close();
    say("The line was asked for it; the events tell how it went.", false);
  });
}

$("open-test").addEventListener("click", () => open($("test-dialog")));
$("open-bundle").addEventListener("click", () => open($("bundle-dialog")));
for (const button of document.querySelectorAll("dialog .cancel")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
$("newer").addEventListener("click", () => openReject(neighbour(-1)?.id));
$("older").addEventListener("click", () => openReject(neighbour(1)?.id));
$("reject-dialog").addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") openReject(neighbour(-1)?.id);
  if (event.key === "ArrowRight") openReject(neighbour(1)?.id);
});
$("log-in").addEventListener("click", () => location.assign("/login"));
$("log-out").addEventListener("click", async () => {
  const fault = await change("logout", {});
  if (fault) say(fault, true);
  else location.reload();
});

readState();
readPicture();
setInterval(tick, 200);
tick();
