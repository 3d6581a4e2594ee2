// The two ways to the server: through a host that shows this page (MCP Apps), or over HTTP with the session's cookie.
// Either gives `call(tool, arguments, signal)`: the tool's structured result, or an Error whose text can be read.

const ABOUT = { name: "atlas-board", version: "1" };

class SignedOut extends Error {}

function given(result) {
  if (result.isError) throw new Error((result.content ?? []).map((part) => part.text ?? "").join("\n") || "the call failed");
  if (result.structuredContent) return result.structuredContent;
  return JSON.parse((result.content ?? []).find((part) => part.type === "text")?.text ?? "{}");
}

function httpLink() {
  const version = "2026-07-28", prefix = "io.modelcontextprotocol/";
  let sent = 0;

  async function request(method, params, signal) {
    const meta = { [`${prefix}protocolVersion`]: version, [`${prefix}clientInfo`]: ABOUT, [`${prefix}clientCapabilities`]: {} };
    const headers = {
      "Content-Type": "application/json", Accept: "application/json, text/event-stream",
      "MCP-Protocol-Version": version, "Mcp-Method": method,
    };
    if (params.name) headers["Mcp-Name"] = params.name;
    const id = ++sent;
    const body = JSON.stringify({ jsonrpc: "2.0", id, method, params: { ...params, _meta: meta } });
    const response = await fetch("board/mcp", { method: "POST", headers, body, signal, cache: "no-store" });
    if (response.status === 401) throw new SignedOut("Your session has ended.");
    const text = await response.text();
    const streamed = (response.headers.get("Content-Type") ?? "").startsWith("text/event-stream");
    const messages = streamed
      ? text.split("\n").filter((line) => line.startsWith("data:") && line.length > 6).map((line) => line.slice(5))
      : [text];
    const answer = messages.map(read).find((message) => message?.id === id || message?.error);
    if (!answer) throw new Error(`the server answered with status ${response.status}`);
    if (answer.error) throw new Error(answer.error.message ?? `the server answered with status ${response.status}`);
    return answer.result;
  }

  return {
    waitSeconds: 20,
    call: async (name, args, signal) => given(await request("tools/call", { name, arguments: args }, signal)),
    tools: async () => new Set((await request("tools/list", {})).tools.map((tool) => tool.name)),
    signOut: () => fetch("board/logout", { method: "POST" }),
  };
}

function read(text) {
  try { return JSON.parse(text); } catch { return null; }
}

// `heard` is told of the host's notifications; what is not JSON-RPC from the parent window is left alone.
function appLink(heard) {
  const open = new Map();
  let sent = 0;
  const post = (message) => parent.postMessage({ jsonrpc: "2.0", ...message }, "*");

  function request(method, params, signal) {
    const id = ++sent;
    return new Promise((resolve, reject) => {
      open.set(id, { resolve, reject });
      signal?.addEventListener("abort", () => { if (open.delete(id)) reject(new DOMException("left", "AbortError")); });
      post({ id, method, params });
    });
  }

  addEventListener("message", (event) => {
    const message = event.data;
    if (event.source !== parent || message?.jsonrpc !== "2.0") return;
    if (message.method === undefined) {
      const waiting = open.get(message.id);
      open.delete(message.id);
      if (message.error) waiting?.reject(new Error(message.error.message ?? "the host refused"));
      else waiting?.resolve(message.result);
    } else if (message.id === undefined) heard(message.method, message.params ?? {});
    else if (message.method === "ping" || message.method === "ui/resource-teardown") {
      heard(message.method, message.params ?? {});
      post({ id: message.id, result: {} });
    } else post({ id: message.id, error: { code: -32601, message: `${message.method} is not known here` } });
  });

  return {
    waitSeconds: 15,
    begin: async () => {
      const host = await request("ui/initialize", {
        protocolVersion: "2026-01-26", appInfo: ABOUT, appCapabilities: { availableDisplayModes: ["inline", "fullscreen"] },
      });
      post({ method: "ui/notifications/initialized", params: {} });
      return host;
    },
    call: async (name, args, signal) => given(await request("tools/call", { name, arguments: args }, signal)),
    sized: (height) => post({ method: "ui/notifications/size-changed", params: { height } }),
  };
}
