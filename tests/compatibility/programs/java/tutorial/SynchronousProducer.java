import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;

/** Sends one record after the other and waits for each. BOOTSTRAP TOPIC COUNT */
public final class SynchronousProducer {
    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", arguments[0]);
        properties.put("key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        properties.put("value.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        properties.put("client.id", "synchronous.demo");
        properties.put("acks", "1");
        properties.put("retries", 5);
        KafkaProducer<String, String> producer = new KafkaProducer<>(properties);
        for (int number = 0; number < Integer.parseInt(arguments[2]); number++) {
            RecordMetadata sent = producer.send(new ProducerRecord<>(arguments[1], "message-" + number)).get();
            System.out.println("record " + sent.topic() + " " + sent.partition() + " " + sent.offset() + " " + number);
        }
        producer.close();
    }
}
