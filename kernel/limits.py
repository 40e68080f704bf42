"""The most of anything that crosses a boundary. What is accepted within these can be carried to its end."""

#: An event's largest size, as encoded: checked by the outbox, so that nothing is written that the relay can't carry.
#: An order of 500 lines whose texts are as long as the API allows, in characters of four bytes, has 1.7 MB.
MAX_EVENT_BYTES = 2_000_000

#: A Kafka record that carries such an event, with key, headers and framing: for the relay's producer
#: (max.request.size), topics (max.message.bytes) and consumers' fetches.
MAX_RECORD_BYTES = MAX_EVENT_BYTES + 100_000

#: A message key, which is an aggregate's id, in UTF-8.
MAX_KEY_BYTES = 200

#: No number that is accepted is above this, nor below its negative: doubles, which readers of JSON have, are exact
#: up to it.
MAX_NUMBER = 2**53 - 1
