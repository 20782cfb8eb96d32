"""The coordinator of transactions: who may write under a transactional id, and how each of its transactions ends.

    InitProducerId ─→ Empty ─ AddPartitions ─→ Ongoing ─ EndTransaction ─→ Prepare… ─ markers written ─→ Complete…

The decision is the record that says Prepare…: from then on the transaction is committed, or aborted, whatever happens
to this node. Whoever leads the partition of `__transaction_state` then goes on to write the markers, until every
partition that took part has one.

`commands` is what the doors ask. `core` decides, with the table of `states`, the arithmetic of epochs in `epochs` and
the rules of ending in `ending`; `codec` writes Kafka's formats. The shells: `markers` brings markers to the leaders,
`gate` asks coordinators on behalf of partitions, `service` puts one node's parts together.
"""
