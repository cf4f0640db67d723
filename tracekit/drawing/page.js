// Draws the lanes of the page from its data, and lets one zoom into them. Texts go in as text.
"use strict";
(() => {
  const source = document.getElementById("lanes-data");
  const host = document.getElementById("lanes");
  if (!source || !host) return;
  const data = JSON.parse(source.textContent);
  const NS = "http://www.w3.org/2000/svg";
  const WIDTH = 1080, NAMES = 84, HEAD = 34, LANE = 24, GLYPH = 6.1, LEAST = 100;
  const limits = [Math.min(...data.views.map((v) => v[1])), Math.max(...data.views.map((v) => v[2]))];
  let from = data.views[0][1], to = data.views[0][2];

  const make = (name, attributes, text) => {
    const node = document.createElementNS(NS, name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const time = (ns) => {
    const size = Math.abs(ns);
    for (const [unit, name] of [[1e9, "s"], [1e6, "ms"], [1e3, "µs"]])
      if (size >= unit) return `${Number((ns / unit).toPrecision(4))} ${name}`;
    return `${ns} ns`;
  };
  const height = HEAD + LANE * data.lanes.length + 6;
  const svg = make("svg", {
    viewBox: `0 0 ${WIDTH} ${height}`, class: "picture live", tabindex: "0", role: "img",
    "aria-label": "What every CPU did around the jump; drag to move, Ctrl and wheel to zoom",
  });
  const told = document.getElementById("lanes-told");
  const x = (ns) => NAMES + (WIDTH - NAMES - 8) * (ns - from) / (to - from);

  const ticks = (layer) => {
    const span = to - from;
    let step = 1;
    outer: for (let e = 0; e < 19; e++)
      for (const m of [1, 2, 5]) {
        step = m * 10 ** e;
        if (span / step <= 10) break outer;
      }
    const first = Math.ceil((from - data.zero) / step);
    for (let n = first; n * step + data.zero <= to; n++) {
      const at = x(n * step + data.zero), zero = n === 0;
      layer.append(make("line", {
        x1: at, x2: at, y1: HEAD - 8, y2: height - 6, class: zero ? "zero" : "grid",
      }));
      layer.append(make("text", { x: at + 3, y: HEAD - 12, class: "tick" }, zero ? "0" : time(n * step)));
    }
  };
  const clip = (start, end) => [Math.max(x(start), NAMES), Math.min(x(end), WIDTH - 8)];
  const box = (layer, y, start, end, face, label, about) => {
    if (end < from || start > to) return;
    const [a, b] = clip(start, end), wide = Math.max(b - a, 0.6);
    const group = make("g", {});
    group.append(make("rect", { x: a, y: y + 2, width: wide, height: LANE - 5, class: `box ${face}` }));
    if (label && label.length * GLYPH + 8 <= wide)
      group.append(make("text", { x: a + 4, y: y + 15, class: "in" }, label));
    if (about) group.dataset.about = about;
    layer.append(group);
  };
  // Of what is narrower than a pixel only one in a pixel is drawn.
  const sieve = () => {
    const seen = new Set();
    return (start, end) => {
      if (x(end) - x(start) >= 0.6) return true;
      const cell = Math.floor(x(start));
      return !seen.has(cell) && seen.add(cell);
    };
  };
  const drawCpu = (layer, lane, y) => {
    for (const [start, end, kind, note] of lane.gone)
      box(layer, y, start, end, `gone ${kind}`, "", `${lane.name}: ${kind}: ${data.texts[note]}`);
    if (lane.from !== null) box(layer, y, limits[0], lane.from, "gone left", "", `${lane.name}: not in this file`);
    if (lane.to !== null) box(layer, y, lane.to, limits[1], "gone left", "", `${lane.name}: not in this file`);
    const wanted = sieve();
    for (let n = 0; n < lane.turns.length; n += 3) {
      const start = lane.turns[n], end = start + lane.turns[n + 1];
      if (end < from || start > to || !wanted(start, end)) continue;
      const name = data.texts[lane.turns[n + 2]];
      box(layer, y, start, end, `turn hue${lane.turns[n + 2] % 6}`, name,
        `${lane.name}: ${name} runs ${time(end - start)}, from ${time(start - data.zero)}`);
    }
    const dots = sieve();
    let path = "";
    for (let n = 0; n < lane.events.length; n += 2) {
      const at = lane.events[n];
      if (at >= from && at <= to && dots(at, at)) path += `M${x(at).toFixed(1)} ${y + LANE - 6}v4`;
    }
    if (path) layer.append(make("path", { d: path, class: "events" }));
  };
  const draw = () => {
    const layer = make("g", {});
    ticks(layer);
    data.lanes.forEach((lane, place) => {
      const y = HEAD + LANE * place;
      layer.append(make("text", { x: 4, y: y + 15, class: "lane" }, lane.name));
      if (lane.kind === "cpu") { drawCpu(layer, lane, y); return; }
      const wanted = sieve();
      for (const [start, took, label, face, note] of lane.spans) {
        if (start + took < from || start > to || !wanted(start, start + took)) continue;
        box(layer, y, start, start + took, face, data.texts[label],
          `${data.texts[label]}: ${time(took)}, from ${time(start - data.zero)}  ${data.texts[note]}`);
      }
    });
    svg.replaceChildren(layer);
    for (const button of document.querySelectorAll("#lanes-keys button[data-view]")) {
      const view = data.views[Number(button.dataset.view)];
      button.classList.toggle("on", view[1] === from && view[2] === to);
    }
  };
  let pending = false;
  const show = (a, b) => {
    const span = Math.max(LEAST, Math.min(b - a, limits[1] - limits[0]));
    from = Math.round(Math.max(limits[0], Math.min(a, limits[1] - span)));
    to = Math.round(from + span);
    if (!pending) {
      pending = true;
      requestAnimationFrame(() => { pending = false; draw(); });
    }
  };
  const zoom = (factor, at) => show(at - (at - from) * factor, at + (to - at) * factor);
  const pan = (share) => show(from + (to - from) * share, to + (to - from) * share);
  const centre = () => (from <= data.zero && data.zero <= to ? data.zero : (from + to) / 2);
  const under = (event) => {
    const place = svg.getBoundingClientRect();
    const at = (event.clientX - place.left) / place.width * WIDTH;
    return from + (to - from) * (at - NAMES) / (WIDTH - NAMES - 8);
  };
  const acts = {
    in: () => zoom(0.5, centre()), out: () => zoom(2, centre()),
    left: () => pan(-0.25), right: () => pan(0.25),
    jump: () => show(data.zero - (to - from) / 2, data.zero + (to - from) / 2),
  };
  const keys = {
    w: "in", "+": "in", s: "out", "-": "out", a: "left", ArrowLeft: "left", d: "right",
    ArrowRight: "right", 0: "jump",
  };
  document.getElementById("lanes-keys").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.act) acts[button.dataset.act]();
    else { const view = data.views[Number(button.dataset.view)]; show(view[1], view[2]); }
  });
  svg.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    acts[keys[event.key]]();
    event.preventDefault();
  });
  svg.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.shiftKey) return; // the page scrolls
    event.preventDefault();
    zoom((event.deltaY || event.deltaX) > 0 ? 1.25 : 0.8, under(event));
  }, { passive: false });
  svg.addEventListener("dblclick", (event) => zoom(0.4, under(event)));
  let held = null;
  svg.addEventListener("pointerdown", (event) => {
    held = { at: event.clientX, from, to };
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", (event) => {
    if (held) {
      const moved = (event.clientX - held.at) / svg.getBoundingClientRect().width * WIDTH;
      const ns = moved / (WIDTH - NAMES - 8) * (held.to - held.from);
      show(held.from - ns, held.to - ns);
    }
    const group = event.target.closest("g[data-about]");
    told.textContent = `${time(Math.round(under(event) - data.zero))}${group ? "   " + group.dataset.about : ""}`;
  });
  for (const name of ["pointerup", "pointercancel"]) svg.addEventListener(name, () => { held = null; });
  host.replaceChildren(svg);
  document.getElementById("lanes-keys").hidden = false;
  draw();
})();
