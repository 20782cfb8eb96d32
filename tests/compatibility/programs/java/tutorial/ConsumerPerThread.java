import java.time.Duration;
import java.util.Collections;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;

/** Four threads, each with a consumer of its own, in one group. BOOTSTRAP TOPIC COUNT GROUP */
public final class ConsumerPerThread {
    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", arguments[0]);
        properties.put("key.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        properties.put("value.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        properties.put("group.id", arguments[3]);
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "true");
        AtomicInteger left = new AtomicInteger(Integer.parseInt(arguments[2]));
        Thread[] threads = new Thread[4];
        for (int number = 0; number < threads.length; number++) {
            threads[number] = new Thread(() -> consume(properties, arguments[1], left));
            threads[number].start();
        }
        for (Thread thread : threads) {
            thread.join();
        }
    }

    private static void consume(Properties properties, String topic, AtomicInteger left) {
        KafkaConsumer<String, String> consumer = new KafkaConsumer<>(properties);
        consumer.subscribe(Collections.singletonList(topic));
        try {
            while (left.get() > 0) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100))) {
                    System.out.println("record " + record.topic() + " " + record.partition() + " " + record.offset()
                        + " " + record.value());
                    left.decrementAndGet();
                }
            }
        } finally {
            consumer.close();
        }
    }
}
