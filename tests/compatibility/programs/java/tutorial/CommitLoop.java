import java.time.Duration;
import java.util.Collections;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;

/** Commits asynchronously in the loop and synchronously in the end. BOOTSTRAP TOPIC COUNT GROUP */
public final class CommitLoop {
    public static void main(String[] arguments) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", arguments[0]);
        properties.put("key.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        properties.put("value.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        properties.put("group.id", arguments[3]);
        properties.put("client.id", "consumer.client.id.demo");
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        KafkaConsumer<String, String> consumer = new KafkaConsumer<>(properties);
        consumer.subscribe(Collections.singletonList(arguments[1]));
        int left = Integer.parseInt(arguments[2]);
        try {
            while (left > 0) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(1000))) {
                    System.out.println("record " + record.topic() + " " + record.partition() + " " + record.offset()
                        + " " + record.value());
                    left--;
                }
                consumer.commitAsync((offsets, error) -> {
                    if (error != null) {
                        System.out.println("commit failed " + error);
                    }
                });
            }
        } finally {
            try {
                consumer.commitSync();
            } finally {
                consumer.close();
            }
        }
    }
}
