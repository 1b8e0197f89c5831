"""The topology in the words of each system's own tools, for whoever provisions it without us."""

import json
from collections.abc import Callable
from typing import Any

from django.conf import settings

from tasks.brokers.sqs import queues as sqs
from tasks.topology import JOB_EVENTS_EXCHANGE, TOPOLOGY, Queue

DEAD = ".dead"
PARTITIONS = 6
WEEK_MILLISECONDS = 7 * 86_400_000
FORTNIGHT_MILLISECONDS = 2 * WEEK_MILLISECONDS


def rabbitmq() -> dict[str, Any]:
    """Definitions for `rabbitmqctl import_definitions`: exchanges, queues, bindings and the policy of a vhost "/"."""
    from tasks.brokers.rabbitmq import declaration, policies

    entities = declaration.declarations()
    exchanges: list[Any] = [entity for entity in entities if not hasattr(entity, "queue_arguments")]
    declared: list[Any] = [entity for entity in entities if hasattr(entity, "queue_arguments")]
    vhost = {"vhost": "/"}
    bound = [(queue.exchange.name, queue.name, queue.routing_key or "") for queue in declared]
    bound += [(exchange, queue, "") for exchange, names in TOPOLOGY.fanouts.items() for queue in names]
    return {
        "vhosts": [{"name": "/"}],
        "exchanges": [
            {**vhost, "name": each.name, "type": each.type, "durable": True, "auto_delete": False, "internal": False,
             "arguments": {}} for each in exchanges
        ],
        "queues": [
            {**vhost, "name": each.name, "durable": True, "auto_delete": False, "arguments": each.queue_arguments}
            for each in declared
        ],
        "bindings": [
            {**vhost, "source": source, "destination": queue, "destination_type": "queue", "routing_key": key,
             "arguments": {}} for source, queue, key in bound
        ],
        "policies": [{**vhost, "name": policies.POLICY, **policies.alternate_exchanges()}],
    }  # fmt: skip


def cloudformation() -> dict[str, Any]:
    """A template for AWS CloudFormation: each work queue with its dead-letter queue, and an alarm on that."""
    resources: dict[str, Any] = {}
    for queue in TOPOLOGY.queues:
        resources |= _stack_of(queue)
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "Queues of the task platform, as `manage.py topology apply` would make them.",
        "Resources": resources,
    }


def kafka() -> list[dict[str, Any]]:
    """Topics for `bridge kafka` and JOB_EVENTS=kafka:…, with their dead-letter topics."""
    topics = settings.TASKS_KAFKA_TOPICS
    kept = [(name, WEEK_MILLISECONDS) for name in (*topics, JOB_EVENTS_EXCHANGE)]
    kept += [(f"{name}{DEAD}", FORTNIGHT_MILLISECONDS) for name in topics]
    return [
        {
            "topic": name,
            "partitions": PARTITIONS,
            "replication_factor": 3,
            "config": {"retention.ms": str(milliseconds), "min.insync.replicas": "2", "cleanup.policy": "delete"},
        }
        for name, milliseconds in kept
    ]


FORMATS: dict[str, Callable[[], Any]] = {"rabbitmq": rabbitmq, "cloudformation": cloudformation, "kafka": kafka}


def _stack_of(queue: Queue) -> dict[str, Any]:
    name = "".join(part.title() for part in queue.name.split("-"))
    arn = {"Fn::GetAtt": [f"{name}Dead", "Arn"]}
    given = sqs.attributes("")
    redrive = {**json.loads(given.pop("RedrivePolicy")), "deadLetterTargetArn": arn}
    return {
        f"{name}Dead": _queue(queue.dead_name, sqs.dead_attributes()),
        name: _queue(queue.name, given, RedrivePolicy=redrive),
        f"{name}DeadAlarm": _resource(
            "CloudWatch::Alarm",
            AlarmDescription=f"Dead letters of {queue.name} are not collected: does a worker run?",
            Namespace="AWS/SQS",
            MetricName="ApproximateNumberOfMessagesVisible",
            Dimensions=[{"Name": "QueueName", "Value": sqs.name_of(queue.dead_name)}],
            Statistic="Maximum",
            Period=300,
            EvaluationPeriods=2,
            Threshold=0,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="notBreaching",
        ),
    }


def _queue(name: str, attributes: dict[str, str], **properties: Any) -> dict[str, Any]:
    numbers = {name: int(value) for name, value in attributes.items()}
    return _resource("SQS::Queue", QueueName=sqs.name_of(name), **numbers, **properties)


def _resource(type: str, **properties: Any) -> dict[str, Any]:
    return {"Type": f"AWS::{type}", "Properties": properties}
