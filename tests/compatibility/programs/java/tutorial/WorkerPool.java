import java.time.Duration;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;

/** One thread polls and hands batches to a bounded pool of workers; what they have done is committed. BOOTSTRAP TOPIC COUNT GROUP */
public final class WorkerPool {
    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", arguments[0]);
        properties.put("key.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        properties.put("value.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        properties.put("group.id", arguments[3]);
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        Map<TopicPartition, OffsetAndMetadata> done = new HashMap<>();
        AtomicInteger left = new AtomicInteger(Integer.parseInt(arguments[2]));
        ExecutorService workers = new ThreadPoolExecutor(
            4, 4, 0L, TimeUnit.MILLISECONDS, new ArrayBlockingQueue<>(1000), new ThreadPoolExecutor.CallerRunsPolicy());
        KafkaConsumer<String, String> consumer = new KafkaConsumer<>(properties);
        consumer.subscribe(Collections.singletonList(arguments[1]));
        try {
            while (left.get() > 0) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(100));
                for (TopicPartition partition : records.partitions()) {
                    List<ConsumerRecord<String, String>> batch = records.records(partition);
                    workers.submit(() -> work(partition, batch, done, left));
                }
                commit(consumer, done);
            }
            workers.shutdown();
            workers.awaitTermination(30, TimeUnit.SECONDS);
            commit(consumer, done);
        } finally {
            consumer.close();
        }
    }

    private static void work(TopicPartition partition, List<ConsumerRecord<String, String>> batch,
        Map<TopicPartition, OffsetAndMetadata> done, AtomicInteger left) {
        for (ConsumerRecord<String, String> record : batch) {
            System.out.println(
                "record " + record.topic() + " " + record.partition() + " " + record.offset() + " " + record.value());
        }
        long next = batch.get(batch.size() - 1).offset() + 1;
        synchronized (done) {
            OffsetAndMetadata before = done.get(partition);
            if (before == null || before.offset() < next) {
                done.put(partition, new OffsetAndMetadata(next));
            }
        }
        left.addAndGet(-batch.size());
    }

    private static void commit(KafkaConsumer<String, String> consumer, Map<TopicPartition, OffsetAndMetadata> done) {
        synchronized (done) {
            if (!done.isEmpty()) {
                consumer.commitSync(done);
                done.clear();
            }
        }
    }
}
