"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SMALL_PX = 320, LARGE_PX = 1024, DIGITS = 24; // as shrinking.py and thumbnails.py have them
  const AHEAD = "1500px"; // how far from the window rows are filled
  const FEW_COLUMNS = 3; // wider tiles deserve the larger pictures on fine screens
  const byId = (id) => document.getElementById(id);
  const [list, viewer, frame, wipe] = ["rows", "viewer", "frame", "wipe"].map(byId);
  const numbers = new Intl.NumberFormat("en");
  const count = (number, one, many = `${one}s`) => `${numbers.format(number)} ${number === 1 ? one : many}`;

  /** An element with properties and children; texts are texts, whatever they hold. */
  function make(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }
  const named = (name) => make("bdi", {textContent: name});

  // The order of a row and of a cell is that of table.py.
  const rows = data.rows.map(([picture, file, side, cells, failed], index) => {
    const [name, now, bytes, reaches] = data.pictures[picture];
    const styles = [...cells, ...failed].map(([style]) => data.styles[style]);
    const text = [name, ...styles].join("\n").normalize().toLowerCase();
    return {index, name, now, bytes, reaches, file: file || name, side, failed, text, filled: false, element: null,
      cells: cells.map(([style, thumb, size, reaches, model, parameters, maker, before, madeFrom, changed, seconds, notes]) => ({
        style, thumb, size, reaches, model, parameters, maker, before, madeFrom, changed, seconds, notes}))};
  });
  const picked = new Set(); // the styles that are to be shown; none means all of them
  let shown = [];
  let order = []; // [row, cell] of all that can be opened, as they stand on the page
  let measured = false; // whether the height of a row is known
  let current = null; // the one that is open

  function thumb([sha256, width, height], side, properties) {
    const large = side === LARGE_PX && Math.max(width, height) > SMALL_PX;
    const src = `thumbs/${sha256.slice(0, DIGITS)}-${width}x${height}.${large ? LARGE_PX : SMALL_PX}.jpg`;
    return make("img", {decoding: "async", width, height, ...properties, src});
  }

  function tilePicture(of) {
    const image = thumb(of, SMALL_PX, {loading: "lazy", alt: ""});
    if (shown.length < FEW_COLUMNS && Math.max(of[1], of[2]) > SMALL_PX) {
      image.sizes = "(max-width: 40rem) 50vw, 24rem";
      image.srcset = `${image.getAttribute("src")} ${SMALL_PX}w, ${image.getAttribute("src").replace(/320\.jpg$/, "1024.jpg")} ${LARGE_PX}w`;
    }
    return image;
  }

  // The grid. Every row is there from the beginning, with its name; its pictures come when it is near.
  function skeleton(row) {
    const facts = row.now ? `${numbers.format(row.now[1])} × ${numbers.format(row.now[2])}` : "";
    const side = row.side ? `${facts && " · "}styled at ${numbers.format(row.side)} px` : "";
    row.element = make("li", {className: "row"},
      make("h3", {}, named(row.name), make("span", {textContent: facts + side})), make("div", {className: "tiles"}));
    row.element.row = row;
    return row.element;
  }

  function fill(row) {
    if (row.filled) return;
    row.filled = true;
    const tiles = [make("div", {className: row.now ? "tile original" : "tile original none"})];
    if (row.now) tiles[0].append(tilePicture(row.now), make("small", {textContent: "original"}));
    if (row.now) tiles[0].firstChild.alt = `${row.name}, the original`;
    for (const style of shown) tiles.push(tile(row, style));
    row.element.lastChild.replaceChildren(...tiles);
  }

  function tile(row, style) {
    const cell = row.cells.find((each) => each.style === style);
    const failure = row.failed.find(([column]) => column === style);
    const name = data.styles[style];
    if (!cell && failure) return badTile(row, name, failure[1]);
    if (!cell) return make("div", {className: "tile none"});
    const button = make("button", {type: "button", className: "tile"}, tilePicture(cell.thumb), make("small", {}, named(name)));
    button.setAttribute("aria-label", `${row.name} in ${name}`);
    button.cell = cell;
    return button;
  }

  function badTile(row, name, number) {
    const reason = data.failures[number][2];
    const bad = make("a", {className: "tile bad", href: `#failure-${number}`}, make("span", {textContent: reason}), make("small", {}, named(name)));
    bad.setAttribute("aria-label", `${row.name} in ${name} failed: ${reason}`);
    return bad;
  }

  const nearby = new IntersectionObserver((seen) => {
    for (const {isIntersecting, target} of seen) {
      if (!isIntersecting) continue;
      fill(target.row);
      nearby.unobserve(target);
    }
    if (!measured) measure();
  }, {rootMargin: `${AHEAD} 0px`});

  /** Tell the rows that are not drawn yet how high they will be, so that nothing jumps. */
  function measure() {
    const row = rows.find((each) => each.filled && !each.element.hidden);
    if (!row) return;
    measured = true;
    const height = row.element.lastChild.getBoundingClientRect().bottom - row.element.getBoundingClientRect().top;
    if (height > 0) list.style.setProperty("--row", `${Math.ceil(height) + 8}px`);
  }

  function refresh() {
    const words = byId("find").value.normalize().toLowerCase().split(/\s+/).filter(Boolean);
    shown = [...data.styles.keys()].filter((style) => !picked.size || picked.has(style));
    order = [];
    measured = false;
    nearby.disconnect();
    document.documentElement.style.setProperty("--columns", shown.length + 1);
    byId("heads").replaceChildren(...["Original", ...shown.map((style) => data.styles[style])].map((name) => make("span", {title: name}, named(name))));
    let numShown = 0;
    for (const row of rows) {
      const cells = row.cells.filter((cell) => shown.includes(cell.style));
      const failed = row.failed.some(([style]) => shown.includes(style));
      row.element.hidden = !((cells.length || failed) && words.every((word) => row.text.includes(word)));
      if (row.filled) row.element.lastChild.replaceChildren();
      row.filled = false;
      if (row.element.hidden) continue;
      numShown += 1;
      for (const cell of cells) order.push([row, cell]);
      nearby.observe(row.element);
    }
    byId("status").textContent = `${numbers.format(numShown)} of ${count(rows.length, "picture")} shown`;
    byId("heads").hidden = !numShown;
    byId("nothing").hidden = numShown > 0;
    byId("nothing").textContent = rows.length ? "No picture has this name and one of these styles." :
      "There are no results yet. Style a picture, then write this page again.";
  }

  // One result.
  function open(position) {
    current = Math.min(Math.max(position, 0), order.length - 1);
    const [row, cell] = order[current], style = data.styles[cell.style];
    const before = cell.before || row.now;
    const title = byId("viewer-title");
    title.replaceChildren(named(row.name), make("span", {}, "in ", named(style)));
    byId("position").textContent = `${numbers.format(current + 1)} of ${numbers.format(order.length)}`;
    byId("previous").disabled = current === 0;
    byId("next").disabled = current === order.length - 1;
    frame.style.setProperty("--ratio", cell.thumb[1] / cell.thumb[2]);
    frame.classList.toggle("single", !before);
    frame.classList.toggle("odd", Boolean(before) && Math.abs(before[1] / before[2] / (cell.thumb[1] / cell.thumb[2]) - 1) > 0.02);
    byId("after").replaceChildren(thumb(cell.thumb, LARGE_PX, {alt: `${row.name} in ${style}`, draggable: false}));
    byId("before").replaceChildren(...before ? [thumb(before, LARGE_PX, {alt: `${row.name} before it was styled`, draggable: false})] : []);
    tell(row, cell, before);
    if (!viewer.open) {
      moveTo(50);
      viewer.showModal();
      viewer.focus();
    }
    viewer.scrollTop = 0;
    remember(`#${encodeURIComponent(`${style}/${row.file}`)}`);
    for (const [, beside] of [order[current + 1], order[current - 1]].filter(Boolean)) thumb(beside.thumb, LARGE_PX, {});
  }

  function moveTo(percent) {
    wipe.value = percent;
    wiped();
  }

  function wiped() {
    frame.style.setProperty("--wipe", `${wipe.value}%`);
    const before = Math.round(wipe.value);
    wipe.setAttribute("aria-valuetext", `${before} % before, ${100 - before} % after`);
  }

  function tell(row, cell, before) {
    const style = data.styles[cell.style], file = `${style}/${row.file}`;
    const [model, parameters, maker] = [data.models[cell.model], data.parameters[cell.parameters], data.makers[cell.maker]];
    byId("notes").hidden = !cell.notes;
    byId("notes").textContent = cell.notes ? `Note: ${cell.notes.join("; ")}.` : "";
    byId("links").replaceChildren(...[
      cell.reaches && link("Open the result", "stylized", file), row.reaches && link("Open the original", "images", row.name)].filter(Boolean));
    byId("facts").replaceChildren(
      facts("Result", [
        ["Size", `${numbers.format(cell.thumb[1])} × ${numbers.format(cell.thumb[2])} px, ${size(cell.size)}`],
        ["Written", cell.changed && new Date(cell.changed * 1000).toLocaleString("en-GB", {dateStyle: "medium", timeStyle: "short"})],
        ["Styled in", cell.seconds && `${cell.seconds} s`],
        ["Lies at", !cell.reaches && code(`${data.root}/stylized/${file}`)],
        ["sha256", code(cell.thumb[0])]]),
      facts("Picture", [
        ["Name", named(row.name)],
        ["Size", before && `${numbers.format(before[1])} × ${numbers.format(before[2])} px${before === row.now ? `, ${size(row.bytes)}` : ""}`],
        ["Lies at", !row.reaches && code(`${data.root}/images/${row.name}`)],
        ["sha256", code(cell.madeFrom || (before && before[0]) || "")]]),
      facts("Model", model ? [["Lies at", code(model[0])], ["Size", size(model[2])], ["sha256", code(model[1])]] : []),
      facts("Parameters", pairs(parameters)),
      facts("Made by", pairs(maker)));
  }

  const WORDS = {max_side: "Longest side", quality: "Quality", precision: "Precision", algorithm: "Algorithm"};
  const pairs = (object) => Object.entries(object).map(([key, value]) => [
    WORDS[key] || key.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase()),
    value === null ? ({max_side: "as it is", quality: "lossless"}[key] || "none") : typeof value === "object" ? JSON.stringify(value) : String(value)]);
  const code = (text) => text && make("code", {}, named(text));
  function facts(title, lines) {
    const told = lines.filter(([, value]) => value);
    if (!told.length) return "";
    return make("section", {}, make("h3", {textContent: title}),
      make("dl", {}, ...told.flatMap(([name, value]) => [make("dt", {textContent: name}), make("dd", {}, value)])));
  }
  function size(bytes) {
    const units = ["bytes", "kB", "MB", "GB"];
    let power = 0;
    for (; bytes >= 1000 && power < 3; power += 1) bytes /= 1000;
    return `${bytes >= 100 || !power ? Math.round(bytes) : bytes.toFixed(1)} ${units[power]}`;
  }
  const link = (text, folder, name) => make("a", {
    textContent: text, target: "_blank", rel: "noopener",
    href: data.folders[folder] + name.split("/").map(encodeURIComponent).join("/")});

  /** Let the address name what is open, so that it can be sent to somebody; no step back for each. */
  function remember(hash) {
    try {
      history.replaceState(null, "", hash || location.pathname + location.search);
    } catch { /* a browser that lets no file do that */ }
  }
  function openNamed() {
    let name = "";
    try {
      name = decodeURIComponent(location.hash.slice(1));
    } catch { /* somebody else's hash */ }
    const found = order.findIndex(([row, cell]) => `${data.styles[cell.style]}/${row.file}` === name);
    if (found >= 0) open(found);
  }

  /** The result of the same style in the next row up or down that has one. */
  function besides(position, step) {
    const style = order[position][1].style;
    for (let next = position + step; next >= 0 && next < order.length; next += step) {
      if (order[next][1].style === style) return next;
    }
    return position;
  }
  function moved(position, key) {
    if (key === "ArrowLeft") return Math.max(position - 1, 0);
    if (key === "ArrowRight") return Math.min(position + 1, order.length - 1);
    if (key === "ArrowUp") return besides(position, -1);
    if (key === "ArrowDown") return besides(position, 1);
    return null;
  }
  const positionOf = (cell) => order.findIndex(([, each]) => each === cell);
  function focusOn(position) {
    const [row, cell] = order[position];
    fill(row);
    const button = [...row.element.lastChild.children].find((each) => each.cell === cell);
    button.scrollIntoView({block: "nearest", inline: "nearest"});
    button.focus({preventScroll: true});
  }

  list.addEventListener("click", (event) => {
    const button = event.target.closest("button.tile");
    if (button) open(positionOf(button.cell));
  });
  list.addEventListener("keydown", (event) => {
    const position = event.target.cell && !event.altKey && !event.ctrlKey && !event.metaKey ? moved(positionOf(event.target.cell), event.key) : null;
    if (position === null) return;
    event.preventDefault();
    focusOn(position);
  });
  viewer.addEventListener("keydown", (event) => {
    if ([wipe, byId("panel")].includes(event.target) || event.altKey || event.ctrlKey || event.metaKey) return;
    const position = moved(current, event.key);
    if (position === null) return;
    event.preventDefault();
    if (position !== current) open(position);
  });
  viewer.addEventListener("close", () => {
    if (viewer.open) return; // it says so later, and another may be open by now
    remember("");
    focusOn(current);
  });
  wipe.addEventListener("input", wiped);
  byId("previous").addEventListener("click", () => open(current - 1));
  byId("next").addEventListener("click", () => open(current + 1));
  byId("close").addEventListener("click", () => viewer.close());
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  let waiting = 0;
  byId("find").addEventListener("input", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(refresh);
  });
  addEventListener("hashchange", openNamed);
  addEventListener("resize", () => requestAnimationFrame(measure));

  for (const [style, name] of data.styles.entries()) {
    const chip = make("button", {type: "button", className: "chip"}, named(name));
    chip.setAttribute("aria-pressed", "false");
    chip.addEventListener("click", () => {
      if (!picked.delete(style)) picked.add(style);
      chip.setAttribute("aria-pressed", picked.has(style));
      refresh();
    });
    byId("styles").append(chip);
  }
  byId("filters").hidden = rows.length < 2 && data.styles.length < 2;
  byId("styles").hidden = data.styles.length < 2;
  const numResults = rows.reduce((sum, row) => sum + row.cells.length, 0);
  byId("summary").append(`${count(numResults, "result")} · ${count(new Set(data.rows.map(([picture]) => picture)).size, "picture")} · ${count(data.styles.length, "style")}`);
  if (data.failures.length) {
    byId("summary").append(" · ", make("a", {href: "#failures", textContent: count(data.failures.length, "failure")}));
    byId("failures").hidden = false;
    byId("failures-title").textContent = count(data.failures.length, "failure");
    byId("failed").append(...data.failures.map(([name, style, reason], number) => make("li", {id: `failure-${number}`},
      named(name), ...style ? [" in ", named(style)] : [], ": ", make("span", {textContent: reason}))));
  }
  document.documentElement.style.setProperty("--all", data.styles.length + 1);
  list.append(...rows.map(skeleton));
  refresh();
  openNamed();
})();
