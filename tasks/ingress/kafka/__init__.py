"""Apache Kafka, by librdkafka: topics in, by a consumer group, and what is wrong out, to dead-letter topics.

It is no broker of jobs here. Kombu's transport for it acknowledges a position and not a message, and so loses what a
killed worker had begun.
"""
