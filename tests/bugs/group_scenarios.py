"""The scenario `groups` with some kinds of groups only, for the bugs that concern those."""

from simulation.scenarios.groups import groups_of

TRANSACTIONAL = groups_of("transactions", "transactions-consumer")
CONSUMERS = groups_of("consumer", "consumer-range", "consumer-pattern")
EAGER = groups_of("eager", "eager-sticky", "roundrobin")
