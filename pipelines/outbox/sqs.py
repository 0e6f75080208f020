"""A FIFO queue of Amazon SQS: it keeps the order of one aggregate (message group), and drops what comes twice within
five minutes (deduplication id). Later than that the receiver tells by the event's id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import boto3
from botocore.config import Config as Options
from botocore.exceptions import BotoCoreError, ClientError

from pipelines.outbox.destination import DestinationAway
from pipelines.outbox.message import Message

_TIMEOUT_S = 10
# What a message can be refused for, whoever sends it again.
_POISON = {"InvalidMessageContents", "InvalidParameterValue", "BatchRequestTooLong", "MessageTooLong"}


class Sqs:
    batch = 10  # SQS's own limit

    def __init__(self, url: str, *, region: str, endpoint: str | None) -> None:
        self._url = url
        # Attempts are the ledger's business.
        options = Options(connect_timeout=_TIMEOUT_S, read_timeout=_TIMEOUT_S, retries={"total_max_attempts": 1})
        self._client: Any = boto3.client("sqs", region_name=region, endpoint_url=endpoint, config=options)

    def send(self, messages: Sequence[Message]) -> list[str | None]:
        entries = [
            {
                "Id": str(number),
                "MessageBody": message.text(),
                # A group's name has 128 characters at most: the id alone tells aggregates apart.
                "MessageGroupId": message.aggregate[-128:],
                "MessageDeduplicationId": message.id,
                "MessageAttributes": {"event_type": {"DataType": "String", "StringValue": message.event_type}},
            }
            for number, message in enumerate(messages)
        ]
        try:
            answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
        except ClientError as error:
            code = str(error.response["Error"]["Code"])
            if len(messages) == 1 and code.rpartition(".")[2] in _POISON:
                return [f"{code}: {error.response['Error']['Message']}"]
            if len(messages) > 1 and code.rpartition(".")[2] in _POISON:
                return [outcome for message in messages for outcome in self.send([message])]  # one spoils them all
            raise DestinationAway(f"{code}: {error.response['Error']['Message']}") from error
        except BotoCoreError as error:
            raise DestinationAway(str(error)) from error
        outcomes: list[str | None] = [None] * len(messages)
        for failed in answer.get("Failed", []):
            outcomes[int(failed["Id"])] = f"{failed['Code']}: {failed.get('Message', '')}"
        return outcomes
