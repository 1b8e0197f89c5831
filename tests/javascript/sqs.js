// Sends each envelope of the standard input, one JSON line each, to the queue at QUEUE_URL, ten at a time.
import { createInterface } from "node:readline";
import { SendMessageBatchCommand, SQSClient } from "@aws-sdk/client-sqs";

const client = new SQSClient({ endpoint: process.env.SQS_ENDPOINT_URL, region: "eu-central-1" });
const send = async (entries) => {
  const answer = await client.send(new SendMessageBatchCommand({ QueueUrl: process.env.QUEUE_URL, Entries: entries }));
  if (answer.Failed?.length) throw new Error(JSON.stringify(answer.Failed));
};
let entries = [];
for await (const line of createInterface({ input: process.stdin })) {
  entries.push({ Id: String(entries.length), MessageBody: line });
  if (entries.length === 10) await send(entries.splice(0));
}
if (entries.length) await send(entries);
