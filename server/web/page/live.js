// What the server tells by itself, while the page is looked at: each second how
// it is, and what was taught, by whomever. Others listen for "heard".
import {listen} from "./net.js";

let stop = null;

function hear(name, data) {
  document.dispatchEvent(new CustomEvent("heard", {detail: {name, data}}));
}

function look() {
  if (!document.hidden === Boolean(stop)) return;
  if (stop) {
    stop.abort();
    stop = null;
  } else {
    stop = new AbortController();
    listen("/events", hear, stop.signal);
  }
}

export function live() {
  document.addEventListener("visibilitychange", look);
  look();
}

export const whenHeard = (call) =>
  document.addEventListener("heard", ({detail}) => call(detail.name, detail.data));
