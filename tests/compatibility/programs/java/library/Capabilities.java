import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** kafka-clients, all capabilities. */
public final class Capabilities {
    public static void main(String[] arguments) {
        Map<String, Telling.Attempt> attempts = new HashMap<>();
        attempts.put("produce-consume", Capabilities::produceConsume);
        attempts.put("headers", Capabilities::headers);
        attempts.put("compression", Capabilities::compression);
        attempts.put("idempotence", Capabilities::idempotence);
        attempts.put("group-eager", group(classic(Map.of("partition.assignment.strategy", RangeAssignor.class.getName()))));
        attempts.put("group-cooperative",
            group(classic(Map.of("partition.assignment.strategy", CooperativeStickyAssignor.class.getName()))));
        attempts.put("group-static", Capabilities::groupStatic);
        attempts.put("group-consumer", group(Map.of("group.protocol", "consumer")));
        attempts.put("transactions", Capabilities::transactions);
        attempts.put("admin-topics", Capabilities::adminTopics);
        attempts.put("admin-configs", Capabilities::adminConfigs);
        attempts.put("admin-partitions", Capabilities::adminPartitions);
        attempts.put("offsets-by-time", Capabilities::offsetsByTime);
        attempts.put("delete-records", Capabilities::deleteRecords);
        Telling.tell(attempts, arguments);
    }

    private Capabilities() {}

    private static String produceConsume(String bootstrap, String name) throws Exception {
        List<String> sent = numbered("value", 100);
        try (KafkaProducer<String, String> producer = producer(bootstrap, Map.of("acks", "all"))) {
            List<Future<?>> answers = new ArrayList<>();
            for (int number = 0; number < 100; number++) {
                answers.add(producer.send(new ProducerRecord<>(name, "key-" + number % 10, sent.get(number))));
            }
            for (Future<?> answer : answers) {
                answer.get(60, TimeUnit.SECONDS);
            }
        }
        List<ConsumerRecord<String, String>> records = read(bootstrap, name, 100, 3, "read_uncommitted");
        Telling.checkEqual(new TreeSet<>(values(records)), new TreeSet<>(sent), "values");
        for (int partition = 0; partition < 3; partition++) {
            int of = partition;
            List<String> in = values(records.stream().filter(record -> record.partition() == of).toList());
            Telling.checkEqual(in, in.stream().sorted().toList(), "order in partition " + partition);
        }
        return "";
    }

    private static String headers(String bootstrap, String name) throws Exception {
        ProducerRecord<String, String> record = new ProducerRecord<>(name, "value");
        record.headers().add("trace", new byte[] {0, -1});
        record.headers().add("kind", "first".getBytes(StandardCharsets.UTF_8));
        record.headers().add("kind", "zweites ü".getBytes(StandardCharsets.UTF_8));
        try (KafkaProducer<String, String> producer = producer(bootstrap, Map.of())) {
            producer.send(record).get(60, TimeUnit.SECONDS);
        }
        Header[] found = read(bootstrap, name, 1, 1, "read_uncommitted").get(0).headers().toArray();
        Header[] expected = record.headers().toArray();
        Telling.checkEqual(found.length, expected.length, "headers");
        for (int index = 0; index < found.length; index++) {
            Telling.checkEqual(found[index].key(), expected[index].key(), "name");
            Telling.check(Arrays.equals(found[index].value(), expected[index].value()), "a header's value differs");
        }
        return "";
    }

    private static String compression(String bootstrap, String name) {
        List<String> sent = new ArrayList<>();
        for (String codec : List.of("gzip", "snappy", "lz4", "zstd")) {
            List<String> values = numbered(codec + "-" + "x".repeat(200), 50);
            send(bootstrap, name, values, Map.of("compression.type", codec, "linger.ms", 20));
            sent.addAll(values);
        }
        Telling.checkEqual(values(read(bootstrap, name, 200, 1, "read_uncommitted")), sent, "values");
        return "gzip, snappy, lz4, zstd";
    }

    private static String idempotence(String bootstrap, String name) {
        List<String> sent = numbered("value", 300);
        send(bootstrap, name, sent, Map.of("enable.idempotence", true, "batch.size", 200));
        Telling.checkEqual(values(read(bootstrap, name, 300, 1, "read_uncommitted")), sent, "values");
        return "";
    }

    private static Telling.Attempt group(Map<String, Object> settings) {
        return (bootstrap, name) -> Members.share(
            () -> new Members.Member(member(bootstrap, name, settings), name),
            values -> send(bootstrap, name, values, Map.of("batch.size", 100)));
    }

    private static String groupStatic(String bootstrap, String name) {
        return Members.returnAsStatic(instance -> new Members.Member(
            member(bootstrap, name, classic(Map.of("group.instance.id", instance))), name));
    }

    private static String transactions(String bootstrap, String name) {
        TopicPartition partition = new TopicPartition(name, 0);
        try (KafkaProducer<String, String> producer = producer(bootstrap, Map.of("transactional.id", name + "-id"));
            KafkaConsumer<String, String> consumer = new KafkaConsumer<>(member(bootstrap, name, Map.of()))) {
            producer.initTransactions();
            for (int number = 0; number < 3; number++) {
                producer.beginTransaction();
                for (int count = 0; count < 10; count++) {
                    producer.send(new ProducerRecord<>(name, 0, null, "transaction-" + number));
                }
                producer.flush();
                if (number == 1) {
                    producer.abortTransaction();
                    continue;
                }
                if (number == 2) {
                    Map<TopicPartition, OffsetAndMetadata> offsets = Map.of(partition, new OffsetAndMetadata(7, "noted"));
                    producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                }
                producer.commitTransaction();
            }
            Set<String> committed = new TreeSet<>(values(read(bootstrap, name, 20, 1, "read_committed")));
            Telling.checkEqual(committed, new TreeSet<>(Set.of("transaction-0", "transaction-2")), "committed values");
            read(bootstrap, name, 30, 1, "read_uncommitted");
            OffsetAndMetadata found = consumer.committed(Set.of(partition), Telling.PATIENCE).get(partition);
            Telling.checkEqual(found.offset() + found.metadata(), "7noted", "the group's offset");
        }
        return "";
    }

    private static String adminTopics(String bootstrap, String name) throws Exception {
        try (Admin admin = admin(bootstrap)) {
            NewTopic wanted = new NewTopic(name, 2, (short) 3).configs(Map.of("retention.ms", "123456"));
            var made = admin.createTopics(List.of(wanted));
            Telling.checkEqual(made.config(name).get().get("retention.ms").value(), "123456", "the answer's setting");
            Telling.checkEqual(made.numPartitions(name).get(), 2, "the answer's partitions");
            Telling.pollUntil(() -> listed(admin).contains(name), "it is listed");
            Telling.pollUntil(() -> partitions(admin, name) == 2, "it is described");
            Telling.check(refused(admin.createTopics(List.of(wanted)).all()) instanceof TopicExistsException, "twice");
            admin.deleteTopics(List.of(name)).all().get();
            Telling.pollUntil(() -> !listed(admin).contains(name), "it is gone");
        }
        return "";
    }

    private static String adminConfigs(String bootstrap, String name) throws Exception {
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, name);
        try (Admin admin = admin(bootstrap)) {
            Telling.checkEqual(retention(admin, topic), "604800000 DEFAULT_CONFIG", "before");
            ConfigEntry entry = new ConfigEntry("retention.ms", "3600000");
            admin.incrementalAlterConfigs(
                Map.of(topic, List.of(new AlterConfigOp(entry, AlterConfigOp.OpType.SET)))).all().get();
            Telling.pollUntil(() -> retention(admin, topic).equals("3600000 DYNAMIC_TOPIC_CONFIG"), "the new value");
        }
        return "";
    }

    private static String adminPartitions(String bootstrap, String name) throws Exception {
        try (Admin admin = admin(bootstrap)) {
            admin.createPartitions(Map.of(name, NewPartitions.increaseTo(4))).all().get();
            Telling.pollUntil(() -> partitions(admin, name) == 4, "4 partitions");
            Throwable error = refused(admin.createPartitions(Map.of(name, NewPartitions.increaseTo(2))).all());
            Telling.check(error instanceof InvalidPartitionsException, "fewer partitions: " + error);
        }
        return "";
    }

    private static String offsetsByTime(String bootstrap, String name) throws Exception {
        long firstMs = System.currentTimeMillis() - 60_000;
        try (KafkaProducer<String, String> producer = producer(bootstrap, Map.of())) {
            for (int number = 0; number < 10; number++) {
                producer.send(new ProducerRecord<>(name, 0, firstMs + 1000L * number, null, "" + number)).get();
            }
        }
        TopicPartition partition = new TopicPartition(name, 0);
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(member(bootstrap, name, Map.of()))) {
            OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(partition, firstMs + 4_500)).get(partition);
            Telling.checkEqual(found.offset() + " at " + (found.timestamp() - firstMs), "5 at 5000", "offset");
            Telling.checkEqual(consumer.offsetsForTimes(Map.of(partition, firstMs + 20_000)).get(partition), null, "late");
        }
        return "";
    }

    private static String deleteRecords(String bootstrap, String name) throws Exception {
        send(bootstrap, name, numbered("value", 10), Map.of("acks", "all"));
        TopicPartition partition = new TopicPartition(name, 0);
        try (Admin admin = admin(bootstrap)) {
            var deleted = admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(4)));
            Telling.checkEqual(deleted.lowWatermarks().get(partition).get().lowWatermark(), 4L, "the answer");
        }
        List<ConsumerRecord<String, String>> records = read(bootstrap, name, 6, 1, "read_uncommitted");
        Telling.checkEqual(records.get(0).offset(), 4L, "the earliest offset");
        return "";
    }

    // --- how -----------------------------------------------------------------------------------------------------

    private static KafkaProducer<String, String> producer(String bootstrap, Map<String, Object> settings) {
        Map<String, Object> all = new HashMap<>(settings);
        all.put("bootstrap.servers", bootstrap);
        return new KafkaProducer<>(all, new StringSerializer(), new StringSerializer());
    }

    private static void send(String bootstrap, String topic, List<String> values, Map<String, Object> settings) {
        try (KafkaProducer<String, String> producer = producer(bootstrap, settings)) {
            List<Future<?>> answers = new ArrayList<>();
            values.forEach(value -> answers.add(producer.send(new ProducerRecord<>(topic, value))));
            for (Future<?> answer : answers) {
                answer.get(60, TimeUnit.SECONDS);
            }
        } catch (Exception error) {
            throw new IllegalStateException("sending failed: " + error, error);
        }
    }

    /** So many records from the start, and none after them within half a second. */
    private static List<ConsumerRecord<String, String>> read(
        String bootstrap, String topic, int count, int partitions, String isolation) {
        Map<String, Object> settings = member(bootstrap, topic, Map.of("isolation.level", isolation));
        List<ConsumerRecord<String, String>> records = new ArrayList<>();
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings)) {
            List<TopicPartition> all = new ArrayList<>();
            for (int partition = 0; partition < partitions; partition++) {
                all.add(new TopicPartition(topic, partition));
            }
            consumer.assign(all);
            consumer.seekToBeginning(all);
            Telling.pollUntil(() -> {
                consumer.poll(Duration.ofMillis(250)).forEach(records::add);
                return records.size() >= count;
            }, count + " records are read");
            consumer.poll(Duration.ofMillis(500)).forEach(records::add);
            Telling.checkEqual(records.size(), count, "records");
        }
        return records;
    }

    private static Map<String, Object> member(String bootstrap, String group, Map<String, Object> settings) {
        Map<String, Object> all = new HashMap<>(Map.of(
            "bootstrap.servers", bootstrap, "group.id", group, "auto.offset.reset", "earliest",
            "enable.auto.commit", false, "key.deserializer", StringDeserializer.class,
            "value.deserializer", StringDeserializer.class));
        all.putAll(settings);
        return all;
    }

    private static Map<String, Object> classic(Map<String, Object> settings) {
        Map<String, Object> all = new LinkedHashMap<>(settings);
        all.putAll(Map.of("heartbeat.interval.ms", 500, "session.timeout.ms", 20_000));
        return all;
    }

    private static Admin admin(String bootstrap) {
        return Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    private static Set<String> listed(Admin admin) {
        try {
            return admin.listTopics().names().get();
        } catch (InterruptedException | ExecutionException error) {
            throw new IllegalStateException(error);
        }
    }

    private static int partitions(Admin admin, String topic) {
        try {
            return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size();
        } catch (InterruptedException | ExecutionException error) {
            return -1; // not known to this broker yet
        }
    }

    private static String retention(Admin admin, ConfigResource topic) {
        try {
            ConfigEntry entry = admin.describeConfigs(List.of(topic)).all().get().get(topic).get("retention.ms");
            return entry.value() + " " + entry.source();
        } catch (InterruptedException | ExecutionException error) {
            throw new IllegalStateException(error);
        }
    }

    private static Throwable refused(Future<?> answer) throws InterruptedException {
        try {
            answer.get();
        } catch (ExecutionException error) {
            return error.getCause();
        }
        throw new AssertionError("it was not refused");
    }

    private static List<String> values(List<ConsumerRecord<String, String>> records) {
        return records.stream().map(ConsumerRecord::value).toList();
    }

    private static List<String> numbered(String name, int count) {
        List<String> values = new ArrayList<>();
        for (int number = 0; number < count; number++) {
            values.add(String.format("%s-%05d", name, number));
        }
        return values;
    }
}
