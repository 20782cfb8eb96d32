"""kraftpy: Kafka's model without the JVM."""
