// Shows the face and plays its sound in time: both lie on one timeline (media time), which is laid
// on the sound card's clock once, and anew when a pause allows or what comes is late.
"use strict";

const RATE = 48000; // Hz, of the sound that comes
const MARGIN = 0.02; // s, what is needed to schedule sound
const SLACK = 0.3; // s held back beyond the buffer, at which a pause is used to catch up
const PAUSE = 0.3; // s without sound, in which the timeline may be moved unheard
const JUMP = 2; // s by which the robot's clock was set, or the face replayed
const MAX_FRAMES = 40;
const JPEG = 1, SOUND = 2, FORGET = 3;

const $ = (id) => document.getElementById(id);
const canvas = $("face"), picture = canvas.getContext("2d");
const audio = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
const analyser = audio.createAnalyser(); // lets tests hear what is played
analyser.fftSize = 2048;
analyser.connect(audio.destination);

let buffer = 0.1; // s
let offset = null; // clock() minus media time
let running = false; // which clock `offset` is of
let frames = []; // {time, bitmap} not yet shown, in order
let sources = []; // sound that is scheduled
let soundEnd = -Infinity; // media time at which the sound received so far ends
let decoded = Promise.resolve(); // pictures are decoded in order

const stats = { frames: 0, dropped: 0, chunks: 0, late: 0, anchors: 0, connects: 0,
                offsets: [] }; // s by which pictures were shown after their sound
window.realtalk = { stats, audio, analyser, canvas };

function clock() {
  return running ? audio.currentTime : performance.now() / 1000;
}

// What is heard now was given to the sound card this long ago.
function latency() {
  return running ? (audio.outputLatency || audio.baseLatency || 0) : 0;
}

function anchor(time) {
  offset = clock() + buffer - time;
  stats.anchors++;
}

// Places something that has just come on the clock; `pause`: nothing is heard just now.
function place(time, pause) {
  if ((audio.state === "running") !== running) {
    running = !running;
    offset = null;
    silence();
  }
  if (offset === null || Math.abs(time + offset - clock() - buffer) > JUMP) {
    silence();
    for (const frame of frames.splice(0)) frame.bitmap.close();
    anchor(time);
  } else if (time + offset < clock() + MARGIN && (pause || time + offset < clock() - buffer)) {
    stats.late++;
    anchor(time);
  } else if (pause && time + offset > clock() + buffer + SLACK) {
    anchor(time);
  }
  return time + offset;
}

function silence() {
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
  const pause = time - soundEnd > PAUSE || !sources.length;
  let at = place(time, pause);
  soundEnd = time + samples.length / RATE;
  stats.chunks++;
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
  decoded = decoded.then(() => createImageBitmap(new Blob([bytes], { type: "image/jpeg" })))
    .then((bitmap) => {
      place(time, !sources.length);
      frames.push({ time, bitmap });
      while (frames.length > MAX_FRAMES) {
        frames.shift().bitmap.close();
        stats.dropped++;
      }
    }, () => { stats.dropped++; });
}

function draw() {
  requestAnimationFrame(draw);
  if (offset === null) return;
  const now = clock() - latency() - offset; // media time that is heard now
  let frame = null;
  while (frames.length && frames[0].time <= now) {
    if (frame) { frame.bitmap.close(); stats.dropped++; }
    frame = frames.shift();
  }
  if (!frame) return;
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

function connect(wait) {
  const protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(`${protocol}//${location.host}/ws`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => { stats.connects++; notice(""); wait = 250; };
  socket.onmessage = ({ data }) => {
    if (typeof data === "string") return tell(JSON.parse(data));
    const view = new DataView(data), kind = view.getUint8(0), time = view.getFloat64(8, true);
    if (kind === JPEG) see(time, data.slice(16));
    else if (kind === SOUND) hear(time, data.slice(16));
    else if (kind === FORGET) { silence(); soundEnd = -Infinity; }
  };
  socket.onclose = () => {
    notice("The face is away; trying again ...");
    offset = null;
    setTimeout(() => connect(Math.min(2 * wait, 3000)), wait);
  };
  send = (order) => { if (socket.readyState === 1) socket.send(JSON.stringify(order)); };
}

let send = () => {};

function notice(text) {
  $("notice").textContent = text;
}

function tell(message) {
  if (message.type === "refused") return notice(message.reason);
  buffer = message.buffer ?? buffer;
  const list = $("avatar");
  if (message.avatars) {
    list.replaceChildren(...message.avatars.map((name) => new Option(name, name)));
    list.value = message.avatar ?? "";
  }
  if (message.notice !== undefined) notice(message.notice);
}

$("sound").onclick = () => audio.resume();
document.addEventListener("pointerdown", () => audio.resume(), { once: true });
audio.onstatechange = () => { $("sound").hidden = audio.state === "running"; };
$("sound").hidden = audio.state === "running";

if (location.pathname === "/operator") {
  $("operator").hidden = false;
  $("operator").onsubmit = (event) => {
    event.preventDefault();
    const text = $("text").value.trim();
    if (text) send({ say: text });
    $("text").value = "";
  };
  $("interrupt").onclick = () => send({ interrupt: true });
  $("avatar").onchange = () => send({ avatar: $("avatar").value });
}

requestAnimationFrame(draw);
connect(250);
