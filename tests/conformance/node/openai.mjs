// The openai SDK for Node, used as its documentation says; prints what clients/report.py prints.

import { createReadStream, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// The packages lie in a folder of their own, which the first argument names.
const require = createRequire(pathToFileURL(`${process.argv[2]}/package.json`));
const { default: OpenAI } = await import(pathToFileURL(require.resolve("openai")));

const offer = JSON.parse(readFileSync(0, "utf-8"));
const question = [{ role: "user", content: "What is the capital of Norway?" }];
const weather = {
  type: "function",
  function: {
    name: "get_weather",
    description: "Return the weather of a city.",
    parameters: {
      type: "object",
      properties: { city: { type: "string", description: "The city's name." } },
      required: ["city"],
    },
  },
};
const schema = {
  name: "capital",
  strict: true,
  schema: {
    type: "object",
    properties: { city: { enum: ["Oslo"] } },
    required: ["city"],
    additionalProperties: false,
  },
};

const client = (baseURL, apiKey = offer.key) => new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const chatWith = (opened, more = {}) =>
  opened.chat.completions.create({
    model: offer.models.chat,
    messages: question,
    temperature: 0,
    ...more,
  });

const features = {
  async chat(url) {
    const answer = await chatWith(client(url), { max_tokens: 20 });
    return {
      text: answer.choices[0].message.content,
      usage: answer.usage.total_tokens,
      request_id: answer._request_id,
    };
  },
  async tools(url) {
    const messages = [{ role: "user", content: "What is the weather in Oslo?" }];
    const answer = await chatWith(client(url), { messages, tools: [weather] });
    const called = answer.choices[0].message.tool_calls[0].function;
    return { name: called.name, arguments: JSON.parse(called.arguments) };
  },
  async stream(url) {
    const pieces = [];
    const messages = [{ role: "user", content: "Tell me a story." }];
    const chunks = await chatWith(client(url), { messages, max_tokens: 60, stream: true });
    for await (const chunk of chunks) pieces.push(chunk.choices[0].delta.content || "");
    return { pieces: pieces.filter(Boolean).length, text: pieces.join("") };
  },
  async stream_with_usage(url) {
    const more = { stream: true, stream_options: { include_usage: true } };
    const chunks = [];
    for await (const chunk of await chatWith(client(url), more)) chunks.push(chunk);
    const last = chunks.at(-1);
    return { choices: last.choices.length, tokens: last.usage.completion_tokens };
  },
  async stream_of_tools(url) {
    const messages = [{ role: "user", content: "What is the weather in Oslo?" }];
    const asked = { model: offer.models.chat, messages, tools: [weather], temperature: 0 };
    // The SDK's helper puts the calls together.
    const final = await client(url).chat.completions.stream(asked).finalChatCompletion();
    const called = final.choices[0].message.tool_calls[0].function;
    return { name: called.name, arguments: JSON.parse(called.arguments) };
  },
  async stream_of_completion(url) {
    const asked = { model: offer.models.chat, prompt: "Once upon a time", max_tokens: 32 };
    const chunks = await client(url).completions.create({ ...asked, temperature: 0, stream: true });
    let text = "";
    for await (const chunk of chunks) text += chunk.choices[0].text;
    return text;
  },
  async stream_of_responses(url) {
    const asked = { model: offer.models.chat, input: question[0].content, temperature: 0 };
    let text = "";
    let last;
    for await (const event of await client(url).responses.create({ ...asked, stream: true })) {
      if (event.type === "response.output_text.delta") text += event.delta;
      last = event.type;
    }
    return { text, last };
  },
  async json_schema(url) {
    const response_format = { type: "json_schema", json_schema: schema };
    const answer = await chatWith(client(url), { response_format });
    return JSON.parse(answer.choices[0].message.content);
  },
  async completion(url) {
    const asked = { model: offer.models.chat, prompt: "Once upon a time", max_tokens: 32 };
    return (await client(url).completions.create({ ...asked, temperature: 0 })).choices[0].text;
  },
  async responses(url) {
    const asked = { model: offer.models.chat, input: question[0].content, temperature: 0 };
    return (await client(url).responses.create(asked)).output_text;
  },
  async image(url) {
    const content = [
      { type: "text", text: "What colour is this?" },
      { type: "image_url", image_url: { url: offer.picture } },
    ];
    const asked = { model: offer.models.vision, messages: [{ role: "user", content }] };
    return (await chatWith(client(url), asked)).choices[0].message.content;
  },
  async transcription(url) {
    const file = createReadStream(offer.sound);
    const asked = { model: offer.models.speech, file, temperature: 0 };
    return (await client(url).audio.transcriptions.create(asked)).text;
  },
  async embeddings(url) {
    const make = (more) =>
      client(url).embeddings.create({ model: offer.models.embeddings, input: "A text", ...more });
    const floats = (await make({ encoding_format: "float" })).data[0].embedding;
    const unpacked = (await make({})).data[0].embedding;
    return {
      length: floats.length,
      same: floats.every((value, at) => Math.abs(value - unpacked[at]) < 1e-4),
    };
  },
  async models(url) {
    const found = [];
    for await (const model of client(url).models.list()) found.push(model.id);
    return found;
  },
  async one_model(url) {
    return (await client(url).models.retrieve(offer.models.chat)).id;
  },
  async no_token(url) {
    return chatWith(client(url, "DUMMY_KEY"));
  },
  async stream_of_no_such_model(url) {
    return chatWith(client(url), { model: "absent/model", stream: true });
  },
  async no_such_model(url) {
    return chatWith(client(url), { model: "absent/model" });
  },
  async reserved_field(url) {
    return chatWith(client(url), { priority: 1 });
  },
};

const factsOf = (error) => ({
  class: error.constructor.name,
  text: String(error.message),
  status_code: error.status,
  code: error.code,
  param: error.param,
  type: error.type,
  request_id: error.requestID,
});

const done = {};
for (const [base, url] of Object.entries(offer.bases)) {
  done[base] = {};
  for (const [name, feature] of Object.entries(features)) {
    try {
      done[base][name] = { said: await feature(url) };
    } catch (error) {
      done[base][name] = { error: factsOf(error), traceback: String(error.stack) };
    }
  }
}
console.log(JSON.stringify(done));
