/* SPDX-License-Identifier: Apache-2.0 */
// Shows the face and plays its sound in time: both lie on one timeline (media time), which is laid
// on the sound card's clock once, and anew when a pause allows or what comes is late.
"use strict";

const RATE = 48000; // Hz, of the sound that comes
const MARGIN = 0.02; // s, what is needed to schedule sound
const SLACK = 0.3; // s held back beyond the buffer, at which a pause is used to catch up
const PAUSE = 0.3; // s without sound, in which the timeline may be moved unheard
const JUMP = 4; // s by which the robot's clock was set, or the face replayed; the server holds 3 s
const STALL = 0.5; // s without a step of the sound card's clock after which it stands
const STEADY = 0.1; // s that it goes before it is believed
const RETRY = 2000; // ms after which sound that had ended by itself is tried again
const AHEAD = 0.1; // s before it is shown that a picture is decoded
const MAX_WAITING = 1000; // pictures
const UNSEEN = 500; // ms without being asked to draw after which nobody sees the page
const SILENT = 1500; // ms without any message (there is one every 500) after which the face is away
const LOST = 5000; // ms, after which the connection is given up
const IDLE = 2000; // ms without being moved after which the mouse pointer is hidden
const FULL = 1013, REPLACED = 4001; // why a connection was closed
const MAX_TEXT = 4000; // characters that the server takes at once
const JPEG = 1, SOUND = 2, FORGET = 3;

// A proxy may serve the face under a path of its own.
const [, folder, page] = location.pathname.match(/^(.*\/)([^/]*)$/);
const operator = page === "operator";
const muted = new URLSearchParams(location.search).has("mute"); // the robot has a loudspeaker
const $ = (id) => document.getElementById(id);
const canvas = $("face"), picture = canvas.getContext("2d");
const audio = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
const analyser = audio.createAnalyser(); // lets tests hear what is played
analyser.fftSize = 2048;
analyser.connect(audio.destination);

let buffer = 0.1; // s
let offset = null; // clock() minus media time
let earlier = []; // {offset, until}, in order: what it is until clock() is there, while moved anew
let running = false; // `offset` is by the sound card's clock, else by performance.now()
let waiting = []; // {time, jpeg} not yet decoded, in order
let frames = []; // {time, bitmap} not yet shown, in order
let sources = []; // sound that is scheduled
let soundEnd = -Infinity; // media time at which the sound received so far ends
let decoding = false; // pictures are decoded one after the other
let drawn = 0; // ms, when the browser last asked for a picture
// Latest time [s] of the sound card's clock, when it came, and the time from which on it has gone.
let tick = { time: 0, at: 0, from: 0 };

// What is said of the connection, the face and the last command.
const wrong = { link: "", face: "", command: "" };

const stats = { frames: 0, dropped: 0, chunks: 0, late: 0, anchors: 0, connects: 0,
                offsets: [] }; // s by which pictures were shown after their sound
window.realtalk = { stats, audio, analyser, canvas };

// Whether the sound card's clock goes: it stands while the card starts, hangs or is gone, which the
// state says late or never. It may make a step at each attempt to start.
function ticks() {
  const now = performance.now() / 1000, time = audio.currentTime;
  if (time !== tick.time) {
    const stood = now - tick.at - (time - tick.time) > STALL;
    tick = { time, at: now, from: stood ? time : tick.from };
  }
  return audio.state === "running" && now - tick.at < STALL && time - tick.from > STEADY;
}

function clock() {
  return running ? audio.currentTime : performance.now() / 1000;
}

// What is heard now was given to the sound card this long ago.
function latency() {
  return running ? (audio.outputLatency || audio.baseLatency || 0) : 0;
}

// Media time that is heard now.
function heardNow() {
  const now = clock() - latency();
  while (earlier[0]?.until <= now) earlier.shift();
  return now - (earlier[0] ?? { offset }).offset;
}

function anchor(time, earliest = -Infinity) {
  offset = Math.max(clock() + buffer, earliest) - time;
  earlier = [];
  stats.anchors++;
}

// Catches up, but not into the sound that is scheduled, with which its pictures stay.
function advance(time) {
  const until = sources.length ? soundEnd + offset : -Infinity, heard = { offset, until };
  const kept = earlier;
  anchor(time, until + PAUSE);
  earlier = [...kept, heard];
}

// Places something that has just come on the clock; `pause`: nothing is heard just now.
function place(time, pause) {
  if (ticks() !== running) {
    running = !running;
    offset = null;
  }
  if (offset === null || Math.abs(time + offset - clock() - buffer) > JUMP) {
    silence();
    stats.dropped += waiting.length + frames.length;
    waiting = [];
    for (const frame of frames) frame.bitmap.close();
    frames = [];
    anchor(time);
  } else if (time + offset < clock() + MARGIN && (pause || time + offset < clock() - buffer)) {
    stats.late++;
    anchor(time);
  } else if (pause && time + offset > clock() + buffer + SLACK) {
    advance(time);
  }
  return time + offset;
}

function silence() {
  earlier = [];
  for (const source of sources) {
    source.onended = null;
    try { source.stop(); } catch { /* not started yet */ }
    source.disconnect();
  }
  sources = [];
}

function hear(time, bytes) {
  const samples = new Int16Array(bytes);
  if (!samples.length) return;
  const silent = samples.every((sample) => !sample); // a pause, though it is sent
  const pause = time - soundEnd > PAUSE || !sources.length;
  let at = place(time, silent ? !sources.length : pause);
  stats.chunks++;
  if (silent) return;
  soundEnd = time + samples.length / RATE;
  if (!running) return;
  let skip = 0;
  if (at < audio.currentTime) { // too late: leave out what is over
    skip = Math.ceil((audio.currentTime - at) * RATE);
    stats.late++;
    if (skip >= samples.length) return;
    at += skip / RATE;
  }
  const data = audio.createBuffer(1, samples.length - skip, RATE);
  const channel = data.getChannelData(0);
  for (let i = skip; i < samples.length; i++) channel[i - skip] = samples[i] / 32768;
  const source = audio.createBufferSource();
  source.buffer = data;
  source.connect(analyser);
  source.onended = () => { sources = sources.filter((other) => other !== source); };
  source.start(Math.round(at * RATE) / RATE); // on whole samples, so that there are no seams
  sources.push(source);
}

function see(time, bytes) {
  place(time, !sources.length);
  waiting.push({ time, jpeg: new Blob([bytes], { type: "image/jpeg" }) });
  skip();
  decode();
}

// Leaves out pictures before others that are due, too, and the oldest of too many.
function skip() {
  const now = heardNow();
  while (frames[1]?.time <= now) {
    frames.shift().bitmap.close();
    stats.dropped++;
  }
  while (waiting[1]?.time <= now || waiting.length > MAX_WAITING) {
    waiting.shift();
    stats.dropped++;
  }
}

// Decodes what is to be shown soon. A decoder that is too slow leaves pictures out; for a tab in the
// background, which does not draw, nothing is decoded.
async function decode() {
  if (decoding || performance.now() - drawn > UNSEEN) return;
  decoding = true;
  while (waiting.length && offset !== null && waiting[0].time <= heardNow() + AHEAD) {
    const { time, jpeg } = waiting.shift(), before = frames;
    const bitmap = await createImageBitmap(jpeg).catch(() => null);
    if (bitmap && frames === before) {
      frames.push({ time, bitmap });
    } else {
      bitmap?.close();
      stats.dropped++;
    }
    skip();
  }
  decoding = false;
}

function draw() {
  requestAnimationFrame(draw);
  drawn = performance.now();
  if (offset === null) return;
  decode();
  skip();
  const now = heardNow();
  if (!(frames[0]?.time <= now)) return;
  const frame = frames.shift();
  if (canvas.width !== frame.bitmap.width || canvas.height !== frame.bitmap.height) {
    canvas.width = frame.bitmap.width;
    canvas.height = frame.bitmap.height;
  }
  picture.drawImage(frame.bitmap, 0, 0);
  frame.bitmap.close();
  stats.frames++;
  stats.offsets.push(now - frame.time);
  if (stats.offsets.length > 1000) stats.offsets.shift();
}

let awake = null; // keeps the screen on

// Browsers allow it while the page is visible, and where they trust it: by HTTPS, or from this
// machine.
async function stayAwake() {
  if (document.hidden || (awake && !awake.released)) return;
  awake = await navigator.wakeLock?.request("screen").catch(() => null);
}

let send = () => false; // takes a command; returns whether it was sent
let watchdog = 0;

function unsent() {
  say("command", "The face is away: this was not sent");
  return false;
}

// Opens the connection, and anew when it ends; `wait`: ms until then.
function connect(wait) {
  const protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const path = operator ? "operator/ws" : "ws";
  const socket = new WebSocket(`${protocol}//${location.host}${folder}${path}`);
  let heard = performance.now();
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => {
    if (wrong.link) say("link", "");
    heard = performance.now();
    wait = 250;
    if (typeof data === "string") return tell(JSON.parse(data));
    const view = new DataView(data), kind = view.getUint8(0), time = view.getFloat64(8, true);
    if (kind === JPEG) see(time, data.slice(16));
    else if (kind === SOUND) hear(time, data.slice(16));
    else if (kind === FORGET) { silence(); soundEnd = -Infinity; }
  };
  socket.onopen = () => { stats.connects++; };
  const again = (event) => {
    clearInterval(watchdog);
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(); // on a dead network this takes a minute: it is not waited for
    send = unsent;
    offset = null;
    if (event?.code === REPLACED) {
      return say("link", `Not connected: ${event.reason}. Reload to take it back`);
    }
    const away = stats.connects ? "The face is away" : "The face is away, or refuses this page";
    say("link", event?.code === FULL ? event.reason : `${away}; trying again ...`);
    if (event?.reason) wait = 3000;
    setTimeout(() => connect(Math.min(2 * wait, 3000)), wait);
  };
  socket.onclose = again;
  watchdog = setInterval(() => { // a network that is gone does not close anything
    const silent = performance.now() - heard;
    if (silent > LOST) again();
    else if (silent > SILENT) say("link", "The face is away ...");
  }, 250);
  send = (command) => {
    say("command", "");
    if (socket.readyState !== WebSocket.OPEN) return unsent();
    socket.send(JSON.stringify(command));
    return true;
  };
}

function say(kind, text) {
  wrong[kind] = text;
  $("notice").textContent = wrong.link || [wrong.face, wrong.command].filter(Boolean).join(" · ");
  document.body.classList.toggle("away", Boolean(wrong.link || wrong.face));
}

let shown = ""; // avatar of the face, as far as is known
let sent = ""; // text that may yet be refused

function tell(message) {
  if (message.type === "refused") {
    $("avatar").value = shown;
    $("text").value ||= sent; // unless the next one is being written
    sent = "";
    return say("command", message.reason);
  }
  if (message.type !== "state") return;
  buffer = message.buffer ?? buffer;
  say("face", message.away ? "The face is away: no pictures come" : "");
  if (!operator) return; // who watches gave no command
  if (message.notice !== undefined) say("command", message.notice);
  if (message.commands === false) say("command", "Commands are not allowed from here");
  const list = $("avatar"), names = message.avatars ?? [], avatar = message.avatar ?? "";
  const same = names.join("/") === [...list.options].map((option) => option.value).join("/");
  if (!same) list.replaceChildren(...names.map((name) => new Option(name, name)));
  // While the chosen one loads it stays chosen: arrow keys go on from there.
  if (!same || avatar !== shown || message.notice) list.value = avatar;
  shown = avatar;
}

let played = false; // sound was allowed once

// Asks for sound. After its loudspeaker was away, Chromium starts no context that it takes for
// started already, so it is suspended first.
function unlock() {
  if (muted) return;
  if (played) audio.suspend().catch(() => {});
  audio.resume().catch(() => {});
}

// Which of these is leave to play sound depends on the kind of pointer.
for (const touch of ["pointerdown", "pointerup", "click", "keydown"]) {
  document.addEventListener(touch, () => { if (audio.state !== "running") unlock(); });
}
audio.onstatechange = () => {
  played ||= audio.state === "running";
  $("sound").hidden = muted || audio.state === "running";
};
audio.onstatechange();
if (muted) audio.suspend(); // pictures go on by another clock
if (navigator.audioSession) navigator.audioSession.type = "playback"; // else iPhones may be silent
// Not while it runs and its clock stands: that goes again by itself, or WebKit would hang.
setInterval(() => { if (played && audio.state !== "running") unlock(); }, RETRY);

if (operator) {
  document.title += ": operator";
  $("operator").hidden = false;
  $("operator").onsubmit = (event) => {
    event.preventDefault();
    const text = $("text").value.trim(), length = [...text].length;
    if (length > MAX_TEXT) {
      say("command", `The text has ${length} characters: send at most ${MAX_TEXT} at once`);
    } else if (!text || send({ say: text })) {
      sent = text;
      $("text").value = "";
    }
  };
  $("interrupt").onclick = () => send({ interrupt: true });
  $("avatar").onchange = () => {
    sent = "";
    if (!send({ avatar: $("avatar").value })) $("avatar").value = shown;
  };
}

if (!operator) { // a robot's screen, which people touch
  document.documentElement.classList.add("screen"); // no zoom, no reload by a swipe
  document.oncontextmenu = (event) => event.preventDefault();
  let idle = 0;
  document.onmousemove = () => {
    clearTimeout(idle);
    document.body.classList.remove("idle");
    idle = setTimeout(() => document.body.classList.add("idle"), IDLE);
  };
  document.body.classList.add("idle");
  document.addEventListener("visibilitychange", stayAwake);
  document.addEventListener("pointerup", stayAwake);
  stayAwake();
}

say("link", "");
requestAnimationFrame(draw);
connect(250);
