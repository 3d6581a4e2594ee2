// The journey of tests/clients/journey.py, made with the TypeScript SDK: generation 1 is @modelcontextprotocol/sdk,
// generation 2 is @modelcontextprotocol/client. Reads what to do from its only argument; prints what it saw.

import { createRequire } from "node:module";

const asked = JSON.parse(process.argv[2]);
const fromNpm = createRequire(`${asked.modules}/here.js`);

function parts() {
  if (asked.generation === 2) {
    const sdk = fromNpm("@modelcontextprotocol/client");
    const { StdioClientTransport } = fromNpm("@modelcontextprotocol/client/stdio");
    const names = { elicit: "elicitation/create", updated: "notifications/resources/updated" };
    return { ...sdk, StdioClientTransport, ...names };
  }
  const from = "@modelcontextprotocol/sdk";
  const types = fromNpm(`${from}/types.js`);
  return {
    ...fromNpm(`${from}/client/index.js`),
    ...fromNpm(`${from}/client/stdio.js`),
    ...fromNpm(`${from}/client/streamableHttp.js`),
    ...fromNpm(`${from}/client/sse.js`),
    elicit: types.ElicitRequestSchema,
    updated: types.ResourceUpdatedNotificationSchema,
  };
}

const sdk = parts();

function transport() {
  if (asked.door === "stdio") {
    const [command, ...args] = asked.command;
    return new sdk.StdioClientTransport({ command, args, env: process.env, stderr: "inherit" });
  }
  const options = { requestInit: { headers: { Authorization: `Bearer ${asked.key}` } } };
  if (asked.door === "sse") return new sdk.SSEClientTransport(new URL(`${asked.address}/sse`), options);
  return new sdk.StreamableHTTPClientTransport(new URL(`${asked.address}/mcp`), options);
}

const questions = [];
const heard = [];
let hears = () => {};
const client = new sdk.Client(
  { name: `typescript-${asked.generation}`, version: "1" },
  { capabilities: { elicitation: { form: {} } }, versionNegotiation: { mode: "auto" } },
);
client.setRequestHandler(sdk.elicit, async (request) => {
  questions.push(request.params);
  return { action: "accept", content: { answer: "approve" } };
});
client.setNotificationHandler(sdk.updated, async (notification) => {
  heard.push(notification.params.uri);
  hears();
});

const call = (name, args, options) =>
  client.callTool({ name, arguments: args }, ...(asked.generation === 1 ? [undefined] : []), options);
const told = async (name, args, options) => (await call(name, args, options)).structuredContent;

const ENDED = ["completed", "failed", "cancelled"];

async function until(run_id, reached) {
  for (;;) {
    const run = await told("get_run", { run_id, wait_seconds: 0 }); // one that waits would put the question to us
    if (reached(run)) return run;
    if (ENDED.includes(run.status)) throw new Error(`it ended otherwise: ${JSON.stringify(run)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function subscribed(uri) {
  if (asked.generation === 1) {
    await client.subscribeResource({ uri });
    return () => client.unsubscribeResource({ uri });
  }
  const stream = await client.listen({ resourceSubscriptions: [uri] });
  return () => stream.close();
}

async function whole() {
  const { tools } = await client.listTools();
  const refused = await call("chat_with_agent", { agent: "nobody", message: "Hello." });
  const progress = [];
  const options = { onprogress: (news) => progress.push(news), timeout: 90_000 };
  const result = await call("run_team_task", { ...asked.task, approve_plan: true }, options);
  const run = await until(result.structuredContent.run_id, (one) => one.status === "completed");
  const { resourceTemplates } = await client.listResourceTemplates();
  const read = await client.readResource({ uri: `atlas://runs/${run.run_id}` });
  return {
    version: client.getServerVersion(),
    instructions: client.getInstructions(),
    tools: tools.map((tool) => tool.name),
    agents: await told("list_agents", {}),
    refused,
    progress,
    result,
    questions: [...questions],
    run,
    templates: resourceTemplates.map((template) => template.uriTemplate),
    read: JSON.parse(read.contents[0].text),
    prompts: (await client.listPrompts()).prompts.map((prompt) => prompt.name),
    prompt: await client.getPrompt({ name: "delegate", arguments: asked.prompt }),
    completed: await client.complete({
      ref: { type: "ref/resource", uri: "atlas://agents/{agent}" },
      argument: { name: "agent", value: "lib" },
    }),
    heard: await heardOf(),
  };
}

async function heardOf() {
  const run = await told("run_team_task", { ...asked.task, approve_plan: true, wait_seconds: 0 });
  const uri = `atlas://runs/${run.run_id}`;
  const end = await subscribed(uri);
  await until(run.run_id, (one) => one.status === "awaiting_answer");
  const first = new Promise((resolve) => (hears = resolve));
  await call("answer_run", { run_id: run.run_id, answer: "reject" });
  await first;
  await until(run.run_id, (one) => one.status === "failed");
  await end();
  return { uri, heard };
}

async function cancelled() {
  const stop = new AbortController();
  const calling = call("run_team_task", asked.task, { signal: stop.signal, timeout: 90_000 });
  const outcome = calling.then(
    () => "answered",
    () => "rejected",
  );
  let run;
  const going = (one) => ["queued", "working"].includes(one.status);
  while (run === undefined) run = (await told("list_runs", {})).runs.find(going);
  stop.abort("enough");
  return { outcome: await outcome, run: await until(run.run_id, (one) => one.status === "cancelled") };
}

await client.connect(transport());
const seen = await { whole, cancelled }[asked.journey]();
await client.close();
process.stdout.write(JSON.stringify(seen), () => process.exit(0)); // what the SDK leaves open would keep it
