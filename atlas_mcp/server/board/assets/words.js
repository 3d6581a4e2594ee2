// How figures, moments and states are told.

const ENDED = new Set(["completed", "failed", "cancelled"]);
const STATUS_WORDS = {
  queued: "Queued", working: "Working", awaiting_answer: "Waits for an answer",
  completed: "Completed", failed: "Failed", cancelled: "Cancelled",
};
const KIND_WORDS = { team_task: "Team task", turn: "Chat", group: "Group", rating: "Rating" };

const isEnded = (run) => ENDED.has(run.status);
const plainName = (name) => String(name).replaceAll("_", " ");
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const shortened = (text, most) => (text.length <= most ? text : `${text.slice(0, most - 1).trimEnd()}…`);
const counted = (n, noun) => `${n.toLocaleString()} ${noun}${n === 1 ? "" : "s"}`;

function seconds(from, to) {
  return Math.max(0, (Date.parse(to) - Date.parse(from)) / 1000);
}

function duration(total) {
  const s = Math.floor(total);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

function clock(total) {
  const s = Math.floor(total), two = (n) => String(n).padStart(2, "0");
  return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)}` : `${Math.floor(s / 3600)}:${two(Math.floor((s % 3600) / 60))}:${two(s % 60)}`;
}

function ago(at) {
  const s = seconds(at, new Date().toISOString());
  if (s < 45) return "just now";
  if (s < 3600) return `${Math.max(1, Math.round(s / 60))} min ago`;
  if (s < 86400) return `${Math.round(s / 3600)} h ago`;
  return new Date(at).toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" });
}

function moment(at) {
  return new Date(at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

function money(usd) {
  if (usd === null || usd === undefined) return "not known";
  if (usd === 0) return "$0";
  return usd < 0.01 ? "less than $0.01" : `$${usd.toFixed(usd < 10 ? 2 : 1)}`;
}

function tokens(n) {
  if (n < 1000) return String(n);
  return n < 1_000_000 ? `${(n / 1000).toFixed(n < 10_000 ? 1 : 0)}k` : `${(n / 1_000_000).toFixed(2)}M`;
}

const score = (value) => value.toFixed(1);
