// Sends each record of the standard input, one JSON line {topic, key?, envelope} each.
import { createInterface } from "node:readline";
import { Kafka, logLevel } from "kafkajs";

const kafka = new Kafka({ brokers: process.env.KAFKA_BOOTSTRAP_SERVERS.split(","), logLevel: logLevel.ERROR });
const producer = kafka.producer();
await producer.connect();
for await (const line of createInterface({ input: process.stdin })) {
  const { topic, key, envelope } = JSON.parse(line);
  await producer.send({ topic, messages: [{ key, value: JSON.stringify(envelope) }] });
}
await producer.disconnect();
