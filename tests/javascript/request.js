// Asks for each task of the standard input, one JSON envelope a line, by direct reply-to, all of them at once, and
// prints the replies in the order in which they come.
import { createInterface } from "node:readline";
import amqp from "amqplib";

const connection = await amqp.connect(process.env.BROKER_URL);
const channel = await connection.createConfirmChannel();
let outstanding = 0;
let finish;
const finished = new Promise((resolve) => (finish = resolve));
const hear = (message) => {
  const told = { correlationId: message.properties.correlationId, body: JSON.parse(message.content.toString()) };
  console.log(JSON.stringify(told));
  outstanding -= 1;
  if (outstanding === 0) finish();
};
await channel.consume("amq.rabbitmq.reply-to", hear, { noAck: true });
for await (const line of createInterface({ input: process.stdin })) {
  const envelope = JSON.parse(line);
  outstanding += 1;
  const options = { correlationId: envelope.correlationId, replyTo: "amq.rabbitmq.reply-to", messageId: envelope.id };
  channel.publish("request-exchange", "request", Buffer.from(JSON.stringify(envelope)), options);
}
await finished;
await connection.close();
