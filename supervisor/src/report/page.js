"use strict";
(() => {
  const WIDTH = 10000;
  document.documentElement.classList.add("js");
  const tip = document.getElementById("tip");

  const trim = (value) => String(Number(value.toPrecision(3)));
  const duration = (us) => us >= 999500 ? trim(us / 1e6) + " s" : us >= 999.5 ? trim(us / 1e3) + " ms" : trim(us) + " µs";

  function showTip(text, x, y) {
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - box.width - 4)) + "px";
    tip.style.top = (y + box.height + 24 > innerHeight ? y - box.height - 10 : y + 16) + "px";
  }

  // A path of bars is a sequence of "m dx dy h length"; data-bars holds the numbers of each bar.
  function bars(path) {
    const facts = path.dataset.bars.split(",");
    let x = 0, y = 0;
    return [...path.getAttribute("d").matchAll(/m(-?\d+) (-?\d+)h(\d+)/g)].map((m, i) => {
      x += Number(m[1]); y += Number(m[2]);
      const from = x;
      x += Number(m[3]);
      const [id, elapsed, cpu] = facts[i].split(" ").map(Number);
      return { from, to: x, lane: (y - 1) / 2, id, elapsed, cpu, kind: path.className.baseVal };
    });
  }

  function closeUp(section) {
    const unitsPerUs = Number(section.dataset.unitsPerUs);
    const range = Number(section.dataset.rangeUs) * unitsPerUs;
    const figures = [...section.querySelectorAll("svg.bars")];
    const axis = section.querySelector(".axis");
    const lanes = section.querySelector(".lanes");
    const ends = { wait: "", fail: "\nfailed", retry: "\nfailed, tried again" };
    let from = 0, span = WIDTH;

    function ticks() {
      const spanUs = span / unitsPerUs, startUs = from / unitsPerUs, rough = spanUs / 5;
      const power = 10 ** Math.floor(Math.log10(rough));
      const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= rough);
      axis.replaceChildren();
      for (let at = Math.ceil(startUs / step - 1e-9) * step; at <= startUs + spanUs * 1.000001; at += step) {
        const tick = document.createElement("span");
        tick.textContent = at ? duration(at) : "0";
        const share = (at - startUs) / spanUs;
        tick.style.left = (share * 100).toFixed(3) + "%";
        tick.classList.toggle("end", share > 0.9);
        axis.append(tick);
      }
    }
    function view(nextFrom, nextSpan) {
      span = Math.min(Math.max(nextSpan, 40), Math.max(range, 40));
      from = Math.min(Math.max(nextFrom, 0), Math.max(range - span, 0));
      for (const figure of figures) {
        figure.viewBox.baseVal.x = from;
        figure.viewBox.baseVal.width = span;
      }
      ticks();
    }
    const moves = {
      left: () => view(from - span / 4, span),
      right: () => view(from + span / 4, span),
      in: () => view(from + span / 4, span / 2),
      out: () => view(from - span / 2, span * 2),
      reset: () => view(0, WIDTH),
    };
    const keys = { ArrowLeft: "left", ArrowRight: "right", "+": "in", "=": "in", "-": "out", "0": "reset" };
    for (const button of section.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", moves[button.dataset.zoom]);
    }
    lanes.addEventListener("keydown", (event) => {
      const move = keys[event.key];
      if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      moves[move]();
    });
    for (const figure of figures) {
      let parsed = null, grabbed = null;
      const at = (event) => {
        const box = figure.getBoundingClientRect();
        return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      };
      figure.addEventListener("pointerdown", (event) => {
        grabbed = { x: at(event)[0], from };
        figure.setPointerCapture(event.pointerId);
      });
      figure.addEventListener("pointerup", () => { grabbed = null; });
      figure.addEventListener("pointercancel", () => { grabbed = null; });
      figure.addEventListener("pointerleave", () => showTip(""));
      figure.addEventListener("pointermove", (event) => {
        const [x, y] = at(event);
        if (grabbed) view(grabbed.from - (x - grabbed.x) * span, span);
        parsed ??= [...figure.querySelectorAll("path[data-bars]")].flatMap(bars);
        const unit = from + x * span, lane = Math.floor(y * figure.viewBox.baseVal.height / 2);
        const slack = span / 400;
        const hit = parsed.find((bar) => bar.lane === lane && bar.from - slack <= unit && unit <= bar.to + slack);
        showTip(hit ? `target ${hit.id}: ${duration(hit.elapsed)}\ncomputing ${duration(hit.cpu)}${ends[hit.kind]}` : "",
          event.clientX, event.clientY);
      });
    }
  }

  function throughput(figure) {
    const step = Number(figure.dataset.stepUs);
    const columns = figure.dataset.columns.split(",").map((column) => column.split(" ").map(Number));
    let chosen = 0;
    function show(index, x, y) {
      chosen = Math.min(Math.max(index, 0), columns.length - 1);
      const [items, failed] = columns[chosen];
      const rate = Math.round(items * 1e6 / step).toLocaleString("en");
      showTip(`${duration(chosen * step)} to ${duration((chosen + 1) * step)}\n${rate} per second${failed ? `\n${failed} failed` : ""}`, x, y);
    }
    figure.addEventListener("pointermove", (event) => {
      const box = figure.getBoundingClientRect();
      show(Math.floor((event.clientX - box.left) / box.width * columns.length), event.clientX, event.clientY);
    });
    figure.addEventListener("pointerleave", () => showTip(""));
    figure.addEventListener("blur", () => showTip(""));
    figure.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!move) return;
      event.preventDefault();
      const box = figure.getBoundingClientRect();
      const next = chosen + move;
      show(next, box.left + box.width * (next + 0.5) / columns.length, box.top + box.height / 2);
    });
  }

  const section = document.getElementById("closeup");
  if (section) closeUp(section);
  document.querySelectorAll("svg.throughput").forEach(throughput);
  addEventListener("keydown", (event) => { if (event.key === "Escape") showTip(""); });
})();
