// Publishes each envelope of the standard input, one JSON line {exchange, routingKey, envelope, options?} each, and
// waits until the broker has them all.
import { createInterface } from "node:readline";
import amqp from "amqplib";

const connection = await amqp.connect(process.env.BROKER_URL);
const channel = await connection.createConfirmChannel();
for await (const line of createInterface({ input: process.stdin })) {
  const { exchange, routingKey, envelope, options } = JSON.parse(line);
  const properties = { persistent: true, contentType: "application/json", ...options };
  channel.publish(exchange, routingKey, Buffer.from(JSON.stringify(envelope)), properties);
}
await channel.waitForConfirms();
await connection.close();
