"use strict";
// Draws the charts of the report in the page's own colours, and steps through its sample grids.
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const style = () => {
    const values = getComputedStyle(document.documentElement);
    return (name) => values.getPropertyValue("--" + name).trim();
  };

  // A colour of the page, made transparent: hex "#rrggbb" and a share of 0 to 1.
  const faint = (hex, share) => {
    const number = parseInt(hex.slice(1), 16);
    return `rgba(${number >> 16}, ${(number >> 8) & 255}, ${number & 255}, ${share})`;
  };

  const lineTrace = (line, chart, colour) => ({
    type: "scatter",
    mode: line.star ? "markers" : line.x.length < 25 && line.who !== "level" ? "lines+markers" : "lines",
    name: line.name,
    x: line.x,
    y: line.y,
    connectgaps: false,
    hoverinfo: line.who === "level" ? "skip" : "all",
    hovertemplate: line.who === "level" ? undefined : `%{y:${chart.percent ? ".1%" : ".4~g"}}`,
    line: { color: colour(line.who), width: line.who === "level" ? 1.5 : 2, dash: line.dash },
    marker: line.star
      ? { symbol: "star", size: 15, color: colour("ink"), line: { color: colour("surface"), width: 1.5 } }
      : { size: 5, color: colour(line.who) },
  });

  // The area between the ends of the intervals; on a logarithmic axis it ends where the axis does.
  const bandTrace = (line, chart, colour) => {
    const least = chart.log ? Math.min(...line.y.filter((value) => value > 0)) / 2 : -Infinity;
    const [low, high] = line.band.map((ends) => ends.map((value) => Math.max(value, least)));
    return {
      type: "scatter", mode: "lines", fill: "toself", hoverinfo: "skip", line: { width: 0 },
      x: [...line.x, ...line.x.slice().reverse()], y: [...high, ...low.reverse()], fillcolor: faint(colour(line.who), 0.18),
    };
  };

  const lineTraces = (chart, colour) => [
    ...chart.lines.filter((line) => line.band.length).map((line) => bandTrace(line, chart, colour)),
    ...chart.lines.map((line) => lineTrace(line, chart, colour)),
  ];

  const heatTrace = (heat, colour) => ({
    type: "heatmap",
    x: heat.steps.map(String),
    y: heat.names,
    z: heat.shares,
    zmin: 0,
    zmax: heat.most,
    xgap: heat.steps.length > 80 ? 0 : 1,
    ygap: 1,
    colorscale: [[0, faint(colour("heat"), 0.04)], [0.33, faint(colour("heat"), 0.38)], [1, colour("heat")]],
    hovertemplate: "step %{x}<br>%{y}: %{z:.1%}<extra></extra>",
    colorbar: {
      thickness: 9, outlinewidth: 0, tickformat: ".0%", tickvals: [0, heat.most / 3, heat.most],
      ticktext: ["0", "fair share", heat.most < 1 ? "3 × or more" : "all"], len: 1,
    },
  });

  // On a logarithmic axis: 1, 2, 5 in each decade where there are few, else the powers of ten; within less than a decade
  // those may all lie outside, and the chart's own choice shows some.
  const ticks = (chart) => {
    if (!chart.log) return undefined;
    const values = chart.lines.flatMap((line) => line.y).filter((value) => value > 0).map(Math.log10);
    const decades = Math.max(...values) - Math.min(...values);
    if (decades < 0.8) return undefined;
    return decades < 2 ? "D2" : Math.ceil(decades / 6);
  };

  const layout = (chart, colour) => {
    const axis = {
      gridcolor: colour("line"), linecolor: colour("line"), zerolinecolor: colour("line"), tickcolor: colour("line"),
      automargin: true,
    };
    const heat = Boolean(chart.heat);
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("muted") },
      margin: { l: 44, r: 14, t: 12, b: 38 },
      hovermode: heat ? "closest" : "x unified",
      hoverlabel: { bgcolor: colour("surface"), bordercolor: colour("line"), font: { color: colour("ink") } },
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      xaxis: {
        ...axis, title: { text: "step", standoff: 6 }, type: heat ? "category" : "linear", showgrid: false, nticks: 7,
        range: heat ? undefined : chart.range, hoverformat: ",d", unifiedhovertitle: { text: "step %{x:,d}" },
        tickangle: 0,
      },
      yaxis: {
        ...axis, type: chart.log ? "log" : heat ? "category" : "linear", showgrid: !heat, nticks: heat ? 0 : 6,
        tickformat: chart.percent ? ".0%" : heat ? undefined : "~g", dtick: heat ? chart.heat.every : ticks(chart),
        autorange: heat ? "reversed" : true, rangemode: chart.zero ? "tozero" : "normal",
      },
    };
  };

  const draw = () => {
    const colour = style();
    for (const chart of read("charts")) {
      const traces = chart.heat ? [heatTrace(chart.heat, colour)] : lineTraces(chart, colour);
      Plotly.react(chart.id, traces, layout(chart, colour), {
        responsive: true, displayModeBar: false,
      });
    }
  };

  const play = () => {
    const player = document.getElementById("player");
    const frames = read("frames");
    if (!player || frames.length < 2) return;
    const picture = player.querySelector("img");
    const slider = player.querySelector("input");
    const now = player.querySelector(".now");
    const more = player.querySelector(".more");
    const button = player.querySelector(".play");
    let timer = 0;
    const show = (index) => {
      const frame = frames[Math.max(0, Math.min(frames.length - 1, index))];
      picture.src = frame.src || document.getElementById("grid-" + frame.step).src;
      picture.alt = frame.alt;
      now.textContent = frame.title;
      more.textContent = frame.more;
      slider.value = frames.indexOf(frame);
      slider.setAttribute("aria-valuetext", frame.title + ", " + frame.more);
    };
    const stop = () => { clearInterval(timer); timer = 0; button.textContent = "Play"; };
    const tick = () => { if (Number(slider.value) >= frames.length - 1) stop(); else show(Number(slider.value) + 1); };
    const toggle = () => {
      if (timer) return stop();
      if (Number(slider.value) >= frames.length - 1) show(0);
      button.textContent = "Pause";
      timer = setInterval(tick, Math.max(120, Math.min(600, 9000 / frames.length)));
    };
    slider.max = frames.length - 1;
    slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
    button.addEventListener("click", toggle);
    player.querySelector(".back").addEventListener("click", () => { stop(); show(Number(slider.value) - 1); });
    player.querySelector(".next").addEventListener("click", () => { stop(); show(Number(slider.value) + 1); });
    player.hidden = false;
    show(frames.length - 1);
  };

  play();
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
