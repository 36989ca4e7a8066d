"use strict";
(() => {
  const find = (selector) => document.querySelector(selector);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const make = (name, attributes = {}, ...children) => {
    const made = name.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", name.slice(4)) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const figures = (value, digits) => value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const short = (value) => {
    const [divisor, unit] = [[1e12, " T"], [1e9, " G"], [1e6, " M"], [1e3, " k"], [1, ""]].find(([least]) => value >= least) ?? [1, ""];
    return Number((value / divisor).toPrecision(3)).toLocaleString("en") + unit;
  };
  const bytes = (value) => `${short(value)}${value < 1000 ? " " : ""}B`;
  const milliseconds = (value) => figures(value, value < 10 ? 2 : value < 100 ? 1 : 0);
  const signed = (value) => (value < 0 ? "−" : "+") + figures(Math.abs(value), 2);

  const SHAPES = {
    o: "M5 0A5 5 0 1 1-5 0A5 5 0 1 1 5 0Z", s: "M-4.4-4.4H4.4V4.4H-4.4Z", D: "M0-6L6 0L0 6L-6 0Z",
    "^": "M0-5.8L5.4 4.2H-5.4Z", v: "M0 5.8L5.4-4.2H-5.4Z", P: "M-2-5.4H2V-2H5.4V2H2V5.4H-2V2H-5.4V-2H-2Z",
    X: "M-5.2-2.6L-2.6-5.2L0-2.6L2.6-5.2L5.2-2.6L2.6 0L5.2 2.6L2.6 5.2L0 2.6L-2.6 5.2L-5.2 2.6L-2.6 0Z",
    "*": "M0-6L1.6-2L5.9-1.9L2.5 .8L3.7 5L0 2.6L-3.7 5L-2.5 .8L-5.9-1.9L-1.6-2Z",
  };

  /** The points that no other beats: `x` less, `y` more; of equals the first. */
  const front = (points) => {
    const best = [];
    for (const point of [...points].sort((a, b) => a.x - b.x || b.y - a.y))
      if (!best.length || point.y > best.at(-1).y) best.push(point);
    return best;
  };

  function showMap(data) {
    const state = { hidden: new Set(), rings: true, chosen: null, shown: [], best: [] };
    const plot = find("#plot"), card = find("#card");
    const chosen = (name) => find(`[name=${name}]:checked`)?.value;
    const cost = (member) => member.cost[state.axis.name === "ms" ? `ms${state.threads}` : state.axis.name] ?? null;
    const unit = (value) => state.axis.name === "ms" ? `${milliseconds(value)} ms` : state.axis.unit === "B" ? bytes(value) : `${short(value)} ${state.axis.unit}`;
    const label = (family) => data.families[family].label;

    function read() {
      state.scale = Number(chosen("scale"));
      state.set = chosen("set");
      state.threads = chosen("threads") ?? "1";
      state.axis = data.axes.find((axis) => axis.name === find("#axis").value);
      if (find("#choose-threads")) find("#choose-threads").disabled = state.axis.name !== "ms";
    }

    /** Marks are members measured here, rings the published figures at the same cost. */
    function points() {
      const members = data.members.filter((m) => m.scale === state.scale && !state.hidden.has(m.family) && cost(m) !== null);
      const of = (key) => members.filter((m) => m[key][state.set]).map((member) => ({ member, x: cost(member), y: member[key][state.set][0] }));
      return [of("quality"), state.rings ? of("published") : []];
    }

    function draw() {
      const [marks, rings] = points();
      [state.point, state.shown, state.best] = [null, [], front(marks)];
      if (!marks.length && !rings.length) {
        plot.replaceChildren(make("p", { class: "note" }, "Nothing to show: no network of the families chosen has both figures."));
        find("#plot-note").textContent = "";
        return tabulate();
      }
      const width = Math.max(280, plot.clientWidth), height = Math.round(Math.min(640, Math.max(360, width * 0.92)));
      const [left, right, top, bottom] = [44, 14, 10, 44];
      const floor = [...front(marks.length ? marks : rings), ...marks.filter((p) => p.member.family === "bicubic")].map((p) => p.y);
      const high = Math.max(...[...marks, ...rings].map((p) => p.y)), low = Math.min(high - 0.1, ...floor);
      const pad = (high - low) * 0.06;
      const [above, within] = [marks, rings].map((list) => list.filter((p) => p.y >= low - pad));
      const costs = [...above, ...within].map((p) => Math.log10(p.x));
      const [from, to] = [Math.min(...costs), Math.max(...costs)];
      const margin = Math.max(0.02, (to - from) * 0.03);
      const x = (value) => left + ((Math.log10(value) - from + margin) / (to - from + 2 * margin)) * (width - left - right);
      const y = (value) => height - bottom - ((value - low + pad) / (high - low + 2 * pad)) * (height - top - bottom);
      for (const point of [...above, ...within]) [point.px, point.py] = [x(point.x), y(point.y)];

      const behind = make("svg:g", { "aria-hidden": "true" });
      for (const tick of logTicks(from - margin, to + margin, (width - left - right) / 64)) {
        behind.append(make("svg:line", { class: "grid", x1: x(tick), x2: x(tick), y1: top, y2: height - bottom }));
        behind.append(make("svg:text", { x: x(tick), y: height - bottom + 18, "text-anchor": "middle" }, short(tick)));
      }
      for (const tick of linearTicks(low - pad, high + pad, (height - top - bottom) / 52)) {
        behind.append(make("svg:line", { class: "grid", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }));
        behind.append(make("svg:text", { x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, figures(tick, tick % 1 ? 1 : 0)));
      }
      behind.append(make("svg:text", { class: "title", x: width - right, y: height - 6, "text-anchor": "end" }, `${state.axis.label}, ${state.axis.unit}`));
      behind.append(make("svg:text", { class: "title", x: left + 4, y: top + 12 }, `PSNR on ${state.set}, dB`));
      behind.append(path(state.best, "all"));

      const [fronts, options] = [make("svg:g", { "aria-hidden": "true" }), make("svg:g", { role: "presentation" })];
      const [measured, ahead] = [new Set(above.map((p) => p.member)), new Set()];
      for (const p of within) (measured.has(p.member) ? behind : options).append(shape(p, "ring"));
      for (const family of Object.keys(data.families)) {
        const best = front(above.filter((p) => p.member.family === family));
        best.forEach((p) => ahead.add(p));
        fronts.append(path(best, `line f-${family}`));
      }
      state.shown = [...above, ...within.filter((p) => !measured.has(p.member))].sort((a, b) => a.x - b.x || a.y - b.y);
      const ranked = [...above].sort((a, b) => ahead.has(a) - ahead.has(b) || a.member.ships - b.member.ships);
      for (const p of ranked) options.append(shape(p, `mark${ahead.has(p) ? "" : " behind"}${p.member.ships ? " ships" : ""}`, 0.82));
      state.shown.forEach((p, at) => {
        for (const [key, value] of Object.entries({ role: "option", id: `m${at}`, "aria-selected": "false", "aria-label": spoken(p) })) p.node.setAttribute(key, value);
      });
      const focus = make("svg:g", { "aria-hidden": "true" });
      state.svg = make("svg:svg", { viewBox: `0 0 ${width} ${height}`, height, role: "listbox", tabindex: 0, "aria-label": `Networks x${state.scale}: PSNR on ${state.set} against ${state.axis.label}`, "aria-describedby": "front-title" }, behind, fronts, options, focus);
      state.focus = focus;
      state.svg.addEventListener("keydown", walk);
      state.svg.addEventListener("focus", () => state.point ?? choose(state.best[0] ?? state.shown[0]));
      for (const kind of ["pointermove", "pointerdown"]) state.svg.addEventListener(kind, aim);
      const focused = plot.contains(document.activeElement);
      plot.replaceChildren(state.svg);
      const stem = (member) => member?.name.replace(/_x\d+$/, ""); // the same network, at whatever scale
      choose(state.shown.find((p) => stem(p.member) === stem(state.chosen)) ?? state.best[state.best.length >> 1] ?? state.shown[0]);
      if (focused) state.svg.focus({ preventScroll: true });
      const untrained = data.members.filter((m) => m.scale === state.scale && !m.quality[state.set]).length;
      const beneath = marks.length + rings.length - above.length - within.length;
      find("#plot-note").textContent = [
        `${figures(marks.length, 0)} networks, ${figures(rings.length, 0)} published figures`,
        untrained && `${figures(untrained, 0)} more are not measured on ${state.set}`,
        beneath && `${figures(beneath, 0)} of all lie below the picture`,
        marks.some((p) => p.member.ships) && "outlined: ships with thinlens",
      ].filter(Boolean).join("; ") + ".";
      tabulate();
    }

    const place = (p) => `translate(${p.px.toFixed(1)} ${p.py.toFixed(1)})`;
    function shape(p, kind, size = 0.72) {
      p.node = make("svg:path", { d: SHAPES[data.families[p.member.family].shape], class: `${kind} f-${p.member.family}`, transform: `${place(p)} scale(${size})`, "vector-effect": "non-scaling-stroke" });
      return p.node;
    }
    const path = (line, kind) => make("svg:path", { class: kind, d: line.map((p, at) => `${at ? "L" : "M"}${p.px.toFixed(1)} ${p.py.toFixed(1)}`).join("") });
    const spoken = (p) => `${p.member.name}, ${label(p.member.family)}: ${figures(p.y, 2)} dB${p.member.quality[state.set] ? "" : ", published, not measured here"}, ${unit(p.x)}`;

    function choose(point) {
      state.point?.node.setAttribute("aria-selected", "false");
      state.focus.replaceChildren();
      if (!point) return state.svg.removeAttribute("aria-activedescendant");
      [state.point, state.chosen] = [point, point.member];
      point.node.setAttribute("aria-selected", "true");
      state.svg.setAttribute("aria-activedescendant", point.node.id);
      state.focus.append(make("svg:circle", { class: "focus", r: 10, transform: place(point) }));
      describe(point.member);
    }

    function aim(event) {
      const box = state.svg.getBoundingClientRect();
      const distance = (p) => Math.hypot(p.px - (event.clientX - box.left), p.py - (event.clientY - box.top));
      const near = state.shown.reduce((a, b) => (distance(b) < distance(a) ? b : a), state.shown[0]);
      if (near && near !== state.point && distance(near) < 28) choose(near);
    }

    function walk(event) {
      const step = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10, Home: -1e9, End: 1e9, ArrowUp: 1, ArrowDown: -1 }[event.key];
      if (!step || !state.shown.length) return;
      event.preventDefault();
      if (event.key === "ArrowUp" || event.key === "ArrowDown") {
        const ahead = state.best.filter((p) => step > 0 ? p.y > state.point.y : p.y < state.point.y);
        return choose(ahead.at(step > 0 ? 0 : -1) ?? state.point);
      }
      const at = state.shown.indexOf(state.point) + step;
      choose(state.shown[Math.min(state.shown.length - 1, Math.max(0, at))]);
    }

    function describe(m) {
      const list = (pairs) => make("dl", {}, ...pairs.filter(([, value]) => value).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
      const tags = [label(m.family), state.best.some((p) => p.member === m) && "on the front", m.ships && "ships with thinlens", !m.quality[state.set] && "not measured here"].filter(Boolean);
      const rows = data.sets.filter((set) => m.quality[set] || m.published[set]).map((set) => {
        const [ours, theirs] = [m.quality[set], m.published[set]];
        return [set, ours ? figures(ours[0], 2) : "", ours ? figures(ours[1], 4) : "", theirs ? figures(theirs[0], 2) : "", ours && theirs ? signed(ours[0] - theirs[0]) : ""];
      });
      const speed = (threads) => m.speed[threads] && `${milliseconds(m.speed[threads][0])} ms · ${figures(m.speed[threads][1], m.speed[threads][1] < 10 ? 1 : 0)} fps`;
      card.replaceChildren(
        make("h3", {}, make("code", {}, m.name)),
        make("p", { class: "tags" }, ...tags.map((tag) => make("span", {}, tag))),
        list([
          ["Parameters", figures(m.params, 0)], ["MACs, 1280x720", short(m.cost.macs)], ["Stored weights", m.cost.bytes && bytes(m.cost.bytes)],
          ["Engine memory", m.cost.peak && bytes(m.cost.peak)], ["1 thread", speed(1)], ["2 threads", speed(2)],
          ["Time, bicubic = 1", m.speed[1]?.[2] && figures(m.speed[1][2], 2)],
        ]),
        rows.length ? grid(["", "PSNR", "SSIM", "publ.", "gain"], rows, "Quality by set of images") : "",
        ...m.notes.map((note) => make("p", { class: "note" }, note)),
        m.ships ? make("p", {}, make("code", {}, `thinlens restore photo.jpg -o photo_x${m.scale}.png --model ${m.name}`)) : "",
      );
    }

    function fill(table, heads, rows) {
      table.tHead.replaceChildren(make("tr", {}, ...heads.map((head, at) => make(head ? "th" : "td", { scope: head ? "col" : null, class: at ? "num" : null }, head))));
      table.tBodies[0].replaceChildren(...rows.map((row) => make("tr", {}, ...row.map((cell, at) => make(at ? "td" : "th", { scope: at ? null : "row", class: at ? "num" : null }, cell)))));
    }

    function grid(heads, rows, caption) {
      const table = make("table", {}, make("caption", { class: "unseen" }, caption), make("thead"), make("tbody"));
      fill(table, heads, rows);
      return table;
    }

    function tabulate() {
      const table = find("#front");
      table.caption.textContent = `Networks x${state.scale} that no other beats: PSNR on ${state.set} against ${state.axis.label}${state.axis.name === "ms" ? `, ${state.threads} thread${state.threads === "1" ? "" : "s"}` : ""}`;
      fill(table, ["network", state.axis.label, "PSNR, dB", "published, dB", "gain, dB", "parameters", "MACs"], state.best.map(({ member: m, x, y }) => {
        const theirs = m.published[state.set];
        return [make("code", {}, m.name), unit(x), figures(y, 2), theirs ? figures(theirs[0], 2) : "", theirs ? signed(y - theirs[0]) : "", figures(m.params, 0), short(m.cost.macs)];
      }));
    }

    function logTicks(from, to, count) {
      const steps = (to - from) * 3 > count ? ((to - from) > count ? [1] : [1, 3]) : [1, 2, 5];
      const ticks = [];
      for (let power = Math.floor(from); power <= to; power += 1) for (const step of steps) ticks.push(step * 10 ** power);
      return ticks.filter((tick) => Math.log10(tick) >= from && Math.log10(tick) <= to);
    }

    function linearTicks(from, to, count) {
      const step = [0.1, 0.2, 0.5, 1, 2, 5, 10].find((size) => (to - from) / size <= count) ?? 20;
      const ticks = [];
      for (let tick = Math.ceil(from / step) * step; tick <= to; tick += step) ticks.push(Math.round(tick * 10) / 10);
      return ticks;
    }

    for (const button of all(".legend button")) {
      const { family } = button.dataset, shape = family ? data.families[family].shape : "o";
      button.prepend(make("svg:svg", { viewBox: "-7 -7 14 14", "aria-hidden": "true" }, make("svg:path", { d: SHAPES[shape], fill: family ? "currentColor" : "none", stroke: family ? "none" : "currentColor", "stroke-width": 1.4 })));
      button.addEventListener("click", () => {
        const on = button.getAttribute("aria-pressed") === "false";
        button.setAttribute("aria-pressed", String(on));
        if (!family) state.rings = on;
        else if (on) state.hidden.delete(family);
        else state.hidden.add(family);
        draw();
      });
    }
    find("#map .choices").addEventListener("change", () => { read(); draw(); });
    let width = 0;
    new ResizeObserver(() => { if (plot.clientWidth !== width) { width = plot.clientWidth; draw(); } }).observe(plot);
    read();
    state.chosen = data.members.find((m) => m.ships && m.scale === state.scale && m.quality[state.set]) ?? null;
    draw();
  }

  function compare() {
    const scenes = all(".scene").map((node) => ({ name: node.getAttribute("aria-label"), pictures: [...node.querySelectorAll("img")] }));
    const [scene, left, right, divide, stage] = ["#scene", "#left", "#right", "#divide", ".stage"].map(find);
    const options = (select, names, at) => { select.replaceChildren(...names.map((name, value) => make("option", { value }, name))); select.value = at; };
    const named = (picture) => picture.dataset.label + (picture.dataset.psnr ? `, ${picture.dataset.psnr}` : "");
    const show = () => {
      const { name, pictures } = scenes[scene.value];
      for (const [select, image, chip] of [[left, ".over", "#chip-left"], [right, ".under", "#chip-right"]]) {
        const picture = pictures[select.value], shown = stage.querySelector(image);
        shown.src = picture.src;
        shown.alt = `${name}: ${named(picture)}`;
        find(chip).textContent = named(picture);
      }
      slide();
    };
    const slide = () => {
      stage.style.setProperty("--at", `${divide.value}%`);
      divide.setAttribute("aria-valuetext", `${divide.value} % ${find("#chip-left").textContent}, the rest ${find("#chip-right").textContent}`);
    };
    const start = () => {
      const names = scenes[scene.value].pictures.map((picture) => picture.dataset.label);
      options(left, names, 0);
      options(right, names, Math.max(1, names.length - 2));
      show();
    };
    options(scene, scenes.map((item) => item.name), 0);
    scene.addEventListener("change", start);
    for (const select of [left, right]) select.addEventListener("change", show);
    divide.addEventListener("input", slide);
    start();
    find(".compare").hidden = false;
    find(".scenes").hidden = true;
  }

  function follow() {
    const links = new Map(all("nav > details > ul > li > a").map((link) => [link.hash.slice(1), link]));
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries) if (entry.isIntersecting) {
        for (const link of links.values()) link.removeAttribute("aria-current");
        links.get(entry.target.id)?.setAttribute("aria-current", "true");
      }
    }, { rootMargin: "-20% 0px -75% 0px" });
    for (const section of all("main > section")) seen.observe(section);
    const open = () => {
      const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
      if (target && target.matches("details")) target.open = true;
    };
    window.addEventListener("hashchange", open);
    open();
    if (matchMedia("(max-width: 70rem)").matches) find("nav details").open = false;
  }

  const data = document.getElementById("data");
  if (data) showMap(JSON.parse(data.textContent));
  if (find(".compare")) compare();
  follow();
})();
